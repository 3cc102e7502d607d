/**
 * The text of a job file, its values and where each stands. cJSON reads the values; it keeps no positions, so a scan of
 * our own records them first, and refuses what cJSON would let pass (bad UTF-8, stray control bytes, loose numbers).
 */
#ifndef MR_CONFIG_DOCUMENT_H
#define MR_CONFIG_DOCUMENT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "millrace/status.h"

/** Limits of a job file: far above any real one, so that a wrong file ends quickly. */
#define MR_DOCUMENT_BYTES_MAX  (1 << 20)
#define MR_DOCUMENT_NODES_MAX  10000
#define MR_DOCUMENT_DEPTH_MAX  32
#define MR_DOCUMENT_NUMBER_MAX 60 /* cJSON reads no more of a number */

#define MR_NODE_NONE UINT32_MAX

typedef enum { MR_NODE_OBJECT, MR_NODE_ARRAY, MR_NODE_STRING, MR_NODE_NUMBER, MR_NODE_BOOL, MR_NODE_NULL } mr_node_kind;

/** One value. Nodes stand in the order of the text; node 0 is the whole. Links are indices, MR_NODE_NONE for none. */
struct mr_node {
    mr_node_kind kind;
    uint32_t first, bytes;         /* the value in the text */
    uint32_t key_first, key_bytes; /* its key with quotes; bytes 0: none */
    uint32_t parent, child, next, previous;
    uint32_t index; /* among its parent's children */
    uint32_t child_count;
    bool is_secret; /* never shown, also not in excerpts; the reader of options sets it */
    const cJSON *item;
};

/** What stops the scan: where, what, and what to do (may be empty). */
struct mr_syntax_error {
    uint32_t first, bytes;
    char message[160];
    char hint[160];
};

struct mr_document {
    char *source; /* as given, with a 0 behind */
    char *text;   /* the same with comments and trailing commas blanked */
    size_t bytes;
    struct mr_node *node;
    size_t node_count, node_cap;
    cJSON *root;
};

/**
 * Reads text. MR_OK; MR_ECONFIG with *error filled, document->source still valid for messages and no nodes; MR_ENOMEM.
 * Call mr_document_deinit in each case.
 */
mr_status mr_document_init(struct mr_document *document, const char *text, size_t bytes, struct mr_syntax_error *error);

/** Frees all and zeroes it. */
void mr_document_deinit(struct mr_document *document);

/** The scan alone: fills nodes (without items). Same results as init. document->text must be a copy that may be
 * changed. */
mr_status mr_document_scan(struct mr_document *document, struct mr_syntax_error *error);

/** The child of an object with that (decoded) key, the first one; MR_NODE_NONE when there is none. */
uint32_t mr_node_child(const struct mr_document *document, uint32_t node, const char *key);

/** Decoded key of a node that has one. */
const char *mr_node_key(const struct mr_document *document, uint32_t node);

/** Path of a node such as sinks[1].properties["linger.ms"], cut to fit; "" for the whole. Returns out. */
#define MR_PATH_BYTES 256
char *mr_node_path(const struct mr_document *document, uint32_t node, char out[MR_PATH_BYTES]);

/** Appends .key (or ["key"]) to a path, cutting it. */
void mr_path_append(char path[MR_PATH_BYTES], const char *key);

/** True for keys that are free for notes: "x-..." and "$schema". */
bool mr_key_is_free(const char *key);

/** True for keys whose values are secrets by their name: "sasl.password", "ssl.key.pem", "token" ... */
bool mr_key_is_secret(const char *key);

#endif
