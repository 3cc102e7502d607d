/** SHA-256 (FIPS 180-4), for fingerprints of model files and of the data that models are made from. */
#ifndef MR_BASE_SHA256_H
#define MR_BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_SHA256_TEXT_BYTES 65

/** Writes the digest of bytes as 64 hexadecimal digits and a terminator. Pure, thread-safe. */
void mr_sha256_text(const void *bytes, size_t byte_count, char text_out[MR_SHA256_TEXT_BYTES]);

/** Bytes that come in parts: init, add as often as there is more, end. */
struct mr_sha256 {
    uint32_t state[8];
    uint64_t byte_count;
    unsigned char rest[64]; /* what no whole block was made of yet */
};
void mr_sha256_init(struct mr_sha256 *sha);
void mr_sha256_add(struct mr_sha256 *sha, const void *bytes, size_t byte_count);
void mr_sha256_end(const struct mr_sha256 *sha, char text_out[MR_SHA256_TEXT_BYTES]);

/** For tests: plain loops from here on, whatever instructions the machine has; false: what is best again. */
void mr_sha256_plain(bool is_plain);

#endif
