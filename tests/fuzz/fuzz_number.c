/* Numbers: what the parser takes is what the grammar takes, and its value is the C library's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *const text = malloc(bytes + 1);
    if (!text) return 0;
    if (bytes) memcpy(text, data, bytes);
    text[bytes] = 0;
    float f32;
    double f64;
    const char *const end_f32 = mr_parse_f32(text, text + bytes, &f32), *const end_f64 =
                                                                            mr_parse_f64(text, text + bytes, &f64);
    if (end_f32 != end_f64) abort();
    if (end_f32) {
        const size_t length = (size_t)(end_f32 - text);
        if (!length || length > bytes) abort();
        text[length] = 0;
        const float want_f32 = strtof(text, NULL);
        const double want_f64 = strtod(text, NULL);
        if (strspn(text, "+-.0123456789eE") != length) abort();
        if (memcmp(&f32, &want_f32, sizeof f32) || memcmp(&f64, &want_f64, sizeof f64)) abort();
    }
    free(text);
    return 0;
}
