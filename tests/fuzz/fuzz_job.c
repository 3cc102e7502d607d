/* Any bytes as a job file: no crash, no leak, and what the scan lets pass cJSON reads as the same tree. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/document.h"
#include "config/job.h"
#include "unit/job_registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static void check_tree(const struct mr_document *document)
{
    static const int kinds[] = {cJSON_Object, cJSON_Array, cJSON_String, cJSON_Number, 0, cJSON_NULL};
    for (size_t i = 0; i < document->node_count; i++) {
        const struct mr_node *const node = &document->node[i];
        REQUIRE(node->item && (size_t)node->first + node->bytes <= document->bytes);
        if (node->kind == MR_NODE_BOOL)
            REQUIRE(cJSON_IsBool(node->item));
        else
            REQUIRE((node->item->type & 0xff) == kinds[node->kind]);
        REQUIRE(!node->key_bytes == !node->item->string);
        REQUIRE((uint32_t)cJSON_GetArraySize(node->item) == (node->kind <= MR_NODE_ARRAY ? node->child_count : 0));
        if (node->kind == MR_NODE_STRING && !memchr(document->source + node->first, '\\', node->bytes)) {
            REQUIRE(strlen(node->item->valuestring) + 2 == node->bytes);
            REQUIRE(!memcmp(node->item->valuestring, document->source + node->first + 1, node->bytes - 2));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static FILE *talk;
    struct mr_document document;
    struct mr_syntax_error error;
    struct mr_job *job;
    struct mr_err err;
    if (!talk) talk = fopen("/dev/null", "w");
    const mr_status status = mr_document_init(&document, (const char *)data, bytes, &error);
    REQUIRE(status == MR_OK || status == MR_ECONFIG);
    if (status == MR_OK)
        check_tree(&document);
    else
        REQUIRE(error.message[0] && error.first <= document.bytes);
    REQUIRE(document.bytes == (bytes <= MR_DOCUMENT_BYTES_MAX ? bytes : 0));
    mr_document_deinit(&document);
    /* Files that a job names are opened: none that would wait for someone. */
    if (memmem(data, bytes, "file:", 5)) return 0;
    for (unsigned how = 0; how <= MR_JOB_JSON; how++) {
        const mr_status parsed = mr_job_parse_as("fuzz.json", (const char *)data, bytes, talk, how, &job, &err);
        REQUIRE(parsed == MR_OK || parsed == MR_ECONFIG);
        REQUIRE((parsed == MR_OK) == (job != NULL));
        mr_job_destroy(job);
    }
    mr_job_show("fuzz.json", (const char *)data, bytes, talk, talk, &err);
    rewind(talk);
    return 0;
}
