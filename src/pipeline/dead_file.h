/** A dead letter as one line of JSON, for dead-letter files. */
#ifndef MR_PIPELINE_DEAD_FILE_H
#define MR_PIPELINE_DEAD_FILE_H

#include "pipeline/dead.h"

/** Bytes that mr_dead_file_line may need at most for this record. */
size_t mr_dead_file_bytes(const struct mr_bad *bad);

/**
 * Writes {"error","stage","field","topic","partition","offset","key","value"} to out; a key or value that is not UTF-8
 * stands as "key_base64" or "value_base64" instead, so that its bytes survive. Returns the bytes written; cap is at
 * least mr_dead_file_bytes.
 */
size_t mr_dead_file_line(const struct mr_bad *bad, char *out, size_t cap);

#endif
