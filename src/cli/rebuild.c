/* millrace rebuild: a model as it was. */
#include <stdlib.h>
#include <string.h>

#include "base/durable.h"
#include "base/options.h"
#include "cli/override.h"
#include "cli/past_flags.h"
#include "cli/shared_flags.h"
#include "verify/past.h"

struct rebuild_options {
    struct mr_past_words where;
    char *output;
    struct mr_map properties;
};

static mr_status model_write(const struct mr_past *past, size_t i, const char *path, struct mr_err *err)
{
    const struct mr_model_at_work *const model = &past->run->models.item[i];
    struct mr_blob bytes = {0};
    mr_status status = model->learn->store(model->model, &bytes, err);
    const struct iovec part = {bytes.data, bytes.bytes};
    if (!status) status = mr_durable_write(path, &part, 1, err);
    if (!status)
        fprintf(stderr, "%s: \"%s\" version %llu, of commit %llu, %zu bytes\n", path, model->job->name,
                (unsigned long long)model->version, (unsigned long long)past->commit->seq, bytes.bytes);
    mr_blob_deinit(&bytes);
    return status;
}

static mr_status rebuild_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct rebuild_options *const opt = options;
    struct mr_past_target target = {0};
    struct mr_past past = {0};
    struct mr_job *job = NULL;
    size_t model;
    mr_status status = mr_past_target_read(&opt->where, &target, err);
    if (!status) status = mr_job_load(words->item[0], stderr, &job, err);
    if (!status) status = mr_override_properties(job, &opt->properties, err);
    if (!status) status = mr_past_model(job, opt->where.model, &model, err);
    if (!status) status = mr_past_open(&past, job, model, &target.state, err);
    if (!status) status = model_write(&past, model, opt->output, err);
    mr_past_close(&past);
    mr_past_target_deinit(&target);
    mr_job_destroy(job);
    return status;
}

#define AT(field) offsetof(struct rebuild_options, field)
static const struct mr_flag rebuild_flags[] = {
    {.argument = "OFFSETS",
     .row = {.key = "to",
             .type = MR_OPT_STRING,
             .offset = AT(where.to),
             .doc = "The commit with these next offsets: TOPIC/0=12,TOPIC/1=99, all that it has."}},
    MR_FLAG_VERSION(AT(where.version)),
    MR_FLAG_COMMIT(AT(where.commit)),
    MR_FLAG_MODEL(AT(where.model)),
    {.letter = 'o',
     .argument = "FILE",
     .row = {.key = "output", .type = MR_OPT_STRING, .offset = AT(output), .required = true, .doc = "The model file."}},
    MR_FLAG_PROPERTY(AT(properties)),
    {0},
};
#undef AT

const struct mr_command mr_command_rebuild = {
    .name = "rebuild",
    .summary = "Write a model as it was at any commit that its topic still holds",
    .usage = "JOB --version N|--commit N|--to OFFSETS -o FILE [flags]",
    .examples = "millrace rebuild job.json --version 1200 -o then.safetensors\n"
                "millrace rebuild job.json --commit 17 --model sgd -o then.safetensors\n"
                "millrace rebuild job.json --to points/0=4096 -o then.safetensors",
    .notes =
        "From the snapshot before it, the records that were learned from since are read and learned again, in the\n"
        "same batches and order. At a commit the bytes must be those that were committed: else the exit code is\n"
        "70. 66: the topic does not hold it, or the input not its records.",
    .flags = rebuild_flags,
    .options_size = sizeof(struct rebuild_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = rebuild_run,
};
