/*
 * The CSV codec: which column each field is, framing, headers, and the plug-in.
 *
 * Captured text is the cell without its quotes; a cell that holds doubled quotes is captured as it stands, quotes
 * included, and the encoder undoubles them: nothing is copied here.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/near.h"
#include "base/utf8.h"
#include "codec/csv/csv.h"
#include "registry.h"

enum { HEADER_NONE, HEADER_MESSAGE, HEADER_FILE };

static const char *const headers[] = {"none", "message", "file", NULL};

struct csv_options {
    char *delimiter;
    int header;
    struct mr_strings columns;
};

#define COLUMN_NONE        UINT32_MAX
#define HEADER_BYTES_MAX   (1u << 16)
#define RECORD_BYTES_LIMIT (1u << 30)

struct csv_field {
    uint32_t cell;   /* COLUMN_NONE: the header at hand has no such column */
    uint32_t column; /* of x or capture */
    uint16_t index;  /* in the schema */
    mr_field_role role;
    bool is_required; /* missing is a reject */
    double fallback;
    char *name; /* column name, when it is looked up in headers; NULL: cell is fixed */
};

struct mr_decoder {
    struct csv_field *field; /* features first */
    size_t field_count, feature_count;
    uint32_t cell_max;   /* highest cell that a field needs */
    size_t column_count; /* cells that a record must have; 0: any number that reaches cell_max */
    char delimiter;
    bool has_header, is_lines;
    bool is_apart; /* the header is no part of the message: mr_message.header */
    size_t record_bytes_max;
    struct csv_index index;
    char *header; /* [HEADER_BYTES_MAX] the header line that the cells were found by */
    size_t header_bytes;
    mr_reason header_reason; /* NONE, or why all records under this header are refused */
    size_t header_next;      /* where the first record begins */
};

struct verdict {
    mr_reason reason;
    uint16_t field;
};

static void reject_add(struct mr_rows *rows, size_t message, size_t first, size_t bytes, struct verdict verdict)
{
    rows->reject[rows->reject_count++] =
        (struct mr_reject){.message = (uint32_t)message,
                           .first = (uint32_t)(first < UINT32_MAX ? first : UINT32_MAX),
                           .bytes = (uint32_t)(bytes < UINT32_MAX ? bytes : UINT32_MAX),
                           .reason = (uint16_t)verdict.reason,
                           .field = verdict.field};
}

/* ---- one record ---- */

/* The cell of a field without its quotes. data NULL: not there, or empty. is_doubled: it holds doubled quotes. */
static inline struct mr_span cell_text(const struct csv_index *index, const char *text, uint32_t cell,
                                       bool *is_doubled_out)
{
    *is_doubled_out = false;
    if (cell >= index->count) return (struct mr_span){0};
    size_t begin = csv_cell_begin(index, cell), end = index->end[cell];
    if (__builtin_expect(index->has_quotes, 0) && begin < end && text[begin] == '"') {
        begin++;
        end--;
        *is_doubled_out = memchr(text + begin, '"', end - begin) != NULL;
    }
    return begin < end ? (struct mr_span){text + begin, end - begin} : (struct mr_span){0};
}

/* Features of a record: the hot loop. limit: end of what may be read. */
static inline struct verdict features_read(const struct mr_decoder *decoder, const char *text, const char *limit,
                                           struct mr_rows *rows)
{
    float *x = rows->x + mr_tile_at(rows->row_count, 0, rows->feature_count);
    for (size_t i = 0; i < decoder->feature_count; i++) {
        const struct csv_field *field = &decoder->field[i];
        float value;
        bool is_doubled;
        const struct mr_span cell = cell_text(&decoder->index, text, field->cell, &is_doubled);
        if (__builtin_expect(!cell.data, 0)) {
            if (field->is_required) return (struct verdict){MR_REASON_MISSING, field->index};
            value = (float)field->fallback;
        } else {
            const size_t readable = (size_t)(limit - cell.data);
            if (__builtin_expect(!csv_read_short(cell.data, cell.bytes, readable, &value), 0)) {
                const mr_reason reason = csv_read_f32(cell.data, cell.bytes, readable, &value);
                if (reason) return (struct verdict){reason, field->index};
            }
        }
        x[(size_t)field->column * MR_TILE_ROWS] = value;
    }
    return (struct verdict){MR_REASON_NONE, MR_FIELD_NONE};
}

/* Label and captures. */
static struct verdict others_read(const struct mr_decoder *decoder, const char *text, struct mr_rows *rows)
{
    for (size_t i = decoder->feature_count; i < decoder->field_count; i++) {
        const struct csv_field *field = &decoder->field[i];
        bool is_doubled;
        struct mr_span cell = cell_text(&decoder->index, text, field->cell, &is_doubled);
        if (!cell.data && field->is_required) return (struct verdict){MR_REASON_MISSING, field->index};
        if (field->role == MR_FIELD_CAPTURE) {
            if (is_doubled) cell = (struct mr_span){cell.data - 1, cell.bytes + 2};
            rows->capture[(size_t)field->column * rows->row_cap + rows->row_count] = cell;
            continue;
        }
        double *label = &rows->label[rows->row_count];
        *label = field->fallback;
        const mr_reason reason = cell.data ? csv_read_f64(cell.data, cell.bytes, label) : MR_REASON_NONE;
        if (reason) return (struct verdict){reason, field->index};
    }
    return (struct verdict){MR_REASON_NONE, MR_FIELD_NONE};
}

/* The record that was indexed, at text; it becomes a row or a verdict. */
static inline struct verdict record_read(const struct mr_decoder *decoder, const char *text, const char *limit,
                                         struct mr_rows *rows)
{
    const struct csv_index *index = &decoder->index;
    const mr_reason reason = index->bytes > decoder->record_bytes_max ? MR_REASON_SIZE : index->reason;
    if (__builtin_expect(reason, 0)) return (struct verdict){reason, MR_FIELD_NONE};
    if (!index->is_ascii && !mr_utf8_is_valid(text, index->bytes))
        return (struct verdict){MR_REASON_ENCODING, MR_FIELD_NONE};
    if (decoder->column_count ? index->count != decoder->column_count : index->count <= decoder->cell_max) {
        return (struct verdict){MR_REASON_LENGTH, MR_FIELD_NONE};
    }
    const struct verdict verdict = features_read(decoder, text, limit, rows);
    return verdict.reason || decoder->field_count == decoder->feature_count ? verdict
                                                                            : others_read(decoder, text, rows);
}

/* ---- headers ---- */

/* Does a header cell hold this name? Quotes within quotes count twice. */
static bool is_named(const char *cell, size_t bytes, const char *name)
{
    if (bytes < 2 || *cell != '"') return strlen(name) == bytes && !memcmp(cell, name, bytes);
    for (cell++, bytes -= 2; bytes; cell++, bytes--, name++) {
        if (!*name || *cell != *name) return false; /* a NUL in the cell is not the end of name */
        if (*cell == '"') cell++, bytes--;
    }
    return !*name;
}

/* Finds the cell of every named field in the header that was indexed. */
static mr_reason columns_find(struct mr_decoder *decoder, const char *text)
{
    decoder->column_count = decoder->index.count;
    for (size_t i = 0; i < decoder->field_count; i++) {
        struct csv_field *field = &decoder->field[i];
        if (!field->name) continue;
        field->cell = COLUMN_NONE;
        for (size_t c = 0; c < decoder->index.count; c++) {
            const size_t begin = csv_cell_begin(&decoder->index, c);
            if (!is_named(text + begin, decoder->index.end[c] - begin, field->name)) continue;
            if (field->cell != COLUMN_NONE) return MR_REASON_DUPLICATE_KEY;
            field->cell = (uint32_t)c;
        }
    }
    return MR_REASON_NONE;
}

/* Reads the header line at text, unless it is the one before. */
static void header_read(struct mr_decoder *decoder, const char *text, size_t bytes)
{
    const size_t known = decoder->header_bytes;
    if (known && bytes >= known && !memcmp(text, decoder->header, known)) return; /* line end included */
    csv_index_record(&decoder->index, text, bytes, decoder->delimiter);
    decoder->header_bytes = 0;
    decoder->header_next = decoder->index.next;
    decoder->header_reason = decoder->index.reason;
    if (decoder->header_reason) return;
    if (!mr_utf8_is_valid(text, decoder->index.bytes)) {
        decoder->header_reason = MR_REASON_ENCODING;
        return;
    }
    decoder->header_reason = columns_find(decoder, text);
    const bool is_whole = decoder->index.next > decoder->index.bytes && text[decoder->index.next - 1] == '\n';
    if (decoder->header_reason || !is_whole || decoder->index.next > HEADER_BYTES_MAX) return;
    memcpy(decoder->header, text, decoder->index.next);
    decoder->header_bytes = decoder->index.next;
}

/* ---- messages ---- */

static void cursor_next(struct mr_cursor *cursor)
{
    *cursor = (struct mr_cursor){.message = cursor->message + 1};
}

static void record_add(struct mr_decoder *decoder, const struct mr_message *message, const struct mr_cursor *cursor,
                       struct mr_rows *rows)
{
    const char *text = message->value + cursor->byte;
    const struct verdict verdict = record_read(decoder, text, message->value + message->value_bytes, rows);
    if (__builtin_expect(verdict.reason, 0)) {
        reject_add(rows, cursor->message, cursor->byte, decoder->index.bytes, verdict);
    } else {
        rows->message[rows->row_count++] = (uint32_t)cursor->message;
    }
}

/* All of the message is one record. */
static void single_decode(struct mr_decoder *decoder, const struct mr_message *message, struct mr_cursor *cursor,
                          struct mr_rows *rows)
{
    const size_t left = message->value_bytes - cursor->byte;
    struct verdict verdict = {MR_REASON_EMPTY, MR_FIELD_NONE};
    if (left) {
        csv_index_record(&decoder->index, message->value + cursor->byte, left, decoder->delimiter);
        if (decoder->index.bytes && decoder->index.next == left) {
            record_add(decoder, message, cursor, rows);
            cursor_next(cursor);
            return;
        }
        if (decoder->index.bytes)
            verdict.reason = decoder->index.reason ? decoder->index.reason : MR_REASON_SYNTAX; /* another one follows */
        if (left > decoder->record_bytes_max) verdict.reason = MR_REASON_SIZE;
    }
    reject_add(rows, cursor->message, 0, message->value_bytes, verdict);
    cursor_next(cursor);
}

/* The next record of the message. */
static inline void line_decode(struct mr_decoder *decoder, const struct mr_message *message, struct mr_cursor *cursor,
                               struct mr_rows *rows)
{
    csv_index_record(&decoder->index, message->value + cursor->byte, message->value_bytes - cursor->byte,
                     decoder->delimiter);
    if (decoder->index.bytes) record_add(decoder, message, cursor, rows);
    cursor->byte += decoder->index.next;
}

/* The header stands before the first record, or apart; false when the whole message is refused because of it. */
static bool header_take(struct mr_decoder *decoder, const struct mr_message *message, struct mr_cursor *cursor,
                        struct mr_rows *rows)
{
    if (!decoder->is_apart) {
        header_read(decoder, message->value, message->value_bytes);
    } else if (message->header && message->header->bytes) {
        header_read(decoder, message->header->data, message->header->bytes);
    } else {
        decoder->header_bytes = 0;
        decoder->header_reason = MR_REASON_SYNTAX;
    }
    if (decoder->header_reason) {
        reject_add(rows, cursor->message, 0, message->value_bytes,
                   (struct verdict){decoder->header_reason, MR_FIELD_NONE});
        cursor_next(cursor);
        return false;
    }
    if (cursor->byte == 0 && !decoder->is_apart) cursor->byte = decoder->header_next;
    return true;
}

static void csv_decode(struct mr_decoder *decoder, const struct mr_message *messages, size_t count,
                       struct mr_cursor *cursor, struct mr_rows *rows)
{
    size_t headed = SIZE_MAX; /* message whose header is the one at hand */
    const struct mr_span *apart = NULL;
    while (cursor->message < count && rows->row_count < rows->row_cap && rows->reject_count < rows->reject_cap) {
        const struct mr_message *message = &messages[cursor->message];
        if (!message->value_bytes) {
            reject_add(rows, cursor->message, 0, 0, (struct verdict){MR_REASON_EMPTY, MR_FIELD_NONE});
            cursor_next(cursor);
            continue;
        }
        if (decoder->has_header && headed != cursor->message && (!apart || apart != message->header)) {
            apart = NULL;
            if (!header_take(decoder, message, cursor, rows)) continue;
            headed = cursor->message;
            if (decoder->is_apart) apart = message->header;
        }
        if (!decoder->is_lines) {
            single_decode(decoder, message, cursor, rows);
        } else if (cursor->byte < message->value_bytes) {
            line_decode(decoder, message, cursor, rows);
        }
        if (decoder->is_lines && cursor->byte >= message->value_bytes) cursor_next(cursor);
    }
}

/* ---- creating ---- */

/* The column that a path names: `4` and `$4` count from 1; otherwise a name, its outer quotes removed. */
static bool path_number(const char *path, uint32_t *cell_out)
{
    const char *digits = path + (*path == '$');
    char *end;
    if (!isdigit((unsigned char)*digits)) return false;
    const unsigned long number = strtoul(digits, &end, 10);
    *cell_out = (uint32_t)(number <= CSV_CELLS_MAX ? number - 1 : COLUMN_NONE);
    return !*end;
}

static char *path_name(const char *path)
{
    const size_t bytes = strlen(path);
    const bool is_quoted = bytes >= 2 && *path == '"' && path[bytes - 1] == '"';
    return is_quoted ? strndup(path + 1, bytes - 2) : strdup(path);
}

static mr_status column_unknown(const char *name, const struct csv_options *options, struct mr_err *err)
{
    struct mr_near near;
    if (!options->columns.count) {
        return mr_fail(
            err, MR_ECONFIG,
            "record: \"%s\" is no column number: without names for the columns fields are \"1\", \"2\" ...; "
            "name them in "
            "record.columns, or say \"header\": \"message\" (or \"file\") when each message (or file) begins with "
            "a header line",
            name);
    }
    mr_near_start(&near, name);
    for (size_t i = 0; i < options->columns.count; i++) mr_near_offer(&near, options->columns.item[i]);
    const char *best = mr_near_best(&near);
    return mr_fail(err, MR_ECONFIG, "record: \"%s\" is not in record.columns%s%s%s", name,
                   best ? "; did you mean \"" : "", best ? best : "", best ? "\"?" : "");
}

/* Which cell a field is, now or by a header. */
static mr_status cell_find(struct mr_decoder *decoder, const struct csv_options *options, const char *path,
                           struct csv_field *field, struct mr_err *err)
{
    char *name = path_name(path);
    if (!name) return mr_fail(err, MR_ENOMEM, "csv codec: out of memory");
    for (size_t i = 0; i < options->columns.count && !decoder->has_header; i++) {
        if (strcmp(options->columns.item[i], name)) continue;
        field->cell = (uint32_t)i;
        free(name);
        return MR_OK;
    }
    mr_status status = MR_OK;
    if (path_number(path, &field->cell)) {
        const size_t count = options->columns.count && !decoder->has_header ? options->columns.count : CSV_CELLS_MAX;
        if (field->cell >= count)
            status = mr_fail(err, MR_ECONFIG, "record: \"%s\": columns are numbered 1 to %zu", path, count);
        if (field->cell < count && field->cell > decoder->cell_max) decoder->cell_max = field->cell;
    } else if (decoder->has_header) {
        field->name = name; /* looked up in every header */
        return MR_OK;
    } else {
        status = column_unknown(name, options, err);
    }
    free(name);
    return status;
}

static mr_status fields_create(struct mr_decoder *decoder, const struct csv_options *options,
                               const struct mr_schema *schema, struct mr_err *err)
{
    for (int pass = 0; pass < 2; pass++) { /* features first */
        for (size_t i = 0; i < schema->field_count; i++) {
            const struct mr_field *from = &schema->field[i];
            if ((from->role == MR_FIELD_FEATURE) != (pass == 0)) continue;
            struct csv_field *field = &decoder->field[decoder->field_count];
            *field = (struct csv_field){
                .column = from->column,
                .index = (uint16_t)i,
                .role = from->role,
                .is_required = from->role == MR_FIELD_CAPTURE ? from->required : from->missing == MR_MISSING_DEAD,
                .fallback = from->default_value};
            const mr_status status = cell_find(decoder, options, from->path, field, err);
            if (status) return status;
            decoder->field_count++;
        }
        if (pass == 0) decoder->feature_count = decoder->field_count;
    }
    return MR_OK;
}

/* The delimiter byte, or 0 when it is none that works. */
static char delimiter_of(const struct csv_options *options)
{
    const char *text = options->delimiter ? options->delimiter : ",";
    if (!strcmp(text, "tab") || !strcmp(text, "\\t")) return '\t';
    return strlen(text) == 1 && (unsigned char)*text < 0x80 && !isalnum((unsigned char)*text) &&
                   !strchr("\"\r\n.+-", *text)
               ? *text
               : 0;
}

static mr_status csv_check(const void *options, struct mr_err *err)
{
    const struct csv_options *csv = options;
    if (!delimiter_of(csv)) {
        return mr_fail(
            err, MR_ECONFIG,
            "record.delimiter: \"%s\": expected one character such as \",\" \";\" \"|\" or \"tab\": no letter, digit, "
            "quote, point or sign",
            csv->delimiter);
    }
    if (csv->columns.count && csv->header != HEADER_NONE) {
        return mr_fail(err, MR_ECONFIG,
                       "record.columns: has no effect with \"header\": \"%s\", where the names stand in each %s",
                       headers[csv->header], headers[csv->header]);
    }
    for (size_t i = 0; i < csv->columns.count; i++) {
        for (size_t k = i + 1; k < csv->columns.count; k++) {
            if (strcmp(csv->columns.item[i], csv->columns.item[k])) continue;
            return mr_fail(err, MR_ECONFIG, "record.columns: \"%s\" is there twice", csv->columns.item[i]);
        }
    }
    return csv->columns.count <= CSV_CELLS_MAX
               ? MR_OK
               : mr_fail(err, MR_ECONFIG, "record.columns: more than %u", CSV_CELLS_MAX);
}

static void csv_destroy(struct mr_decoder *decoder)
{
    if (!decoder) return;
    for (size_t i = 0; decoder->field && i < decoder->field_count; i++) free(decoder->field[i].name);
    free(decoder->field);
    free(decoder->index.end);
    free(decoder->header);
    free(decoder);
}

static mr_status csv_create(const void *options, const struct mr_schema *schema, struct mr_decoder **decoder_out,
                            struct mr_err *err)
{
    static const struct csv_options fallback = {0};
    const struct csv_options *csv = options ? options : &fallback;
    *decoder_out = NULL;
    mr_status status = csv_check(csv, err);
    if (status) return status;
    if (schema->framing != MR_FRAMING_SINGLE && schema->framing != MR_FRAMING_LINES) {
        return mr_fail(err, MR_ECONFIG, "record.framing: format csv reads single and lines only");
    }
    struct mr_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder) return mr_fail(err, MR_ENOMEM, "csv codec: out of memory");
    decoder->delimiter = delimiter_of(csv);
    decoder->has_header = csv->header != HEADER_NONE;
    decoder->is_apart = csv->header == HEADER_FILE;
    decoder->is_lines = schema->framing == MR_FRAMING_LINES;
    decoder->column_count = csv->columns.count;
    decoder->record_bytes_max = schema->record_bytes_max ? schema->record_bytes_max : 1u << 20;
    if (decoder->record_bytes_max > RECORD_BYTES_LIMIT) decoder->record_bytes_max = RECORD_BYTES_LIMIT;
    decoder->field = calloc(schema->field_count + 1, sizeof *decoder->field);
    decoder->index.end = malloc((CSV_CELLS_MAX + CSV_BLOCK + 12) * sizeof *decoder->index.end);
    decoder->header = malloc(HEADER_BYTES_MAX);
    if (!decoder->field || !decoder->index.end || !decoder->header)
        status = mr_fail(err, MR_ENOMEM, "csv codec: out of memory");
    if (!status) status = fields_create(decoder, csv, schema, err);
    if (status) {
        csv_destroy(decoder);
        return status;
    }
    *decoder_out = decoder;
    return MR_OK;
}

static void csv_cut(const struct mr_decoder *decoder, struct mr_cut *cut_out)
{
    *cut_out = (struct mr_cut){.kind = MR_CUT_QUOTED,
                               .delimiter = decoder->delimiter,
                               .has_header = decoder->has_header && decoder->is_apart,
                               .is_block = decoder->is_lines,
                               .bytes_max = decoder->record_bytes_max};
}

#define AT(field) offsetof(struct csv_options, field)
static const struct mr_option csv_option_table[] = {
    {.key = "delimiter",
     .type = MR_OPT_STRING,
     .offset = AT(delimiter),
     .fallback = ",",
     .doc = "The character between cells, or \"tab\".",
     .example = "\";\""},
    {.key = "header",
     .type = MR_OPT_ENUM,
     .offset = AT(header),
     .fallback = "none",
     .choices = headers,
     .doc =
         "Where the line of column names stands, as which records must have as many cells: \"message\": each message "
         "begins with one; \"file\": each file of a source that reads files does, or each connection."},
    {.key = "columns",
     .type = MR_OPT_STRINGS,
     .offset = AT(columns),
     .doc = "Names of the columns in order, when no header says them; records must have as many cells. Without names a "
            "field is its column "
            "number: \"1\" or \"$1\".",
     .example = "[\"time\", \"Temperature\"]"},
    {0},
};
#undef AT

const struct mr_codec_ops mr_codec_csv = {
    .name = "csv",
    .summary = "comma-separated values, RFC 4180",
    .options = csv_option_table,
    .options_size = sizeof(struct csv_options),
    .framings = 1u << MR_FRAMING_SINGLE | 1u << MR_FRAMING_LINES,
    .captures = true,
    .check = csv_check,
    .create = csv_create,
    .decode = csv_decode,
    .cut = csv_cut,
    .destroy = csv_destroy,
};
