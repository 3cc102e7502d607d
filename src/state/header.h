/** The first 16 bytes of every state record; for the files of src/state alone. */
#ifndef MR_STATE_HEADER_H
#define MR_STATE_HEADER_H

#include "state/record.h"
#include "state/wire.h"

#define MR_STATE_HEADER_BYTES 16
#define MR_STATE_MAGIC        0x5453524du /* "MRST" */

/** Starts a record in a blob that has room; what it held is gone. */
void mr_state_header_begin(struct mr_blob *out, mr_state_record kind);

/** Puts the checksum in its place: the last step. */
void mr_state_header_end(struct mr_blob *out);

/** Checks a record as mr_state_record_check does, and that it is of a kind; *in_out: its fields. */
mr_status mr_state_header_open(const void *bytes, size_t count, mr_state_record wanted, struct mr_wire *in_out,
                               struct mr_err *err);

#endif
