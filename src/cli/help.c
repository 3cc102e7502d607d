/* Help: examples first, then flags with their fallbacks and ranges. */
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "base/term.h"
#include "cli/command.h"

enum { NAME_COLUMN = 13, FLAG_COLUMN = 27 };

/* A doc sentence wrapped behind `column`. */
static void print_wrapped(FILE *out, const char *text, size_t column, size_t width)
{
    size_t at = column;
    while (*text) {
        const size_t word = strcspn(text, " ");
        if (at > column && at + 1 + word > width) {
            fprintf(out, "\n%*s", (int)column, "");
            at = column;
        } else if (at > column) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, word, out);
        at += word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_heading(FILE *out, const char *title)
{
    const int fd = fileno(out);
    fprintf(out, "\n%s%s%s\n", mr_term_style(fd, MR_STYLE_BOLD), title, mr_term_style(fd, MR_STYLE_PLAIN));
}

static void print_indented(FILE *out, const char *lines)
{
    for (const char *line = lines; line && *line;) {
        const size_t bytes = strcspn(line, "\n");
        fprintf(out, "%s%.*s\n", bytes ? "  " : "", (int)bytes, line);
        line += bytes;
        if (*line) line++;
    }
}

/* What a flag takes and what it is without it, behind its doc sentence. */
static void flag_doc(const struct mr_option *row, char *text, size_t text_bytes)
{
    char range[2 * MR_AMOUNT_BYTES + 16] = "", choices[MR_EXPECTED_BYTES] = "";
    if (row->type == MR_OPT_ENUM) {
        mr_option_expected(row, choices);
        memmove(choices + 1, choices, strlen(choices) + 1 < sizeof choices ? strlen(choices) + 1 : sizeof choices - 1);
        choices[0] = ' ';
        choices[sizeof choices - 1] = '\0';
    }
    if (mr_option_has_range(row)) {
        char low[MR_AMOUNT_BYTES], high[MR_AMOUNT_BYTES];
        mr_option_amount(row->type, row->min, low);
        mr_option_amount(row->type, row->max, high);
        if (row->max >= MR_NO_MAX)
            snprintf(range, sizeof range, " At least %s.", low);
        else
            snprintf(range, sizeof range, " %s to %s.", low, high);
    }
    const bool has_default = row->fallback && row->type != MR_OPT_BOOL && *row->fallback;
    snprintf(text, text_bytes, "%s%s%s%s%s%s%s", row->doc, choices[0] ? choices : "", choices[0] ? "." : "", range,
             has_default ? " [default: " : "", has_default ? row->fallback : "", has_default ? "]" : "");
}

static void print_flags(FILE *out, const struct mr_flag *flags)
{
    const unsigned columns = mr_term_width(fileno(out));
    const size_t width = columns > 100 ? 100 : columns;
    for (const struct mr_flag *flag = flags; flag && flag->row.key; flag++) {
        char left[80], doc[1024];
        char letter[5] = "    ";
        if (flag->letter) snprintf(letter, sizeof letter, "-%c, ", flag->letter);
        const int used = snprintf(left, sizeof left, "  %s--%s%s%s", letter, flag->row.key, flag->argument ? " " : "",
                                  flag->argument ? flag->argument : "");
        flag_doc(&flag->row, doc, sizeof doc);
        fputs(left, out);
        if (used >= FLAG_COLUMN)
            fprintf(out, "\n%*s", FLAG_COLUMN, "");
        else
            fprintf(out, "%*s", FLAG_COLUMN - used, "");
        print_wrapped(out, doc, FLAG_COLUMN, width);
    }
}

static void print_command(FILE *out, const struct mr_command *command)
{
    fprintf(out, "%s.\n", command->summary);
    print_heading(out, "Examples");
    print_indented(out, command->examples);
    print_heading(out, "Usage");
    fprintf(out, "  millrace %s%s%s\n", command->name, command->usage ? " " : "", command->usage ? command->usage : "");
    print_heading(out, "Flags");
    print_flags(out, command->flags);
    print_flags(out, mr_common_flags);
    if (command->notes) {
        print_heading(out, "Notes");
        print_indented(out, command->notes);
    }
}

static void print_program(FILE *out, bool is_short)
{
    fputs("millrace scores a Kafka topic: records in, predictions out, at the speed the machine allows.\n", out);
    print_heading(out, "Examples");
    print_indented(out, "millrace check job.json       # is the job file right? needs no network\n"
                        "millrace run job.json         # score until stopped\n"
                        "millrace help run             # flags and examples of a command");
    print_heading(out, "Commands");
    for (size_t i = 0; mr_commands[i]; i++) {
        fprintf(out, "  %-*s%s\n", NAME_COLUMN - 2, mr_commands[i]->name, mr_commands[i]->summary);
    }
    if (is_short) {
        fputs("\nMore: millrace --help, millrace help COMMAND.\n", out);
        return;
    }
    print_heading(out, "Flags of every command");
    print_flags(out, mr_common_flags);
    print_heading(out, "Exit codes");
    print_indented(out,
                   "0 done   1 compared and found different   64 usage   65 bad data or model   66 no input\n"
                   "69 broker, sink or device unreachable   70 a promise of the program is broken   71 out of memory\n"
                   "73 fenced off   74 file input or output   75 stopped early, start again   78 bad job file");
    print_heading(out, "Environment");
    print_indented(out, "MILLRACE_LOG=pretty|logfmt|json  form of log lines: pretty on a terminal, else logfmt\n"
                        "NO_COLOR=1                       no colours");
}

void mr_help_print(FILE *out, const struct mr_command *command, bool is_short)
{
    if (command)
        print_command(out, command);
    else
        print_program(out, is_short);
}

static mr_status help_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    (void)options;
    const struct mr_command *const command = words->count ? mr_command_find(words->item[0]) : NULL;
    if (words->count && !command)
        return mr_fail(err, MR_EUSAGE, "no command \"%s\"; see millrace help", words->item[0]);
    mr_help_print(stdout, command, false);
    return MR_OK;
}

const struct mr_command mr_command_help = {
    .name = "help",
    .summary = "Show help, of the program or of a command",
    .usage = "[COMMAND]",
    .examples = "millrace help          # all commands, exit codes, environment\n"
                "millrace help run      # the same as millrace run --help",
    .word_max = 1,
    .run = help_run,
};
