/** Outputs of a job that are also its input, or another output. Needs the job only, not the text that it came from. */
#ifndef MR_CONFIG_CLASH_H
#define MR_CONFIG_CLASH_H

#include "config/job.h"

#define MR_CLASH_BAD_RECORDS SIZE_MAX
#define MR_CLASH_SAVE        (SIZE_MAX - 1)
#define MR_CLASH_INPUT       SIZE_MAX
#define MR_CLASH_BYTES       512

struct mr_clash {
    size_t sink;      /* of the output that should be another: index in job->sink, or MR_CLASH_... */
    const char *key;  /* its option: "topic", "path", "file", "save" */
    const char *name; /* its value; borrowed from the job */
    size_t with;      /* the sink that has the same, or MR_CLASH_... */
    const char *with_key;
    size_t model, with_model; /* of MR_CLASH_SAVE: index in job->model */
};

/** Calls visit for each clash: of inputs, of topics, of files; each in the order of the sinks. Looks where paths lead.
 */
void mr_clashes_visit(const struct mr_job *job, void (*visit)(void *context, const struct mr_clash *clash),
                      void *context);

/** What is wrong; quoted: the name as it is to be shown. Returns out. */
const char *mr_clash_text(const struct mr_clash *clash, const char *quoted, char out[MR_CLASH_BYTES]);

/** What to do about it: a literal. */
const char *mr_clash_remedy(const struct mr_clash *clash);

#endif
