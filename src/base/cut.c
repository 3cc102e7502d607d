#include "base/cut.h"

/* Behind the closing quote of the cell whose quote opens at `at`; 0 when it is not closed here. */
static size_t cell_close(const char *text, size_t at, size_t bytes)
{
    for (at++; at < bytes; at += 2) {
        const char *const quote = memchr(text + at, '"', bytes - at);
        if (!quote) return 0;
        at = (size_t)(quote - text);
        if (at + 1 == bytes || text[at + 1] != '"') return at + 1;
    }
    return 0;
}

size_t mr_cut_quoted(const char *text, size_t bytes, char delimiter, size_t first, bool is_last)
{
    for (size_t at = 0;; at++) {
        if (at < bytes && text[at] == '"') {
            at = cell_close(text, at, bytes);
            if (!at) return is_last ? first : 0;
        } else {
            while (at < bytes && text[at] != delimiter && text[at] != '\n' && text[at] != '\r' && text[at] != '"') at++;
        }
        if (at < bytes && text[at] == '\r' && (at + 1 == bytes || text[at + 1] == '\n')) at++;
        if (at >= bytes) return is_last ? bytes : 0;
        if (text[at] == '\n') return at + 1;
        if (text[at] != delimiter) return first;
    }
}

/* Behind the last line break with an even number of quotes before it; 0 when there is none. */
static size_t quoted_end(const char *text, size_t bytes)
{
    size_t best = 0;
    bool is_quoted = false;
    for (size_t at = 0; at < bytes;) {
        const char *const from = text + at, *const quote = memchr(from, '"', bytes - at);
        const size_t stop = quote ? (size_t)(quote - from) : bytes - at;
        const char *const newline = is_quoted ? NULL : memrchr(from, '\n', stop);
        if (newline) best = (size_t)(newline - text) + 1;
        is_quoted = !is_quoted;
        at += stop + 1;
    }
    return best;
}

size_t mr_cut_whole(mr_cut_kind kind, const char *text, size_t bytes, size_t row_bytes)
{
    if (kind == MR_CUT_PACKED) return bytes / row_bytes * row_bytes;
    if (kind == MR_CUT_QUOTED) return quoted_end(text, bytes);
    const char *const newline = memrchr(text, '\n', bytes);
    return newline ? (size_t)(newline - text) + 1 : 0;
}

typedef uint8_t bytes_16 __attribute__((vector_size(16)));

/* Sixteen counts side by side, each of at most 255 before they are added up. */
uint64_t mr_cut_lines(const char *text, size_t bytes)
{
    uint64_t count = 0;
    size_t at = 0;
    while (bytes - at >= sizeof(bytes_16)) {
        bytes_16 counts = {0};
        for (int i = 0; i < 255 && bytes - at >= sizeof counts; i++, at += sizeof counts) {
            bytes_16 part;
            memcpy(&part, text + at, sizeof part);
            counts -= (bytes_16)(part == '\n'); /* true is -1 */
        }
        for (size_t i = 0; i < sizeof counts; i++) count += counts[i];
    }
    for (; at < bytes; at++) count += text[at] == '\n';
    return count;
}
