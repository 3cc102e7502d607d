/* The "emit" of a job: what each field of an output record is made of. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "pipeline/layout_build.h"
#include "pipeline/paths.h"

/* What a model can be asked for: `model.NAME`. */
static const struct output {
    const char *name;
    mr_emit_kind kind;
    unsigned want;
    bool needs_classes;
    bool takes_index;
    bool needs_items;
} outputs[] = {
    {"class", MR_EMIT_CLASS, MR_WANT_CLASS, true, false, false},
    {"label", MR_EMIT_LABEL, MR_WANT_CLASS, true, false, false},
    {"score", MR_EMIT_SCORE, MR_WANT_Y, false, false, false},
    {"probability", MR_EMIT_PROBABILITY, MR_WANT_CLASS | MR_WANT_Y, true, false, false},
    {"probabilities", MR_EMIT_PROBABILITIES, MR_WANT_Y, true, true, false},
    {"scores", MR_EMIT_PROBABILITIES, MR_WANT_Y, false, true, false},
    {"item", MR_EMIT_ITEM, MR_WANT_ITEMS, false, false, true},
    {"items", MR_EMIT_ITEMS, MR_WANT_ITEMS, false, true, true},
    {"version", MR_EMIT_VERSION, 0, false, false, false},
};
#define OUTPUT_COUNT (sizeof outputs / sizeof *outputs)

static const struct output *output_find(const char *name, size_t bytes)
{
    for (size_t i = 0; i < OUTPUT_COUNT; i++) {
        if (strlen(outputs[i].name) == bytes && !memcmp(outputs[i].name, name, bytes)) return &outputs[i];
    }
    return NULL;
}

/* The column of a model's output that has this name; SIZE_MAX: none has. */
static size_t named_find(const struct mr_model_info *info, const char *name)
{
    for (size_t i = 0; info->output && i < info->width; i++) {
        if (!strcmp(info->output[i], name)) return i;
    }
    return SIZE_MAX;
}

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

/* Of a model whose outputs have names: as many of them as there is room for. */
static mr_status named_unknown(struct mr_layout_builder *b, const char *place, size_t m, const char *attribute,
                               const char *best)
{
    const char *const *const named = b->info[m]->output, *const model = b->job->model[m].name;
    char known[256] = "";
    size_t used = 0, i = 0;
    for (; i < b->info[m]->width && used + strlen(named[i]) + 8 < sizeof known; i++)
        used += (size_t)sprintf(known + used, "%s%s", i ? " " : "", named[i]);
    if (i < b->info[m]->width) strcpy(known + used, " ...");
    return mr_fail(b->err, MR_ECONFIG,
                   "%s: \"%s.%s\" is no output of model \"%s\"; did you mean \"%s.%s\"? Known: %s scores version",
                   place, model, attribute, model, model, best ? best : named[0], known);
}

static mr_status output_unknown(struct mr_layout_builder *b, const char *place, size_t m, const char *attribute)
{
    struct mr_near near;
    mr_near_start(&near, attribute);
    for (size_t i = 0; i < OUTPUT_COUNT; i++) mr_near_offer(&near, outputs[i].name);
    const char *const *const named = b->info[m]->output, *model = b->job->model[m].name;
    for (size_t i = 0; named && i < b->info[m]->width; i++) mr_near_offer(&near, named[i]);
    const char *best = mr_near_best(&near);
    if (named) return named_unknown(b, place, m, attribute, best);
    return mr_fail(b->err, MR_ECONFIG,
                   "%s: \"%s.%s\" is no output of model \"%s\"; did you mean \"%s.%s\"? Known: class label score "
                   "probability probabilities "
                   "scores item items version, those in the plural with an index if wanted (a field of that name: "
                   "\"\\\"%s\\\".%s\")",
                   place, model, attribute, model, model, best ? best : "class", model, attribute);
}

/* `model.score`: the only number of a regression, the probability of class 1 of a binary model. */
static mr_status emit_score(struct mr_layout_builder *b, const char *place, size_t m, struct mr_emit_item *item)
{
    const struct mr_model_info *info = b->info[m];
    const char *model = b->job->model[m].name;
    if (info->is_classifier && info->width > 2) {
        return mr_fail(b->err, MR_ECONFIG,
                       "%s: model \"%s\" has %zu classes and no single score: use \"%s.%s\" or \"%s.scores[0]\"", place,
                       model, info->width, model, info->is_logit ? "scores" : "probability", model);
    }
    item->column = info->is_classifier && info->width == 2;
    return MR_OK;
}

/* `model.attribute` of a known model. */
static mr_status emit_output(struct mr_layout_builder *b, const char *place, size_t m, const char *attribute,
                             struct mr_emit_item *item)
{
    const struct mr_model_info *info = b->info[m];
    const char *model = b->job->model[m].name;
    size_t bytes;
    bool has_index;
    unsigned long index = 0;
    if (!*attribute)
        attribute = info->output          ? info->output[0]
                    : info->item_count    ? "items"
                    : info->is_classifier ? "class"
                                          : "score";
    const size_t named = named_find(info, attribute);
    if (named != SIZE_MAX) {
        *item = (struct mr_emit_item){.literal = item->literal,
                                      .literal_bytes = item->literal_bytes,
                                      .kind = MR_EMIT_OUTPUT,
                                      .model = m,
                                      .column = (uint32_t)named};
        b->layout->want[m] |= MR_WANT_Y;
        return MR_OK;
    }
    const bool is_split = output_split(attribute, &bytes, &has_index, &index);
    const struct output *const output = output_find(attribute, bytes);
    if (!output || !is_split || (has_index && !output->takes_index)) return output_unknown(b, place, m, attribute);
    if (output->needs_classes && !info->is_classifier) {
        return mr_fail(b->err, MR_ECONFIG, "%s: model \"%s\" is a regression and has no %s: use \"%s.score\"", place,
                       model, output->name, model);
    }
    if (info->has_no_probability && output->needs_classes && output->want & MR_WANT_Y)
        return mr_fail(
            b->err, MR_ECONFIG,
            "%s: model \"%s\" of type %s has classes, but no %s: use \"%s.class\", or \"%s.score\", the number "
            "that it gives instead",
            place, model, info->type, output->name, model, model);
    if (info->is_logit && output->needs_classes && output->want & MR_WANT_Y)
        return mr_fail(
            b->err, MR_ECONFIG,
            "%s: the outputs of model \"%s\" are no probabilities (it ends in no softmax and no sigmoid): use "
            "\"%s.scores\" for them, or \"%s.class\"",
            place, model, model, model);
    if (output->needs_items && !info->item_count)
        return mr_fail(b->err, MR_ECONFIG, "%s: model \"%s\" recommends no items: use \"%s.%s\"", place, model, model,
                       info->is_classifier ? "class" : "score");
    item->model = m;
    item->kind = output->kind;
    b->layout->want[m] |= output->want;
    if (item->kind == MR_EMIT_SCORE) return emit_score(b, place, m, item);
    if (item->kind == MR_EMIT_PROBABILITIES && info->item_count && !has_index) {
        item->kind = MR_EMIT_ITEM_SCORES;
        b->layout->want[m] |= MR_WANT_ITEMS; /* which says how many there are */
    }
    if (item->kind != MR_EMIT_PROBABILITIES && item->kind != MR_EMIT_ITEMS) return MR_OK;
    /* A binary model with one output gives the probability of class 1; as probabilities it has two. */
    const bool is_binary = info->is_classifier && info->width == 1 && output->needs_classes;
    const size_t width = is_binary ? 2 : info->width;
    item->is_complement = is_binary && (!has_index || index == 0);
    if (!has_index) return MR_OK;
    if (index >= width) {
        return mr_fail(b->err, MR_ECONFIG, "%s: \"%s.%s\": model \"%s\" has outputs 0 to %zu", place, model, attribute,
                       model, width - 1);
    }
    item->kind = item->kind == MR_EMIT_ITEMS ? MR_EMIT_ITEM : MR_EMIT_OUTPUT;
    item->column = is_binary ? 0 : (uint32_t)index;
    return MR_OK;
}

/* A path that looks like an output of a model whose name is mistyped. */
static mr_status emit_typo_check(struct mr_layout_builder *b, const char *place, const char *text)
{
    const char *dot = strrchr(text, '.');
    char head[MR_NEAR_BYTES + 1];
    if (!dot || (size_t)(dot - text) > MR_NEAR_BYTES) return MR_OK;
    bool is_output = output_find(dot + 1, strcspn(dot + 1, "["));
    for (size_t m = 0; m < b->job->model_count; m++) is_output |= named_find(b->info[m], dot + 1) != SIZE_MAX;
    if (!is_output) return MR_OK;
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
static mr_status emit_field(struct mr_layout_builder *b, const char *place, const char *text, struct mr_emit_item *item)
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
    if (!mr_paths_add(&b->captures, text)) return mr_layout_no_memory(b->err);
    return mr_layout_field_add(b, text, text, MR_FIELD_CAPTURE, item->column);
}

static mr_status emit_part(struct mr_layout_builder *b, const char *place, const char *text, struct mr_emit_item *item)
{
    const struct mr_layout_part *part;
    const mr_status status = mr_layout_part_find(b, place, text, &part, &item->header);
    if (status) return status;
    item->kind = MR_EMIT_PART;
    item->part = part->part;
    return MR_OK;
}

/* `@label`: the record's label, wherever it stands. */
static mr_status emit_label(struct mr_layout_builder *b, const char *place, struct mr_emit_item *item)
{
    const char *const label = b->job->record.label;
    if (!label)
        return mr_fail(b->err, MR_ECONFIG, "%s: @label: %s", place,
                       b->job->labels.topics.count ? "labels that come on topics of their own come after the output"
                                                   : "the job names no record.label");
    if (*label != '@') return emit_field(b, place, label, item);
    const mr_status status = emit_part(b, place, label, item);
    item->is_bare = true;
    return status;
}

static mr_status emit_value(struct mr_layout_builder *b, const char *place, const char *text, struct mr_emit_item *item)
{
    if (!strcmp(text, "@label")) return emit_label(b, place, item);
    if (*text == '@') return emit_part(b, place, text, item);
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

static mr_status floats_read(struct mr_layout_builder *b)
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

mr_status mr_layout_emit(struct mr_layout_builder *b)
{
    const struct mr_map *fields = &b->job->emit.fields;
    struct mr_layout *layout = b->layout;
    if (!fields->count) return mr_fail(b->err, MR_ECONFIG, "emit.fields: names nothing to emit");
    layout->item = calloc(fields->count, sizeof *layout->item);
    if (!layout->item) return mr_layout_no_memory(b->err);
    for (size_t i = 0; i < fields->count; i++) {
        struct mr_emit_item *item = &layout->item[layout->item_count++];
        char place[160];
        snprintf(place, sizeof place, "emit.fields.%s", fields->item[i].key);
        item->literal = literal_create(fields->item[i].key, i == 0, &item->literal_bytes);
        if (!item->literal) return mr_layout_no_memory(b->err);
        const mr_status status = emit_value(b, place, fields->item[i].value, item);
        if (status) return status;
    }
    return floats_read(b);
}
