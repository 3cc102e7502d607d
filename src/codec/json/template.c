/* Learning templates, choosing among them, and what is left to do when one has taken a record. */
#include "codec/json/template.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

#define TRY_EVERY 16 /* how often a record is tried when none was taken for as long */

static bool is_always_supported(void)
{
    return true;
}

#ifdef MR_HAS_AVX512
static bool is_avx512_supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}
#endif

const struct json_variant json_variants[] = {
#ifdef MR_HAS_AVX512
    {.name = "avx512",
     .match = json_match_avx512,
     .run_single = json_run_single_avx512,
     .run_lines = json_run_lines_avx512,
     .is_supported = is_avx512_supported},
#endif
    {.name = "base",
     .match = json_match_base,
     .run_single = json_run_single_base,
     .run_lines = json_run_lines_base,
     .is_supported = is_always_supported},
    {.name = "strict", .match = NULL, .is_supported = is_always_supported},
    {.name = NULL},
};

struct json_template_set *json_templates_create(const struct mr_decoder *decoder)
{
    struct json_template_set *const set = calloc(1, sizeof *set);
    if (!set) return NULL;
    for (size_t i = 0; i <= JSON_TEMPLATE_MAX; i++) {
        set->item[i] = calloc(1, sizeof *set->item[i]);
        if (set->item[i]) set->item[i]->chore = calloc(decoder->field_count + 1, sizeof *set->item[i]->chore);
        if (!set->item[i] || !set->item[i]->chore) {
            json_templates_destroy(set);
            return NULL;
        }
    }
    set->variant = json_variants;
    while (!set->variant->is_supported()) set->variant++;
    return set;
}

void json_templates_destroy(struct json_template_set *set)
{
    if (!set) return;
    for (size_t i = 0; i <= JSON_TEMPLATE_MAX; i++) {
        if (set->item[i]) free(set->item[i]->chore);
        free(set->item[i]);
    }
    free(set);
}

mr_status json_variant_set(struct mr_decoder *decoder, const char *name, struct mr_err *err)
{
    for (const struct json_variant *variant = json_variants; variant->name; variant++) {
        if (strcmp(variant->name, name)) continue;
        if (!variant->is_supported()) break;
        decoder->templates->variant = variant;
        decoder->templates->count = decoder->templates->current = 0;
        return MR_OK;
    }
    return mr_fail(err, MR_EBACKEND, "json: no variant \"%s\" on this machine", name);
}

static inline const char *place_find(const char *const *gap, struct json_place place)
{
    return gap[place.slot] + place.offset;
}

bool json_chores_do(const struct json_template *template, const char *const *gap, struct mr_rows *rows, float *row_x)
{
    const size_t row = rows->row_count;
    for (uint32_t i = 0; i < template->chore_count; i++) {
        const struct json_chore *const chore = &template->chore[i];
        float *const x = row_x + chore->column * MR_TILE_ROWS;
        double label;
        switch (chore->kind) {
        case JSON_COPY:
            *x = row_x[chore->source * MR_TILE_ROWS];
            break;
        case JSON_CONSTANT:
            *x = (float)chore->value;
            break;
        case JSON_LABEL:
            if (!mr_parse_f64(place_find(gap, chore->first), place_find(gap, chore->last), &label) ||
                !isfinite(label)) {
                return false;
            }
            rows->label[row] = label;
            break;
        case JSON_LABEL_CONSTANT:
            rows->label[row] = chore->value;
            break;
        case JSON_CAPTURE:
        case JSON_ABSENT: {
            struct mr_span *const span = &rows->capture[chore->column * rows->row_cap + row];
            *span = (struct mr_span){0};
            if (chore->kind == JSON_ABSENT) break;
            span->data = place_find(gap, chore->first);
            span->bytes = (size_t)(place_find(gap, chore->last) - span->data);
            break;
        }
        }
    }
    return true;
}

static inline const char *template_read(struct json_template_set *set, uint32_t index, const char *text,
                                        const char *end, const struct json_target *target)
{
    struct json_template *const template = set->item[index];
    const char *const behind = set->variant->match(template, text, end, target->x, set->gap);
    if (!behind || (template->chore_count && !json_chores_do(template, set->gap, target->rows, target->x))) return NULL;
    template->hits++;
    set->current = index;
    set->miss_run = 0;
    return behind;
}

bool json_run_begin(struct mr_decoder *decoder, struct mr_rows *rows, struct json_run *run)
{
    struct json_template_set *const set = decoder->templates;
    if (!set->count || set->miss_run || !set->variant->run_single) return false;
    *run = (struct json_run){
        .template = set->item[set->current], .rows = rows, .gap = set->gap, .bytes_max = decoder->record_bytes_max};
    return true;
}

void json_run_end(struct mr_decoder *decoder, size_t taken)
{
    decoder->templates->item[decoder->templates->current]->hits += taken;
}

const char *json_templates_read(struct mr_decoder *decoder, const char *text, const char *end,
                                const struct json_target *target)
{
    struct json_template_set *const set = decoder->templates;
    if (!set->count || (set->miss_run > TRY_EVERY && set->miss_run % TRY_EVERY)) {
        set->miss_run++;
        return NULL;
    }
    const char *behind = template_read(set, set->current, text, end, target);
    const uint32_t first = set->current;
    for (uint32_t i = 0; !behind && i < set->count; i++) {
        if (i != first) behind = template_read(set, i, text, end, target);
    }
    set->miss_run += !behind;
    return behind;
}

static json_slot_kind kind_of(char first)
{
    return first == '"'                                     ? JSON_SLOT_STRING
           : first == '-' || (first >= '0' && first <= '9') ? JSON_SLOT_NUMBER
                                                            : JSON_SLOT_WORD;
}

/* Adds the literal [first, last) as that of slot `index`. */
static bool literal_add(struct json_template *template, uint32_t index, const char *first, const char *last)
{
    const size_t bytes = (size_t)(last - first);
    struct json_slot *const slot = &template->slot[index];
    if (bytes > JSON_TEXT_MAX - template->text_bytes) return false;
    *slot = (struct json_slot){.text = template->text_bytes, .text_bytes = (uint32_t)bytes, .column = JSON_NONE};
    memcpy(template->text + template->text_bytes, first, bytes);
    memcpy(&slot->head, first, bytes < 8 ? bytes : 8);
    memset(&slot->head_mask, 0xff, bytes < 8 ? bytes : 8);
    if (bytes > 8) memcpy(&slot->tail, last - 8, 8);
    slot->text_mask = bytes < 64 ? ((uint64_t)1 << bytes) - 1 : UINT64_MAX;
    template->slot_bytes[index] = (uint16_t)(bytes < UINT16_MAX ? bytes : UINT16_MAX);
    if (bytes > template->literal_bytes_max) template->literal_bytes_max = (uint32_t)bytes;
    template->text_bytes += (uint32_t)bytes;
    return true;
}

/* Where `text`, which lies outside of all values or at their borders, stands in the record. */
static struct json_place place_of(const struct json_template_set *set, const char *record, const char *text)
{
    uint32_t slot = 0;
    while (slot < set->scalar_count && set->scalar[slot].last <= text) slot++;
    return (struct json_place){.slot = slot, .offset = (uint32_t)(text - (slot ? set->scalar[slot - 1].last : record))};
}

/* The node's features and labels from slot `index`. False when the node needs more than a template can do. */
static bool slot_aim(const struct mr_decoder *decoder, struct json_template *template, uint32_t index,
                     const char *record)
{
    const struct json_template_set *const set = decoder->templates;
    const struct json_scalar *const scalar = &set->scalar[index];
    struct json_slot *const slot = &template->slot[index];
    if (scalar->node == JSON_NONE) return true;
    const struct json_node *const node = &decoder->node[scalar->node];
    if (slot->kind == JSON_SLOT_WORD && node->order_count) return false; /* null or not: for the strict reader */
    for (uint32_t i = node->order_first; i < node->order_first + node->own_count; i++) {
        const struct mr_field *const field = &decoder->field[decoder->order[i]];
        struct json_chore *const chore = &template->chore[template->chore_count];
        if (field->role == MR_FIELD_CAPTURE) continue;
        if (slot->kind != JSON_SLOT_NUMBER) return false;
        if (field->role == MR_FIELD_FEATURE && slot->column == JSON_NONE) {
            slot->column = field->column;
            continue;
        }
        *chore = (struct json_chore){.kind = JSON_COPY, .column = field->column, .source = slot->column};
        if (field->role == MR_FIELD_LABEL) {
            *chore = (struct json_chore){.kind = JSON_LABEL};
            chore->first = place_of(set, record, scalar->first);
            chore->last = place_of(set, record, scalar->last);
        }
        template->chore_count++;
    }
    return true;
}

/* Fields that are not numbers in slots: captures, and what is absent. */
static void rest_aim(const struct mr_decoder *decoder, struct json_template *template, const char *record,
                     const struct json_target *target)
{
    for (uint32_t i = 0; i < decoder->field_count; i++) {
        const struct mr_field *const field = &decoder->field[i];
        const bool is_absent = decoder->state[i] != MR_REASON_NONE;
        struct json_chore *const chore = &template->chore[template->chore_count];
        if (field->role != MR_FIELD_CAPTURE && !is_absent) continue;
        *chore = (struct json_chore){.column = field->column, .value = field->default_value};
        if (field->role == MR_FIELD_CAPTURE) {
            const struct mr_span *const span =
                &target->rows->capture[field->column * target->rows->row_cap + target->row];
            chore->kind = is_absent ? JSON_ABSENT : JSON_CAPTURE;
            if (!is_absent) {
                chore->first = place_of(decoder->templates, record, span->data);
                chore->last = place_of(decoder->templates, record, span->data + span->bytes);
            }
        } else {
            chore->kind = field->role == MR_FIELD_LABEL ? JSON_LABEL_CONSTANT : JSON_CONSTANT;
        }
        template->chore_count++;
    }
}

#define NUMERIC_MIN       4 /* fewer numbers are read faster one by one */
#define NUMERIC_BYTES_MAX 8 /* of a number: what the lanes hold */

/*
 * Whether all slots are numbers, at most a quarter of them long in the record that was learned (where many are, more
 * will be), whose ends are found by their look: a comma, bracket or space behind a digit, which no literal may hold but
 * at its start.
 */
static bool is_numeric(const struct json_template_set *set, const struct json_template *template)
{
    uint32_t long_count = 0;
    if (template->slot_count < NUMERIC_MIN || template->literal_bytes_max > 64) return false;
    for (uint32_t i = 0; i <= template->slot_count; i++) {
        const char *const text = template->text + template->slot[i].text;
        if (i < template->slot_count && template->slot[i].kind != JSON_SLOT_NUMBER) return false;
        if (i < template->slot_count) long_count += set->scalar[i].last - set->scalar[i].first > NUMERIC_BYTES_MAX;
        if (!template->slot[i].text_bytes) return false;
        for (uint32_t k = 1; k < template->slot[i].text_bytes; k++) {
            const unsigned char c = (unsigned char)text[k];
            if (text[k - 1] >= '0' && text[k - 1] <= '9' && (c <= ' ' || c == ',' || c == ']' || c == '}'))
                return false;
        }
    }
    return long_count <= template->slot_count / 4;
}

static bool template_make(const struct mr_decoder *decoder, struct json_template *template, const char *text,
                          const char *end, const struct json_target *target)
{
    const struct json_template_set *const set = decoder->templates;
    const char *at = text;
    template->slot_count = set->scalar_count;
    template->text_bytes = template->chore_count = 0;
    template->literal_bytes_max = 0;
    template->hits = 0;
    if (set->scalar_count == JSON_SLOT_MAX) return false; /* there may have been more */
    for (uint32_t i = 0; i < set->scalar_count; i++) {
        const struct json_scalar *const scalar = &set->scalar[i];
        if (!literal_add(template, i, at, scalar->first)) return false;
        template->slot[i].kind = kind_of(*scalar->first);
        if (!slot_aim(decoder, template, i, text)) return false;
        at = scalar->last;
    }
    rest_aim(decoder, template, text, target);
    if (!literal_add(template, set->scalar_count, at, end)) return false;
    template->is_numeric = is_numeric(set, template);
    return true;
}

void json_templates_learn(struct mr_decoder *decoder, const char *text, const char *end,
                          const struct json_target *target)
{
    struct json_template_set *const set = decoder->templates;
    uint32_t index = set->count;
    if (!set->variant->match) return;
    set->miss_count++;
    if (set->count == JSON_TEMPLATE_MAX) { /* ever more seldom: shapes that keep changing are not worth learning */
        if (set->miss_count & (set->miss_count - 1)) return;
        index = 0;
        for (uint32_t i = 1; i < set->count; i++) {
            if (set->item[i]->hits < set->item[index]->hits) index = i;
        }
    }
    struct json_template *const made = set->item[JSON_TEMPLATE_MAX];
    if (!template_make(decoder, made, text, end, target)) return;
    set->item[JSON_TEMPLATE_MAX] = set->item[index];
    set->item[index] = made;
    set->current = index;
    set->count += index == set->count;
}
