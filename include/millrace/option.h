/**
 * Option tables: one row an option. The same rows drive the job file's parser, its range checks, the JSON Schema,
 * --help and the reference page, so a plug-in never parses its own configuration.
 */
#ifndef MILLRACE_OPTION_H
#define MILLRACE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "millrace/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    MR_OPT_STRING,   /* char *                                                              */
    MR_OPT_BOOL,     /* bool                                                                */
    MR_OPT_INT,      /* int64_t, whole number within min..max                               */
    MR_OPT_DOUBLE,   /* double, finite, within min..max                                     */
    MR_OPT_DURATION, /* int64_t microseconds; "250us" "5ms" "2s" "1m" "1h", bare number = seconds; range in microseconds
                      */
    MR_OPT_SIZE,     /* int64_t bytes; "64MiB" "1kB" "10GB", bare number = bytes; range in bytes */
    MR_OPT_ENUM,     /* int: index into choices                                             */
    MR_OPT_STRINGS,  /* struct mr_strings; one string or an array of them                   */
    MR_OPT_MAP,      /* struct mr_map; an object whose values are strings, numbers or booleans, order kept */
} mr_option_type;

struct mr_strings {
    char **item;
    size_t count;
};

struct mr_pair {
    char *key;
    char *value; /* text of the value: strings unquoted, numbers and booleans as written */
};

struct mr_map {
    struct mr_pair *item;
    size_t count;
};

/** One option. A table ends with an all-zero row. Tables are static const: they are never freed. */
struct mr_option {
    const char *key;
    mr_option_type type;
    size_t offset; /* where the value goes in the options struct */
    bool required;
    const char *fallback;       /* default as a user would write it; NULL: zero, false, empty */
    const char *unset;          /* instead: a number outside of the range, which says that it was not given */
    double min, max;            /* both 0: no range */
    const char *const *choices; /* MR_OPT_ENUM: names, NULL at the end */
    bool secret;                /* never printed; "[set]" instead */
    bool is_path;        /* MR_OPT_STRING: a file; in a job file a relative one counts from the job file's folder */
    const char *no_path; /* with is_path: a value that names no file ("none") */
    bool is_shared;      /* with is_path: it is read, or a folder for files of its own names: others may name it, too */
    const char *doc;     /* one sentence, with units; shown in help, schema and reference */
    const char *example; /* optional: a value as JSON text */
    /* MR_OPT_MAP, optional: checks one pair of a job file, without a network. The text must not hold the value of a
     * secret. */
    mr_status (*check_pair)(const char *key, const char *value, struct mr_err *err);
};

/** Sets every option of the table to its fallback. Required ones stay zero. Fails with MR_ENOMEM only. */
mr_status mr_options_init(const struct mr_option *table, void *options, struct mr_err *err);

/**
 * Sets one option from the text that a user would write on a command line ("5ms", "a,b" for a list).
 * Fails with MR_ECONFIG that names key, expected form, range and, for an unknown key, the nearest known one.
 */
mr_status mr_options_set(const struct mr_option *table, void *options, const char *key, const char *text,
                         struct mr_err *err);

/** Frees what init, set and the job parser put into an options struct, and zeroes those members. NULL is accepted. */
void mr_options_deinit(const struct mr_option *table, void *options);

#ifdef __cplusplus
}
#endif
#endif
