/* millrace verify: what a job has written, proved from the topics. */
#include "verify/verify.h"

#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "cli/override.h"
#include "cli/shared_flags.h"
#include "config/roles.h"

struct verify_options {
    bool json;
    char *from;
    struct mr_map properties;
};

/* The job as it is proved: whole, or as its trainer's and its scorers' (else NULL). */
struct jobs {
    struct mr_job *whole, *scorers;
};

static mr_status jobs_load(const char *path, const struct mr_map *properties, struct jobs *jobs, struct mr_err *err)
{
    const char *const name = strcmp(path, "-") != 0 ? path : "<stdin>";
    char *text;
    size_t bytes;
    mr_status status = mr_job_read(path, &text, &bytes, err);
    if (status) return status;
    status = mr_job_parse(name, text, bytes, stderr, &jobs->whole, err);
    if (!status) status = mr_override_properties(jobs->whole, properties, err);
    if (!status && jobs->whole->scorers) {
        status = mr_job_parse(name, text, bytes, stderr, &jobs->scorers, err);
        if (!status) status = mr_override_properties(jobs->scorers, properties, err);
        if (!status) status = mr_job_role_apply(jobs->scorers, MR_ROLE_SCORERS, err);
        if (!status) status = mr_job_role_apply(jobs->whole, MR_ROLE_TRAINER, err);
    }
    free(text);
    return status;
}

static mr_status verify_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct verify_options *const opt = options;
    const struct mr_verify_options how = {.from = opt->from};
    struct mr_proof *const proof = calloc(1, sizeof *proof);
    struct jobs jobs = {0};
    mr_status status =
        proof ? jobs_load(words->item[0], &opt->properties, &jobs, err) : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) {
        status = jobs.scorers ? mr_verify_roles(jobs.whole, jobs.scorers, &how, proof, err)
                              : mr_verify(jobs.whole, &how, proof, err);
        if (!status || proof->total || proof->facts.count || proof->notes.count)
            mr_proof_print(proof, jobs.whole->name, opt->json, stdout);
        if (!status || proof->total) status = mr_proof_status(proof, err); /* a contradiction goes before all else */
    }
    mr_job_destroy(jobs.whole);
    mr_job_destroy(jobs.scorers);
    if (proof) mr_proof_deinit(proof);
    free(proof);
    return status;
}

#define AT(field) offsetof(struct verify_options, field)
static const struct mr_flag verify_flags[] = {
    {.row = {.key = "json", .type = MR_OPT_BOOL, .offset = AT(json), .doc = "The report as one JSON object."}},
    {.argument = "WHERE",
     .row = {.key = "from",
             .type = MR_OPT_STRING,
             .offset = AT(from),
             .doc = "Where the job began, in the forms of source.start: earliest, a time, or offsets such as "
                    "topic/0=12,topic/1=99; by default what source.start says."}},
    MR_FLAG_PROPERTY(AT(properties)),
    {0},
};
#undef AT

const struct mr_command mr_command_verify = {
    .name = "verify",
    .summary = "Prove from the topics that each record was answered and learned from once",
    .usage = "JOB [flags]",
    .examples = "millrace verify job.json                      # what is proved, and what is wrong\n"
                "millrace verify job.json --json               # for scripts: findings with topic, partition, offset\n"
                "millrace verify job.json --from example_1/0=5 # of a group that began there",
    .notes = "All committed records are decoded, scored, learned from and encoded again, and held against what the\n"
             "topics hold: inputs up to the group's offsets, outputs, dead letters, state. Nothing is written.\n"
             "Exit codes: 0 all is proved (what can not be is listed), 70 something contradicts, 66 records that are\n"
             "needed are no longer there, 69 no broker answers, 75 a transaction is still open: try again.",
    .flags = verify_flags,
    .options_size = sizeof(struct verify_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = verify_run,
};
