/* Flags of a command, parsed by its table: --name VALUE, --name=VALUE, -n VALUE, -nVALUE, switches also as --no-NAME.
 */
#include <assert.h>
#include <string.h>

#include "base/near.h"
#include "base/options.h"
#include "base/term.h"
#include "cli/command.h"

/* Where the flags of every command go; --help and --no-color are acted on while parsing. */
struct common_options {
    bool help;
    bool no_color;
};

const struct mr_flag mr_common_flags[] = {
    {.letter = 'h',
     .row = {.key = "help",
             .type = MR_OPT_BOOL,
             .offset = offsetof(struct common_options, help),
             .doc = "Show this help."}},
    {.row = {.key = "no-color",
             .type = MR_OPT_BOOL,
             .offset = offsetof(struct common_options, no_color),
             .doc = "No colours, as with NO_COLOR=1 or TERM=dumb."}},
    {0},
};

/* Parsing state of one command line. */
struct parse {
    const struct mr_command *command;
    void *options;
    struct common_options common;
    unsigned char seen[128]; /* by index in the flag table: lists grow from the second time on */
    int argc;
    char **argv;
    int next; /* argument to look at next */
    struct mr_err *err;
};

static const struct mr_flag *flag_find(const struct mr_flag *flags, const char *name, size_t name_bytes, char letter)
{
    for (const struct mr_flag *flag = flags; flag && flag->row.key; flag++) {
        if (letter ? flag->letter == letter
                   : strlen(flag->row.key) == name_bytes && !memcmp(flag->row.key, name, name_bytes)) {
            return flag;
        }
    }
    return NULL;
}

static bool is_common(const struct mr_flag *flag)
{
    return flag >= mr_common_flags && flag < mr_common_flags + sizeof mr_common_flags / sizeof *mr_common_flags;
}

static mr_status unknown_flag(const struct parse *parse, const char *argument, const char *name)
{
    struct mr_near near;
    mr_near_start(&near, name);
    for (const struct mr_flag *flag = parse->command->flags; flag && flag->row.key; flag++)
        mr_near_offer(&near, flag->row.key);
    for (const struct mr_flag *flag = mr_common_flags; flag->row.key; flag++) mr_near_offer(&near, flag->row.key);
    const char *const best = mr_near_best(&near);
    if (best) return mr_fail(parse->err, MR_EUSAGE, "no flag \"%s\"; did you mean \"--%s\"?", argument, best);
    return mr_fail(parse->err, MR_EUSAGE, "no flag \"%s\"", argument);
}

/* One value into the struct; the row's own text names the key, the user's flag is put before it. */
static mr_status flag_store(struct parse *parse, const struct mr_flag *flag, const char *argument, const char *text)
{
    const struct mr_option table[2] = {flag->row, {0}};
    void *const options = is_common(flag) ? (void *)&parse->common : parse->options;
    struct mr_err reason = {0};
    bool is_first = true;
    if (!is_common(flag)) {
        const size_t index = (size_t)(flag - parse->command->flags);
        assert(index < sizeof parse->seen);
        is_first = !parse->seen[index];
        parse->seen[index] = 1;
    }
    const mr_status status = is_first ? mr_options_set(table, options, flag->row.key, text, &reason)
                                      : mr_options_add(table, options, flag->row.key, text, &reason);
    if (status == MR_OK || status == MR_ENOMEM) {
        return status == MR_OK ? MR_OK : mr_fail(parse->err, MR_ENOMEM, "%s", reason.text);
    }
    const char *const what = strchr(reason.text, ' '); /* behind "key:" */
    return mr_fail(parse->err, MR_EUSAGE, "%s:%s", argument, what ? what : reason.text);
}

/* --name, --name=VALUE, --name VALUE, --no-name */
static mr_status long_flag(struct parse *parse, const char *argument)
{
    const char *const name = argument + 2;
    const char *const equals = strchr(name, '=');
    const size_t name_bytes = equals ? (size_t)(equals - name) : strlen(name);
    const struct mr_flag *flag = flag_find(parse->command->flags, name, name_bytes, 0);
    if (!flag) flag = flag_find(mr_common_flags, name, name_bytes, 0);
    if (!flag && !strncmp(name, "no-", 3) && !equals) {
        flag = flag_find(parse->command->flags, name + 3, name_bytes - 3, 0);
        if (flag && flag->row.type == MR_OPT_BOOL) return flag_store(parse, flag, argument, "false");
        flag = NULL;
    }
    if (!flag) {
        char shown[80], bare[80];
        snprintf(shown, sizeof shown, "--%.*s", (int)name_bytes, name);
        snprintf(bare, sizeof bare, "%.*s", (int)name_bytes, name);
        return unknown_flag(parse, shown, bare);
    }
    char shown[80];
    snprintf(shown, sizeof shown, "--%s", flag->row.key);
    if (flag->row.type == MR_OPT_BOOL) return flag_store(parse, flag, shown, equals ? equals + 1 : "true");
    if (equals) return flag_store(parse, flag, shown, equals + 1);
    if (parse->next >= parse->argc)
        return mr_fail(parse->err, MR_EUSAGE, "%s needs a value: %s %s", shown, shown, flag->argument);
    return flag_store(parse, flag, shown, parse->argv[parse->next++]);
}

/* -n, -n VALUE, -nVALUE, -ab for two switches */
static mr_status short_flags(struct parse *parse, const char *argument)
{
    for (const char *letter = argument + 1; *letter; letter++) {
        const char shown[3] = {'-', *letter, '\0'};
        const struct mr_flag *flag = flag_find(parse->command->flags, NULL, 0, *letter);
        if (!flag) flag = flag_find(mr_common_flags, NULL, 0, *letter);
        if (!flag) return unknown_flag(parse, shown, argument + 1);
        if (flag->row.type == MR_OPT_BOOL) {
            const mr_status status = flag_store(parse, flag, shown, "true");
            if (status != MR_OK) return status;
            continue;
        }
        if (letter[1]) return flag_store(parse, flag, shown, letter + 1);
        if (parse->next >= parse->argc)
            return mr_fail(parse->err, MR_EUSAGE, "%s needs a value: %s %s", shown, shown, flag->argument);
        return flag_store(parse, flag, shown, parse->argv[parse->next++]);
    }
    return MR_OK;
}

/* Fallbacks of every flag, one row at a time: the rows of flags do not stand one behind the other in memory. */
static mr_status flags_init(const struct mr_command *command, void *options, struct mr_err *err)
{
    for (const struct mr_flag *flag = command->flags; flag && flag->row.key; flag++) {
        const struct mr_option table[2] = {flag->row, {0}};
        const mr_status status = mr_options_init(table, options, err);
        if (status != MR_OK) return status;
    }
    return MR_OK;
}

void mr_command_release(const struct mr_command *command, void *options)
{
    for (const struct mr_flag *flag = command->flags; flag && flag->row.key; flag++) {
        const struct mr_option table[2] = {flag->row, {0}};
        mr_options_deinit(table, options);
    }
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) return true;
    }
    return false;
}

/* A required flag is a string or a list: it was not given when its member is still empty. */
static mr_status required_check(const struct mr_command *command, const void *options, struct mr_err *err)
{
    for (const struct mr_flag *flag = command->flags; flag && flag->row.key; flag++) {
        const void *const member = (const char *)options + flag->row.offset;
        if (!flag->row.required) continue;
        const bool is_given = flag->row.type == MR_OPT_STRINGS ? ((const struct mr_strings *)member)->count > 0
                                                               : *(char *const *)member != NULL;
        if (!is_given) {
            return mr_fail(err, MR_EUSAGE, "--%s %s is missing", flag->row.key, flag->argument);
        }
    }
    return MR_OK;
}

mr_status mr_command_parse(const struct mr_command *command, int argc, char **argv, void *options, const char **words,
                           size_t *word_count_out, bool *wants_help_out, struct mr_err *err)
{
    struct parse parse = {.command = command, .options = options, .argc = argc, .argv = argv, .err = err};
    bool has_flags_ended = false;
    *wants_help_out = wants_help(argc, argv);
    if (*wants_help_out) return MR_OK; /* whatever else stands there */
    mr_status status = flags_init(command, options, err);
    *word_count_out = 0;
    while (status == MR_OK && parse.next < argc) {
        const char *const argument = argv[parse.next++];
        if (has_flags_ended || argument[0] != '-' || !argument[1])
            words[(*word_count_out)++] = argument;
        else if (!strcmp(argument, "--"))
            has_flags_ended = true;
        else
            status = argument[1] == '-' ? long_flag(&parse, argument) : short_flags(&parse, argument);
    }
    if (parse.common.no_color) mr_term_color_forbid();
    if (status == MR_OK) status = required_check(command, options, err);
    if (status != MR_OK) mr_command_release(command, options);
    return status;
}
