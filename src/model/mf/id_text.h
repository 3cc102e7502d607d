/** An id in a record: the characters that stand for it. */
#ifndef MR_MODEL_MF_ID_TEXT_H
#define MR_MODEL_MF_ID_TEXT_H

#include "base/json_text.h"
#include "base/number.h"
#include "millrace/batch.h"
#include "millrace/model.h"

#define MR_ID_BYTES_MAX 512
/** Room that an id is worked out in: text whose every byte is an escape, or a number. */
#define MR_ID_ROOM (MR_ID_BYTES_MAX * MR_JSON_ESCAPE_MAX + MR_NUMBER_BYTES)

/**
 * A string's characters without quotes and escapes, or a whole number in its shortest form: 196, 196.0, 1.96e2 and
 * "196" are one id. *id_out: in the record or in room [MR_ID_ROOM], no terminator; NULL: longer than MR_ID_BYTES_MAX.
 * MR_REASON_MISSING, MR_REASON_TYPE: no id. Pure.
 */
mr_reason mr_id_text(const struct mr_text *text, char *room, const char **id_out, size_t *bytes_out);

#endif
