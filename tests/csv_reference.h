/*
 * CSV as slowly and plainly as possible, written from RFC 4180 alone: what the codec is compared with. One state
 * machine over the bytes of a message; cells are copied and unquoted; numbers are read by strtof of the C library.
 */
#ifndef MR_TESTS_CSV_REFERENCE_H
#define MR_TESTS_CSV_REFERENCE_H

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "millrace/batch.h"

#define REFERENCE_CELLS 64

struct reference_cell {
    char *text; /* unquoted; NULL: empty */
    size_t bytes;
};

struct reference_record {
    mr_reason reason; /* NONE, SYNTAX or ENCODING */
    size_t begin, bytes, next;
    struct reference_cell cell[REFERENCE_CELLS];
    size_t cell_count; /* may be more than REFERENCE_CELLS: those are not kept */
};

static inline void reference_free(struct reference_record *record)
{
    for (size_t i = 0; i < record->cell_count && i < REFERENCE_CELLS; i++) free(record->cell[i].text);
    record->cell_count = 0;
}

/* UTF-8 by decoding each code point, not by byte ranges. */
static inline int reference_is_utf8(const unsigned char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        unsigned long point = text[at];
        size_t more = point < 0x80             ? 0
                      : (point & 0xe0) == 0xc0 ? 1
                      : (point & 0xf0) == 0xe0 ? 2
                      : (point & 0xf8) == 0xf0 ? 3
                                               : 9;
        static const unsigned long least[] = {0, 0x80, 0x800, 0x10000};
        if (more == 9 || at + more >= bytes + (more == 0)) return 0;
        if (more) point &= 0x3fu >> more;
        for (size_t i = 1; i <= more; i++) {
            if ((text[at + i] & 0xc0) != 0x80) return 0;
            point = point << 6 | (text[at + i] & 0x3f);
        }
        if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0;
        at += 1 + more;
    }
    return 1;
}

/* The record that begins at text[begin]. */
static inline void reference_read(const char *text, size_t bytes, size_t begin, char delimiter,
                                  struct reference_record *record)
{
    enum { START, PLAIN, QUOTED, CLOSED } state = START;
    size_t at = begin;
    char *cell = malloc(bytes + 1);
    size_t used = 0;
    memset(record, 0, sizeof *record);
    record->begin = begin;
    while (1) {
        const int c = at < bytes ? (unsigned char)text[at] : -1;
        const int is_end = c == -1 || c == '\n' || (c == '\r' && (at + 1 == bytes || text[at + 1] == '\n'));
        if (state == QUOTED) {
            if (c == -1) {
                record->reason = MR_REASON_SYNTAX;
                break;
            }
            if (c == '"')
                state = CLOSED;
            else
                cell[used++] = (char)c;
        } else if (state == CLOSED && c == '"') {
            cell[used++] = '"';
            state = QUOTED;
        } else if (c == (unsigned char)delimiter || is_end) {
            if (record->cell_count < REFERENCE_CELLS) {
                struct reference_cell *out = &record->cell[record->cell_count];
                out->text = used ? memcpy(malloc(used + 1), cell, used) : NULL;
                if (out->text) out->text[used] = 0;
                out->bytes = used;
            }
            record->cell_count++;
            used = 0;
            state = START;
            if (is_end) break;
        } else if (state == CLOSED || c == '\r') {
            record->reason = MR_REASON_SYNTAX;
            break;
        } else if (c == '"') {
            if (state == PLAIN) {
                record->reason = MR_REASON_SYNTAX;
                break;
            }
            state = QUOTED;
        } else {
            cell[used++] = (char)c;
            state = PLAIN;
        }
        at++;
    }
    free(cell);
    if (record->reason) { /* ends at the first line break */
        for (at = begin; at < bytes && text[at] != '\n'; at++) continue;
        record->bytes = at - begin;
        record->next = at < bytes ? at + 1 : bytes;
        if (record->bytes && text[begin + record->bytes - 1] == '\r') record->bytes--;
        return;
    }
    record->bytes = at - begin;
    if (at < bytes && text[at] == '\r') at++;
    record->next = at < bytes ? at + 1 : bytes;
    if (!reference_is_utf8((const unsigned char *)text + begin, record->bytes)) record->reason = MR_REASON_ENCODING;
}

/* A cell as a number: sign, digits with at most one point, exponent. */
static inline mr_reason reference_number(const struct reference_cell *cell, float *value_out)
{
    const char *at = cell->text;
    size_t digits = 0;
    if (!at) return MR_REASON_MISSING;
    if (strlen(at) != cell->bytes) return MR_REASON_TYPE;
    if (*at == '+' || *at == '-') at++;
    if (!strcasecmp(at, "nan") || !strcasecmp(at, "inf") || !strcasecmp(at, "infinity")) return MR_REASON_RANGE;
    for (; isdigit((unsigned char)*at); at++) digits++;
    if (*at == '.') {
        for (at++; isdigit((unsigned char)*at); at++) digits++;
    }
    if (!digits) return MR_REASON_TYPE;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '+' || *at == '-') at++;
        if (!isdigit((unsigned char)*at)) return MR_REASON_TYPE;
        while (isdigit((unsigned char)*at)) at++;
    }
    if (*at) return MR_REASON_TYPE;
    *value_out = strtof(cell->text, NULL);
    return isfinite(*value_out) ? MR_REASON_NONE : MR_REASON_RANGE;
}

#endif
