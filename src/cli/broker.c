/* millrace broker: the embedded broker as a process of its own. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "kafka/embedded.h"

struct broker_options {
    struct mr_strings topics;
    int64_t partitions;
    char *address_file;
};

/* Written beside and renamed, so that a reader never sees half an address. */
static mr_status address_write(const char *path, const char *servers, struct mr_err *err)
{
    char beside[4096];
    snprintf(beside, sizeof beside, "%s.new", path);
    FILE *file = fopen(beside, "w");
    const bool is_written = file && fprintf(file, "%s\n", servers) > 0;
    if (file && fclose(file) == 0 && is_written && rename(beside, path) == 0) return MR_OK;
    return mr_fail(err, MR_EIO, "%s: the address could not be written: %s", path, strerror(errno));
}

static mr_status broker_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct broker_options *opt = options;
    const char *servers;
    sigset_t set;
    int number = 0;
    mr_status status;

    (void)words;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    status = mr_kafka_embedded_start(&servers, err);
    for (size_t i = 0; i < opt->topics.count && !status; i++)
        status = mr_kafka_embedded_topic(opt->topics.item[i], (int32_t)opt->partitions, err);
    if (!status && opt->address_file) status = address_write(opt->address_file, servers, err);
    if (!status) {
        printf("%s\n", servers);
        fflush(stdout);
        fprintf(stderr, "Ctrl-C ends it, and everything in it is gone.\n");
        sigwait(&set, &number);
    }
    mr_kafka_embedded_stop();
    return status;
}

#define AT(field) offsetof(struct broker_options, field)
static const struct mr_flag broker_flags[] = {
    {.letter = 't',
     .argument = "TOPIC",
     .row = {.key = "topic",
             .type = MR_OPT_STRINGS,
             .offset = AT(topics),
             .doc = "Topic to create at start; repeatable. Others appear with 4 partitions when they are asked for."}},
    {.argument = "N",
     .row = {.key = "partitions",
             .type = MR_OPT_INT,
             .offset = AT(partitions),
             .fallback = "4",
             .min = 1,
             .max = 1000,
             .doc = "Partitions of the topics named with --topic."}},
    {.argument = "FILE",
     .row = {.key = "address-file",
             .type = MR_OPT_STRING,
             .offset = AT(address_file),
             .doc = "Write the address to a file once the broker listens: scripts wait for it."}},
    {0},
};
#undef AT

const struct mr_command mr_command_broker = {
    .name = "broker",
    .summary = "A Kafka broker in memory, for demos and tests",
    .usage = "[flags]",
    .examples = "millrace broker --topic example_1 --topic example_2\n"
                "millrace broker --address-file /tmp/broker   # then: -b \"$(cat /tmp/broker)\"",
    .notes = "It keeps at most 5 MiB a partition, drops the oldest silently, forgets all at its end, does not hide "
             "aborted transactions, and its\n"
             "latency is that of its fetch wait. It says nothing about how a real broker behaves.",
    .flags = broker_flags,
    .options_size = sizeof(struct broker_options),
    .run = broker_run,
};
