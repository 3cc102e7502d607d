/** Where records end in bytes that come without messages: lines, CSV records, packed rows. */
#ifndef MR_BASE_CUT_H
#define MR_BASE_CUT_H

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "millrace/batch.h"

#define MR_CUT_BYTES_MAX (1u << 20) /* where mr_cut.bytes_max is 0 */

static inline size_t mr_cut_bytes_max(const struct mr_cut *cut)
{
    return cut->bytes_max ? cut->bytes_max : MR_CUT_BYTES_MAX;
}

/**
 * Behind the CSV record at text, whose first line holds quotes; first: behind that line. 0: the record is not over
 * within these bytes. What is no CSV (a quote in the middle of a cell) ends at its first line break, as the codec sees
 * it; so does, where nothing comes behind the bytes, a quote that is never closed. Pure.
 */
size_t mr_cut_quoted(const char *text, size_t bytes, char delimiter, size_t first, bool is_last);

/**
 * Behind the first record of text, its line break included; 0: it is not over within these bytes. is_last: nothing
 * comes behind them, so what is left is a record. One whose quote is not closed within bytes_max ends at its first line
 * break. bytes > 0. Pure.
 */
static inline size_t mr_cut_record(const struct mr_cut *cut, const char *text, size_t bytes, bool is_last)
{
    if (cut->kind == MR_CUT_PACKED) return bytes >= cut->row_bytes ? cut->row_bytes : is_last ? bytes : 0;
    const char *const newline = memchr(text, '\n', bytes);
    const size_t line = newline ? (size_t)(newline - text) + 1 : is_last ? bytes : 0;
    if (cut->kind == MR_CUT_LINES || !line || !memchr(text, '"', line)) return line;
    const size_t end = mr_cut_quoted(text, bytes, cut->delimiter, line, is_last);
    return end ? end : bytes > mr_cut_bytes_max(cut) ? line : 0;
}

/** Bit i: the i-th of 64 bytes is `wanted`. Pure. */
static inline uint64_t mr_cut_mask(const char *text, char wanted)
{
    uint64_t mask = 0;
#if defined(__SSE2__)
    const __m128i all = _mm_set1_epi8(wanted);
    for (int i = 0; i < 4; i++) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + i * 16));
        mask |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, all)) << (i * 16);
    }
#else
    for (unsigned i = 0; i < 64; i++) mask |= (uint64_t)(text[i] == wanted) << i;
#endif
    return mask;
}

/** Behind the last record that is whole within the bytes; 0: none is. Quotes are counted, not read. Pure. */
size_t mr_cut_whole(mr_cut_kind kind, const char *text, size_t bytes, size_t row_bytes);

/** Line breaks among the bytes. Pure. */
uint64_t mr_cut_lines(const char *text, size_t bytes);

#endif
