/* The effective job as JSON. It is made from the text, not from the structs: only the text knows what must not be seen.
 */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "config/substitute.h"

static bool is_hidden(const struct mr_node *node, bool is_secret)
{
    if (node->kind > MR_NODE_NUMBER) return false;
    return is_secret || (node->key_bytes && mr_key_is_secret(node->item->string)) ||
           (node->kind == MR_NODE_STRING && mr_is_substituted(node->item->valuestring));
}

/* A string, number, boolean or null as it stands in the file. */
static cJSON *shown_scalar(const struct mr_node *node, bool is_secret)
{
    if (is_hidden(node, is_secret)) return cJSON_CreateString("[set]");
    return cJSON_Duplicate(node->item, false);
}

/* Values of options are scalars, or lists or maps of scalars: no deeper. */
static cJSON *shown_value(const struct mr_document *document, uint32_t at, bool is_secret)
{
    const struct mr_node *const node = &document->node[at];
    if (node->kind > MR_NODE_ARRAY) return shown_scalar(node, is_secret);
    cJSON *const value = node->kind == MR_NODE_ARRAY ? cJSON_CreateArray() : cJSON_CreateObject();
    for (uint32_t child = node->child; value && child != MR_NODE_NONE; child = document->node[child].next) {
        cJSON *const item = shown_scalar(&document->node[child], is_secret);
        if (node->kind == MR_NODE_ARRAY)
            cJSON_AddItemToArray(value, item);
        else
            cJSON_AddItemToObject(value, mr_node_key(document, child), item);
    }
    return value;
}

/* A default as JSON would write it. */
cJSON *mr_fallback_json(const struct mr_option *row)
{
    if (!row->fallback) return NULL;
    if (row->type == MR_OPT_BOOL) return cJSON_CreateBool(!strcmp(row->fallback, "true"));
    if (row->type == MR_OPT_INT || row->type == MR_OPT_DOUBLE) return cJSON_CreateNumber(strtod(row->fallback, NULL));
    return cJSON_CreateString(row->fallback);
}

/* The rows of one table, from an object of the file (MR_NODE_NONE: it is not there). */
static void add_rows(const struct mr_document *document, uint32_t node, const struct mr_option *table, cJSON *object)
{
    for (const struct mr_option *row = table; row && row->key; row++) {
        const uint32_t child = mr_node_child(document, node, row->key);
        cJSON *const value = child == MR_NODE_NONE ? mr_fallback_json(row) : shown_value(document, child, row->secret);
        if (value) cJSON_AddItemToObject(object, row->key, value);
    }
}

static cJSON *shown_entry(const struct mr_document *document, uint32_t node, const struct mr_section *section,
                          const struct mr_option *options)
{
    cJSON *const object = cJSON_CreateObject();
    if (!object) return NULL;
    add_rows(document, node, section->selectors, object);
    add_rows(document, node, section->rows, object);
    add_rows(document, node, options, object);
    return object;
}

static const struct mr_option *entry_options(const struct mr_job *job, const struct mr_section *section, size_t index)
{
    switch (section->kind) {
    case MR_PLUG_SOURCE:
        return job->source->options;
    case MR_PLUG_CODEC:
        return job->codec->options;
    case MR_PLUG_MODEL:
        return job->model[index].ops->options;
    case MR_PLUG_SINK:
        return job->sink[index].ops->options;
    default:
        return NULL;
    }
}

static cJSON *shown_section(const struct mr_load *load, const struct mr_section *section)
{
    const struct mr_document *const document = &load->document;
    const uint32_t node = mr_node_child(document, 0, section->key);
    if (!section->is_list) return shown_entry(document, node, section, entry_options(load->job, section, 0));
    cJSON *const list = cJSON_CreateArray();
    for (uint32_t child = document->node[node].child; list && child != MR_NODE_NONE;
         child = document->node[child].next) {
        const size_t index = document->node[child].index;
        cJSON *const entry = shown_entry(document, child, section, entry_options(load->job, section, index));
        const bool is_unnamed = section->kind == MR_PLUG_MODEL && entry && !cJSON_HasObjectItem(entry, "name");
        if (is_unnamed) cJSON_AddStringToObject(entry, "name", load->job->model[index].name);
        cJSON_AddItemToArray(list, entry);
    }
    return list;
}

/* Without a section that has required keys the job has nothing of it: it runs on no defaults of it. */
static bool is_absent(const struct mr_load *load, const struct mr_section *section)
{
    if (mr_node_child(&load->document, 0, section->key) != MR_NODE_NONE) return false;
    for (const struct mr_option *row = section->rows; row && row->key; row++) {
        if (row->required) return true;
    }
    return false;
}

/* cJSON indents with tabs and puts one behind each colon; within strings it escapes them, so every tab is its own. */
mr_status mr_json_print(const cJSON *root, FILE *out)
{
    char *const text = root ? cJSON_Print(root) : NULL;
    bool is_indent = true;
    for (const char *c = text; c && *c; c++) {
        if (*c == '\t')
            fputs(is_indent ? "  " : " ", out);
        else
            fputc(*c, out);
        is_indent = *c == '\n' || (is_indent && *c == '\t');
    }
    if (text) fputc('\n', out);
    cJSON_free(text);
    return text ? MR_OK : MR_ENOMEM;
}

mr_status mr_job_show(const char *path, const char *text, size_t bytes, FILE *talk, FILE *out, struct mr_err *err)
{
    struct mr_load *const load = calloc(1, sizeof *load);
    if (!load) return mr_fail(err, MR_ENOMEM, "%s: out of memory", path);
    mr_load_text(load, path, text, bytes);
    mr_status status = mr_load_finish(load, talk, false, err);
    if (status == MR_OK) {
        cJSON *const root = cJSON_CreateObject();
        const bool is_unnamed = mr_node_child(&load->document, 0, "job") == MR_NODE_NONE;
        if (root && is_unnamed) cJSON_AddStringToObject(root, "job", load->job->name);
        if (root) add_rows(&load->document, 0, mr_job_options, root);
        for (const struct mr_section *section = mr_sections; root && section->key; section++) {
            if (!is_absent(load, section)) cJSON_AddItemToObject(root, section->key, shown_section(load, section));
        }
        status = mr_json_print(root, out);
        if (status != MR_OK) mr_fail(err, status, "%s: out of memory", path);
        cJSON_Delete(root);
    }
    mr_load_deinit(load);
    free(load);
    return status;
}
