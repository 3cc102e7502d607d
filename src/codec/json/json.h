/**
 * The JSON decoder, inside. Three ways read a record, each trusted less than the next:
 *   template_*.c  a record of a shape seen before: same keys, same order, same spacing, plain scalars; any doubt: not
 * taken strict.c      any record: the full grammar, every reason Both give the same rows for the records that a
 * template takes (tests/parity/test_json_oracle.c).
 */
#ifndef MR_CODEC_JSON_H
#define MR_CODEC_JSON_H

#include "millrace/codec.h"

#define JSON_NONE UINT32_MAX

/** What the schema says about one place in a record: a tree of steps, children of a node adjacent. Node 0 is the record
 * itself. */
typedef enum {
    JSON_ANY,    /* no path goes deeper */
    JSON_OBJECT, /* paths go on with keys */
    JSON_ARRAY,  /* paths go on with indices */
} json_kind;

struct json_node {
    const char *key; /* decoded; NULL for an array element */
    uint32_t key_bytes;
    uint32_t index; /* of an array element */
    uint64_t hash;  /* of the key */
    uint32_t parent;
    json_kind kind;
    uint32_t child_first, child_count;
    uint32_t order_first; /* fields of this node and all below: decoder->order[order_first ..+ order_count) */
    uint32_t order_count;
    uint32_t own_count; /* the first of them belong to the node itself */
    bool is_number;     /* one of its own fields is a feature or a label */
    uint64_t seen;      /* key: serial of the object in which the key stood last */
};

/** One open object or array. */
struct json_frame {
    uint32_t node; /* JSON_NONE: nothing below is needed */
    bool is_object;
    uint32_t index;    /* next array element */
    uint32_t child;    /* next child that an array element may match */
    uint64_t serial;   /* of the object */
    const char *first; /* its opening bracket */
};

/** A key of an object that the schema does not name: remembered to find duplicates. */
struct json_key {
    uint64_t serial; /* of its object; the slot is free when it is older than the record */
    const char *text;
    uint32_t bytes;
    uint32_t hash;
};

struct json_template_set; /* template.h */

struct mr_decoder {
    struct mr_field *field; /* [field_count]; path is not kept */
    uint32_t field_count;
    mr_framing framing;
    uint32_t depth_max;
    uint32_t record_bytes_max;
    struct json_node *node;
    uint32_t node_count;
    uint32_t *lookup; /* [lookup_cap], a power of two: nodes by parent and key; JSON_NONE: free */
    uint32_t lookup_cap;
    uint32_t *order;          /* [field_count] */
    char *key_text;           /* bytes of all keys */
    uint8_t *state;           /* [field_count] mr_reason of each field in the current record; NONE: found */
    struct json_frame *frame; /* [depth_max] */
    struct json_key *seen;    /* [seen_cap], a power of two */
    size_t seen_cap;
    char *unescaped; /* [record_bytes_max] decoded escaped keys of one record */
    uint64_t serial; /* of objects, never reused */
    struct json_template_set *templates;
    uint64_t seed; /* of the key hash: nobody outside can build colliding keys */
};

/** Where the values of one record go. */
struct json_target {
    struct mr_rows *rows;
    float *x; /* column c of the row: x[c * MR_TILE_ROWS] */
    size_t row;
};

/** Why a record was refused. */
struct json_verdict {
    mr_reason reason; /* MR_REASON_NONE: a row */
    uint16_t field;
};

/* text.c: the tokens. All return behind the token, or NULL with *reason_out set (its value means nothing otherwise);
 * they never read at or past end. */

/** text stands behind the opening quote. Checks escapes, control characters and UTF-8. *is_escaped_out: holds a
 * backslash. */
const char *json_string_read(const char *text, const char *end, bool *is_escaped_out, mr_reason *reason_out);

/** Grammar of a number only. */
const char *json_number_skip(const char *text, const char *end);

/** Hash of a decoded key. */
uint64_t json_hash(const char *key, size_t bytes, uint64_t seed);

static inline const char *json_space_skip(const char *text, const char *end)
{
    while (text < end && (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r')) text++;
    return text;
}

/* schema.c */

/** Compiles the schema's paths into decoder->node, order and key_text. */
mr_status json_schema_compile(struct mr_decoder *decoder, const struct mr_schema *schema, struct mr_err *err);

/** The child of `parent` with that decoded key; JSON_NONE when the schema names none. */
uint32_t json_child_find(const struct mr_decoder *decoder, uint32_t parent, const char *key, size_t bytes,
                         uint64_t hash);

/* strict.c */

/**
 * Reads one value at text, with the values it holds, into the target. *behind_out: behind the value, or where reading
 * stopped. is_whole: nothing but space may follow before end.
 *
 * Which reason a record gets depends on the record and the schema alone:
 *   - the first error of the text in reading order wins: SYNTAX, ENCODING (not UTF-8, a lone surrogate escape), DEPTH
 * (at the bracket that is too deep), DUPLICATE_KEY (behind the second one); no field is named;
 *   - then a record that is not an object (an array, where paths start with an index): TYPE, no field named;
 *   - then the first field in the order of the schema that cannot do without its value: MISSING, NULL (itself or what
 * it lies in), LENGTH (its array has fewer elements), TYPE (also what it lies in), RANGE (infinite as float32, a label
 *     as float64). MISSING, NULL and LENGTH give way to a default; captures that are not required are absent instead.
 * EMPTY and SIZE are the framing's, before any of these. NaN and Infinity are no JSON: SYNTAX.
 */
struct json_verdict json_strict_read(struct mr_decoder *decoder, const char *text, const char *end, bool is_whole,
                                     const struct json_target *target, const char **behind_out);

#endif
