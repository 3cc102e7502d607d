/* The sections of a job file: which plug-in, which tables, and the struct that each fills. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "base/options.h"
#include "config/load.h"
#include "config/substitute.h"
#include "modelfile/model_type.h"

enum { TARGETS_MAX = 3 };

/* "kafka, file" of the plug-ins that are built in. */
static void list_plugs(mr_plug_kind kind, char *out, size_t out_bytes)
{
    struct mr_plug plug;
    size_t used = 0;
    snprintf(out, out_bytes, "none");
    for (size_t i = 0; used < out_bytes && mr_plug_at(kind, i, &plug); i++) {
        used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", i ? ", " : "", plug.name);
    }
}

/* A name that is no plug-in of this build. */
static void unknown_plug(struct mr_load *load, uint32_t node, const struct mr_section *section, const char *name)
{
    char found[MR_QUOTED_BYTES], names[256];
    struct mr_plug plug;
    struct mr_near near;
    mr_near_start(&near, name);
    for (size_t i = 0; mr_plug_at(section->kind, i, &plug); i++) mr_near_offer(&near, plug.name);
    list_plugs(section->kind, names, sizeof names);
    const bool is_planned = mr_is_planned(section->key, name);
    mr_load_found(load, node, false, found);
    if (is_planned)
        mr_load_error(load, node, "%s is not in this build yet", mr_load_found(load, node, false, found));
    else
        mr_load_error(load, node, "unknown %s %s", mr_plug_kind_name(section->kind),
                      mr_load_found(load, node, false, found));
    if (!is_planned) mr_load_suggest(load, mr_near_best(&near));
    mr_report_note(&load->report, "%ss of this build: %s", mr_plug_kind_name(section->kind), names);
}

/* A model's type, as its file says it. */
static bool choose_by_file(struct mr_load *load, uint32_t node, const struct mr_section *section,
                           struct mr_plug *plug_out)
{
    const uint32_t child = mr_node_child(&load->document, node, "file");
    const struct mr_model_ops *ops;
    struct mr_err err;
    const struct mr_target known[] = {{section->selectors, NULL}, {section->rows, NULL}};
    if (mr_load_is_mistyped(load, node, known, 2, section->selector)) return false;
    if (child == MR_NODE_NONE) {
        mr_load_error(load, node, "\"type\" is missing, and there is no \"file\" that says it");
        return false;
    }
    if (load->document.node[child].kind != MR_NODE_STRING) return false;
    char *const name = mr_load_string(load, child), *const path = name ? mr_path_join(load->folder, name) : NULL;
    const mr_status status = path ? mr_model_type_find(path, &ops, &err) : MR_ENOMEM;
    if (name && (!path || status == MR_ENOMEM)) load->is_out_of_memory = true;
    if (status && status != MR_ENOMEM) {
        mr_load_error(load, child, "%s", err.text);
        if (status == MR_EINPUT) mr_report_hint(&load->report, "or add \"type\", if it is to be made");
    }
    free(name);
    free(path);
    return !status && mr_plug_find(MR_PLUG_MODEL, ops->name, plug_out);
}

/* Finds the plug-in that a section's object names. False when there is none; a missing selector is found later as a
 * missing key. */
static bool choose_plug(struct mr_load *load, uint32_t node, const struct mr_section *section, struct mr_plug *plug_out)
{
    const uint32_t child = mr_node_child(&load->document, node, section->selector);
    if (child == MR_NODE_NONE && section->kind == MR_PLUG_MODEL) return choose_by_file(load, node, section, plug_out);
    if (child == MR_NODE_NONE || load->document.node[child].kind != MR_NODE_STRING) return false;
    /* Without findings of its own: the value is read once more as an ordinary row. */
    struct mr_err err;
    char *name;
    const mr_status status = mr_substitute(load->document.node[child].item->valuestring, load->folder, &name, &err);
    if (status == MR_ENOMEM) load->is_out_of_memory = true;
    if (status != MR_OK) return false;
    const bool is_found = mr_plug_find(section->kind, name, plug_out);
    if (!is_found && *name) unknown_plug(load, child, section, name);
    free(name);
    return is_found;
}

static bool expect_object(struct mr_load *load, uint32_t node, const char *example)
{
    char found[MR_QUOTED_BYTES];
    if (load->document.node[node].kind == MR_NODE_OBJECT) return true;
    mr_load_error(load, node, "expected an object, found %s", mr_load_found(load, node, false, found));
    if (example) mr_report_note(&load->report, "such as %s", example);
    return false;
}

static bool init_rows(struct mr_load *load, const struct mr_option *rows, void *options)
{
    const bool is_good = mr_options_init(rows, options, NULL) == MR_OK;
    if (!is_good) load->is_out_of_memory = true;
    return is_good;
}

/*
 * One object of a section: its selectors, the section's own rows (into common, may be NULL) and the plug-in's options,
 * which are allocated and handed over through options_out (NULL when the plug-in has none or is unknown). True when
 * plug_out is valid.
 */
static bool load_entry(struct mr_load *load, uint32_t node, const struct mr_section *section,
                       struct mr_selector *selector, void *common, struct mr_plug *plug_out, void **options_out)
{
    struct mr_target targets[TARGETS_MAX];
    size_t target_count = 0;
    char what[80];
    const size_t errors_before = load->report.error_count;
    *options_out = NULL;
    *plug_out = (struct mr_plug){0};
    if (!expect_object(load, node, section->is_list ? NULL : section->example)) return false;
    const bool has_plug = section->kind != MR_PLUG_NONE && choose_plug(load, node, section, plug_out);
    if (has_plug) {
        *options_out = calloc(1, plug_out->options_size + 1);
        if (!*options_out || !init_rows(load, plug_out->options, *options_out)) {
            load->is_out_of_memory = true;
            return false;
        }
    }
    if (section->selectors) targets[target_count++] = (struct mr_target){section->selectors, selector};
    if (section->rows) targets[target_count++] = (struct mr_target){section->rows, common};
    if (has_plug && plug_out->options) targets[target_count++] = (struct mr_target){plug_out->options, *options_out};
    if (has_plug)
        snprintf(what, sizeof what, "a %s %s", plug_out->name,
                 section->kind == MR_PLUG_CODEC ? "record" : mr_plug_kind_name(section->kind));
    else
        snprintf(what, sizeof what, "%s", section->key);
    mr_load_object(load, node, targets, target_count, what, section->kind != MR_PLUG_NONE && !has_plug);
    if (has_plug && plug_out->check && errors_before == load->report.error_count && !load->is_out_of_memory) {
        struct mr_err err = {0};
        if (plug_out->check(*options_out, &err) != MR_OK) mr_load_error(load, node, "%s", err.text);
    }
    return has_plug;
}

static void selector_deinit(const struct mr_section *section, struct mr_selector *selector)
{
    mr_options_deinit(section->selectors, selector);
}

/* source and record: one plug-in each. */
static void load_single(struct mr_load *load, uint32_t node, const struct mr_section *section)
{
    struct mr_job *const job = load->job;
    struct mr_selector selector = {0};
    struct mr_plug plug;
    void *options;
    const bool has_plug = load_entry(load, node, section, &selector, (char *)job + section->offset, &plug, &options);
    if (section->kind == MR_PLUG_SOURCE) {
        job->source = has_plug ? plug.ops : NULL;
        job->source_options = options;
    } else if (section->kind == MR_PLUG_CODEC) {
        job->codec = has_plug ? plug.ops : NULL;
        job->codec_options = options;
    } else {
        assert(!options);
    }
    selector_deinit(section, &selector);
}

static void load_model(struct mr_load *load, uint32_t node, const struct mr_section *section)
{
    struct mr_job_model *const model = &load->job->model[load->job->model_count++];
    const size_t errors_before = load->report.error_count;
    struct mr_selector selector = {0};
    struct mr_plug plug;
    if (load_entry(load, node, section, &selector, NULL, &plug, &model->options))
        model->ops = plug.ops;
    else if (errors_before == load->report.error_count && !load->is_out_of_memory)
        mr_load_error(load, node, "\"type\" is missing");
    model->name = selector.name;
    selector.name = NULL;
    if (!model->name && model->ops && !(model->name = strdup(model->ops->name))) load->is_out_of_memory = true;
    model->file = selector.file;
    model->input = selector.input;
    model->save = selector.save;
    model->topic = selector.topic;
    selector.file = selector.input = selector.save = selector.topic = NULL;
    selector_deinit(section, &selector);
}

static void load_sink(struct mr_load *load, uint32_t node, const struct mr_section *section)
{
    struct mr_job_sink *const sink = &load->job->sink[load->job->sink_count++];
    struct mr_selector selector = {0};
    struct mr_plug plug;
    if (load_entry(load, node, section, &selector, NULL, &plug, &sink->options)) sink->ops = plug.ops;
    selector_deinit(section, &selector);
}

/* models and sinks: arrays of plug-ins. */
static void load_list(struct mr_load *load, uint32_t node, const struct mr_section *section)
{
    const struct mr_document *const document = &load->document;
    struct mr_job *const job = load->job;
    const size_t count = document->node[node].child_count;
    char found[MR_QUOTED_BYTES];
    if (document->node[node].kind != MR_NODE_ARRAY) {
        mr_load_error(load, node, "expected an array of objects, found %s", mr_load_found(load, node, false, found));
        if (document->node[node].kind == MR_NODE_OBJECT) mr_report_hint(&load->report, "put it in [ ]");
        return;
    }
    if (!count) mr_load_error(load, node, "needs at least one %s", mr_plug_kind_name(section->kind));
    if (section->kind == MR_PLUG_MODEL)
        job->model = calloc(count + 1, sizeof *job->model);
    else
        job->sink = calloc(count + 1, sizeof *job->sink);
    if (section->kind == MR_PLUG_MODEL ? !job->model : !job->sink) {
        load->is_out_of_memory = true;
        return;
    }
    for (uint32_t child = document->node[node].child; child != MR_NODE_NONE; child = document->node[child].next) {
        if (section->kind == MR_PLUG_MODEL)
            load_model(load, child, section);
        else
            load_sink(load, child, section);
    }
}

/* The key of a job that an unknown one most likely meant, or NULL. */
static const char *nearest_section(const char *key)
{
    struct mr_near near;
    mr_near_start(&near, key);
    for (const struct mr_section *section = mr_sections; section->key; section++) mr_near_offer(&near, section->key);
    for (const struct mr_option *row = mr_job_options; row->key; row++) mr_near_offer(&near, row->key);
    return mr_near_best(&near);
}

static bool is_known_key(const char *key)
{
    return mr_key_is_free(key) || mr_section_find(key) || mr_option_find(mr_job_options, key);
}

static void unknown_section(struct mr_load *load, uint32_t node)
{
    const struct mr_node *const value = &load->document.node[node];
    const char *const key = mr_node_key(&load->document, node);
    char path[MR_PATH_BYTES], keys[512];
    size_t used = 0;
    const bool is_planned = mr_is_planned("", key);
    for (const struct mr_section *section = mr_sections; section->key && used < sizeof keys; section++) {
        used += (size_t)snprintf(keys + used, sizeof keys - used, "%s, ", section->key);
    }
    for (const struct mr_option *row = mr_job_options; row->key && used < sizeof keys; row++) {
        used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%s", row->key, row[1].key ? ", " : "");
    }
    mr_report_error(&load->report, value->key_first, value->key_bytes, mr_node_path(&load->document, node, path),
                    is_planned ? "not in this build yet" : "unknown key");
    if (!is_planned) mr_load_suggest(load, nearest_section(key));
    mr_report_note(&load->report, "keys of a job: %s", keys);
}

/* A required section is not there; nor is it there under a mistyped name, which has its own finding. */
static void missing_section(struct mr_load *load, const struct mr_section *section)
{
    const struct mr_document *const document = &load->document;
    for (uint32_t child = document->node[0].child; child != MR_NODE_NONE; child = document->node[child].next) {
        const char *const key = mr_node_key(document, child);
        const char *const near = is_known_key(key) ? NULL : nearest_section(key);
        if (near && !strcmp(near, section->key)) return;
    }
    mr_report_error(&load->report, document->node[0].first, 1, section->key, "missing");
    mr_report_hint(&load->report, "add \"%s\": %s", section->key, section->example);
    mr_report_note(&load->report, "%s", section->doc);
}

static void find_duplicates(struct mr_load *load)
{
    const struct mr_document *const document = &load->document;
    for (uint32_t i = 1; i < document->node_count; i++) {
        const struct mr_node *const node = &document->node[i];
        if (!node->key_bytes || mr_node_child(document, node->parent, node->item->string) == i) continue;
        const struct mr_node *const twin = &document->node[mr_node_child(document, node->parent, node->item->string)];
        char path[MR_PATH_BYTES];
        size_t line = 1;
        for (uint32_t at = 0; at < twin->key_first; at++) line += document->source[at] == '\n';
        mr_report_error(&load->report, node->key_first, node->key_bytes, mr_node_path(document, i, path),
                        "given twice");
        mr_report_hint(&load->report, "it stands on line %zu already", line);
    }
}

void mr_load_job(struct mr_load *load)
{
    const struct mr_document *const document = &load->document;
    if (!expect_object(load, 0, NULL) || !init_rows(load, mr_job_options, load->job)) return;
    find_duplicates(load);
    for (const struct mr_section *section = mr_sections; section->key; section++) {
        if (section->rows && !init_rows(load, section->rows, (char *)load->job + section->offset)) return;
        const uint32_t node = mr_node_child(document, 0, section->key);
        if (node == MR_NODE_NONE) {
            if (section->is_required) missing_section(load, section);
        } else if (section->is_list) {
            load_list(load, node, section);
        } else {
            load_single(load, node, section);
        }
    }
    for (uint32_t child = document->node[0].child; child != MR_NODE_NONE; child = document->node[child].next) {
        const char *const key = mr_node_key(document, child);
        const struct mr_option *const row = mr_option_find(mr_job_options, key);
        if (mr_key_is_free(key) || mr_node_child(document, 0, key) != child || mr_section_find(key)) continue;
        if (row)
            mr_load_value(load, child, row, load->job);
        else
            unknown_section(load, child);
    }
}
