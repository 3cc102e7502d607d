#include "millrace/blob.h"

#include <stdlib.h>
#include <string.h>

bool mr_blob_reserve(struct mr_blob *blob, size_t more)
{
    size_t needed, cap = blob->cap + blob->cap / 2;
    if (__builtin_add_overflow(blob->bytes, more, &needed)) return false;
    if (needed <= blob->cap) return true;
    if (cap < needed) cap = needed; /* also when the sum above has wrapped */
    char *const data = realloc(blob->data, cap);
    if (!data) return false;
    blob->data = data;
    blob->cap = cap;
    return true;
}

bool mr_blob_put(struct mr_blob *blob, const void *bytes, size_t count)
{
    if (!mr_blob_reserve(blob, count)) return false;
    if (count) memcpy(blob->data + blob->bytes, bytes, count);
    blob->bytes += count;
    return true;
}

void mr_blob_deinit(struct mr_blob *blob)
{
    free(blob->data);
    *blob = (struct mr_blob){0};
}
