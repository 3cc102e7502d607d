/**
 * Commands of the program. A command is a file src/cli/<name>.c that ends with `const struct mr_command
 * mr_command_<name>`, and a line in commands.def. Parsing, --help, completions and suggestions come from its table.
 */
#ifndef MR_CLI_COMMAND_H
#define MR_CLI_COMMAND_H

#include <stdio.h>

#include "millrace/option.h"

/**
 * One flag: an option row (type, range, choices, fallback, doc) plus how it looks on the command line. row.key is the
 * long name with dashes ("until-end" is --until-end). MR_OPT_BOOL is a switch; MR_OPT_STRINGS and MR_OPT_MAP (--X
 * key=value) may be repeated. A table ends with {0}.
 */
struct mr_flag {
    char letter;          /* 'n' for -n; 0: none */
    const char *argument; /* "FILE", "N": shown in help; NULL for a switch. "FILE" and "DIR" are completed with paths */
    struct mr_option row;
};

/** The words of a command line that are not flags. */
struct mr_words {
    const char *const *item;
    size_t count;
};

struct mr_command {
    const char *name;            /* "run" */
    const char *summary;         /* one line, no full stop */
    const char *usage;           /* what follows the name: "JOB [flags]"; NULL: nothing */
    const char *examples;        /* lines of "millrace run job.json   # what it does"; shown first in help */
    const char *notes;           /* optional: paragraphs shown last in help */
    const struct mr_flag *flags; /* may be NULL */
    size_t options_size;         /* size of the struct that the flags fill; 0 with no flags */
    size_t word_min, word_max;   /* how many words it takes */
    const char *const
        *choices;         /* what the first word may be ("schema", "reference"), NULL at the end; NULL: anything */
    bool completes_files; /* words are completed with file names */
    /*
     * Required. options: filled with fallbacks and flags. Returns a status: its exit code is the program's.
     * On failure err->text is printed as "millrace NAME: TEXT"; left empty when all was said already.
     * Results go to stdout, talk to stderr (log.h, term.h).
     */
    mr_status (*run)(const void *options, const struct mr_words *words, struct mr_err *err);
};

/** All commands in the order of commands.def, NULL at the end. */
extern const struct mr_command *const mr_commands[];

/** A command by name, or NULL. */
const struct mr_command *mr_command_find(const char *name);

/**
 * Parses argv[0 .. argc) (what follows the command's name) into options (options_size bytes, filled with fallbacks
 * first) and words (at most argc of them). Flags may stand anywhere; "--" ends them; "-" is a word. *wants_help_out: -h
 * or --help was there. Fails with MR_EUSAGE that names the flag and the nearest known one, or MR_ENOMEM; options are
 * empty then.
 */
mr_status mr_command_parse(const struct mr_command *command, int argc, char **argv, void *options, const char **words,
                           size_t *word_count_out, bool *wants_help_out, struct mr_err *err);

/** Frees what mr_command_parse put into options. */
void mr_command_release(const struct mr_command *command, void *options);

/** Runs the program: what main() returns. */
int mr_command_main(int argc, char **argv);

/** Flags that every command takes (-h, --no-color), ending with {0}. */
extern const struct mr_flag mr_common_flags[];

/** Prints the help of one command; NULL: of the program, is_short: without the flags. */
void mr_help_print(FILE *out, const struct mr_command *command, bool is_short);

#endif
