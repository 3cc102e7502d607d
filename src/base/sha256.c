#include "base/sha256.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

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

/* One round: the eight words take each other's places by their names, so that none is moved. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                               \
    do {                                                                                                               \
        const uint32_t one =                                                                                           \
            (h) + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (((e) & (f)) ^ (~(e) & (g))) + k[i] + w[i];         \
        (d) += one;                                                                                                    \
        (h) = one + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (((a) & (b)) ^ ((a) & (c)) ^ ((b) & (c)));        \
    } while (0)

static void blocks_add(uint32_t h[8], const unsigned char *data, size_t count)
{
    for (; count; count--, data += BLOCK_BYTES) {
        uint32_t w[64], v[8];
        for (int i = 0; i < 16; i++) {
            w[i] = (uint32_t)data[4 * i] << 24 | (uint32_t)data[4 * i + 1] << 16 | (uint32_t)data[4 * i + 2] << 8 |
                   data[4 * i + 3];
        }
        for (int i = 16; i < 64; i++) {
            const uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
                   (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
        }
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 64; i += 8) {
            ROUND(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], i);
            ROUND(v[7], v[0], v[1], v[2], v[3], v[4], v[5], v[6], i + 1);
            ROUND(v[6], v[7], v[0], v[1], v[2], v[3], v[4], v[5], i + 2);
            ROUND(v[5], v[6], v[7], v[0], v[1], v[2], v[3], v[4], i + 3);
            ROUND(v[4], v[5], v[6], v[7], v[0], v[1], v[2], v[3], i + 4);
            ROUND(v[3], v[4], v[5], v[6], v[7], v[0], v[1], v[2], i + 5);
            ROUND(v[2], v[3], v[4], v[5], v[6], v[7], v[0], v[1], i + 6);
            ROUND(v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[0], i + 7);
        }
        for (int i = 0; i < 8; i++) h[i] += v[i];
    }
}

#if defined(__x86_64__)

enum { PLAIN = 1, INSTRUCTIONS = 2 };
static atomic_int chosen; /* 0: not yet */

/* The same with the instructions that x86 has for it (Intel SDM, SHA256RNDS2, SHA256MSG1, SHA256MSG2): they keep the
 * words as a b e f and c d g h. */
__attribute__((target("sha,sse4.1"))) static void blocks_add_sha(uint32_t h[8], const unsigned char *data, size_t count)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i_u *)h), 0xb1),
                  efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i_u *)(h + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(abcd, efgh, 8), cdgh = _mm_blend_epi16(efgh, abcd, 0xf0);
    for (; count; count--, data += BLOCK_BYTES) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; i++) w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i_u *)(data + 16 * i)), swap);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) { /* four rounds each, and the four words that come 16 rounds later */
            __m128i *const now = &w[i % 4];
            const __m128i last = w[(i + 3) % 4],
                          sum = _mm_add_epi32(*now, _mm_loadu_si128((const __m128i_u *)(k + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            *now = _mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(i + 1) % 4]), _mm_alignr_epi8(last, w[(i + 2) % 4], 4));
            *now = _mm_sha256msg2_epu32(*now, last);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i_u *)h, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i_u *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Leaf 7, EBX bit 29; gcc 12 has no name for it. */
static bool has_sha(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
}

static void blocks_take(uint32_t h[8], const unsigned char *data, size_t count)
{
    int has = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!has) {
        has = has_sha() ? INSTRUCTIONS : PLAIN;
        atomic_store_explicit(&chosen, has, memory_order_relaxed);
    }
    (has == INSTRUCTIONS ? blocks_add_sha : blocks_add)(h, data, count);
}

void mr_sha256_plain(bool is_plain)
{
    atomic_store_explicit(&chosen, is_plain ? PLAIN : 0, memory_order_relaxed);
}

#else
void mr_sha256_plain(bool is_plain)
{
    (void)is_plain;
}

#define blocks_take blocks_add
#endif

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
        blocks_take(sha->state, sha->rest, 1);
    }
    const size_t count = byte_count / BLOCK_BYTES, left = byte_count % BLOCK_BYTES;
    blocks_take(sha->state, data, count);
    if (left) memcpy(sha->rest, data + count * BLOCK_BYTES, left);
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
    blocks_take(h, tail, tail_bytes / BLOCK_BYTES);
    for (size_t i = 0; i < 8; i++) snprintf(text_out + 8 * i, 9, "%08x", (unsigned)h[i]);
}

void mr_sha256_text(const void *bytes, size_t byte_count, char text_out[MR_SHA256_TEXT_BYTES])
{
    struct mr_sha256 sha;
    mr_sha256_init(&sha);
    mr_sha256_add(&sha, bytes, byte_count);
    mr_sha256_end(&sha, text_out);
}
