/* Any record: the whole grammar, in one pass, without recursion. */
#include <math.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"
#include "codec/json/template.h"

/* One record on its way. text moves on; reason is set by the first error. */
struct walk {
    struct mr_decoder *decoder;
    const struct json_target *target;
    const char *text, *end;
    uint64_t serial_first;       /* objects of this record have this serial or a later one */
    size_t seen_mask, seen_left; /* decoder->seen: the part in use, and how many keys it may still take */
    bool is_seen_full;
    char *unescaped;
    uint32_t depth;
    uint32_t node; /* of the value that comes next */
    bool is_root_wrong;
    mr_reason reason;
};

static bool walk_fail(struct walk *walk, mr_reason reason)
{
    walk->reason = reason;
    return false;
}

static void fields_mark(struct walk *walk, uint32_t first, uint32_t count, mr_reason reason)
{
    struct mr_decoder *const decoder = walk->decoder;
    for (uint32_t i = first; i < first + count; i++) decoder->state[decoder->order[i]] = (uint8_t)reason;
}

/* Keeps the bytes [first, walk->text) for the captures of a node. */
static void capture_put(struct walk *walk, const struct json_node *node, const char *first)
{
    struct mr_decoder *const decoder = walk->decoder;
    struct mr_rows *const rows = walk->target->rows;
    for (uint32_t i = node->order_first; i < node->order_first + node->own_count; i++) {
        const struct mr_field *const field = &decoder->field[decoder->order[i]];
        if (field->role != MR_FIELD_CAPTURE) continue;
        rows->capture[field->column * rows->row_cap + walk->target->row] =
            (struct mr_span){.data = first, .bytes = (size_t)(walk->text - first)};
        decoder->state[decoder->order[i]] = MR_REASON_NONE;
    }
}

/* A number at walk->text for the features and labels of a node. */
static bool number_put(struct walk *walk, const struct json_node *node)
{
    struct mr_decoder *const decoder = walk->decoder;
    const char *behind = NULL;
    for (uint32_t i = node->order_first; i < node->order_first + node->own_count; i++) {
        const uint32_t at = decoder->order[i];
        const struct mr_field *const field = &decoder->field[at];
        bool is_finite = false;
        if (field->role == MR_FIELD_FEATURE) {
            float value = 0;
            behind = mr_parse_f32(walk->text, walk->end, &value);
            if (!behind) break;
            walk->target->x[field->column * MR_TILE_ROWS] = value;
            is_finite = isfinite(value);
        } else if (field->role == MR_FIELD_LABEL) {
            double value = 0;
            behind = mr_parse_f64(walk->text, walk->end, &value);
            if (!behind) break;
            walk->target->rows->label[walk->target->row] = value;
            is_finite = isfinite(value);
        } else {
            continue;
        }
        decoder->state[at] = is_finite ? MR_REASON_NONE : MR_REASON_RANGE;
    }
    if (!behind) return walk_fail(walk, MR_REASON_SYNTAX);
    walk->text = behind;
    return true;
}

/* The fields of a node got a value of another type than they need. */
static void type_put(struct walk *walk, const struct json_node *node, mr_reason reason)
{
    fields_mark(walk, node->order_first, node->order_count, reason);
    walk->is_root_wrong |= node == walk->decoder->node && node->kind != JSON_ANY;
}

static bool word_skip(struct walk *walk)
{
    static const char *const words[] = {"null", "true", "false"};
    for (size_t i = 0; i < 3; i++) {
        const size_t bytes = strlen(words[i]);
        if ((size_t)(walk->end - walk->text) >= bytes && !memcmp(walk->text, words[i], bytes)) {
            walk->text += bytes;
            return true;
        }
    }
    return walk_fail(walk, MR_REASON_SYNTAX);
}

/* Scalars are the slots of a template. */
static void scalar_note(struct walk *walk, const char *first)
{
    struct json_template_set *const set = walk->decoder->templates;
    if (set->scalar_count == JSON_SLOT_MAX) return;
    set->scalar[set->scalar_count++] = (struct json_scalar){.first = first, .last = walk->text, .node = walk->node};
}

static bool scalar_read(struct walk *walk)
{
    const struct json_node *const node = walk->node == JSON_NONE ? NULL : &walk->decoder->node[walk->node];
    const char *const first = walk->text;
    bool is_number = false;
    if (*first == '"') {
        bool is_escaped;
        mr_reason reason;
        const char *const behind = json_string_read(first + 1, walk->end, &is_escaped, &reason);
        if (!behind) return walk_fail(walk, reason);
        walk->text = behind;
    } else if (*first == '-' || (*first >= '0' && *first <= '9')) {
        is_number = true;
        if (node && node->is_number) {
            if (!number_put(walk, node)) return false;
        } else {
            const char *const behind = json_number_skip(first, walk->end);
            if (!behind) return walk_fail(walk, MR_REASON_SYNTAX);
            walk->text = behind;
        }
    } else if (!word_skip(walk)) {
        return false;
    }
    scalar_note(walk, first);
    if (!node) return true;
    if (!is_number || !node->is_number) type_put(walk, node, *first == 'n' ? MR_REASON_NULL : MR_REASON_TYPE);
    if (*first != 'n') capture_put(walk, node, first);
    return true;
}

/* Sets walk->node to the schema's node of the element that comes next. */
static void element_next(struct walk *walk, struct json_frame *frame)
{
    const struct json_node *const parent = frame->node == JSON_NONE ? NULL : &walk->decoder->node[frame->node];
    walk->node = JSON_NONE;
    if (parent && parent->kind == JSON_ARRAY && frame->child < parent->child_count &&
        walk->decoder->node[parent->child_first + frame->child].index == frame->index) {
        walk->node = parent->child_first + frame->child++;
    }
    if (frame->index < UINT32_MAX) frame->index++;
}

/* Remembers a key that the schema does not name; false when its object has it already. */
static bool key_remember(struct walk *walk, uint64_t serial, const char *key, size_t bytes, uint64_t hash)
{
    struct json_key *const seen = walk->decoder->seen;
    walk->is_seen_full = !walk->seen_left--;
    if (walk->is_seen_full) return false;
    const uint64_t mixed = hash ^ serial * 0x9e3779b97f4a7c15u;
    size_t at = (size_t)(mixed >> 20) & walk->seen_mask;
    for (; seen[at].serial >= walk->serial_first; at = (at + 1) & walk->seen_mask) {
        if (seen[at].hash == (uint32_t)hash && seen[at].serial == serial && seen[at].bytes == bytes &&
            !memcmp(seen[at].text, key, bytes)) {
            return false;
        }
    }
    seen[at] = (struct json_key){.serial = serial, .text = key, .bytes = (uint32_t)bytes, .hash = (uint32_t)hash};
    return true;
}

/* Reads `"key" :` of an object and sets walk->node for its value. */
static bool key_read(struct walk *walk, const struct json_frame *frame)
{
    struct mr_decoder *const decoder = walk->decoder;
    bool is_escaped;
    mr_reason reason;
    if (walk->text == walk->end || *walk->text != '"') return walk_fail(walk, MR_REASON_SYNTAX);
    const char *key = walk->text + 1;
    const char *const behind = json_string_read(key, walk->end, &is_escaped, &reason);
    if (!behind) return walk_fail(walk, reason);
    size_t bytes = (size_t)(behind - 1 - key);
    if (is_escaped) { /* keys are the same when they mean the same */
        bytes = mr_json_decode(key, behind - 1, walk->unescaped);
        key = walk->unescaped;
        walk->unescaped += bytes;
    }
    const uint64_t hash = json_hash(key, bytes, decoder->seed);
    walk->node = JSON_NONE;
    if (frame->node != JSON_NONE) walk->node = json_child_find(decoder, frame->node, key, bytes, hash);
    if (walk->node != JSON_NONE) {
        if (decoder->node[walk->node].seen == frame->serial) return walk_fail(walk, MR_REASON_DUPLICATE_KEY);
        decoder->node[walk->node].seen = frame->serial;
    } else if (!key_remember(walk, frame->serial, key, bytes, hash)) {
        return walk_fail(walk, MR_REASON_DUPLICATE_KEY);
    }
    walk->text = json_space_skip(behind, walk->end);
    if (walk->text == walk->end || *walk->text != ':') return walk_fail(walk, MR_REASON_SYNTAX);
    walk->text++;
    return true;
}

/* At an opening bracket: a new frame. */
static bool container_open(struct walk *walk)
{
    struct mr_decoder *const decoder = walk->decoder;
    if (walk->depth == decoder->depth_max) return walk_fail(walk, MR_REASON_DEPTH);
    struct json_frame *const frame = &decoder->frame[walk->depth++];
    *frame = (struct json_frame){.node = walk->node, .is_object = *walk->text == '{', .first = walk->text};
    if (frame->is_object) frame->serial = ++decoder->serial;
    walk->text++;
    if (walk->node == JSON_NONE) return true;
    const struct json_node *const node = &decoder->node[walk->node];
    if (node->kind == (frame->is_object ? JSON_OBJECT : JSON_ARRAY)) {
        fields_mark(walk, node->order_first, node->own_count, MR_REASON_TYPE); /* captures come when it is closed */
    } else {
        type_put(walk, node, MR_REASON_TYPE);
    }
    return true;
}

/* At a closing bracket that fits: the container's value is complete. */
static void container_close(struct walk *walk, const struct json_frame *frame)
{
    walk->text++;
    walk->depth--;
    if (frame->node == JSON_NONE) return;
    const struct json_node *const node = &walk->decoder->node[frame->node];
    if (!frame->is_object && node->kind == JSON_ARRAY) {
        for (uint32_t child = frame->child; child < node->child_count; child++) { /* elements that were not there */
            const struct json_node *const missed = &walk->decoder->node[node->child_first + child];
            fields_mark(walk, missed->order_first, missed->order_count, MR_REASON_LENGTH);
        }
    }
    capture_put(walk, node, frame->first);
}

/* Behind a value, or behind an opening bracket (is_first): goes to the next value. False at the end of the record or on
 * an error. */
static bool value_next(struct walk *walk, bool is_first)
{
    for (; walk->depth; is_first = false) {
        struct json_frame *const frame = &walk->decoder->frame[walk->depth - 1];
        walk->text = json_space_skip(walk->text, walk->end);
        if (walk->text == walk->end) return walk_fail(walk, MR_REASON_SYNTAX);
        if (*walk->text == (frame->is_object ? '}' : ']')) {
            container_close(walk, frame);
            continue;
        }
        if (!is_first) {
            if (*walk->text != ',') return walk_fail(walk, MR_REASON_SYNTAX);
            walk->text = json_space_skip(walk->text + 1, walk->end);
        }
        if (frame->is_object) return key_read(walk, frame);
        element_next(walk, frame);
        return true;
    }
    return false;
}

/* Fills defaults and absent captures; names the first field of the schema that cannot do without its value. */
static struct json_verdict fields_settle(struct walk *walk)
{
    struct mr_decoder *const decoder = walk->decoder;
    const struct json_target *const target = walk->target;
    if (walk->is_root_wrong) return (struct json_verdict){MR_REASON_TYPE, MR_FIELD_NONE};
    for (uint32_t i = 0; i < decoder->field_count; i++) {
        const struct mr_field *const field = &decoder->field[i];
        const mr_reason reason = decoder->state[i];
        const bool is_absent = reason == MR_REASON_MISSING || reason == MR_REASON_NULL || reason == MR_REASON_LENGTH;
        if (reason == MR_REASON_NONE) continue;
        if (field->role == MR_FIELD_CAPTURE) {
            target->rows->capture[field->column * target->rows->row_cap + target->row] = (struct mr_span){0};
            if (!field->required) continue;
        } else if (is_absent && field->missing == MR_MISSING_DEFAULT) {
            if (field->role == MR_FIELD_LABEL) {
                target->rows->label[target->row] = field->default_value;
            } else {
                target->x[field->column * MR_TILE_ROWS] = (float)field->default_value;
            }
            continue;
        }
        return (struct json_verdict){reason, (uint16_t)i};
    }
    return (struct json_verdict){MR_REASON_NONE, MR_FIELD_NONE};
}

/* One try, with seen_cap slots for the keys that the schema does not name. */
static void record_walk(struct walk *walk, size_t seen_cap, bool is_whole)
{
    struct mr_decoder *const decoder = walk->decoder;
    bool is_more = true;
    walk->seen_mask = seen_cap - 1;
    walk->seen_left = seen_cap / 2;
    walk->unescaped = decoder->unescaped;
    walk->serial_first = decoder->serial + 1;
    decoder->templates->scalar_count = 0;
    memset(decoder->state, MR_REASON_MISSING, decoder->field_count);
    while (is_more) {
        bool is_first = false;
        walk->text = json_space_skip(walk->text, walk->end);
        if (walk->text == walk->end) {
            walk->reason = MR_REASON_SYNTAX;
            return;
        }
        if (*walk->text == '{' || *walk->text == '[') {
            if (!container_open(walk)) return;
            is_first = true;
        } else if (!scalar_read(walk)) {
            return;
        }
        is_more = value_next(walk, is_first);
    }
    if (walk->reason || !is_whole) return;
    walk->text = json_space_skip(walk->text, walk->end);
    if (walk->text != walk->end) walk->reason = MR_REASON_SYNTAX;
}

#define SEEN_FIRST 256 /* slots that stay in the first-level cache; records with more keys are read again with more */

struct json_verdict json_strict_read(struct mr_decoder *decoder, const char *text, const char *end, bool is_whole,
                                     const struct json_target *target, const char **behind_out)
{
    size_t seen_cap = decoder->seen_cap < SEEN_FIRST ? decoder->seen_cap : SEEN_FIRST;
    for (;;) {
        struct walk walk = {.decoder = decoder, .target = target, .text = text, .end = end};
        record_walk(&walk, seen_cap, is_whole);
        if (walk.is_seen_full && seen_cap < decoder->seen_cap) {
            seen_cap = seen_cap > decoder->seen_cap / 16 ? decoder->seen_cap : seen_cap * 16;
            continue;
        }
        *behind_out = walk.text;
        if (walk.reason) return (struct json_verdict){walk.reason, MR_FIELD_NONE};
        return fields_settle(&walk);
    }
}
