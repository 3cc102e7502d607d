/* Reading a job file from end to end, and freeing what it became. */
#include "config/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/options.h"
#include "config/load.h"

static void plain_deinit(struct mr_job *job)
{
    for (const struct mr_section *section = mr_sections; section->key; section++) {
        if (section->rows) mr_options_deinit(section->rows, (char *)job + section->offset);
    }
    mr_options_deinit(mr_job_options, job);
}

void mr_job_sinks_deinit(struct mr_job *job)
{
    for (size_t i = 0; i < job->sink_count; i++) {
        struct mr_job_sink *const sink = &job->sink[i];
        if (sink->ops) mr_options_deinit(sink->ops->options, sink->options);
        free(sink->options);
    }
    job->sink_count = 0;
}

void mr_job_destroy(struct mr_job *job)
{
    if (!job) return;
    if (job->source) mr_options_deinit(job->source->options, job->source_options);
    if (job->codec) mr_options_deinit(job->codec->options, job->codec_options);
    free(job->source_options);
    free(job->codec_options);
    for (size_t i = 0; i < job->model_count; i++) {
        struct mr_job_model *const model = &job->model[i];
        if (model->ops) mr_options_deinit(model->ops->options, model->options);
        free(model->options);
        free(model->name);
        free(model->file);
        free(model->input);
        free(model->save);
        free(model->topic);
    }
    mr_job_sinks_deinit(job);
    free(job->model);
    free(job->sink);
    plain_deinit(job);
    free(job->path);
    free(job);
}

/* "a/b/job.json" to "a/b"; no slash: "". */
static char *folder_of(const char *path)
{
    const char *const slash = strrchr(path, '/');
    if (!slash) return strdup("");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Name of a job that has none: that of its file, as far as its letters may stand in a name. */
static char *name_of(const char *path)
{
    const char *const slash = strrchr(path, '/');
    const char *const file = slash ? slash + 1 : path;
    char *const name = strndup(file, strcspn(file, ".") ? strcspn(file, ".") : strlen(file));
    for (char *c = name; c && *c; c++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *c)) *c = '-';
    }
    return name;
}

/* Values that depend on where the file lies. */
static void complete(struct mr_load *load, const char *path)
{
    struct mr_job *const job = load->job;
    job->path = strdup(path);
    if (!job->name) job->name = name_of(path);
    if (!job->path || !job->name) load->is_out_of_memory = true;
}

void mr_load_text(struct mr_load *load, const char *path, const char *text, size_t bytes)
{
    struct mr_syntax_error error;
    load->folder = folder_of(path);
    load->job = calloc(1, sizeof *load->job);
    mr_report_init(&load->report, &load->document, path);
    const mr_status status = mr_document_init(&load->document, text, bytes, &error);
    if (status == MR_ENOMEM || !load->folder || !load->job) {
        load->is_out_of_memory = true;
    } else if (status != MR_OK) {
        mr_report_error(&load->report, error.first, error.bytes, "", "%s", error.message);
        if (error.hint[0]) mr_report_hint(&load->report, "%s", error.hint);
    } else {
        mr_load_job(load);
        if (!load->is_out_of_memory) mr_load_cross_check(load);
        if (!load->is_out_of_memory) complete(load, path);
    }
}

bool mr_load_has_finding(const struct mr_load *load, const char *path)
{
    const size_t count = load->report.count < MR_FINDINGS_MAX ? load->report.count : MR_FINDINGS_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct mr_finding *const finding = &load->report.item[i];
        if (!finding->is_warning && finding->path && !strcmp(finding->path, path)) return true;
    }
    return false;
}

void mr_load_deinit(struct mr_load *load)
{
    mr_job_destroy(load->job);
    mr_report_deinit(&load->report);
    mr_document_deinit(&load->document);
    free(load->folder);
}

mr_status mr_load_finish(struct mr_load *load, FILE *talk, bool is_json, struct mr_err *err)
{
    const size_t errors = load->report.error_count;
    mr_status status = load->is_out_of_memory || load->report.is_out_of_memory ? MR_ENOMEM : MR_OK;
    if (status == MR_OK && is_json)
        status = mr_report_print_json(&load->report, talk);
    else if (status == MR_OK)
        mr_report_print(&load->report, talk);
    if (status != MR_OK) return mr_fail(err, MR_ENOMEM, "%s: out of memory", load->report.file);
    if (!errors) return MR_OK;
    return mr_fail(err, MR_ECONFIG, "%s: %zu error%s", load->report.file, errors, errors == 1 ? "" : "s");
}

mr_status mr_job_parse_as(const char *path, const char *text, size_t bytes, FILE *talk, unsigned how,
                          struct mr_job **job_out, struct mr_err *err)
{
    struct mr_load *const load = calloc(1, sizeof *load);
    *job_out = NULL;
    if (!load) return mr_fail(err, MR_ENOMEM, "%s: out of memory", path);
    mr_load_text(load, path, text, bytes);
    if (how & MR_JOB_MODELS && load->job && !load->is_out_of_memory) mr_load_check_models(load);
    if (how & MR_JOB_MODELS && load->job && !load->is_out_of_memory) mr_load_check_clients(load);
    const mr_status status = mr_load_finish(load, talk, how & MR_JOB_JSON, err);
    if (status == MR_OK) {
        *job_out = load->job;
        load->job = NULL; /* the caller's from here on */
    }
    mr_load_deinit(load);
    free(load);
    return status;
}

mr_status mr_job_parse(const char *path, const char *text, size_t bytes, FILE *talk, struct mr_job **job_out,
                       struct mr_err *err)
{
    return mr_job_parse_as(path, text, bytes, talk, 0, job_out, err);
}

mr_status mr_job_read(const char *path, char **text_out, size_t *bytes_out, struct mr_err *err)
{
    FILE *const file = strcmp(path, "-") != 0 ? fopen(path, "rb") : stdin;
    char *const text = malloc(MR_DOCUMENT_BYTES_MAX + 2);
    struct stat info;
    mr_status status = MR_OK;
    *text_out = NULL;
    if (!file)
        status = mr_fail(err, MR_EINPUT, "%s: %s", path, strerror(errno));
    else if (!text)
        status = mr_fail(err, MR_ENOMEM, "%s: out of memory", path);
    else if (!fstat(fileno(file), &info) && S_ISDIR(info.st_mode)) {
        status = mr_fail(err, MR_EINPUT, "%s: is a folder; name the job file in it", path);
    } else {
        *bytes_out = fread(text, 1, MR_DOCUMENT_BYTES_MAX + 1, file);
        if (ferror(file)) status = mr_fail(err, MR_EINPUT, "%s: %s", path, strerror(errno));
    }
    if (file && file != stdin) fclose(file);
    if (status == MR_OK)
        *text_out = text;
    else
        free(text);
    return status;
}

mr_status mr_job_load(const char *path, FILE *talk, struct mr_job **job_out, struct mr_err *err)
{
    char *text;
    size_t bytes;
    *job_out = NULL;
    mr_status status = mr_job_read(path, &text, &bytes, err);
    if (status != MR_OK) return status;
    status = mr_job_parse(strcmp(path, "-") != 0 ? path : "<stdin>", text, bytes, talk, job_out, err);
    free(text);
    return status;
}
