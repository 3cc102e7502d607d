/* Opening one model of a job: its file, what it reads, what it needs to learn. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/options.h"
#include "pipeline/layout.h"
#include "pipeline/paths.h"
#include "scoring/models.h"

/* The model of this name before index `before`. */
static size_t model_find(const struct mr_job *job, const char *name, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (!strcmp(job->model[i].name, name)) return i;
    }
    return MR_NO_MODEL;
}

/* Whether a file can be written there at the end, as far as it can be seen now: by a file beside it that takes its
 * place. */
static mr_status save_check(const char *path, size_t i, struct mr_err *err)
{
    struct stat info;
    const char *const slash = strrchr(path, '/');
    char folder[PATH_MAX];
    if (!stat(path, &info) && !S_ISREG(info.st_mode))
        return mr_fail(err, MR_ECONFIG, "models[%zu].save: \"%s\" is %s: name a file", i, path,
                       S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (stat(folder, &info) || !S_ISDIR(info.st_mode))
        return mr_fail(err, MR_ECONFIG, "models[%zu].save: there is no folder \"%s\": make it, or name another", i,
                       folder);
    if (access(folder, W_OK))
        return mr_fail(err, MR_ECONFIG, "models[%zu].save: the folder \"%s\" may not be written to", i, folder);
    return MR_OK;
}

/* What a model that learns needs of the job. */
static mr_status learning_check(const struct mr_job *job, size_t i, const struct mr_learn_ops *learn,
                                struct mr_err *err)
{
    const struct mr_job_model *const from = &job->model[i];
    const struct mr_map *const properties =
        job->source ? mr_option_value(job->source->options, job->source_options, "properties", MR_OPT_MAP) : NULL;
    const char *const servers = properties ? mr_map_get(properties, "bootstrap.servers") : NULL;
    if (from->save && !learn)
        return mr_fail(err, MR_ECONFIG, "models[%zu].save: \"%s\" does not learn: set \"learn\": true, or drop save", i,
                       from->name);
    if (learn && learn->needs_label && !mr_job_has_labels(job))
        return mr_fail(
            err, MR_ECONFIG,
            "models[%zu]: \"%s\" learns from labels: name their field in record.label, or their topic in labels", i,
            from->name);
    if (from->topic && learn && job->delivery != MR_DELIVERY_EXACTLY_ONCE)
        return mr_fail(err, MR_ECONFIG,
                       "models[%zu].topic: a model that learns writes its versions in transactions: set delivery to "
                       "\"exactly-once\", or keep its state in a file (state.file)",
                       i);
    if (!from->topic && learn && job->delivery == MR_DELIVERY_EXACTLY_ONCE)
        return mr_fail(err, MR_ECONFIG,
                       "models[%zu]: what \"%s\" learns is to be committed with its predictions: name a topic for it "
                       "(kafka-topics --bootstrap-server %s --create --topic %s.%s --partitions 1 --config "
                       "cleanup.policy=compact)",
                       i, from->name, servers ? servers : "HOST:PORT", job->name, from->name);
    return from->save ? save_check(from->save, i, err) : MR_OK;
}

/* Takes the quotes off paths that are one key. False: some path is more, and no name that `millrace score` would find
 * the same field by. */
static bool names_strip(struct mr_strings *names)
{
    for (size_t i = 0; i < names->count; i++) {
        char *const path = names->item[i];
        const size_t bytes = strlen(path);
        const bool is_quoted = *path == '"' && strchr(path + 1, '"') == path + bytes - 1;
        if (!is_quoted && strpbrk(path, ".[@\"")) return false;
        if (!is_quoted) continue;
        memmove(path, path + 1, bytes - 2);
        path[bytes - 2] = '\0';
    }
    return true;
}

mr_status mr_job_model_open(const struct mr_job *job, size_t i, const struct mr_model_info *const *info,
                            const struct mr_model_bytes *bytes, struct mr_model **model_out, size_t *input_out,
                            struct mr_err *err)
{
    const struct mr_job_model *const from = &job->model[i];
    struct mr_model_open open = {.options = from->options, .file = bytes ? bytes->name : from->file};
    struct mr_strings names = {0};
    mr_status status = MR_OK;
    if (bytes) open.bytes = bytes->data;
    if (bytes) open.byte_count = bytes->count;
    *model_out = NULL;
    *input_out = from->input ? model_find(job, from->input, i) : MR_NO_MODEL;
    if (from->input && *input_out == MR_NO_MODEL)
        return mr_fail(err, MR_ECONFIG,
                       "models[%zu].input: \"%s\" is no model before this one: name one that stands above it", i,
                       from->input);
    if (from->input)
        open.feature_count = info[*input_out]->width;
    else
        status = mr_layout_features(job, &names, err);
    if (!from->input) open.feature_count = names.count;
    if (!status && !open.file && names.count && names_strip(&names)) open.feature = (const char *const *)names.item;
    if (!status) status = from->ops->open(&open, model_out, err);
    if (!status) status = learning_check(job, i, from->ops->learn ? from->ops->learn(*model_out) : NULL, err);
    mr_paths_deinit(&names);
    if (status && *model_out) {
        from->ops->close(*model_out);
        *model_out = NULL;
    }
    return status;
}
