/* millrace config: what a job file may hold, and what one comes to. */
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "config/job.h"

static mr_status show(const char *path, struct mr_err *err)
{
    char *text;
    size_t bytes;
    mr_status status = mr_job_read(path, &text, &bytes, err);
    if (status != MR_OK) return status;
    status = mr_job_show(strcmp(path, "-") != 0 ? path : "<stdin>", text, bytes, stderr, stdout, err);
    free(text);
    return status;
}

static mr_status config_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const char *const what = words->item[0];
    const bool is_show = !strcmp(what, "show");
    (void)options;
    if (is_show && words->count < 2) return mr_fail(err, MR_EUSAGE, "show needs a job file");
    if (!is_show && words->count > 1) return mr_fail(err, MR_EUSAGE, "unexpected argument \"%s\"", words->item[1]);
    if (is_show) return show(words->item[1], err);
    if (!strcmp(what, "schema"))
        mr_job_schema_print(stdout);
    else
        mr_job_reference_print(stdout);
    return MR_OK;
}

static const char *const config_choices[] = {"schema", "reference", "show", NULL};

const struct mr_command mr_command_config = {
    .name = "config",
    .summary = "Print the job file's schema or reference, or a job with all defaults",
    .usage = "schema|reference|show JOB",
    .examples = "millrace config schema > millrace.schema.json   # name it as \"$schema\" in a job: editors complete "
                "and check\n"
                "millrace config reference                       # every key, its default and meaning, as Markdown\n"
                "millrace config show job.json                   # the job as it would run, secrets masked",
    .choices = config_choices,
    .word_min = 1,
    .word_max = 2,
    .completes_files = true,
    .run = config_run,
};
