#include "base/sha256.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_BYTES 64

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static void block_add(uint32_t h[8], const unsigned char *block)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++, block += 4) {
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    }
    for (int i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] =
            w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        const uint32_t a = v[0], e = v[4];
        const uint32_t one =
            v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
        const uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += one;
        v[0] = one + two;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
}

void mr_sha256_init(struct mr_sha256 *sha)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    *sha = (struct mr_sha256){0};
    memcpy(sha->state, start, sizeof start);
}

void mr_sha256_add(struct mr_sha256 *sha, const void *bytes, size_t byte_count)
{
    const unsigned char *data = bytes;
    const size_t held = sha->byte_count % BLOCK_BYTES;
    if (!byte_count) return;
    sha->byte_count += byte_count;
    if (held) {
        const size_t room = BLOCK_BYTES - held, taken = byte_count < room ? byte_count : room;
        memcpy(sha->rest + held, data, taken);
        data += taken;
        byte_count -= taken;
        if (taken < room) return;
        block_add(sha->state, sha->rest);
    }
    for (; byte_count >= BLOCK_BYTES; data += BLOCK_BYTES, byte_count -= BLOCK_BYTES) block_add(sha->state, data);
    if (byte_count) memcpy(sha->rest, data, byte_count);
}

void mr_sha256_end(const struct mr_sha256 *sha, char text_out[MR_SHA256_TEXT_BYTES])
{
    uint32_t h[8];
    unsigned char tail[2 * BLOCK_BYTES] = {0};
    const size_t rest = sha->byte_count % BLOCK_BYTES;
    const size_t tail_bytes = rest + 9 > BLOCK_BYTES ? 2 * BLOCK_BYTES : BLOCK_BYTES;
    memcpy(h, sha->state, sizeof h);
    if (rest) memcpy(tail, sha->rest, rest);
    tail[rest] = 0x80;
    for (size_t i = 0; i < 8; i++) tail[tail_bytes - 1 - i] = (unsigned char)(sha->byte_count * 8 >> (8 * i));
    for (size_t at = 0; at < tail_bytes; at += BLOCK_BYTES) block_add(h, tail + at);
    for (size_t i = 0; i < 8; i++) snprintf(text_out + 8 * i, 9, "%08x", (unsigned)h[i]);
}

void mr_sha256_text(const void *bytes, size_t byte_count, char text_out[MR_SHA256_TEXT_BYTES])
{
    struct mr_sha256 sha;
    mr_sha256_init(&sha);
    mr_sha256_add(&sha, bytes, byte_count);
    mr_sha256_end(&sha, text_out);
}
