#include "codec/json/walk.h"

#include <string.h>

#include "base/json_text.h"
#include "base/number.h"
#include "codec/json/json.h"

struct walk {
    const char *end;
    mr_leaf_fn *leaf;
    void *context;
    char name[MR_LEAF_NAME_BYTES + MR_NUMBER_BYTES];
};

static const char *value_read(struct walk *walk, const char *text, size_t name_bytes, size_t depth);

static void leaf_tell(const struct walk *walk, mr_leaf_kind kind, const char *text, const char *end, size_t name_bytes,
                      size_t depth, bool is_escaped)
{
    if (!walk->leaf) return;
    const struct mr_leaf leaf = {walk->name, name_bytes, depth, kind, text, (size_t)(end - text), is_escaped};
    walk->leaf(walk->context, &leaf);
}

/* Appends a key to the name, behind a dot. False: the name is too long. */
static bool name_add(struct walk *walk, size_t *name_bytes, const char *key, size_t bytes, bool is_escaped)
{
    size_t at = *name_bytes;
    if (at + 1 + bytes > MR_LEAF_NAME_BYTES) return false;
    if (at) walk->name[at++] = '.';
    if (is_escaped)
        at += mr_json_decode(key, key + bytes, walk->name + at);
    else
        memcpy(walk->name + at, key, bytes);
    *name_bytes = is_escaped ? at : at + bytes;
    return true;
}

/* A key and its value. */
static const char *member_read(struct walk *walk, const char *text, size_t name_bytes, size_t depth)
{
    bool is_escaped;
    mr_reason reason;
    if (text == walk->end || *text != '"') return NULL;
    const char *const key = text + 1;
    text = json_string_read(key, walk->end, &is_escaped, &reason);
    if (!text || !name_add(walk, &name_bytes, key, (size_t)(text - 1 - key), is_escaped)) return NULL;
    text = json_space_skip(text, walk->end);
    if (text == walk->end || *text != ':') return NULL;
    return value_read(walk, json_space_skip(text + 1, walk->end), name_bytes, depth);
}

static const char *element_read(struct walk *walk, const char *text, size_t name_bytes, size_t depth, size_t index)
{
    char number[MR_NUMBER_BYTES];
    const size_t bytes = mr_print_i64((long long)index, number);
    if (!name_add(walk, &name_bytes, number, bytes, false)) return NULL;
    return value_read(walk, text, name_bytes, depth);
}

/* text: the opening bracket. */
static const char *inside_read(struct walk *walk, const char *text, size_t name_bytes, size_t depth)
{
    const bool is_object = *text == '{';
    const char closing = is_object ? '}' : ']', *const first = text;
    if (depth == MR_LEAF_DEPTH_MAX) return NULL;
    text = json_space_skip(text + 1, walk->end);
    if (text < walk->end && *text == closing) {
        if (depth) leaf_tell(walk, MR_LEAF_EMPTY, first, text + 1, name_bytes, depth, false);
        return text + 1;
    }
    for (size_t index = 0;; index++) {
        text = is_object ? member_read(walk, text, name_bytes, depth + 1)
                         : element_read(walk, text, name_bytes, depth + 1, index);
        if (!text) return NULL;
        text = json_space_skip(text, walk->end);
        if (text == walk->end) return NULL;
        if (*text == closing) return text + 1;
        if (*text != ',') return NULL;
        text = json_space_skip(text + 1, walk->end);
    }
}

static const char *word_read(const struct walk *walk, const char *text, size_t name_bytes, size_t depth)
{
    static const struct {
        const char *text;
        size_t bytes;
        mr_leaf_kind kind;
    } words[] = {{"true", 4, MR_LEAF_TRUE}, {"false", 5, MR_LEAF_FALSE}, {"null", 4, MR_LEAF_NULL}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if ((size_t)(walk->end - text) < words[i].bytes || memcmp(text, words[i].text, words[i].bytes) != 0) continue;
        leaf_tell(walk, words[i].kind, text, text + words[i].bytes, name_bytes, depth, false);
        return text + words[i].bytes;
    }
    return NULL;
}

static const char *value_read(struct walk *walk, const char *text, size_t name_bytes, size_t depth)
{
    const char *const first = text;
    bool is_escaped;
    mr_reason reason;
    if (text == walk->end) return NULL;
    if (*text == '{' || *text == '[') return inside_read(walk, text, name_bytes, depth);
    if (*text == '"') {
        text = json_string_read(first + 1, walk->end, &is_escaped, &reason);
        if (text) leaf_tell(walk, MR_LEAF_STRING, first + 1, text - 1, name_bytes, depth, is_escaped);
        return text;
    }
    if (*text != '-' && (unsigned char)(*text - '0') > 9) return word_read(walk, text, name_bytes, depth);
    text = json_number_skip(first, walk->end);
    if (text) leaf_tell(walk, MR_LEAF_NUMBER, first, text, name_bytes, depth, false);
    return text;
}

const char *mr_leaves_read(const char *text, const char *end, mr_leaf_fn *leaf, void *context)
{
    struct walk walk;
    walk.end = end;
    walk.leaf = leaf;
    walk.context = context;
    text = json_space_skip(text, end);
    return text < end && *text == '{' ? inside_read(&walk, text, 0, 0) : NULL;
}

/* Whether nothing but white space stands from text on. */
static bool is_over(const char *text, const char *end)
{
    return json_space_skip(text, end) == end;
}

int mr_objects_next(const char *value, const char *end, const char **cursor, const char **object_out, mr_leaf_fn *leaf,
                    void *context)
{
    const char *const first = json_space_skip(value, end);
    const bool is_array = first < end && *first == '[', is_first = *cursor <= first;
    const char *text = is_first ? first : json_space_skip(*cursor, end);
    if (is_array && is_first) {
        text = json_space_skip(first + 1, end);
        if (text < end && *text == ']') return -1; /* an array of none */
    } else if (is_array) {
        if (text < end && *text == ']') return is_over(text + 1, end) ? 0 : -1;
        if (text == end || *text != ',') return -1;
        text = json_space_skip(text + 1, end);
    } else if (text == end) {
        return is_first ? -1 : 0;
    }
    *object_out = text;
    *cursor = mr_leaves_read(text, end, leaf, context);
    return *cursor ? 1 : -1;
}
