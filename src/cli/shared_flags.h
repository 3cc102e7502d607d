/** Flags that several commands take, written once. Each stands in a table of struct mr_flag; at: offset of its member.
 */
#ifndef MR_CLI_SHARED_FLAGS_H
#define MR_CLI_SHARED_FLAGS_H

#include "cli/command.h"

/** char *: the broker, where -X bootstrap.servers says none (mr_override_bootstrap). */
#define MR_FLAG_BOOTSTRAP(at)                                                                                          \
    {                                                                                                                  \
        .letter = 'b', .argument = "HOST:PORT", .row = {                                                               \
            .key = "bootstrap",                                                                                        \
            .type = MR_OPT_STRING,                                                                                     \
            .offset = (at),                                                                                            \
            .fallback = "localhost:9092",                                                                              \
            .doc = "Broker to start from."                                                                             \
        }                                                                                                              \
    }

/** struct mr_map: properties of the client. */
#define MR_FLAG_PROPERTY(at)                                                                                           \
    {                                                                                                                  \
        .letter = 'X', .argument = "KEY=VALUE", .row = {                                                               \
            .key = "property",                                                                                         \
            .type = MR_OPT_MAP,                                                                                        \
            .offset = (at),                                                                                            \
            .doc = "Set a librdkafka property; repeatable."                                                            \
        }                                                                                                              \
    }

/** int64_t: lines of a file that make one message. */
#define MR_FLAG_LINES(at)                                                                                              \
    {                                                                                                                  \
        .argument = "N", .row = {                                                                                      \
            .key = "lines",                                                                                            \
            .type = MR_OPT_INT,                                                                                        \
            .offset = (at),                                                                                            \
            .fallback = "1",                                                                                           \
            .min = 1,                                                                                                  \
            .max = 1e6,                                                                                                \
            .doc = "Lines joined into one message (record.framing \"lines\")."                                         \
        }                                                                                                              \
    }

#endif
