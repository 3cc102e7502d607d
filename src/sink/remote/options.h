/** Options that all sinks behind a network share: rows for their option tables. */
#ifndef MR_SINK_REMOTE_OPTIONS_H
#define MR_SINK_REMOTE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace/option.h"

typedef enum { MR_OVERFLOW_DROP, MR_OVERFLOW_SPILL } mr_overflow;

extern const char *const mr_overflow_names[];

struct mr_remote_options {
    bool required;
    int overflow;        /* mr_overflow */
    char *spill;         /* folder; NULL: none */
    int64_t spill_bytes; /* most that lies there, of all lanes */
    int64_t queue_bytes; /* of each lane */
    int64_t batch_records, batch_bytes;
    int64_t linger; /* us */
};

/** at(member): offset of a member of the struct mr_remote_options within the sink's options. */
#define MR_REMOTE_ROWS(at)                                                                                             \
    {.key = "required",                                                                                                \
     .type = MR_OPT_BOOL,                                                                                              \
     .offset = at(required),                                                                                           \
     .fallback = "false",                                                                                              \
     .doc =                                                                                                            \
         "Offsets are committed only when the server has acknowledged, and a server that is away holds up the "        \
         "job. Without it a record counts as delivered as soon as it is in the queue, scoring never waits, and "       \
         "what does not fit follows overflow. With delivery exactly-once nothing is dropped either way: a follower "   \
         "waits, scoring does not; required then ends the job when the server refuses its credentials."},              \
        {.key = "overflow",                                                                                            \
         .type = MR_OPT_ENUM,                                                                                          \
         .offset = at(overflow),                                                                                       \
         .choices = mr_overflow_names,                                                                                 \
         .fallback = "drop",                                                                                           \
         .doc = "What happens to records when the queue is full and the sink is not required: the newest are dropped " \
                "and "                                                                                                 \
                "counted, or all go to files in the folder spill, and from there to the server once it takes records " \
                "again, also in a later run, in their order."},                                                        \
        {.key = "spill",                                                                                               \
         .type = MR_OPT_STRING,                                                                                        \
         .offset = at(spill),                                                                                          \
         .is_path = true,                                                                                              \
         .is_shared = true,                                                                                            \
         .doc = "Folder for overflow \"spill\"; it is created when missing.",                                          \
         .example = "\"spill\""},                                                                                      \
        {.key = "spill_max",                                                                                           \
         .type = MR_OPT_SIZE,                                                                                          \
         .offset = at(spill_bytes),                                                                                    \
         .fallback = "1GiB",                                                                                           \
         .min = 1 << 20,                                                                                               \
         .max = 1e15,                                                                                                  \
         .doc = "Most that this sink keeps there, all lanes together; what comes then is dropped and counted."},       \
        {.key = "queue",                                                                                               \
         .type = MR_OPT_SIZE,                                                                                          \
         .offset = at(queue_bytes),                                                                                    \
         .fallback = "16MiB",                                                                                          \
         .min = 64 << 10,                                                                                              \
         .max = 1 << 30,                                                                                               \
         .doc = "Records that wait for the sender, of each lane; no more than the job's memory has for it."},          \
        {.key = "batch_records",                                                                                       \
         .type = MR_OPT_INT,                                                                                           \
         .offset = at(batch_records),                                                                                  \
         .fallback = "5000",                                                                                           \
         .min = 1,                                                                                                     \
         .max = 100000,                                                                                                \
         .doc = "Most records of a request."},                                                                         \
        {.key = "batch_bytes",                                                                                         \
         .type = MR_OPT_SIZE,                                                                                          \
         .offset = at(batch_bytes),                                                                                    \
         .fallback = "4MiB",                                                                                           \
         .min = 4096,                                                                                                  \
         .max = 64 << 20,                                                                                              \
         .doc = "Most bytes of a request before it is compressed; a record that is larger is refused."},               \
    {                                                                                                                  \
        .key = "linger", .type = MR_OPT_DURATION, .offset = at(linger), .fallback = "100ms", .max = 60e6,              \
        .doc = "How long a record may wait for others to share a request with."                                        \
    }

/** Whether the options go together. what: "influx sink". MR_ECONFIG. */
mr_status mr_remote_check(const struct mr_remote_options *options, const char *what, struct mr_err *err);

#endif
