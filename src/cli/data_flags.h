/** The flags of commands that read DATA: rows of a file or a pipe (table/table.h). */
#ifndef MR_CLI_DATA_FLAGS_H
#define MR_CLI_DATA_FLAGS_H

#include "cli/command.h"
#include "cli/shared_flags.h"
#include "table/format.h"
#include "table/table.h"

#define MR_DATA_AT(at, member) ((at) + offsetof(struct mr_table_options, member))

/** Rows for a table of struct mr_flag; at: offset of the struct mr_table_options. Without the label. */
#define MR_FLAGS_DATA(at)                                                                                              \
    {.letter = 'f',                                                                                                    \
     .argument = "FORMAT",                                                                                             \
     .row = {.key = "format",                                                                                          \
             .type = MR_OPT_ENUM,                                                                                      \
             .offset = MR_DATA_AT(at, format),                                                                         \
             .fallback = "auto",                                                                                       \
             .choices = mr_table_formats,                                                                              \
             .doc = "What the rows of DATA are: JSON objects, one a line; CSV; float32 rows as they lie in memory. "   \
                    "auto: by the end of the file's name (.csv .tsv .json .jsonl .ndjson .f32 .bin)."}},               \
        {.letter = 'F',                                                                                                \
         .argument = "LIST",                                                                                           \
         .row = {.key = "features",                                                                                    \
                 .type = MR_OPT_STRINGS,                                                                               \
                 .offset = MR_DATA_AT(at, features),                                                                   \
                 .doc = "Fields in their order: a.b, x[0..15], CSV columns by name or number."}},                      \
        {.argument = "KEY=VALUE",                                                                                      \
         .row = {.key = "record",                                                                                      \
                 .type = MR_OPT_MAP,                                                                                   \
                 .offset = MR_DATA_AT(at, record),                                                                     \
                 .doc = "An option of the format as in a job file, repeatable: delimiter=; header=none stride=64 "     \
                        "byte_order=big."}},                                                                           \
        {.argument = "NAME",                                                                                           \
         .row = {.key = "topic",                                                                                       \
                 .type = MR_OPT_STRING,                                                                                \
                 .offset = MR_DATA_AT(at, topic),                                                                      \
                 .doc = "DATA is the records of this topic, partition by partition: those that are committed now."}},  \
        {.argument = "end",                                                                                            \
         .row = {.key = "until",                                                                                       \
                 .type = MR_OPT_ENUM,                                                                                  \
                 .offset = MR_DATA_AT(at, until),                                                                      \
                 .fallback = "end",                                                                                    \
                 .choices = mr_table_until,                                                                            \
                 .doc = "Of a topic: up to where it ends when the command starts."}},                                  \
        MR_FLAG_BOOTSTRAP(MR_DATA_AT(at, bootstrap)), MR_FLAG_PROPERTY(MR_DATA_AT(at, properties)),                    \
    {                                                                                                                  \
        .argument = "WHAT", .row = {                                                                                   \
            .key = "bad-rows",                                                                                         \
            .type = MR_OPT_ENUM,                                                                                       \
            .offset = MR_DATA_AT(at, bad_rows),                                                                        \
            .fallback = "stop",                                                                                        \
            .choices = mr_table_bad_rows,                                                                              \
            .doc = "What rows do that cannot be read: stop with their line and reason (exit code 65), or skip: they "  \
                   "are left out and counted."                                                                         \
        }                                                                                                              \
    }

/** The label. */
#define MR_FLAG_LABEL(at)                                                                                              \
    {                                                                                                                  \
        .letter = 'l', .argument = "FIELD", .row = {                                                                   \
            .key = "label",                                                                                            \
            .type = MR_OPT_STRING,                                                                                     \
            .offset = MR_DATA_AT(at, label),                                                                           \
            .doc = "The field with the answers: a class (text or number) or a number."                                 \
        }                                                                                                              \
    }

/** char *: a file of outputs; struct mr_strings: its fields; double. */
#define MR_FLAG_EXPECT(at)                                                                                             \
    {                                                                                                                  \
        .argument = "FILE", .row = {                                                                                   \
            .key = "expect",                                                                                           \
            .type = MR_OPT_STRING,                                                                                     \
            .offset = (at),                                                                                            \
            .doc =                                                                                                     \
                "The outputs that the model should give, a row for each of the data: CSV with a header, JSON lines "   \
                "or float32, by the file's name."                                                                      \
        }                                                                                                              \
    }
#define MR_FLAG_EXPECT_FIELDS(at)                                                                                      \
    {                                                                                                                  \
        .argument = "LIST", .row = {                                                                                   \
            .key = "expect-fields",                                                                                    \
            .type = MR_OPT_STRINGS,                                                                                    \
            .offset = (at),                                                                                            \
            .doc = "Which fields of that file are the outputs, in their order: p[0..2]. Without it all numbers."       \
        }                                                                                                              \
    }
#define MR_FLAG_TOLERANCE(at)                                                                                          \
    {                                                                                                                  \
        .argument = "SIZE", .row = {                                                                                   \
            .key = "tolerance",                                                                                        \
            .type = MR_OPT_DOUBLE,                                                                                     \
            .offset = (at),                                                                                            \
            .fallback = "1e-5",                                                                                        \
            .min = 0,                                                                                                  \
            .max = 1e9,                                                                                                \
            .doc = "Largest error, relative to the largest output of the row; past it the exit code is 1."             \
        }                                                                                                              \
    }

#endif
