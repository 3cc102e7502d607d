/** Bytes in memory that grow: what a model is stored in. */
#ifndef MILLRACE_BLOB_H
#define MILLRACE_BLOB_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Starts zeroed; keeps its memory when it is filled anew, so that filling it again and again allocates once. */
struct mr_blob {
    char *data; /* NULL while cap is 0; aligned as malloc aligns */
    size_t bytes, cap;
};

/** Makes room for `more` bytes behind those that are there. False: no memory, or too many; the blob is as before. */
bool mr_blob_reserve(struct mr_blob *blob, size_t more);

/** Appends. False as mr_blob_reserve. bytes may be NULL when count is 0; they must not lie in the blob. */
bool mr_blob_put(struct mr_blob *blob, const void *bytes, size_t count);

/** Frees the memory; a zeroed blob is left. */
void mr_blob_deinit(struct mr_blob *blob);

#ifdef __cplusplus
}
#endif
#endif
