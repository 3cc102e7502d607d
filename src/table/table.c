/* DATA, row by row. */
#include "table/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"
#include "base/options.h"
#include "codec/rows.h"
#include "table/inside.h"

#define REJECT_CAP  256
#define SHOWN_BYTES 60 /* of a bad row */

/* ---- bad rows ---- */

static const char *reason_text(mr_reason reason)
{
    switch (reason) {
    case MR_REASON_TYPE:
        return "is no number";
    case MR_REASON_RANGE:
        return "is not finite, or too large for float32";
    case MR_REASON_MISSING:
        return "is empty or not there";
    case MR_REASON_NULL:
        return "is null";
    default:
        return "is bad";
    }
}

static const char *record_text(mr_reason reason)
{
    switch (reason) {
    case MR_REASON_LENGTH:
        return "has not as many columns as it should";
    case MR_REASON_SYNTAX:
        return "is not of the format";
    case MR_REASON_ENCODING:
        return "is no UTF-8";
    case MR_REASON_SIZE:
        return "is longer than a row may be";
    case MR_REASON_DUPLICATE_KEY:
        return "has a key twice";
    case MR_REASON_DEPTH:
        return "is nested too deep";
    case MR_REASON_TYPE:
        return "is no object";
    default:
        return "is bad";
    }
}

/* The beginning of a row, for people. */
static void row_show(const struct mr_table *table, const struct mr_reject *reject, char out[SHOWN_BYTES + 16])
{
    const size_t bytes = reject->bytes < SHOWN_BYTES ? reject->bytes : SHOWN_BYTES;
    *out = '\0';
    if (table->schema.framing == MR_FRAMING_PACKED || reject->reason == MR_REASON_ENCODING || !bytes) return;
    const size_t used = (size_t)snprintf(out, SHOWN_BYTES + 16, ": %.*s%s", (int)bytes,
                                         table->message.value + reject->first, reject->bytes > bytes ? "..." : "");
    for (size_t i = 0; i < used; i++) {
        if ((unsigned char)out[i] < ' ' || out[i] == 0x7f) out[i] = ' ';
    }
}

mr_status mr_table_bad_row(const struct mr_table *table, const struct mr_reject *reject, struct mr_err *err)
{
    const mr_reason reason = (mr_reason)reject->reason;
    const bool is_packed = table->schema.framing == MR_FRAMING_PACKED;
    const uint64_t place = mr_input_place(&table->input, reject->first);
    char shown[SHOWN_BYTES + 16], where[64];
    row_show(table, reject, shown);
    mr_input_place_text(&table->input, reject->first, where, sizeof where);
    const bool may_be_header = place == 1 && !is_packed && !table->has_header && !strcmp(table->codec->name, "csv");
    const char *const remedy = may_be_header ? "; does it name the columns? Then say --record header=message"
                                             : "; --bad-rows skip leaves such rows out";
    if (reject->field == MR_FIELD_NONE)
        return mr_fail(err, MR_EDATA, "%s: %s %s (%s)%s%s", table->input.path, where, record_text(reason),
                       mr_reason_name(reason), shown, remedy);
    const bool is_label = reject->field >= table->path.count;
    return mr_fail(
        err, MR_EDATA, "%s: %s: %s \"%.80s\" %s (%s)%s%s%s", table->input.path, where, is_label ? "label" : "feature",
        is_label           ? table->label_path
        : table->has_names ? table->feature.item[reject->field]
                           : table->path.item[reject->field],
        reason_text(reason), mr_reason_name(reason), shown, remedy,
        reason == MR_REASON_TYPE && !is_label && !may_be_header ? ", --features NAME,... says which to read" : "");
}

static mr_status rejects_take(struct mr_table *table, struct mr_err *err)
{
    const size_t count = table->rows.reject_count;
    if (!count) return MR_OK;
    if (!table->skips_bad) return mr_table_bad_row(table, &table->rows.reject[0], err);
    table->skipped += count;
    return MR_OK;
}

/* ---- labels ---- */

/* The index of a class whose name the decoder captured. */
static mr_status text_class(struct mr_table *table, struct mr_span span, double *label, struct mr_err *err)
{
    char name[MR_CLASS_NAME_MAX + 1];
    uint32_t index;
    const bool is_quoted = span.bytes >= 2 && *span.data == '"';
    if (is_quoted && span.bytes <= sizeof name) {
        size_t used = 0;
        if (table->codec->captures_json) {
            used = mr_json_decode(span.data + 1, span.data + span.bytes - 1, name);
        } else {
            for (size_t i = 1; i + 1 < span.bytes; i++) {
                name[used++] = span.data[i];
                if (span.data[i] == '"') i++;
            }
        }
        span = (struct mr_span){name, used};
    } else if (table->codec->captures_json && (*span.data == '{' || *span.data == '[')) {
        return mr_fail(err, MR_EDATA, "an object or array is no class");
    }
    const mr_status status = mr_classes_index(&table->classes, span.data, span.bytes, &index, err);
    *label = index;
    return status;
}

/* The same where the decoder has read a number. */
static mr_status number_class(struct mr_table *table, double *label, struct mr_err *err)
{
    char text[MR_NUMBER_BYTES];
    uint32_t index = 0;
    const size_t bytes = mr_print_f32((float)*label, text);
    const mr_status status = mr_classes_index(&table->classes, text, bytes, &index, err);
    *label = index;
    return status;
}

/* Classes of the rows from `first` on become indices. */
static mr_status classes_take(struct mr_table *table, size_t first, double *label, struct mr_err *err)
{
    mr_status status = MR_OK;
    struct mr_err reason = {0};
    for (size_t row = first; row < table->rows.row_count && !status; row++) {
        status = table->is_by_text ? text_class(table, table->rows.capture[row], &label[row], &reason)
                                   : number_class(table, &label[row], &reason);
    }
    return status ? mr_fail(err, status, "%s: label \"%s\": %s", table->input.path, table->label_path, reason.text)
                  : MR_OK;
}

/* The codecs read labels as doubles; kernels compute with them in float32. */
static mr_status numbers_take(struct mr_table *table, size_t first, double *label, struct mr_err *err)
{
    struct mr_rows *const rows = &table->rows;
    size_t kept = first;
    for (size_t row = first; row < rows->row_count; row++) {
        if (isfinite((float)label[row])) {
            if (kept != row) mr_rows_move(rows, row, kept);
            kept++;
            continue;
        }
        if (!table->skips_bad)
            return mr_fail(err, MR_EDATA,
                           "%s: row %llu: label \"%s\" %s (range): %g; --bad-rows skip leaves such rows out",
                           table->input.path, (unsigned long long)(table->taken + table->skipped + row + 1),
                           table->label_path, reason_text(MR_REASON_RANGE), label[row]);
        table->skipped++;
    }
    rows->row_count = kept;
    return MR_OK;
}

/* ---- rows ---- */

mr_status mr_table_fill(struct mr_table *table, float *x, double *label, size_t *rows_out, struct mr_err *err)
{
    struct mr_rows *const rows = &table->rows;
    mr_status status = MR_OK;
    rows->x = x;
    rows->label = table->is_by_text ? NULL : label;
    rows->row_count = 0;
    while (!status && rows->row_count < rows->row_cap) {
        if (table->cursor.message) {
            status = mr_input_next(&table->input, &table->message, err);
            if (status) break;
            table->cursor = (struct mr_cursor){0};
        }
        const size_t first = rows->row_count;
        rows->reject_count = 0;
        table->codec->decode(table->decoder, &table->message, 1, &table->cursor, rows);
        status = rejects_take(table, err);
        if (!status && table->kind == MR_LABEL_NUMBER) status = numbers_take(table, first, label, err);
        if (!status && table->reader) status = mr_table_texts_take(table, first, label, err);
        if (!status && table->kind == MR_LABEL_CLASS) status = classes_take(table, first, label, err);
    }
    if (status == MR_END && table->wants_hash && !*table->hash) mr_sha256_end(&table->sha, table->hash);
    *rows_out = rows->row_count;
    table->taken += rows->row_count;
    if (status && status != MR_END) return status;
    mr_rows_tail_zero(rows);
    return rows->row_count ? MR_OK : MR_END;
}

static mr_status buffers_create(struct mr_table *table, struct mr_err *err)
{
    const size_t captures = table->schema.capture_count;
    table->rows = (struct mr_rows){.capture = calloc(MR_TABLE_ROW_CAP * captures + 1, sizeof(struct mr_span)),
                                   .message = calloc(MR_TABLE_ROW_CAP, sizeof(uint32_t)),
                                   .reject = calloc(REJECT_CAP, sizeof(struct mr_reject)),
                                   .feature_count = table->cols,
                                   .capture_count = captures,
                                   .row_cap = MR_TABLE_ROW_CAP,
                                   .reject_cap = REJECT_CAP};
    table->cursor.message = 1; /* there is no block yet */
    if (table->reader) {
        const size_t bytes = table->reader_ops->info(table->reader)->read_scratch_bytes;
        table->reader_scratch = aligned_alloc(MR_ALIGN, (bytes / MR_ALIGN + 1) * MR_ALIGN);
        if (!table->reader_scratch) return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    if (!table->rows.capture || !table->rows.message || !table->rows.reject)
        return mr_fail(err, MR_ENOMEM, "out of memory");
    return MR_OK;
}

mr_status mr_table_open(const char *path, const struct mr_table_options *options, mr_label_kind kind,
                        struct mr_table **table_out, struct mr_err *err)
{
    struct mr_table *table = calloc(1, sizeof *table);
    *table_out = NULL;
    if (!table) return mr_fail(err, MR_ENOMEM, "out of memory");
    table->kind = kind;
    table->skips_bad = options->bad_rows == MR_BAD_SKIP;
    table->wants_hash = options->wants_hash;
    table->reader_ops = options->reader_ops;
    table->reader = options->reader;
    mr_sha256_init(&table->sha);
    mr_status status = mr_table_shape(table, path, options, err);
    if (!status) status = buffers_create(table, err);
    if (status) {
        mr_table_close(table);
        return status;
    }
    *table_out = table;
    return MR_OK;
}

static mr_status block_create(struct mr_table *table, struct mr_err *err)
{
    const size_t bytes = MR_TABLE_ROW_CAP * table->cols * sizeof(float);
    table->x = aligned_alloc(MR_ALIGN, bytes);
    table->label = malloc(MR_TABLE_ROW_CAP * sizeof *table->label);
    return table->x && table->label ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

mr_status mr_table_next(struct mr_table *table, struct mr_block *block, struct mr_err *err)
{
    mr_status status = table->x && table->label ? MR_OK : block_create(table, err);
    *block = (struct mr_block){.x = table->x, .label = table->kind == MR_LABEL_NONE ? NULL : table->label};
    return status ? status : mr_table_fill(table, table->x, table->label, &block->rows, err);
}

mr_status mr_table_rewind(struct mr_table *table, struct mr_err *err)
{
    const mr_status status = mr_input_rewind(&table->input, err);
    if (status) return status;
    table->cursor = (struct mr_cursor){.message = 1};
    table->taken = table->skipped = 0;
    if (table->wants_hash && !*table->hash) { /* the end was not reached: what was read so far comes again */
        mr_sha256_init(&table->sha);
        table->input.sha = &table->sha;
    }
    return MR_OK;
}

const char *mr_table_path(const struct mr_table *table)
{
    return table->input.path;
}

const char *const *mr_table_feature(const struct mr_table *table, size_t *count_out)
{
    *count_out = table->path.count;
    return table->has_names ? (const char *const *)table->feature.item : NULL;
}

const char *const *mr_table_class(const struct mr_table *table, size_t *count_out)
{
    *count_out = table->classes.count;
    return (const char *const *)table->classes.name;
}

uint64_t mr_table_skipped(const struct mr_table *table)
{
    return table->skipped;
}

const char *mr_table_hash(const struct mr_table *table)
{
    return *table->hash ? table->hash : NULL;
}

void mr_table_close(struct mr_table *table)
{
    if (!table) return;
    if (table->input.buffer) mr_input_close(&table->input);
    if (table->decoder) table->codec->destroy(table->decoder);
    if (table->codec_options && table->codec->options) mr_options_deinit(table->codec->options, table->codec_options);
    mr_strings_deinit(&table->feature);
    mr_strings_deinit(&table->path);
    mr_classes_deinit(&table->classes);
    free((struct mr_field *)(uintptr_t)table->schema.field);
    free(table->codec_options);
    free(table->reader_scratch);
    free(table->topic_path);
    free(table->label_path);
    free(table->rows.capture);
    free(table->rows.message);
    free(table->rows.reject);
    free(table->label);
    free(table->x);
    free(table);
}
