/* What the rows of DATA are: which codec reads them, which fields are features, where the label is. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "base/options.h"
#include "codec/csv/csv.h"
#include "pipeline/paths.h"
#include "registry.h"
#include "table/format.h"
#include "table/inside.h"

const char *const mr_table_until[] = {"end", NULL};
const char *const mr_table_bad_rows[] = {"stop", "skip", NULL};

static mr_status out_of_memory(struct mr_err *err)
{
    return mr_fail(err, MR_ENOMEM, "out of memory");
}

/* Option errors speak of a job file's "record"; here a flag said it. */
static mr_status as_usage(mr_status status, struct mr_err *err)
{
    if (status != MR_ECONFIG) return status;
    if (err) err->status = MR_EUSAGE;
    return MR_EUSAGE;
}

static bool is_csv(const struct mr_table *table)
{
    return !strcmp(table->codec->name, "csv");
}

static bool is_packed(const struct mr_table *table)
{
    return !(table->codec->framings & 1u << MR_FRAMING_LINES);
}

/* "3" or "$3", as the CSV codec counts columns; 0: it is a name. */
static size_t column_number(const char *path)
{
    const char *const digits = path + (*path == '$');
    return *digits && strspn(digits, "0123456789") == strlen(digits) ? strtoul(digits, NULL, 10) : 0;
}

/* CSV has a header unless its columns are named or numbered otherwise. */
static bool wants_header(const struct mr_table_options *options)
{
    const char *const said = mr_map_get(&options->record, "header");
    if (said) return strcmp(said, "none") != 0;
    if (options->topic) return false; /* a record is a row */
    if (mr_map_get(&options->record, "columns")) return false;
    for (size_t i = 0; i < options->features.count; i++) {
        if (!column_number(options->features.item[i])) return true;
    }
    return !options->features.count || (options->label && !column_number(options->label));
}

static mr_status codec_set(struct mr_table *table, const struct mr_table_options *options, bool has_tabs,
                           struct mr_err *err)
{
    const struct mr_codec_ops *const codec = table->codec;
    table->codec_options = calloc(1, codec->options_size + 1);
    if (!table->codec_options) return out_of_memory(err);
    if (!codec->options && options->record.count)
        return mr_fail(err, MR_EUSAGE, "--record: format %s has no options", codec->name);
    mr_status status = codec->options ? mr_options_init(codec->options, table->codec_options, err) : MR_OK;
    if (!status && has_tabs) status = mr_options_set(codec->options, table->codec_options, "delimiter", "tab", err);
    for (size_t i = 0; i < options->record.count && !status; i++) {
        const struct mr_pair *const pair = &options->record.item[i];
        status = mr_options_set(codec->options, table->codec_options, pair->key, pair->value, err);
    }
    table->has_header = is_csv(table) && wants_header(options);
    if (!status && table->has_header)
        status = mr_options_set(codec->options, table->codec_options, "header", "message", err);
    if (!status && codec->check) status = codec->check(table->codec_options, err);
    return as_usage(status, err);
}

/* ---- names ---- */

/* A feature unless it is the label. NULL for a name: packed rows have none. */
static bool feature_add(struct mr_table *table, const char *name, const char *path)
{
    const char *const label = table->label_path;
    if (label && (!strcmp(label, path) || (name && !strcmp(label, name)))) return true;
    return (!name || mr_strings_add(&table->feature, name)) && mr_strings_add(&table->path, path);
}

/* A cell of a header without its quotes. */
static size_t cell_copy(const char *cell, size_t bytes, char *out)
{
    size_t used = 0;
    const bool is_quoted = bytes >= 2 && *cell == '"';
    for (size_t i = is_quoted; i + is_quoted < bytes; i++) {
        out[used++] = cell[i];
        if (is_quoted && cell[i] == '"') i++;
    }
    out[used] = '\0';
    return used;
}

static char delimiter_of(const struct mr_table *table)
{
    char *const *const text = mr_option_value(table->codec->options, table->codec_options, "delimiter", MR_OPT_STRING);
    const char *const said = text && *text ? *text : ",";
    return !strcmp(said, "tab") || !strcmp(said, "\\t") ? '\t' : *said;
}

/* Cells of the first line, one by one: names of columns, or their numbers where there is no header. */
static mr_status columns_read(const struct mr_table *table, struct mr_span line, struct mr_strings *columns,
                              struct mr_err *err)
{
    struct csv_index index = {.end = malloc((CSV_CELLS_MAX + CSV_BLOCK + 12) * sizeof *index.end)};
    char *const name = malloc(line.bytes + 32);
    mr_status status = index.end && name ? MR_OK : out_of_memory(err);
    if (!status) {
        csv_index_record(&index, line.data, line.bytes, delimiter_of(table));
        if (index.reason)
            status = mr_fail(err, MR_EDATA, "%s: line 1 must name the columns, and is no CSV (%s)", table->input.path,
                             mr_reason_name(index.reason));
    }
    for (size_t i = 0; !status && i < index.count; i++) {
        const size_t begin = csv_cell_begin(&index, i);
        if (table->has_header) {
            cell_copy(line.data + begin, index.end[i] - begin, name);
        } else {
            snprintf(name, 32, "%zu", i + 1);
        }
        if (!mr_strings_add(columns, name)) status = out_of_memory(err);
    }
    free(index.end);
    free(name);
    return status;
}

/* How often a column of that name is in the header. path: as a user writes it, maybe in quotes. */
static size_t column_count(const struct mr_strings *columns, const char *path)
{
    const size_t bytes = strlen(path);
    const bool is_quoted = bytes >= 2 && *path == '"' && path[bytes - 1] == '"';
    size_t count = 0;
    for (size_t i = 0; i < columns->count; i++) {
        const char *const name = columns->item[i];
        count += is_quoted ? strlen(name) == bytes - 2 && !memcmp(name, path + 1, bytes - 2) : !strcmp(name, path);
    }
    return count;
}

static mr_status column_check(const struct mr_table *table, const struct mr_strings *columns, const char *path,
                              const char *flag, struct mr_err *err)
{
    const size_t number = column_number(path), count = number ? number <= columns->count : column_count(columns, path);
    const char *const quote = *path == '"' ? "" : "\""; /* names that need them have them */
    if (count == 1) return MR_OK;
    if (number)
        return mr_fail(err, MR_EUSAGE, "%s %s: %s has %zu columns, numbered from 1", flag, path, table->input.path,
                       columns->count);
    if (count)
        return mr_fail(err, MR_EDATA, "%s: line 1 has two columns %s%s%s: name the others, by number, with --features",
                       table->input.path, quote, path, quote);
    struct mr_near near;
    mr_near_start(&near, path);
    for (size_t i = 0; i < columns->count; i++) mr_near_offer(&near, columns->item[i]);
    const char *const best = mr_near_best(&near);
    if (best)
        return mr_fail(err, MR_EUSAGE, "%s: line 1 of %s names no column %s%s%s; did you mean \"%s\"?", flag,
                       table->input.path, quote, path, quote, best);
    return mr_fail(err, MR_EUSAGE,
                   "%s: line 1 of %s names no column %s%s%s; where it is no header, say --record header=none", flag,
                   table->input.path, quote, path, quote);
}

/* All columns as features but the label, by name in quotes: a name may look like a number. */
static mr_status columns_take(struct mr_table *table, const struct mr_strings *columns, struct mr_err *err)
{
    const size_t label = table->label_path ? column_number(table->label_path) : 0;
    char path[MR_FIELD_PATH_MAX];
    for (size_t i = 0; i < columns->count; i++) {
        const char *const name = columns->item[i];
        if (i + 1 == label) continue;
        if (strlen(name) > sizeof path - 3)
            return mr_fail(err, MR_EDATA, "%s: line 1: the name of column %zu is longer than %zu bytes",
                           table->input.path, i + 1, sizeof path - 3);
        snprintf(path, sizeof path, table->has_header ? "\"%s\"" : "%s", name);
        if (!feature_add(table, name, path)) return out_of_memory(err);
    }
    return MR_OK;
}

static mr_status csv_names(struct mr_table *table, struct mr_err *err)
{
    const struct mr_strings *const said =
        mr_option_value(table->codec->options, table->codec_options, "columns", MR_OPT_STRINGS);
    const bool is_said = said && said->count && !table->has_header;
    struct mr_strings read = {0};
    struct mr_span line;
    if (table->feature.count && !table->has_header) return MR_OK; /* the codec checks them */
    mr_status status = is_said ? MR_OK : mr_input_first(&table->input, &line, err);
    if (status == MR_END)
        status = mr_fail(err, MR_EDATA, "%s: line 1 is empty: it must name the columns", table->input.path);
    if (!status && !is_said) status = columns_read(table, line, &read, err);
    const struct mr_strings *const columns = is_said ? said : &read;
    const bool is_given = table->feature.count;
    if (!status && !is_given) status = columns_take(table, columns, err);
    for (size_t i = 0; i < table->path.count && !status; i++)
        status = column_check(table, columns, table->path.item[i], "--features", err);
    if (!status && table->label_path) status = column_check(table, columns, table->label_path, "--label", err);
    mr_strings_deinit(&read);
    return status;
}

/* Keys with numbers of the first object. */
static mr_status json_names(struct mr_table *table, struct mr_err *err)
{
    char path[MR_FIELD_PATH_MAX];
    struct mr_span line;
    mr_status status = mr_input_first(&table->input, &line, err);
    if (status == MR_END) return mr_fail(err, MR_EDATA, "%s is empty", table->input.path);
    if (status) return status;
    cJSON *const object = cJSON_ParseWithLength(line.data, line.bytes);
    if (!cJSON_IsObject(object))
        status = mr_fail(err, MR_EDATA,
                         "%s: the first line is no JSON object: rows are one object a line; name the fields with "
                         "--features where others follow",
                         table->input.path);
    const cJSON *member;
    cJSON_ArrayForEach(member, object)
    {
        if (status || !cJSON_IsNumber(member)) continue;
        if (strlen(member->string) > sizeof path - 3)
            status = mr_fail(err, MR_EDATA, "%s: a key of the first line is longer than %zu bytes", table->input.path,
                             sizeof path - 3);
        else if (!feature_add(table, member->string, mr_field_path(table->codec, member->string, path)))
            status = out_of_memory(err);
    }
    cJSON_Delete(object);
    return status;
}

/* Floats of a packed row, by their places. */
static mr_status packed_places(struct mr_table *table, struct mr_err *err)
{
    char path[32];
    if (!table->row_bytes)
        return mr_fail(err, MR_EUSAGE,
                       "how long are the rows of %s? Say --record stride=BYTES, or name the floats with "
                       "--features",
                       table->input.path);
    for (size_t i = 0; i < table->row_bytes / sizeof(float); i++) {
        snprintf(path, sizeof path, "[%zu]", i);
        if (!feature_add(table, NULL, path)) return out_of_memory(err);
    }
    return MR_OK;
}

const char *mr_field_path(const struct mr_codec_ops *codec, const char *name, char *out)
{
    if (!codec->captures_json || !strpbrk(name, ".[@") || strlen(name) > MR_FIELD_PATH_MAX - 3) return name;
    snprintf(out, MR_FIELD_PATH_MAX, "\"%s\"", name);
    return out;
}

/* Those that were given; x[0..15] is sixteen of them. */
static mr_status given_take(struct mr_table *table, const struct mr_table_options *options, struct mr_err *err)
{
    table->has_names = !is_packed(table);
    for (size_t i = 0; i < options->features.count; i++) {
        const mr_status status =
            mr_paths_expand("--features", options->features.item[i], MR_FIELD_NONE - 1, &table->path, err);
        if (status) return as_usage(status, err);
    }
    for (size_t i = 0; i < table->path.count; i++) {
        const char *const path = table->path.item[i];
        if (is_packed(table)) table->has_names = *path != '[';
        if (!mr_strings_add(&table->feature, path)) return out_of_memory(err);
    }
    if (options->label && !(table->label_path = strdup(options->label))) return out_of_memory(err);
    return MR_OK;
}

/* ---- the whole ---- */

/* Bytes of a packed row, 0: not known. */
static mr_status stride_find(struct mr_table *table, struct mr_err *err)
{
    const int64_t *const said = mr_option_value(table->codec->options, table->codec_options, "stride", MR_OPT_SIZE);
    bool is_by_place = table->label_path != NULL;
    for (size_t i = 0; i < table->path.count; i++) is_by_place |= *table->path.item[i] == '[';
    table->row_bytes = said && *said ? (size_t)*said : table->path.count * sizeof(float);
    if (is_by_place && !(said && *said))
        return mr_fail(err, MR_EUSAGE, "features and label by place need the bytes of a row: --record stride=BYTES");
    if (table->row_bytes > MR_INPUT_BLOCK_BYTES)
        return mr_fail(err, MR_EUSAGE, "--record stride=%zu: more than %u", table->row_bytes, MR_INPUT_BLOCK_BYTES);
    return MR_OK;
}

static mr_status decoder_create(struct mr_table *table, struct mr_err *err)
{
    const size_t count = table->path.count;
    struct mr_field *const field = calloc(count + 1, sizeof *field);
    if (!field) return out_of_memory(err);
    table->cols = table->reader ? table->reader_ops->info(table->reader)->column_count : count;
    table->is_by_text = table->kind == MR_LABEL_CLASS && !is_packed(table);
    for (size_t i = 0; i < count; i++)
        field[i] = (struct mr_field){.path = table->path.item[i],
                                     .role = table->reader ? MR_FIELD_CAPTURE : MR_FIELD_FEATURE,
                                     .column = (uint32_t)i};
    field[count] = (struct mr_field){
        .path = table->label_path, .role = table->is_by_text ? MR_FIELD_CAPTURE : MR_FIELD_LABEL, .required = true};
    table->schema = (struct mr_schema){.field = field,
                                       .field_count = count + (table->label_path != NULL),
                                       .feature_count = table->cols,
                                       .capture_count = table->reader ? count : table->is_by_text,
                                       .framing = is_packed(table) ? MR_FRAMING_PACKED : MR_FRAMING_LINES,
                                       .depth_max = 32,
                                       .record_bytes_max = 1 << 20};
    return as_usage(table->codec->create(table->codec_options, &table->schema, &table->decoder, err), err);
}

static mr_status names_find(struct mr_table *table, struct mr_err *err)
{
    mr_status status = MR_OK;
    const bool is_given = table->path.count;
    if (is_csv(table)) {
        status = csv_names(table, err);
    } else if (!is_given) {
        status = is_packed(table) ? packed_places(table, err) : json_names(table, err);
    }
    if (status || table->path.count) return status;
    return mr_fail(err, MR_EDATA, "%s: no %s to take for features%s; name them with --features", table->input.path,
                   is_csv(table) ? "column" : "key with a number", table->label_path ? " beside the label" : "");
}

static mr_status topic_open(struct mr_table *table, const struct mr_table_options *options, mr_cut_kind cut,
                            struct mr_err *err)
{
    struct mr_map properties = {0};
    struct mr_topic_input *topic;
    const bool has_servers = mr_map_get(&options->properties, "bootstrap.servers") != NULL;
    mr_status status = mr_map_copy(&properties, &options->properties) &&
                               (has_servers || mr_map_put(&properties, "bootstrap.servers", options->bootstrap)) &&
                               asprintf(&table->topic_path, "topic \"%s\"", options->topic) > 0
                           ? MR_OK
                           : out_of_memory(err);
    if (!status) status = mr_topic_input_open(options->topic, &properties, table->row_bytes, &topic, err);
    if (!status) status = mr_input_open_topic(&table->input, topic, table->topic_path, cut, table->row_bytes, err);
    mr_map_deinit(&properties);
    return status;
}

mr_status mr_table_shape(struct mr_table *table, const char *path, const struct mr_table_options *options,
                         struct mr_err *err)
{
    bool has_tabs;
    const bool is_path = path && strcmp(path, "-") != 0;
    if (options->topic && is_path)
        return mr_fail(err, MR_EUSAGE, "%s and --topic %s: DATA is one of the two", path, options->topic);
    table->codec = mr_format_find(options->format, options->topic ? NULL : path, &has_tabs);
    if (!table->codec && options->topic) table->codec = mr_codec_find("json");
    if (!table->codec)
        return mr_fail(err, MR_EUSAGE, "%s: what are its rows? Say --format csv, json or f32",
                       is_path ? path : "<stdin>");
    if ((table->kind != MR_LABEL_NONE) != (options->label != NULL))
        return mr_fail(err, MR_EUSAGE,
                       table->kind ? "which field is the label? Say --label NAME" : "--label: no label is read here");
    if (options->reader && !options->features.count)
        return mr_fail(err, MR_EUSAGE, "which fields have the ids? Say --features USER,ITEM");
    mr_status status = codec_set(table, options, has_tabs, err);
    if (!status) status = given_take(table, options, err);
    if (!status && is_packed(table)) status = stride_find(table, err);
    const mr_cut_kind cut = is_packed(table) ? MR_CUT_PACKED : is_csv(table) ? MR_CUT_QUOTED : MR_CUT_LINES;
    if (!status && options->topic)
        status = topic_open(table, options, cut, err);
    else if (!status)
        status = mr_input_open(&table->input, path, cut, table->row_bytes, table->has_header, err);
    if (table->wants_hash) table->input.sha = &table->sha;
    if (!status) status = names_find(table, err);
    return status ? status : decoder_create(table, err);
}
