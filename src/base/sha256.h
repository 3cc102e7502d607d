/** SHA-256 (FIPS 180-4), for fingerprints of model files. */
#ifndef MR_BASE_SHA256_H
#define MR_BASE_SHA256_H

#include <stddef.h>

#define MR_SHA256_TEXT_BYTES 65

/** Writes the digest of bytes as 64 hexadecimal digits and a terminator. Pure, thread-safe. */
void mr_sha256_text(const void *bytes, size_t byte_count, char text_out[MR_SHA256_TEXT_BYTES]);

#endif
