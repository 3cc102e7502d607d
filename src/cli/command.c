/* The command table and the way from arguments to a command. */
#include "cli/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/near.h"
#include "base/term.h"

#define MR_COMMAND(name) extern const struct mr_command mr_command_##name;
#include "cli/commands.def"
#undef MR_COMMAND

const struct mr_command *const mr_commands[] = {
#define MR_COMMAND(name) &mr_command_##name,
#include "cli/commands.def"
#undef MR_COMMAND
    NULL};

const struct mr_command *mr_command_find(const char *name)
{
    for (size_t i = 0; mr_commands[i]; i++) {
        if (!strcmp(mr_commands[i]->name, name)) return mr_commands[i];
    }
    return NULL;
}

/* Says what is wrong, on one line and in red where there are colours, and where help is. Returns the exit code. */
static int complain(const struct mr_command *command, const struct mr_err *err, mr_status status)
{
    if (err->text[0]) {
        fprintf(stderr, "%smillrace%s%s:%s %s\n", mr_term_style(STDERR_FILENO, MR_STYLE_RED), command ? " " : "",
                command ? command->name : "", mr_term_style(STDERR_FILENO, MR_STYLE_PLAIN), err->text);
    }
    if (status == MR_EUSAGE) {
        fprintf(stderr, "Try: millrace %s%s--help\n", command ? command->name : "", command ? " " : "");
    }
    return mr_status_exit(status);
}

static int unknown_command(const char *name)
{
    struct mr_near near;
    struct mr_err err = {0};
    mr_near_start(&near, name);
    for (size_t i = 0; mr_commands[i]; i++) mr_near_offer(&near, mr_commands[i]->name);
    const char *const best = mr_near_best(&near);
    mr_fail(&err, MR_EUSAGE, best ? "no command \"%s\"; did you mean \"%s\"?" : "no command \"%s\"", name, best);
    return complain(NULL, &err, MR_EUSAGE);
}

static mr_status check_words(const struct mr_command *command, const struct mr_words *words, struct mr_err *err)
{
    if (words->count < command->word_min) {
        return mr_fail(err, MR_EUSAGE, "needs %s", command->usage ? command->usage : "an argument");
    }
    if (words->count > command->word_max) {
        return mr_fail(err, MR_EUSAGE, "unexpected argument \"%s\"", words->item[command->word_max]);
    }
    if (!command->choices || !words->count) return MR_OK;
    struct mr_near near;
    mr_near_start(&near, words->item[0]);
    for (size_t i = 0; command->choices[i]; i++) {
        if (!strcmp(command->choices[i], words->item[0])) return MR_OK;
        mr_near_offer(&near, command->choices[i]);
    }
    const char *const best = mr_near_best(&near);
    if (best) return mr_fail(err, MR_EUSAGE, "no \"%s\" here; did you mean \"%s\"?", words->item[0], best);
    return mr_fail(err, MR_EUSAGE, "no \"%s\" here: expected %s", words->item[0], command->usage);
}

/* A result counts when it has left: a full disk or a closed stdout shows here at the latest. */
static mr_status result_flush(struct mr_err *err)
{
    const bool has_failed = ferror(stdout);
    errno = 0;
    if (!fflush(stdout) && !has_failed) return MR_OK;
    return mr_fail(err, MR_EIO, "cannot write the result to stdout: %s",
                   errno ? strerror(errno) : "a part of it was refused before");
}

/* The same for every command: flags, help, words, run. */
static int run_command(const struct mr_command *command, int argc, char **argv)
{
    struct mr_err err = {0};
    struct mr_words words = {0};
    bool wants_help = false;
    void *const options = calloc(1, command->options_size + 1);
    const char **const word = calloc((size_t)argc + 1, sizeof *word);
    mr_status status = options && word ? MR_OK : mr_fail(&err, MR_ENOMEM, "out of memory");

    if (status == MR_OK) status = mr_command_parse(command, argc, argv, options, word, &words.count, &wants_help, &err);
    words.item = word;
    if (wants_help) {
        mr_help_print(stdout, command, false);
        status = MR_OK;
    } else {
        if (status == MR_OK) status = check_words(command, &words, &err);
        if (status == MR_OK) status = command->run(options, &words, &err);
    }
    if (options) mr_command_release(command, options);
    free(options);
    free(word);
    if (status == MR_OK) status = result_flush(&err);
    return mr_status_exit(status) ? complain(command, &err, status) : 0;
}

/* Help of the program; nothing else is said on stdout outside of a command. */
static int program_help(bool is_short)
{
    struct mr_err err = {0};
    mr_help_print(stdout, NULL, is_short);
    const mr_status status = result_flush(&err);
    return status ? complain(NULL, &err, status) : 0;
}

static bool is_any(const char *text, const char *a, const char *b)
{
    return !strcmp(text, a) || (b && !strcmp(text, b));
}

int mr_command_main(int argc, char **argv)
{
    int first = 1;
    while (first < argc && is_any(argv[first], "--no-color", NULL)) {
        mr_term_color_forbid();
        first++;
    }
    if (first >= argc) return program_help(true);
    const char *const name = argv[first];
    if (is_any(name, "-h", "--help")) return program_help(false);
    const struct mr_command *const command = mr_command_find(is_any(name, "-V", "--version") ? "version" : name);
    if (!command) return unknown_command(name);
    const int code = run_command(command, argc - first - 1, argv + first + 1);
    mr_log_flush();
    return code;
}
