/*
 * Cells of a CSV record. 64 bytes at a time become bit masks of delimiters, line breaks and what is special; records
 * that hold quotes or lone carriage returns are walked byte by byte instead.
 */
#include <string.h>

#include "codec/csv/csv.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

struct masks {
    uint64_t delimiter, newline, special; /* special: a quote or a carriage return */
    uint64_t high;                        /* bytes beyond ASCII; which of the bits are set says nothing */
};

#if defined(__SSE2__)
static inline struct masks block_masks(const char *text, char delimiter)
{
    const __m128i comma = _mm_set1_epi8(delimiter), newline = _mm_set1_epi8('\n');
    const __m128i quote = _mm_set1_epi8('"'), carriage = _mm_set1_epi8('\r');
    struct masks masks = {0};
    __m128i all = _mm_setzero_si128();
    for (int i = 0; i < 4; i++) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + i * 16));
        const __m128i special = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, carriage));
        masks.delimiter |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, comma)) << (i * 16);
        masks.newline |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, newline)) << (i * 16);
        masks.special |= (uint64_t)(unsigned)_mm_movemask_epi8(special) << (i * 16);
        all = _mm_or_si128(all, bytes);
    }
    masks.high = (unsigned)_mm_movemask_epi8(all);
    return masks;
}
#else
static inline struct masks block_masks(const char *text, char delimiter)
{
    struct masks masks = {0};
    for (unsigned i = 0; i < CSV_BLOCK; i++) {
        masks.delimiter |= (uint64_t)(text[i] == delimiter) << i;
        masks.newline |= (uint64_t)(text[i] == '\n') << i;
        masks.special |= (uint64_t)(text[i] == '"' || text[i] == '\r') << i;
        masks.high |= (uint64_t)((unsigned char)text[i] >> 7);
    }
    return masks;
}
#endif

/* Bits that are set; without the instruction, which the smallest machine does not have. */
static inline unsigned bit_count(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (unsigned)(x * 0x0101010101010101u >> 56);
}

/* Appends the places of the set bits. Twelve are written whether they are there or not: that is cheaper than asking. */
static inline uint32_t *places_put(uint32_t *out, uint64_t mask, size_t base)
{
    uint32_t *const end = out + bit_count(mask);
    while (1) {
        for (int i = 0; i < 12; i++) {
            out[i] = (uint32_t)base + (uint32_t)__builtin_ctzll(mask | 1ull << 63);
            mask &= mask - 1;
        }
        out += 12;
        if (__builtin_expect(out >= end, 1)) return end;
    }
}

static inline bool is_line_end(const char *text, size_t at, size_t bytes)
{
    return at == bytes || text[at] == '\n' || (text[at] == '\r' && (at + 1 == bytes || text[at + 1] == '\n'));
}

/* The record is refused: it ends at the first line break, wherever the trouble was. */
static void index_refuse(struct csv_index *index, const char *text, size_t bytes, mr_reason reason)
{
    const char *newline = memchr(text, '\n', bytes);
    index->bytes = newline ? (size_t)(newline - text) : bytes;
    index->next = newline ? index->bytes + 1 : bytes;
    if (index->bytes && text[index->bytes - 1] == '\r') index->bytes--;
    index->reason = reason;
}

/* Behind the closing quote of the cell whose quote opens at `at`; 0 when it is never closed. */
static size_t quoted_skip(const char *text, size_t at, size_t bytes)
{
    for (at++; at < bytes; at += 2) {
        const char *quote = memchr(text + at, '"', bytes - at);
        if (!quote) return 0;
        at = (size_t)(quote - text);
        if (at + 1 == bytes || text[at + 1] != '"') return at + 1;
    }
    return 0;
}

/* Byte by byte, by the grammar. */
static mr_reason index_walk(struct csv_index *index, const char *text, size_t bytes, char delimiter)
{
    size_t at = 0;
    index->count = 0;
    index->is_ascii = false; /* not looked at: the caller checks */
    while (1) {
        if (at < bytes && text[at] == '"') {
            index->has_quotes = true;
            at = quoted_skip(text, at, bytes);
            if (!at) return MR_REASON_SYNTAX;
        } else {
            while (at < bytes && text[at] != delimiter && text[at] != '\n' && text[at] != '\r' && text[at] != '"') at++;
        }
        if (index->count == CSV_CELLS_MAX) return MR_REASON_LENGTH;
        index->end[index->count++] = (uint32_t)at;
        if (is_line_end(text, at, bytes)) break;
        if (text[at] != delimiter) return MR_REASON_SYNTAX;
        at++;
    }
    index->bytes = at;
    if (at < bytes && text[at] == '\r') at++;
    index->next = at < bytes ? at + 1 : bytes;
    return MR_REASON_NONE;
}

void csv_index_record(struct csv_index *index, const char *text, size_t bytes, char delimiter)
{
    uint32_t *out = index->end;
    uint64_t high = 0;
    index->reason = MR_REASON_NONE;
    index->has_quotes = false;
    for (size_t base = 0;; base += CSV_BLOCK) {
        const size_t left = bytes - base;
        struct masks masks;
        if (left >= CSV_BLOCK) {
            masks = block_masks(text + base, delimiter);
        } else { /* the end counts as a line break */
            char block[CSV_BLOCK] = {0};
            memcpy(block, text + base, left);
            masks = block_masks(block, delimiter);
            masks.newline |= 1ull << left;
        }
        high |= masks.high;
        const uint64_t before = masks.newline ? (masks.newline & -masks.newline) - 1 : ~0ull; /* bytes of this record */
        uint64_t special = masks.special & before;
        if (masks.newline && special == before - (before >> 1) && special &&
            text[base + (unsigned)__builtin_ctzll(special)] == '\r') {
            special = 0; /* the \r of \r\n */
        }
        if (special || out - index->end > (ptrdiff_t)(CSV_CELLS_MAX - CSV_BLOCK)) break;
        out = places_put(out, masks.delimiter & before, base);
        if (!masks.newline) continue;
        const size_t end = base + (unsigned)__builtin_ctzll(masks.newline);
        index->bytes = end - (end > 0 && text[end - 1] == '\r');
        index->next = end < bytes ? end + 1 : bytes;
        *out++ = (uint32_t)index->bytes;
        index->count = (size_t)(out - index->end);
        index->is_ascii = !high;
        return;
    }
    const mr_reason reason = index_walk(index, text, bytes, delimiter);
    if (reason) index_refuse(index, text, bytes, reason);
}
