/* The model files of a job, and whether they fit its record and emit: local files only. */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "config/roles.h"
#include "pipeline/lane.h"
#include "pipeline/layout.h"
#include "scoring/follow.h"

/* The node whose path an error text begins with ("emit.fields.y: ..."), and where the text goes on behind it. 0: none.
 */
static uint32_t find_named(const struct mr_load *load, const char *text, const char **rest_out)
{
    uint32_t best = 0;
    size_t best_bytes = 0;
    *rest_out = text;
    for (uint32_t i = 1; i < load->document.node_count; i++) {
        char path[MR_PATH_BYTES];
        const size_t bytes = strlen(mr_node_path(&load->document, i, path));
        if (bytes <= best_bytes || strncmp(text, path, bytes) != 0 || !strchr(":. [", text[bytes])) continue;
        best = i;
        best_bytes = bytes;
        *rest_out = text + bytes;
    }
    *rest_out += strspn(*rest_out, ": ");
    return best;
}

/* What a run of this job, or of its role, would say of its memory: at its smallest number of lanes, if it chooses. */
static mr_status memory_try(const struct mr_job *job, bool learns, const struct mr_model_info **info,
                            struct mr_layout *layout, size_t *least_out, struct mr_err *err)
{
    const bool is_ordered = learns || job->labels.topics.count;
    const struct mr_run run = {.job = job,
                               .layout = layout,
                               .models = {.job = job, .info = info, .learns = learns},
                               .learns_by_offsets = learns && job->batch.by == MR_BATCH_OFFSETS,
                               .learns_by_topics = learns && job->record.learn_topics.count,
                               .is_ordered = is_ordered,
                               .lane_count = is_ordered || job->lanes < 1 ? 1 : (unsigned)job->lanes};
    *least_out = mr_run_memory_least(&run);
    return mr_run_memory_check(&run, err);
}

static void check_memory(struct mr_load *load, const struct mr_model_info **info, struct mr_layout *layout)
{
    const struct mr_job *const job = load->job;
    struct mr_err err = {0}, other = {0};
    const char *rest;
    size_t least, other_least;
    bool learns = false;
    mr_status status;
    for (size_t i = 0; i < job->model_count; i++) learns |= mr_job_model_learns(&job->model[i]);
    if (job->scorers) {
        const struct mr_job trainer = mr_job_role_view(job, MR_ROLE_TRAINER);
        const struct mr_job scorers = mr_job_role_view(job, MR_ROLE_SCORERS);
        status = memory_try(&trainer, true, info, layout, &least, &err);
        if (memory_try(&scorers, false, info, layout, &other_least, &other) && (!status || other_least > least)) {
            err = other;
            status = err.status;
        }
    } else {
        status = memory_try(job, learns, info, layout, &least, &err);
    }
    if (!status) return;
    const uint32_t node = find_named(load, err.text, &rest);
    mr_load_error(load, node, "%s", rest);
}

static void check_layout(struct mr_load *load, const struct mr_model_info **info)
{
    struct mr_layout *layout = NULL;
    struct mr_err err = {0};
    const char *rest;
    if (mr_layout_create(load->job, info, &layout, &err) == MR_ENOMEM)
        load->is_out_of_memory = true;
    else if (err.text[0]) {
        const uint32_t node = find_named(load, err.text, &rest);
        mr_load_error(load, node, "%s", rest);
    } else {
        check_memory(load, info, layout);
    }
    mr_layout_destroy(layout);
}

/* A precision that a forced backend is known not to have. "auto" takes the CPU then. */
static void check_precision(struct mr_load *load, size_t i, const struct mr_model *model)
{
    const struct mr_job *const job = load->job;
    const struct mr_model_ops *const ops = job->model[i].ops;
    const char *const name = ops->reduced ? ops->reduced(model).name : NULL;
    char base[64], path[MR_PATH_BYTES];
    const char *rest;
    if (!name || !job->backend || !strcmp(job->backend, "auto")) return;
    snprintf(base, sizeof base, "%.*s", (int)strcspn(job->backend, ":"), job->backend);
    const struct mr_backend_ops *const backend = mr_backend_find(base);
    if (!backend || backend->has_reduced) return;
    snprintf(path, sizeof path, "models[%zu].precision:", i);
    mr_load_error(load, find_named(load, path, &rest),
                  "\"%s\" is not for backend \"%s\": set \"backend\" to \"cpu\" or \"auto\", or drop precision", name,
                  base);
}

/* False: the model that this one reads has a finding itself. */
static bool has_input(const struct mr_job *job, size_t i, const struct mr_model_info *const *info)
{
    for (size_t before = 0; job->model[i].input && before < i; before++) {
        if (job->model[before].name && !strcmp(job->model[before].name, job->model[i].input)) return info[before];
    }
    return true; /* none, or none that is known: an error of its own */
}

void mr_load_check_models(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    struct mr_model **const model = calloc(job->model_count + 1, sizeof(struct mr_model *));
    const struct mr_model_info **const info = calloc(job->model_count + 1, sizeof(struct mr_model_info *));
    size_t open_count = 0;
    if (!model || !info) load->is_out_of_memory = true;
    for (size_t i = 0; i < job->model_count && !load->is_out_of_memory; i++) {
        struct mr_err err = {0};
        const struct mr_job_model *const entry = &job->model[i];
        size_t input;
        if (!entry->ops || !has_input(job, i, info)) continue;     /* has a finding */
        if (!entry->file && mr_job_model_follows(entry)) continue; /* what it is, its topic says */
        if (mr_job_model_open(job, i, info, NULL, &model[i], &input, &err) == MR_OK) {
            info[i] = entry->ops->info(model[i]);
            open_count++;
            check_precision(load, i, model[i]);
        } else {
            char path[MR_PATH_BYTES], topic[MR_PATH_BYTES];
            const char *rest;
            snprintf(topic, sizeof topic, "models[%zu].topic", i);
            snprintf(path, sizeof path, entry->file ? "models[%zu].file:" : "models[%zu]:", i);
            const uint32_t named = find_named(load, err.text, &rest); /* an error of the entry names its own place */
            /* What a topic is for depends on delivery: nothing follows from one that is not known. */
            if (!strncmp(err.text, topic, strlen(topic)) && mr_load_has_finding(load, "delivery")) continue;
            if (named)
                mr_load_error(load, named, "%s", rest);
            else
                mr_load_error(load, find_named(load, path, &rest), "%s", err.text);
        }
    }
    if (!load->report.error_count && open_count == job->model_count && !load->is_out_of_memory)
        check_layout(load, info);
    for (size_t i = 0; model && i < job->model_count; i++) {
        if (model[i] && job->model[i].ops) job->model[i].ops->close(model[i]);
    }
    free(model);
    free(info);
}
