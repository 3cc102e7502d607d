/**
 * Reads JSON objects leaf by leaf, strictly, for whoever makes something else of them. Nothing is allocated; nothing is
 * read at or past the end.
 */
#ifndef MR_CODEC_JSON_WALK_H
#define MR_CODEC_JSON_WALK_H

#include <stdbool.h>
#include <stddef.h>

#define MR_LEAF_DEPTH_MAX  32
#define MR_LEAF_NAME_BYTES 1024

typedef enum {
    MR_LEAF_NUMBER,
    MR_LEAF_STRING,
    MR_LEAF_TRUE,
    MR_LEAF_FALSE,
    MR_LEAF_NULL,
    MR_LEAF_EMPTY, /* {} or [] */
} mr_leaf_kind;

struct mr_leaf {
    const char *name; /* keys, decoded, and places in arrays, from the outermost in, with dots between: "a.b.0" */
    size_t name_bytes;
    size_t depth; /* 1: a member of the object itself */
    mr_leaf_kind kind;
    const char *text; /* as it stands; of a string what is between the quotes, still escaped */
    size_t bytes;
    bool is_escaped; /* a string that holds a backslash */
};

/** name and text are valid during the call. */
typedef void mr_leaf_fn(void *context, const struct mr_leaf *leaf);

/**
 * Reads one object at text, which may stand behind spaces; calls leaf (NULL: it only reads) for each value that holds
 * no other. Returns behind the object; NULL when there is none: no JSON object (RFC 8259, UTF-8), deeper than
 * MR_LEAF_DEPTH_MAX, or a name longer than MR_LEAF_NAME_BYTES; leaves that came before count for nothing then. Pure but
 * for the calls.
 */
const char *mr_leaves_read(const char *text, const char *end, mr_leaf_fn *leaf, void *context);

/**
 * The objects of a value, one a call: one alone, several with white space between them (joined as lines), or those of
 * an array. *cursor begins at the value's first byte, and stands behind the object afterwards; *object_out: its opening
 * brace. 1: there is one; 0: the value ends here, as it should; -1: it is nothing of that kind.
 */
int mr_objects_next(const char *value, const char *end, const char **cursor, const char **object_out, mr_leaf_fn *leaf,
                    void *context);

#endif
