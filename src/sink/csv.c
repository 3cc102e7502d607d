#include "sink/csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"

/* Text as a cell, in quotes where it needs them. */
static char *text_put(char *out, const char *text, size_t bytes)
{
    bool is_quoted = !bytes || *text == ' ' || text[bytes - 1] == ' ';
    for (size_t i = 0; i < bytes && !is_quoted; i++)
        is_quoted = text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
    if (is_quoted) *out++ = '"';
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '"') *out++ = '"';
        *out++ = text[i];
    }
    if (is_quoted) *out++ = '"';
    return out;
}

bool mr_csv_init(struct mr_csv *csv, const struct mr_map *fields)
{
    size_t bytes = 1;
    *csv = (struct mr_csv){.fields = fields};
    for (size_t i = 0; i < fields->count; i++) bytes += 2 * strlen(fields->item[i].key) + 3;
    csv->header = malloc(bytes);
    csv->cell = calloc(fields->count + 1, sizeof *csv->cell);
    if (!csv->header || !csv->cell) return false;
    char *out = csv->header;
    for (size_t i = 0; i < fields->count; i++) {
        if (i) *out++ = ',';
        out = text_put(out, fields->item[i].key, strlen(fields->item[i].key));
    }
    *out++ = '\n';
    csv->header_bytes = (size_t)(out - csv->header);
    return true;
}

void mr_csv_deinit(struct mr_csv *csv)
{
    free(csv->header);
    free(csv->cell);
    free(csv->scratch);
    *csv = (struct mr_csv){0};
}

size_t mr_csv_bytes_max(const struct mr_csv *csv, const char *value, size_t bytes)
{
    size_t objects = 0; /* at most as many as braces; each has a comma or line break a column */
    for (const char *at = value, *const end = value + bytes; at && (at = memchr(at, '{', (size_t)(end - at))); at++)
        objects++;
    return 2 * bytes + objects * (csv->fields->count + 1);
}

static const char *blanks_skip(const char *at, const char *end, const char *blanks)
{
    while (at < end && strchr(blanks, *at) && *at) at++;
    return at;
}

/* The end of a string whose first byte is a quote; NULL: there is none. */
static const char *string_end(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) at += *at == '\\';
    return at < end ? at + 1 : NULL;
}

/* The column of a member; they usually come in the order of the columns. fields->count: none is named so. */
static size_t column_find(struct mr_csv *csv, const char *key, const char *key_end, size_t guess)
{
    size_t bytes = (size_t)(key_end - key);
    if (memchr(key, '\\', bytes)) {
        bytes = mr_json_decode(key, key_end, csv->scratch);
        key = csv->scratch;
    }
    for (size_t i = 0; i < csv->fields->count; i++) {
        const size_t at = (guess + i) % csv->fields->count;
        const char *const name = csv->fields->item[at].key;
        if (strlen(name) == bytes && !memcmp(name, key, bytes)) return at;
    }
    return csv->fields->count;
}

/* Takes the members of an object into the cells. Its end; NULL: it is none. */
static const char *object_take(struct mr_csv *csv, const char *at, const char *end)
{
    static const char blanks[] = " \t\r\n";
    memset(csv->cell, 0, csv->fields->count * sizeof *csv->cell);
    if (at == end || *at != '{') return NULL;
    at = blanks_skip(at + 1, end, blanks);
    for (size_t guess = 0; at < end && *at == '"'; guess++) {
        const char *const key = at + 1, *const key_end = string_end(at, end);
        if (!key_end) return NULL;
        at = blanks_skip(key_end, end, blanks);
        if (at == end || *at != ':') return NULL;
        at = blanks_skip(at + 1, end, blanks);
        const char *value_end = mr_json_value_end(at, end);
        const char *const next = value_end;
        while (value_end > at && strchr(blanks, value_end[-1])) value_end--;
        const size_t column = column_find(csv, key, key_end - 1, guess % csv->fields->count);
        if (column < csv->fields->count) csv->cell[column] = (struct mr_span){at, (size_t)(value_end - at)};
        at = next;
        if (at == end) return NULL;
        if (*at == ',') at = blanks_skip(at + 1, end, blanks);
    }
    return at < end && *at == '}' ? at + 1 : NULL;
}

static char *cell_put(struct mr_csv *csv, const struct mr_span *cell, char *out)
{
    if (!cell->bytes || (cell->bytes == 4 && !memcmp(cell->data, "null", 4))) return out;
    if (*cell->data == '"') {
        const size_t bytes = mr_json_decode(cell->data + 1, cell->data + cell->bytes - 1, csv->scratch);
        return text_put(out, csv->scratch, bytes);
    }
    return text_put(out, cell->data, cell->bytes);
}

bool mr_csv_write(struct mr_csv *csv, const char *value, size_t bytes, char *out, size_t *bytes_out)
{
    const char *at = value, *const end = value + bytes;
    char *const start = out;
    *bytes_out = 0;
    if (bytes > csv->scratch_cap) {
        char *const grown = realloc(csv->scratch, 2 * bytes);
        if (!grown) return false;
        csv->scratch = grown;
        csv->scratch_cap = 2 * bytes;
    }
    while ((at = blanks_skip(at, end, " \t\r\n[,]")) < end) {
        at = object_take(csv, at, end);
        if (!at) return false;
        for (size_t i = 0; i < csv->fields->count; i++) {
            if (i) *out++ = ',';
            out = cell_put(csv, &csv->cell[i], out);
        }
        *out++ = '\n';
    }
    *bytes_out = (size_t)(out - start);
    return out > start;
}
