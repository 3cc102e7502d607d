/* The "record" of a job: message parts, features, the label and the defaults of what may be missing. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "pipeline/layout_build.h"
#include "pipeline/paths.h"

static const struct mr_layout_part parts[] = {
    {"@key", MR_PART_KEY, true},       {"@timestamp", MR_PART_TIMESTAMP, true}, {"@partition", MR_PART_PARTITION, true},
    {"@offset", MR_PART_OFFSET, true}, {"@topic", MR_PART_TOPIC, false},        {"@header.", MR_PART_HEADER, true},
};
#define PART_COUNT (sizeof parts / sizeof *parts)

mr_status mr_layout_part_find(struct mr_layout_builder *b, const char *place, const char *text,
                              const struct mr_layout_part **part_out, char **header_out)
{
    const size_t header_bytes = strlen("@header.");
    *header_out = NULL;
    for (size_t i = 0; i < PART_COUNT; i++) {
        const bool is_header = parts[i].part == MR_PART_HEADER;
        if (is_header ? strncmp(text, parts[i].name, header_bytes) || !text[header_bytes] : strcmp(text, parts[i].name))
            continue;
        if (is_header && !(*header_out = strdup(text + header_bytes))) return mr_layout_no_memory(b->err);
        if (is_header) b->layout->reads_headers = true;
        if (parts[i].part == MR_PART_TIMESTAMP) b->layout->reads_timestamps = true;
        *part_out = &parts[i];
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

static mr_status default_of(struct mr_layout_builder *b, const char *path, const char *written, mr_field_role role,
                            mr_missing *missing_out, double *value_out)
{
    const struct mr_record_options *record = &b->job->record;
    /* A record without its label is scored all the same, and not learned from: NaN. */
    *missing_out = role == MR_FIELD_LABEL ? MR_MISSING_DEFAULT : MR_MISSING_DEAD;
    *value_out = role == MR_FIELD_LABEL ? NAN : 0;
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

mr_status mr_layout_field_add(struct mr_layout_builder *b, const char *path, const char *written, mr_field_role role,
                              uint32_t column)
{
    struct mr_schema *schema = &b->layout->schema;
    struct mr_field field = {.role = role, .column = column};
    if (schema->field_count >= MR_FIELD_NONE)
        return mr_fail(b->err, MR_ECONFIG, "record: more than %u fields", MR_FIELD_NONE);
    const mr_status status =
        role == MR_FIELD_CAPTURE ? MR_OK : default_of(b, path, written, role, &field.missing, &field.default_value);
    if (status) return status;
    struct mr_field *grown = realloc((void *)(uintptr_t)schema->field, (schema->field_count + 1) * sizeof *grown);
    if (!grown) return mr_layout_no_memory(b->err);
    schema->field = grown;
    if (!(field.path = strdup(path))) return mr_layout_no_memory(b->err);
    grown[schema->field_count++] = field;
    return MR_OK;
}

static mr_status part_field_add(struct mr_layout_builder *b, const char *place, const char *text, mr_field_role role,
                                uint32_t column)
{
    struct mr_layout *layout = b->layout;
    struct mr_part_field field = {.role = role, .column = column};
    const struct mr_layout_part *part;
    mr_status status = mr_layout_part_find(b, place, text, &part, &field.header);
    if (status) return status;
    field.part = part->part;
    if (!part->is_numeric) {
        status = mr_fail(b->err, MR_ECONFIG, "%s: %s is not a number: it can be emitted, but is no feature or label",
                         place, text);
    } else {
        status = default_of(b, text, text, role, &field.missing, &field.default_value);
    }
    struct mr_part_field *grown =
        status ? NULL : realloc(layout->part_field, (layout->part_field_count + 1) * sizeof *grown);
    if (!grown) {
        free(field.header);
        return status ? status : mr_layout_no_memory(b->err);
    }
    layout->part_field = grown;
    grown[layout->part_field_count++] = field;
    return MR_OK;
}

/* A feature that is read as text: the key, a header, or a captured field. */
static mr_status text_add(struct mr_layout_builder *b, const char *place, const char *path)
{
    struct mr_layout *const layout = b->layout;
    struct mr_text_field *const grown = realloc(layout->text, (layout->text_count + 1) * sizeof *grown);
    const struct mr_layout_part *part;
    if (!grown) return mr_layout_no_memory(b->err);
    layout->text = grown;
    struct mr_text_field *const text = &grown[layout->text_count];
    *text = (struct mr_text_field){.is_part = *path == '@', .field = MR_FIELD_NONE};
    if (text->is_part) {
        const mr_status status = mr_layout_part_find(b, place, path, &part, &text->header);
        if (status) return status;
        text->part = part->part;
        layout->text_count++;
        return part->part == MR_PART_KEY || part->part == MR_PART_HEADER
                   ? MR_OK
                   : mr_fail(b->err, MR_ECONFIG, "%s: \"%s\" is no id: expected a field, @key or @header.NAME", place,
                             path);
    }
    if (!b->job->codec->captures)
        return mr_fail(b->err, MR_ECONFIG, "%s: records of format %s hold float32 alone, which ids do not fit into",
                       place, b->job->codec->name);
    text->column = (uint32_t)b->captures.count;
    text->field = (uint16_t)layout->schema.field_count;
    layout->text_count++;
    if (!mr_paths_add(&b->captures, path)) return mr_layout_no_memory(b->err);
    return mr_layout_field_add(b, path, path, MR_FIELD_CAPTURE, text->column);
}

static mr_status feature_add(struct mr_layout_builder *b, const char *place, const char *path, const char *written)
{
    for (size_t i = 0; i < b->features.count; i++) {
        if (!strcmp(b->features.item[i], path)) {
            return mr_fail(b->err, MR_ECONFIG, "%s: \"%s\" is there twice (also as feature %zu)", place, path, i);
        }
    }
    const uint32_t column = (uint32_t)b->features.count;
    if (!mr_paths_add(&b->features, path)) return mr_layout_no_memory(b->err);
    if (b->reads_text) return text_add(b, place, path);
    return *path == '@' ? part_field_add(b, place, path, MR_FIELD_FEATURE, column)
                        : mr_layout_field_add(b, path, written, MR_FIELD_FEATURE, column);
}

static mr_status features_read(struct mr_layout_builder *b)
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
            status = feature_add(b, place, expanded.item[k], written->item[i]);
        }
        mr_paths_deinit(&expanded);
        if (status) return status;
    }
    return MR_OK;
}

static mr_status label_read(struct mr_layout_builder *b)
{
    const char *label = b->job->record.label;
    if (!label) return MR_OK;
    if (*label == '@') return part_field_add(b, "record.label", label, MR_FIELD_LABEL, 0);
    const mr_status status = mr_path_check("record.label", label, b->err);
    return status ? status : mr_layout_field_add(b, label, label, MR_FIELD_LABEL, 0);
}

/* The key by which labels on topics of their own are found. */
static mr_status join_key_read(struct mr_layout_builder *b)
{
    const struct mr_labels_options *const labels = &b->job->labels;
    const char *const key = labels->record_key ? labels->record_key : labels->key;
    struct mr_layout *const layout = b->layout;
    if (!labels->topics.count) return MR_OK;
    layout->has_join_key = true;
    layout->join_key_is_part = *key == '@';
    if (layout->join_key_is_part) return MR_OK;
    const mr_status status = mr_path_check(labels->record_key ? "labels.record_key" : "labels.key", key, b->err);
    if (status) return status;
    for (size_t i = 0; i < b->captures.count; i++) {
        layout->join_key_column = (uint32_t)i;
        if (!strcmp(b->captures.item[i], key)) return MR_OK;
    }
    layout->join_key_column = (uint32_t)b->captures.count;
    if (!mr_paths_add(&b->captures, key)) return mr_layout_no_memory(b->err);
    return mr_layout_field_add(b, key, key, MR_FIELD_CAPTURE, layout->join_key_column);
}

/* Every key of record.defaults must be a field that the job reads. */
static mr_status defaults_check(struct mr_layout_builder *b)
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

mr_status mr_layout_features(const struct mr_job *job, struct mr_strings *names_out, struct mr_err *err)
{
    const struct mr_strings *written = &job->record.features;
    mr_status status = MR_OK;
    *names_out = (struct mr_strings){0};
    for (size_t i = 0; i < written->count && !status; i++) {
        char place[64];
        snprintf(place, sizeof place, "record.features[%zu]", i);
        status = mr_paths_expand(place, written->item[i], MR_FIELD_NONE, names_out, err);
    }
    return status;
}

mr_status mr_layout_record(struct mr_layout_builder *b)
{
    mr_status status = features_read(b);
    if (!status) status = label_read(b);
    if (!status) status = join_key_read(b);
    return status ? status : defaults_check(b);
}
