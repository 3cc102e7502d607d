/* millrace replay: a file into a topic, at a rate. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/options.h"
#include "cli/override.h"
#include "cli/shared_flags.h"
#include "kafka/client.h"
#include "kafka/feed.h"

struct replay_options {
    char *topic;
    char *bootstrap;
    struct mr_map properties;
    double rate;
    int64_t lines, repeat;
    bool keys;
};

static mr_status replay_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    struct replay_options *opt = (struct replay_options *)(uintptr_t)options; /* the map grows; its owner frees it */
    mr_status status = mr_override_bootstrap(&opt->properties, opt->bootstrap, err);
    struct mr_feed feed = {.properties = &opt->properties,
                           .path = words->item[0],
                           .topic = opt->topic,
                           .records_per_s = opt->rate,
                           .lines_per_message = opt->lines,
                           .repeat = opt->repeat,
                           .has_keys = opt->keys};
    const int64_t started_ns = mr_clock_ns();

    if (opt->keys && opt->lines > 1)
        return mr_fail(err, MR_EUSAGE, "--keys: a message of %lld lines has no key: leave out --lines",
                       (long long)opt->lines);
    /* Before a broker is asked, which may take its time. */
    if (strcmp(feed.path, "-") != 0 && access(feed.path, R_OK))
        return mr_fail(err, MR_EINPUT, "%s: %s", feed.path, strerror(errno));

    if (!status) status = mr_feed_run(&feed, err);
    if (status) return status;
    const double seconds = (double)(mr_clock_ns() - started_ns) / 1e9;
    fprintf(stderr, "%llu lines to %s in %.2f s (%.0f a second), all acknowledged\n", (unsigned long long)feed.sent,
            opt->topic, seconds, (double)feed.sent / (seconds > 0 ? seconds : 1));
    return MR_OK;
}

#define AT(field) offsetof(struct replay_options, field)
static const struct mr_flag replay_flags[] = {
    {.letter = 't',
     .argument = "TOPIC",
     .row =
         {.key = "topic", .type = MR_OPT_STRING, .offset = AT(topic), .required = true, .doc = "Topic to write to."}},
    MR_FLAG_BOOTSTRAP(AT(bootstrap)),
    MR_FLAG_PROPERTY(AT(properties)),
    {.letter = 'r',
     .argument = "N",
     .row = {.key = "rate",
             .type = MR_OPT_DOUBLE,
             .offset = AT(rate),
             .fallback = "0",
             .min = 0,
             .max = 1e9,
             .doc = "Lines a second; 0: as fast as the broker takes them."}},
    MR_FLAG_LINES(AT(lines)),
    {.argument = "N",
     .row = {.key = "repeat",
             .type = MR_OPT_INT,
             .offset = AT(repeat),
             .fallback = "1",
             .min = 1,
             .max = 1e9,
             .doc = "How many times the file is sent."}},
    {.row = {.key = "keys",
             .type = MR_OPT_BOOL,
             .offset = AT(keys),
             .doc = "What stands before the first tab of a line is the record's key; a line without a tab has none."}},
    {0},
};
#undef AT

const struct mr_command mr_command_replay = {
    .name = "replay",
    .summary = "Send the lines of a file to a topic, at a rate",
    .usage = "FILE --topic TOPIC [flags]",
    .examples = "millrace replay readings.jsonl --topic example_1 --rate 500\n"
                "millrace replay - --topic example_1 -b kafka:9092 < readings.jsonl   # from standard input",
    .flags = replay_flags,
    .options_size = sizeof(struct replay_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = replay_run,
};
