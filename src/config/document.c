#include "config/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Both are in the order of the text, so one walk pairs them. False when they differ: cJSON read something else than the
 * scan. */
static bool pair_items(struct mr_document *document)
{
    for (size_t i = 0; i < document->node_count; i++) {
        struct mr_node *const node = &document->node[i];
        const cJSON *item = document->root;
        if (node->previous != MR_NODE_NONE)
            item = document->node[node->previous].item->next;
        else if (node->parent != MR_NODE_NONE)
            item = document->node[node->parent].item->child;
        if (!item) return false;
        node->item = item;
    }
    return true;
}

mr_status mr_document_init(struct mr_document *document, const char *text, size_t bytes, struct mr_syntax_error *error)
{
    *document = (struct mr_document){0};
    *error = (struct mr_syntax_error){0};
    const bool is_too_long = bytes > MR_DOCUMENT_BYTES_MAX;
    if (is_too_long) bytes = 0;
    document->source = malloc(bytes + 1);
    document->text = malloc(bytes + 1);
    if (!document->source || !document->text) return MR_ENOMEM;
    if (bytes) memcpy(document->source, text, bytes);
    document->source[bytes] = '\0';
    memcpy(document->text, document->source, bytes + 1);
    document->bytes = bytes;
    if (is_too_long) {
        snprintf(error->message, sizeof error->message, "larger than %d bytes: this is not a job file",
                 MR_DOCUMENT_BYTES_MAX);
        return MR_ECONFIG;
    }
    const mr_status status = mr_document_scan(document, error);
    if (status != MR_OK) return status;
    document->root = cJSON_ParseWithLength(document->text, document->bytes + 1);
    /* The scan let pass only what cJSON reads: no tree means no memory. */
    if (!document->root || !pair_items(document)) return MR_ENOMEM;
    return MR_OK;
}

void mr_document_deinit(struct mr_document *document)
{
    cJSON_Delete(document->root);
    free(document->node);
    free(document->source);
    free(document->text);
    *document = (struct mr_document){0};
}

uint32_t mr_node_child(const struct mr_document *document, uint32_t node, const char *key)
{
    if (node == MR_NODE_NONE || document->node[node].kind != MR_NODE_OBJECT) return MR_NODE_NONE;
    uint32_t child = document->node[node].child;
    while (child != MR_NODE_NONE && strcmp(mr_node_key(document, child), key) != 0) child = document->node[child].next;
    return child;
}

const char *mr_node_key(const struct mr_document *document, uint32_t node)
{
    return document->node[node].item->string;
}

void mr_path_append(char path[MR_PATH_BYTES], const char *key)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-$";
    const size_t used = strlen(path);
    const bool is_plain = *key && !key[strspn(key, plain)];
    if (!is_plain)
        snprintf(path + used, MR_PATH_BYTES - used, "[\"%s\"]", key);
    else
        snprintf(path + used, MR_PATH_BYTES - used, "%s%s", used ? "." : "", key);
}

char *mr_node_path(const struct mr_document *document, uint32_t node, char out[MR_PATH_BYTES])
{
    uint32_t chain[MR_DOCUMENT_DEPTH_MAX + 1];
    size_t depth = 0;
    for (; node != MR_NODE_NONE && document->node[node].parent != MR_NODE_NONE; node = document->node[node].parent) {
        chain[depth++] = node;
    }
    out[0] = '\0';
    while (depth) {
        const struct mr_node *const step = &document->node[chain[--depth]];
        const size_t used = strlen(out);
        if (step->key_bytes)
            mr_path_append(out, step->item->string);
        else
            snprintf(out + used, MR_PATH_BYTES - used, "[%u]", step->index);
    }
    return out;
}

bool mr_key_is_free(const char *key)
{
    return !strncmp(key, "x-", 2) || !strcmp(key, "$schema");
}

bool mr_key_is_secret(const char *key)
{
    static const char *const words[] = {"password",   "passwd", "secret",  "token", "key.pem",
                                        "credential", "jaas",   "api_key", "apikey"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        for (const char *at = key; (at = strcasestr(at, words[i]));) {
            at += strlen(words[i]);
            if (strncmp(at, "_file", 5) != 0) return true; /* else where one is, not what it is */
        }
    }
    return false;
}
