/* Decodes a message with the CSV codec and with the reference, and says where they differ. Shared by the parity test
 * and the fuzzer. */
#ifndef MR_TESTS_CSV_COMPARE_H
#define MR_TESTS_CSV_COMPARE_H

#include <stdint.h>
#include <stdio.h>

#include "csv_reference.h"
#include "registry.h"

#define COMPARE_ROWS 512

/* Two features (columns 1 and 3), a capture (column 2) that need not be there, a label (column 2) where asked. */
struct compare {
    struct mr_decoder *decoder;
    bool is_lines;
    float x[COMPARE_ROWS * 2];
    struct mr_span capture[COMPARE_ROWS];
    uint32_t message[COMPARE_ROWS];
    struct mr_reject reject[COMPARE_ROWS];
};

static inline bool compare_init(struct compare *c, bool is_lines)
{
    static const struct mr_field field[] = {
        {.path = "1", .role = MR_FIELD_FEATURE, .column = 1},
        {.path = "2", .role = MR_FIELD_CAPTURE, .column = 0},
        {.path = "$3", .role = MR_FIELD_FEATURE, .column = 0, .missing = MR_MISSING_DEFAULT, .default_value = -7},
    };
    const struct mr_schema schema = {.field = field,
                                     .field_count = 3,
                                     .feature_count = 2,
                                     .capture_count = 1,
                                     .framing = is_lines ? MR_FRAMING_LINES : MR_FRAMING_SINGLE};
    c->is_lines = is_lines;
    return mr_codec_find("csv")->create(NULL, &schema, &c->decoder, NULL) == MR_OK;
}

/* Undoubles a captured cell as the encoder does. */
static inline size_t compare_capture(const struct mr_span *span, char *out)
{
    if (!span->data) return 0;
    if (span->data[0] != '"') return (size_t)((char *)memcpy(out, span->data, span->bytes) - out) + span->bytes;
    size_t used = 0;
    for (size_t at = 1; at + 1 < span->bytes; at++) {
        out[used++] = span->data[at];
        if (span->data[at] == '"') at++;
    }
    return used;
}

/* What the record should become. */
static inline mr_reason compare_expect(const struct reference_record *record, float value[2])
{
    if (record->reason) return record->reason;
    if (record->cell_count < 3) return MR_REASON_LENGTH;
    const mr_reason reason = reference_number(&record->cell[0], &value[1]);
    if (reason) return reason;
    if (record->cell[2].text) return reference_number(&record->cell[2], &value[0]);
    value[0] = -7;
    return MR_REASON_NONE;
}

static inline bool same_bits(float a, float b)
{
    return !memcmp(&a, &b, sizeof a);
}

/* What the decoder fills, empty. */
static inline struct mr_rows compare_rows(struct compare *c)
{
    return (struct mr_rows){.x = c->x,
                            .capture = c->capture,
                            .message = c->message,
                            .reject = c->reject,
                            .feature_count = 2,
                            .capture_count = 1,
                            .row_cap = COMPARE_ROWS,
                            .reject_cap = COMPARE_ROWS};
}

/* NULL when both agree. text is exactly `bytes` long. */
static inline const char *compare_message(struct compare *c, const char *text, size_t bytes)
{
    static char why[200];
    const struct mr_message message = {.value = text, .value_bytes = bytes};
    struct mr_rows rows = compare_rows(c);
    struct mr_cursor cursor = {0};
    size_t row = 0, reject = 0;
    const char *found = NULL;
    if (!c->is_lines || !bytes) return NULL; /* single: see compare_single */
    mr_codec_find("csv")->decode(c->decoder, &message, 1, &cursor, &rows);
    char *copy = malloc(bytes + 1);
    for (size_t at = 0; at < bytes && !found && row < COMPARE_ROWS && reject < COMPARE_ROWS;) {
        struct reference_record record;
        float value[2] = {0, 0};
        reference_read(text, bytes, at, ',', &record);
        at = record.next;
        const mr_reason reason = record.bytes ? compare_expect(&record, value) : MR_REASON_NONE;
        if (!record.bytes) {
            /* an empty line is no record */
        } else if (reason) {
            if (reject >= rows.reject_count)
                found = "a record is missing among the rejects";
            else if (rows.reject[reject].reason != reason)
                found = "another reason";
            else if (rows.reject[reject].first != record.begin || rows.reject[reject].bytes != record.bytes)
                found = "another place";
            reject++;
        } else {
            const struct mr_span *capture = &rows.capture[row];
            if (row >= rows.row_count)
                found = "a record is missing among the rows";
            else if (!same_bits(c->x[mr_tile_at(row, 0, 2)], value[0]) ||
                     !same_bits(c->x[mr_tile_at(row, 1, 2)], value[1]))
                found = "another number";
            else if (compare_capture(capture, copy) != record.cell[1].bytes ||
                     (capture->data && memcmp(copy, record.cell[1].text, record.cell[1].bytes)))
                found = "another text";
            row++;
        }
        if (found)
            snprintf(why, sizeof why, "%s: record at %zu (%zu bytes), reason expected: %s, got: %s", found,
                     record.begin, record.bytes, mr_reason_name(reason),
                     reason && reject <= rows.reject_count ? mr_reason_name(rows.reject[reject - 1].reason) : "-");
        reference_free(&record);
    }
    free(copy);
    if (!found && row < COMPARE_ROWS && reject < COMPARE_ROWS &&
        (rows.row_count != row || rows.reject_count != reject)) {
        snprintf(why, sizeof why, "%zu rows and %zu rejects expected, got %zu and %zu", row, reject, rows.row_count,
                 rows.reject_count);
        found = why;
    }
    return found ? why : NULL;
}

/* framing single: one record and at most one line end behind it. */
static inline const char *compare_single(struct compare *c, const char *text, size_t bytes)
{
    const struct mr_message message = {.value = text, .value_bytes = bytes};
    struct mr_rows rows = compare_rows(c);
    struct mr_cursor cursor = {0};
    float value[2] = {0, 0};
    mr_codec_find("csv")->decode(c->decoder, &message, 1, &cursor, &rows);
    if (cursor.message != 1 || rows.row_count + rows.reject_count != 1) return "not one record";
    struct reference_record record = {0};
    if (bytes) reference_read(text, bytes, 0, ',', &record);
    const mr_reason want = !record.bytes          ? MR_REASON_EMPTY
                           : record.next == bytes ? compare_expect(&record, value)
                                                  : MR_REASON_SYNTAX; /* something stands behind the record */
    reference_free(&record);
    if (want) return rows.reject_count && rows.reject[0].reason == want ? NULL : "another reason";
    if (!rows.row_count) return "a good record was refused";
    return same_bits(c->x[mr_tile_at(0, 0, 2)], value[0]) && same_bits(c->x[mr_tile_at(0, 1, 2)], value[1])
               ? NULL
               : "another number";
}

#endif
