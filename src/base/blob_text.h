/** Text that is put together in a blob: JSON, metrics. Each returns false where memory is short; the blob is as before.
 */
#ifndef MR_BASE_BLOB_TEXT_H
#define MR_BASE_BLOB_TEXT_H

#include "millrace/blob.h"

/** As printf. */
bool mr_blob_print(struct mr_blob *blob, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A JSON string with its quotes. */
bool mr_blob_quote(struct mr_blob *blob, const char *text);

/** A JSON number of up to 6 digits; null where it is not finite. */
bool mr_blob_number(struct mr_blob *blob, double value);

#endif
