#include "base/blob_text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"

#define NUMBER_BYTES 32

bool mr_blob_print(struct mr_blob *blob, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    const int bytes = vsnprintf(NULL, 0, format, values);
    va_end(values);
    if (bytes < 0 || !mr_blob_reserve(blob, (size_t)bytes + 1)) return false;
    va_start(values, format);
    vsnprintf(blob->data + blob->bytes, (size_t)bytes + 1, format, values);
    va_end(values);
    blob->bytes += (size_t)bytes;
    return true;
}

bool mr_blob_quote(struct mr_blob *blob, const char *text)
{
    const size_t bytes = strlen(text);
    if (!mr_blob_reserve(blob, MR_JSON_ESCAPE_MAX * bytes + MR_JSON_QUOTES)) return false;
    blob->bytes += mr_json_quote(text, bytes, blob->data + blob->bytes);
    return true;
}

bool mr_blob_number(struct mr_blob *blob, double value)
{
    if (!isfinite(value)) return mr_blob_put(blob, "null", 4);
    if (!mr_blob_reserve(blob, NUMBER_BYTES)) return false;
    blob->bytes += (size_t)snprintf(blob->data + blob->bytes, NUMBER_BYTES, "%.6g", value);
    return true;
}
