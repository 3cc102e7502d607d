/* Paths of the schema into a tree of steps. Runs once, at create. */
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "codec/json/json.h"

/* The tree while it grows: children linked, renumbered at the end so that they are adjacent. */
struct draft {
    char *key; /* inside key_text */
    uint32_t key_bytes, index;
    uint32_t parent, child, next;
    uint32_t field; /* first own field, linked by builder->field_next */
    json_kind kind;
    uint32_t final;
};

struct builder {
    struct draft *draft;
    uint32_t count;
    uint32_t *field_next; /* [field_count] */
    char *key_text;
    size_t key_used;
};

static mr_status path_fail(struct mr_err *err, const char *path, const char *text)
{
    return mr_fail(err, MR_ECONFIG,
                   "json: path `%s`: %s; a path is keys and indices such as a.b, x[3] or \"a key with . or [\".b", path,
                   text);
}

/* One step of a path. Returns behind it; NULL with *wrong_out when it is malformed. The key goes to key_text. */
static const char *step_read(struct builder *builder, const char *text, bool is_first, struct draft *step,
                             const char **wrong_out)
{
    *step = (struct draft){.child = JSON_NONE, .next = JSON_NONE, .field = JSON_NONE};
    if (*text == '[') {
        uint64_t index = 0;
        const char *digit = ++text;
        for (; *digit >= '0' && *digit <= '9' && index < UINT32_MAX; digit++)
            index = index * 10 + (uint64_t)(*digit - '0');
        *wrong_out = "an index is a whole number in brackets, below 4294967295";
        return digit == text || *digit != ']' || index >= UINT32_MAX ? NULL
                                                                     : (step->index = (uint32_t)index, digit + 1);
    }
    if (!is_first) {
        *wrong_out = "keys are separated by one dot";
        if (*text++ != '.') return NULL;
    }
    step->key = builder->key_text + builder->key_used;
    if (*text == '"') {
        mr_reason reason;
        bool is_escaped;
        const char *const behind = json_string_read(text + 1, text + strlen(text), &is_escaped, &reason);
        *wrong_out = "a key in quotes is not a JSON string";
        if (!behind) return NULL;
        step->key_bytes = (uint32_t)mr_json_decode(text + 1, behind - 1, step->key);
        text = behind;
    } else {
        step->key_bytes = (uint32_t)strcspn(text, ".[]\"");
        *wrong_out = "a key is empty";
        if (!step->key_bytes) return NULL;
        memcpy(step->key, text, step->key_bytes);
        text += step->key_bytes;
    }
    builder->key_used += step->key_bytes;
    return text;
}

/* Finds or adds the child; elements are kept in the order of their indices. */
static uint32_t child_get(struct builder *builder, uint32_t parent, const struct draft *step)
{
    uint32_t *link = &builder->draft[parent].child;
    for (; *link != JSON_NONE; link = &builder->draft[*link].next) {
        const struct draft *const other = &builder->draft[*link];
        if (step->key ? other->key_bytes == step->key_bytes && !memcmp(other->key, step->key, step->key_bytes)
                      : other->index == step->index) {
            return *link;
        }
        if (!step->key && other->index > step->index) break;
    }
    const uint32_t added = builder->count++;
    builder->draft[added] = *step;
    builder->draft[added].parent = parent;
    builder->draft[added].next = *link;
    *link = added;
    return added;
}

static mr_status path_add(struct builder *builder, const struct mr_field *fields, uint32_t field, struct mr_err *err)
{
    const char *const path = fields[field].path;
    const char *text = path, *wrong = "it is empty";
    uint32_t node = 0;
    while (text == path || *text) {
        struct draft step;
        text = *text ? step_read(builder, text, text == path, &step, &wrong) : NULL;
        if (!text) return path_fail(err, path, wrong);
        const json_kind kind = step.key ? JSON_OBJECT : JSON_ARRAY;
        if (builder->draft[node].kind != JSON_ANY && builder->draft[node].kind != kind) {
            return path_fail(
                err, path, "another path takes for an object what this one takes for an array, or the other way round");
        }
        builder->draft[node].kind = kind;
        node = child_get(builder, node, &step);
    }
    builder->field_next[field] = JSON_NONE;
    uint32_t *link = &builder->draft[node].field;
    while (*link != JSON_NONE) link = &builder->field_next[*link];
    *link = field;
    return MR_OK;
}

/* Breadth first: the children of a node become adjacent. */
static void nodes_number(struct mr_decoder *decoder, struct builder *builder, uint32_t *queue)
{
    uint32_t count = 1;
    queue[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct draft *const draft = &builder->draft[queue[i]];
        struct json_node *const node = &decoder->node[i];
        draft->final = i;
        *node = (struct json_node){.key = draft->key,
                                   .key_bytes = draft->key_bytes,
                                   .index = draft->index,
                                   .kind = draft->kind,
                                   .child_first = count};
        node->parent = i ? builder->draft[draft->parent].final : JSON_NONE;
        node->hash = json_hash(draft->key ? draft->key : "", draft->key_bytes, decoder->seed);
        for (uint32_t child = draft->child; child != JSON_NONE; child = builder->draft[child].next)
            queue[count++] = child;
        node->child_count = count - node->child_first;
    }
    decoder->node_count = count;
}

/* Depth first: the fields of a node and all below become adjacent in decoder->order. */
static void fields_order(struct mr_decoder *decoder, const struct builder *builder)
{
    uint32_t at = 0, used = 0;
    for (;;) {
        const struct draft *const draft = &builder->draft[at];
        struct json_node *const node = &decoder->node[draft->final];
        node->order_first = used;
        for (uint32_t field = draft->field; field != JSON_NONE; field = builder->field_next[field]) {
            decoder->order[used++] = field;
            node->is_number |= decoder->field[field].role != MR_FIELD_CAPTURE;
        }
        node->own_count = used - node->order_first;
        if (draft->child != JSON_NONE) {
            at = draft->child;
            continue;
        }
        for (;;) { /* up until there is a sibling; each node that is left is complete */
            struct json_node *const done = &decoder->node[builder->draft[at].final];
            done->order_count = used - done->order_first;
            if (!at) return;
            if (builder->draft[at].next != JSON_NONE) break;
            at = builder->draft[at].parent;
        }
        at = builder->draft[at].next;
    }
}

static void lookup_fill(struct mr_decoder *decoder)
{
    const uint32_t mask = decoder->lookup_cap - 1;
    memset(decoder->lookup, 0xff, decoder->lookup_cap * sizeof *decoder->lookup);
    for (uint32_t i = 1; i < decoder->node_count; i++) {
        uint32_t at = ((uint32_t)decoder->node[i].hash + decoder->node[i].parent) & mask;
        if (!decoder->node[i].key) continue;
        while (decoder->lookup[at] != JSON_NONE) at = (at + 1) & mask;
        decoder->lookup[at] = i;
    }
}

uint32_t json_child_find(const struct mr_decoder *decoder, uint32_t parent, const char *key, size_t bytes,
                         uint64_t hash)
{
    const uint32_t mask = decoder->lookup_cap - 1;
    for (uint32_t at = ((uint32_t)hash + parent) & mask; decoder->lookup[at] != JSON_NONE; at = (at + 1) & mask) {
        const struct json_node *const node = &decoder->node[decoder->lookup[at]];
        if (node->hash == hash && node->parent == parent && node->key_bytes == bytes &&
            !memcmp(node->key, key, bytes)) {
            return decoder->lookup[at];
        }
    }
    return JSON_NONE;
}

static mr_status conflicts_check(const struct mr_decoder *decoder, const struct mr_schema *schema, struct mr_err *err)
{
    for (uint32_t i = 0; i < decoder->node_count; i++) {
        const struct json_node *const node = &decoder->node[i];
        if (node->is_number && node->child_count) {
            return path_fail(err, schema->field[decoder->order[node->order_first]].path,
                             "it is taken for a number, and another path goes on below it");
        }
    }
    return MR_OK;
}

mr_status json_schema_compile(struct mr_decoder *decoder, const struct mr_schema *schema, struct mr_err *err)
{
    mr_status status = MR_OK;
    size_t text_bytes = 1;
    for (size_t i = 0; i < schema->field_count; i++) {
        if (!schema->field[i].path) return mr_fail(err, MR_ECONFIG, "json: field %zu has no path", i);
        text_bytes +=
            strlen(schema->field[i].path); /* a step takes at least one character: also a bound of the nodes */
    }
    if (text_bytes > UINT32_MAX / 4) return mr_fail(err, MR_ECONFIG, "json: the paths of the fields are too long");
    struct builder builder = {.count = 1};
    decoder->lookup_cap = 16;
    while (decoder->lookup_cap < 2 * text_bytes) decoder->lookup_cap *= 2;
    builder.draft = calloc(text_bytes + 1, sizeof *builder.draft);
    builder.field_next = calloc(schema->field_count + 1, sizeof *builder.field_next);
    uint32_t *const queue = calloc(text_bytes + 1, sizeof *queue);
    decoder->key_text = builder.key_text = calloc(text_bytes, 1);
    decoder->node = calloc(text_bytes + 1, sizeof *decoder->node);
    decoder->order = calloc(schema->field_count + 1, sizeof *decoder->order);
    decoder->lookup = calloc(decoder->lookup_cap, sizeof *decoder->lookup);
    if (!builder.draft || !builder.field_next || !queue || !decoder->key_text || !decoder->node || !decoder->order ||
        !decoder->lookup) {
        status = mr_fail(err, MR_ENOMEM, "json: out of memory for %zu fields", schema->field_count);
        goto done;
    }
    builder.draft[0] = (struct draft){.parent = JSON_NONE, .child = JSON_NONE, .next = JSON_NONE, .field = JSON_NONE};
    for (uint32_t i = 0; i < schema->field_count; i++) {
        status = path_add(&builder, schema->field, i, err);
        if (status) goto done;
    }
    nodes_number(decoder, &builder, queue);
    fields_order(decoder, &builder);
    lookup_fill(decoder);
    status = conflicts_check(decoder, schema, err);
done:
    free(builder.draft);
    free(builder.field_next);
    free(queue);
    return status;
}
