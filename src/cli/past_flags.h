/** Naming a past state of a job's models on the command line. */
#ifndef MR_CLI_PAST_FLAGS_H
#define MR_CLI_PAST_FLAGS_H

#include "cli/command.h"
#include "state/log.h"

/** What the flags fill. */
struct mr_past_words {
    char *to, *model;
    int64_t version, commit; /* -1: not given */
};

/** A target, and what it points to. */
struct mr_past_target {
    struct mr_state_target state;
    struct mr_state_position *position;
};

/** MR_EUSAGE: none of the three is given, or more than one, or the offsets are none. deinit accepts a zeroed one. */
mr_status mr_past_target_read(const struct mr_past_words *words, struct mr_past_target *target_out, struct mr_err *err);
void mr_past_target_deinit(struct mr_past_target *target);

#define MR_FLAG_VERSION(at)                                                                                            \
    {                                                                                                                  \
        .argument = "N", .row = {                                                                                      \
            .key = "version",                                                                                          \
            .type = MR_OPT_INT,                                                                                        \
            .offset = (at),                                                                                            \
            .fallback = "-1",                                                                                          \
            .min = -1,                                                                                                 \
            .max = 9e15,                                                                                               \
            .doc = "The model with so many updates."                                                                   \
        }                                                                                                              \
    }
#define MR_FLAG_COMMIT(at)                                                                                             \
    {                                                                                                                  \
        .argument = "N", .row = {                                                                                      \
            .key = "commit",                                                                                           \
            .type = MR_OPT_INT,                                                                                        \
            .offset = (at),                                                                                            \
            .fallback = "-1",                                                                                          \
            .min = -1,                                                                                                 \
            .max = 9e15,                                                                                               \
            .doc = "Commit number N, see `millrace model list`."                                                       \
        }                                                                                                              \
    }
#define MR_FLAG_MODEL(at)                                                                                              \
    {                                                                                                                  \
        .argument = "NAME", .row = {                                                                                   \
            .key = "model",                                                                                            \
            .type = MR_OPT_STRING,                                                                                     \
            .offset = (at),                                                                                            \
            .doc = "Which model of the job, where several have a topic."                                               \
        }                                                                                                              \
    }

#endif
