#include "pipeline/layout.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "pipeline/paths.h"

/* What is being put together, and what has been found so far. */
struct builder {
    const struct mr_job *job;
    const struct mr_model_info *const *info;
    struct mr_layout *layout;
    struct mr_err *err;
    struct mr_strings features; /* expanded; becomes layout->feature_name */
    struct mr_strings captures; /* paths, one a column */
};

static mr_status no_memory(struct mr_err *err)
{
    return mr_fail(err, MR_ENOMEM, "layout: out of memory");
}

/* ---- message parts ---- */

static const struct {
    const char *name;
    mr_part part;
    bool is_numeric; /* may be a feature; key and header are when their text is a number */
} parts[] = {
    {"@key", MR_PART_KEY, true},       {"@timestamp", MR_PART_TIMESTAMP, true}, {"@partition", MR_PART_PARTITION, true},
    {"@offset", MR_PART_OFFSET, true}, {"@topic", MR_PART_TOPIC, false},        {"@header.", MR_PART_HEADER, true},
};
#define PART_COUNT (sizeof parts / sizeof *parts)

/* Looks an `@...` expression up; `place` is for the error text. *header_out is a copy or NULL. */
static mr_status part_find(struct builder *b, const char *place, const char *text, size_t *index_out, char **header_out)
{
    const size_t header_bytes = strlen("@header.");
    *header_out = NULL;
    for (size_t i = 0; i < PART_COUNT; i++) {
        const bool is_header = parts[i].part == MR_PART_HEADER;
        if (is_header ? strncmp(text, parts[i].name, header_bytes) || !text[header_bytes] : strcmp(text, parts[i].name))
            continue;
        if (is_header && !(*header_out = strdup(text + header_bytes))) return no_memory(b->err);
        if (is_header) b->layout->reads_headers = true;
        if (parts[i].part == MR_PART_TIMESTAMP) b->layout->reads_timestamps = true;
        *index_out = i;
        return MR_OK;
    }
    struct mr_near near;
    mr_near_start(&near, text);
    for (size_t i = 0; i < PART_COUNT; i++) mr_near_offer(&near, parts[i].name);
    const char *best = mr_near_best(&near);
    return mr_fail(
        b->err, MR_ECONFIG,
        "%s: \"%s\" is no message part; did you mean %s? Known: @key @timestamp @partition @offset @topic @header.NAME "
        "(a field whose name begins with @ is written in quotes: \"\\\"%s\\\"\")",
        place, text, best ? best : "one of these", text);
}

/* ---- features, label, defaults ---- */

static mr_status default_of(struct builder *b, const char *path, const char *written, mr_missing *missing_out,
                            double *value_out)
{
    const struct mr_record_options *record = &b->job->record;
    *missing_out = MR_MISSING_DEAD;
    *value_out = 0;
    if (record->missing != MR_MISSING_DEFAULT) return MR_OK;
    for (size_t i = 0; i < record->defaults.count; i++) {
        const struct mr_pair *pair = &record->defaults.item[i];
        if (strcmp(pair->key, path) && strcmp(pair->key, written)) continue;
        char *end;
        const double value = strtod(pair->value, &end);
        if (end == pair->value || *end || !(fabs(value) <= FLT_MAX)) {
            return mr_fail(b->err, MR_ECONFIG, "record.defaults.%s: \"%s\" is not a number within the range of float32",
                           pair->key, pair->value);
        }
        *missing_out = MR_MISSING_DEFAULT;
        *value_out = value;
    }
    return MR_OK;
}

static mr_status add_field(struct builder *b, const char *path, const char *written, mr_field_role role,
                           uint32_t column)
{
    struct mr_schema *schema = &b->layout->schema;
    struct mr_field field = {.role = role, .column = column};
    if (schema->field_count >= MR_FIELD_NONE)
        return mr_fail(b->err, MR_ECONFIG, "record: more than %u fields", MR_FIELD_NONE);
    const mr_status status =
        role == MR_FIELD_CAPTURE ? MR_OK : default_of(b, path, written, &field.missing, &field.default_value);
    if (status) return status;
    struct mr_field *grown = realloc((void *)(uintptr_t)schema->field, (schema->field_count + 1) * sizeof *grown);
    if (!grown) return no_memory(b->err);
    schema->field = grown;
    if (!(field.path = strdup(path))) return no_memory(b->err);
    grown[schema->field_count++] = field;
    return MR_OK;
}

static mr_status add_part_field(struct builder *b, const char *place, const char *text, mr_field_role role,
                                uint32_t column)
{
    struct mr_layout *layout = b->layout;
    struct mr_part_field field = {.role = role, .column = column};
    size_t index;
    mr_status status = part_find(b, place, text, &index, &field.header);
    if (status) return status;
    field.part = parts[index].part;
    if (!parts[index].is_numeric) {
        status = mr_fail(b->err, MR_ECONFIG, "%s: %s is not a number: it can be emitted, but is no feature or label",
                         place, text);
    } else {
        status = default_of(b, text, text, &field.missing, &field.default_value);
    }
    struct mr_part_field *grown =
        status ? NULL : realloc(layout->part_field, (layout->part_field_count + 1) * sizeof *grown);
    if (!grown) {
        free(field.header);
        return status ? status : no_memory(b->err);
    }
    layout->part_field = grown;
    grown[layout->part_field_count++] = field;
    return MR_OK;
}

static mr_status add_feature(struct builder *b, const char *place, const char *path, const char *written)
{
    for (size_t i = 0; i < b->features.count; i++) {
        if (!strcmp(b->features.item[i], path)) {
            return mr_fail(b->err, MR_ECONFIG, "%s: \"%s\" is there twice (also as feature %zu)", place, path, i);
        }
    }
    const uint32_t column = (uint32_t)b->features.count;
    if (!mr_paths_add(&b->features, path)) return no_memory(b->err);
    return *path == '@' ? add_part_field(b, place, path, MR_FIELD_FEATURE, column)
                        : add_field(b, path, written, MR_FIELD_FEATURE, column);
}

static mr_status features_build(struct builder *b)
{
    const struct mr_strings *written = &b->job->record.features;
    if (!written->count)
        return mr_fail(b->err, MR_ECONFIG, "record.features: names no feature; a model needs at least one");
    for (size_t i = 0; i < written->count; i++) {
        char place[64];
        struct mr_strings expanded = {0};
        snprintf(place, sizeof place, "record.features[%zu]", i);
        mr_status status = mr_paths_expand(place, written->item[i], MR_FIELD_NONE, &expanded, b->err);
        for (size_t k = 0; !status && k < expanded.count; k++) {
            status = add_feature(b, place, expanded.item[k], written->item[i]);
        }
        mr_paths_deinit(&expanded);
        if (status) return status;
    }
    return MR_OK;
}

static mr_status label_build(struct builder *b)
{
    const char *label = b->job->record.label;
    if (!label) return MR_OK;
    if (*label == '@') return add_part_field(b, "record.label", label, MR_FIELD_LABEL, 0);
    const mr_status status = mr_path_check("record.label", label, b->err);
    return status ? status : add_field(b, label, label, MR_FIELD_LABEL, 0);
}

/* Every key of record.defaults must be a field that the job reads. */
static mr_status defaults_check(struct builder *b)
{
    const struct mr_record_options *record = &b->job->record;
    if (record->defaults.count && record->missing != MR_MISSING_DEFAULT) {
        return mr_fail(b->err, MR_ECONFIG,
                       "record.defaults: has no effect while record.missing is \"dead\": say \"missing\": \"default\"");
    }
    for (size_t i = 0; i < record->defaults.count; i++) {
        const char *key = record->defaults.item[i].key;
        struct mr_near near;
        bool is_known = record->label && !strcmp(key, record->label);
        mr_near_start(&near, key);
        for (size_t k = 0; k < record->features.count; k++) {
            is_known |= !strcmp(key, record->features.item[k]);
            mr_near_offer(&near, record->features.item[k]);
        }
        for (size_t k = 0; k < b->features.count; k++) {
            is_known |= !strcmp(key, b->features.item[k]);
            mr_near_offer(&near, b->features.item[k]);
        }
        if (is_known) continue;
        const char *best = mr_near_best(&near);
        return mr_fail(b->err, MR_ECONFIG, "record.defaults.%s: no such feature or label%s%s%s", key,
                       best ? "; did you mean \"" : "", best ? best : "", best ? "\"?" : "");
    }
    return MR_OK;
}

/* ---- models ---- */

/* Names in the model file, where there are any, must be those of record.features in the same order. */
static mr_status model_names_check(struct builder *b, size_t m)
{
    const struct mr_model_info *info = b->info[m];
    const struct mr_job_model *model = &b->job->model[m];
    for (size_t i = 0; info->feature && i < info->feature_count; i++) {
        const char *path = b->features.item[i];
        if (!mr_path_has_name(path) || mr_path_names(path, info->feature[i])) continue;
        for (size_t k = 0; k < b->features.count; k++) {
            if (!mr_path_names(b->features.item[k], info->feature[i])) continue;
            return mr_fail(b->err, MR_ECONFIG,
                           "models[%zu] \"%s\": %s was trained with \"%s\" as feature %zu, record.features has it as "
                           "feature %zu: give the "
                           "features in the model's order",
                           m, model->name, model->file, info->feature[i], i, k);
        }
        struct mr_near near;
        mr_near_start(&near, info->feature[i]);
        for (size_t k = 0; k < b->features.count; k++) mr_near_offer(&near, b->features.item[k]);
        const char *best = mr_near_best(&near);
        return mr_fail(b->err, MR_ECONFIG,
                       "models[%zu] \"%s\": feature %zu is \"%s\" in %s but \"%s\" in record.features%s%s%s", m,
                       model->name, i, info->feature[i], model->file, path, best ? " (nearest there: \"" : "",
                       best ? best : "", best ? "\")" : "");
    }
    return MR_OK;
}

static mr_status models_check(struct builder *b)
{
    for (size_t m = 0; m < b->job->model_count; m++) {
        const struct mr_model_info *info = b->info[m];
        if (info->feature_count != b->features.count) {
            return mr_fail(b->err, MR_ECONFIG, "models[%zu] \"%s\": %s takes %zu features, record.features gives %zu",
                           m, b->job->model[m].name, b->job->model[m].file, info->feature_count, b->features.count);
        }
        const mr_status status = model_names_check(b, m);
        if (status) return status;
    }
    return MR_OK;
}

/* ---- emit ---- */

static const struct {
    const char *name;
    mr_emit_kind kind;
    unsigned want;
    bool needs_classes;
    bool takes_index;
} outputs[] = {
    {"class", MR_EMIT_CLASS, MR_WANT_CLASS, true, false},
    {"label", MR_EMIT_LABEL, MR_WANT_CLASS, true, false},
    {"score", MR_EMIT_SCORE, MR_WANT_Y, false, false},
    {"probability", MR_EMIT_PROBABILITY, MR_WANT_CLASS | MR_WANT_Y, true, false},
    {"probabilities", MR_EMIT_PROBABILITIES, MR_WANT_Y, true, true},
    {"scores", MR_EMIT_PROBABILITIES, MR_WANT_Y, false, true},
};
#define OUTPUT_COUNT (sizeof outputs / sizeof *outputs)

/* "scores[3]" into its name's bytes and index; false when what follows the name is no index. */
static bool output_split(const char *text, size_t *name_bytes_out, bool *has_index_out, unsigned long *index_out)
{
    const size_t bytes = strcspn(text, "[");
    *name_bytes_out = bytes;
    *has_index_out = text[bytes] == '[';
    if (!*has_index_out) return true;
    char *end;
    if (!isdigit((unsigned char)text[bytes + 1])) return false;
    *index_out = strtoul(text + bytes + 1, &end, 10);
    return *end == ']' && !end[1];
}

static mr_status output_unknown(struct builder *b, const char *place, size_t m, const char *attribute)
{
    struct mr_near near;
    mr_near_start(&near, attribute);
    for (size_t i = 0; i < OUTPUT_COUNT; i++) mr_near_offer(&near, outputs[i].name);
    const char *best = mr_near_best(&near), *model = b->job->model[m].name;
    return mr_fail(b->err, MR_ECONFIG,
                   "%s: \"%s.%s\" is no output of model \"%s\"; did you mean \"%s.%s\"? Known: class label score "
                   "probability probabilities "
                   "scores, the last two with an index if wanted (a field of that name: \"\\\"%s\\\".%s\")",
                   place, model, attribute, model, model, best ? best : "class", model, attribute);
}

/* `model.attribute` of a known model. */
static mr_status emit_output(struct builder *b, const char *place, size_t m, const char *attribute,
                             struct mr_emit_item *item)
{
    const struct mr_model_info *info = b->info[m];
    const char *model = b->job->model[m].name;
    size_t bytes, i = 0;
    bool has_index;
    unsigned long index = 0;
    if (!*attribute) attribute = info->is_classifier ? "class" : "score";
    const bool is_split = output_split(attribute, &bytes, &has_index, &index);
    while (i < OUTPUT_COUNT && (strlen(outputs[i].name) != bytes || memcmp(outputs[i].name, attribute, bytes))) i++;
    if (i == OUTPUT_COUNT || !is_split || (has_index && !outputs[i].takes_index))
        return output_unknown(b, place, m, attribute);
    if (outputs[i].needs_classes && !info->is_classifier) {
        return mr_fail(b->err, MR_ECONFIG, "%s: model \"%s\" is a regression and has no %s: use \"%s.score\"", place,
                       model, outputs[i].name, model);
    }
    /* A binary model with one output gives the probability of class 1; as probabilities it has two. */
    const bool is_binary = info->is_classifier && info->width == 1 && outputs[i].needs_classes;
    const size_t width = is_binary ? 2 : info->width;
    item->model = m;
    item->kind = outputs[i].kind;
    if (item->kind == MR_EMIT_SCORE) {
        if (info->is_classifier && info->width > 2) {
            return mr_fail(b->err, MR_ECONFIG,
                           "%s: model \"%s\" has %zu classes and no single score: use \"%s.probability\" (of the "
                           "winning class) or "
                           "\"%s.probabilities[0]\"",
                           place, model, info->width, model, model);
        }
        item->column = info->is_classifier && info->width == 2;
    } else if (item->kind == MR_EMIT_PROBABILITIES && has_index) {
        if (index >= width) {
            return mr_fail(b->err, MR_ECONFIG, "%s: \"%s.%s\": model \"%s\" has outputs 0 to %zu", place, model,
                           attribute, model, width - 1);
        }
        item->kind = MR_EMIT_OUTPUT;
        item->column = is_binary ? 0 : (uint32_t)index;
        item->is_complement = is_binary && index == 0;
    } else if (item->kind == MR_EMIT_PROBABILITIES) {
        item->is_complement = is_binary;
    }
    b->layout->want[m] |= outputs[i].want;
    return MR_OK;
}

/* A path that looks like an output of a model whose name is mistyped. */
static mr_status emit_typo_check(struct builder *b, const char *place, const char *text)
{
    const char *dot = strrchr(text, '.');
    char head[MR_NEAR_BYTES + 1];
    if (!dot || (size_t)(dot - text) > MR_NEAR_BYTES) return MR_OK;
    const size_t bytes = strcspn(dot + 1, "[");
    size_t i = 0;
    while (i < OUTPUT_COUNT && (strlen(outputs[i].name) != bytes || memcmp(outputs[i].name, dot + 1, bytes))) i++;
    if (i == OUTPUT_COUNT) return MR_OK;
    memcpy(head, text, (size_t)(dot - text));
    head[dot - text] = 0;
    struct mr_near near;
    mr_near_start(&near, head);
    for (size_t m = 0; m < b->job->model_count; m++) mr_near_offer(&near, b->job->model[m].name);
    const char *best = mr_near_best(&near);
    if (!best) return MR_OK;
    return mr_fail(b->err, MR_ECONFIG,
                   "%s: no model \"%s\"; did you mean \"%s%s\"? (A field of that name: \"\\\"%s\\\"%s\")", place, head,
                   best, dot, head, dot);
}

/* An input field: captured bytes, or the printed feature where the codec captures nothing. */
static mr_status emit_field(struct builder *b, const char *place, const char *text, struct mr_emit_item *item)
{
    mr_status status = emit_typo_check(b, place, text);
    if (!status) status = mr_path_check(place, text, b->err);
    if (status) return status;
    if (!b->job->codec->captures) {
        struct mr_near near;
        mr_near_start(&near, text);
        for (size_t i = 0; i < b->features.count; i++) {
            if (!strcmp(b->features.item[i], text)) {
                item->kind = MR_EMIT_FEATURE;
                item->column = (uint32_t)i;
                return MR_OK;
            }
            mr_near_offer(&near, b->features.item[i]);
        }
        const char *best = mr_near_best(&near);
        return mr_fail(b->err, MR_ECONFIG,
                       "%s: \"%s\" is no feature, and records of format %s hold nothing else to emit%s%s%s", place,
                       text, b->job->codec->name, best ? "; did you mean \"" : "", best ? best : "", best ? "\"?" : "");
    }
    item->kind = MR_EMIT_CAPTURE;
    for (size_t i = 0; i < b->captures.count; i++) {
        item->column = (uint32_t)i;
        if (!strcmp(b->captures.item[i], text)) return MR_OK;
    }
    item->column = (uint32_t)b->captures.count;
    if (!mr_paths_add(&b->captures, text)) return no_memory(b->err);
    return add_field(b, text, text, MR_FIELD_CAPTURE, item->column);
}

static mr_status emit_value(struct builder *b, const char *place, const char *text, struct mr_emit_item *item)
{
    if (*text == '@') {
        size_t index;
        const mr_status status = part_find(b, place, text, &index, &item->header);
        if (status) return status;
        item->kind = MR_EMIT_PART;
        item->part = parts[index].part;
        return MR_OK;
    }
    for (size_t m = 0; m < b->job->model_count; m++) {
        const char *name = b->job->model[m].name;
        const size_t bytes = strlen(name);
        if (strncmp(text, name, bytes) || (text[bytes] && text[bytes] != '.')) continue;
        for (size_t i = 0; i < b->features.count; i++) {
            if (strcmp(b->features.item[i], text)) continue;
            return mr_fail(b->err, MR_ECONFIG,
                           "%s: \"%s\" is both a feature and an output of model \"%s\": rename the model, or write the "
                           "field in quotes: \"\\\"%s\\\"%s\"",
                           place, text, name, name, text + bytes);
        }
        return emit_output(b, place, m, text + bytes + (text[bytes] == '.'), item);
    }
    return emit_field(b, place, text, item);
}

/* `{"key":` or `,"key":`, the key escaped. */
static char *literal_create(const char *key, bool is_first, size_t *bytes_out)
{
    char *literal = malloc(strlen(key) * 6 + 5), *out = literal;
    if (!literal) return NULL;
    *out++ = is_first ? '{' : ',';
    *out++ = '"';
    for (; *key; key++) {
        const unsigned char byte = (unsigned char)*key;
        if (byte == '"' || byte == '\\') *out++ = '\\';
        if (byte < 0x20) {
            out += sprintf(out, "\\u%04x", byte);
        } else {
            *out++ = (char)byte;
        }
    }
    *out++ = '"';
    *out++ = ':';
    *out = 0;
    *bytes_out = (size_t)(out - literal);
    return literal;
}

static mr_status emit_build(struct builder *b)
{
    const struct mr_map *fields = &b->job->emit.fields;
    struct mr_layout *layout = b->layout;
    if (!fields->count) return mr_fail(b->err, MR_ECONFIG, "emit.fields: names nothing to emit");
    layout->item = calloc(fields->count, sizeof *layout->item);
    if (!layout->item) return no_memory(b->err);
    for (size_t i = 0; i < fields->count; i++) {
        struct mr_emit_item *item = &layout->item[layout->item_count++];
        char place[160];
        snprintf(place, sizeof place, "emit.fields.%s", fields->item[i].key);
        item->literal = literal_create(fields->item[i].key, i == 0, &item->literal_bytes);
        if (!item->literal) return no_memory(b->err);
        const mr_status status = emit_value(b, place, fields->item[i].value, item);
        if (status) return status;
    }
    return MR_OK;
}

static mr_status floats_build(struct builder *b)
{
    const char *floats = b->job->emit.floats;
    b->layout->decimals = -1;
    if (!floats || !strcmp(floats, "shortest")) return MR_OK;
    if (!strncmp(floats, "fixed:", 6) && isdigit((unsigned char)floats[6]) && !floats[7]) {
        b->layout->decimals = floats[6] - '0';
        return MR_OK;
    }
    return mr_fail(
        b->err, MR_ECONFIG,
        "emit.floats: \"%s\": expected \"shortest\", or \"fixed:N\" with N from 0 to 9 digits after the point", floats);
}

static mr_status framing_check(struct builder *b)
{
    static const char *const names[] = {"single", "lines", "array", "packed"};
    const struct mr_codec_ops *codec = b->job->codec;
    const int framing = b->job->record.framing;
    char known[64] = "";
    if (codec->framings >> framing & 1) return MR_OK;
    for (int i = 0; i < 4; i++) {
        if (!(codec->framings >> i & 1)) continue;
        if (*known) strcat(known, ", ");
        strcat(known, names[i]);
    }
    return mr_fail(b->err, MR_ECONFIG, "record.framing: format %s does not read \"%s\", only %s", codec->name,
                   names[framing], known);
}

mr_status mr_layout_create(const struct mr_job *job, const struct mr_model_info *const *info,
                           struct mr_layout **layout_out, struct mr_err *err)
{
    struct mr_layout *layout = calloc(1, sizeof *layout);
    struct builder b = {.job = job, .info = info, .layout = layout, .err = err};
    *layout_out = NULL;
    if (!layout) return no_memory(err);
    layout->model_count = job->model_count;
    layout->want = calloc(job->model_count + 1, sizeof *layout->want);
    mr_status status = layout->want ? MR_OK : no_memory(err);
    if (!status) status = framing_check(&b);
    if (!status) status = features_build(&b);
    if (!status) status = label_build(&b);
    if (!status) status = defaults_check(&b);
    if (!status) status = models_check(&b);
    if (!status) status = emit_build(&b);
    if (!status) status = floats_build(&b);
    if (job->emit.headers.count) layout->reads_headers = true;
    if (job->emit.timestamp) layout->reads_timestamps = true;
    layout->schema.feature_count = b.features.count;
    layout->schema.capture_count = b.captures.count;
    layout->schema.framing = (mr_framing)job->record.framing;
    layout->schema.depth_max = (uint32_t)job->record.depth_max;
    layout->schema.record_bytes_max = job->record.bytes_max > UINT32_MAX ? UINT32_MAX : (uint32_t)job->record.bytes_max;
    layout->feature_name = b.features.item; /* the layout owns them from here on */
    mr_paths_deinit(&b.captures);
    if (status) {
        mr_layout_destroy(layout);
        return status;
    }
    *layout_out = layout;
    return MR_OK;
}

void mr_layout_destroy(struct mr_layout *layout)
{
    if (!layout) return;
    struct mr_strings features = {layout->feature_name, layout->schema.feature_count};
    mr_paths_deinit(&features);
    for (size_t i = 0; i < layout->schema.field_count; i++) free((void *)(uintptr_t)layout->schema.field[i].path);
    free((void *)(uintptr_t)layout->schema.field);
    for (size_t i = 0; i < layout->part_field_count; i++) free(layout->part_field[i].header);
    free(layout->part_field);
    for (size_t i = 0; i < layout->item_count; i++) {
        free(layout->item[i].literal);
        free(layout->item[i].header);
    }
    free(layout->item);
    free(layout->want);
    free(layout);
}
