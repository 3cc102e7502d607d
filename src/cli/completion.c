/* millrace completion: scripts for bash, zsh and fish, made from the command table. */
#include <string.h>

#include "cli/command.h"

static void each_flag(const struct mr_flag *flags, const struct mr_command *command,
                      void (*print)(const struct mr_flag *flag, const struct mr_command *command))
{
    for (const struct mr_flag *flag = flags; flag && flag->row.key; flag++) print(flag, command);
}

/* Text within single quotes of a shell: a quote ends them, stands escaped, and opens them again. */
static void print_quoted(const char *text, const char *also_escaped)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\'')
            fputs("'\\''", stdout);
        else if (strchr(also_escaped, *c))
            printf("\\%c", *c);
        else
            putchar(*c);
    }
}

static bool takes_path(const struct mr_flag *flag)
{
    return flag->argument && (!strcmp(flag->argument, "FILE") || !strcmp(flag->argument, "DIR"));
}

static void bash_flag(const struct mr_flag *flag, const struct mr_command *command)
{
    (void)command;
    printf(" --%s", flag->row.key);
    if (flag->letter) printf(" -%c", flag->letter);
}

static void bash_flag_values(const struct mr_flag *flag, const struct mr_command *command)
{
    if (flag->row.type == MR_OPT_BOOL) return;
    printf("        %s:--%s", command->name, flag->row.key);
    if (flag->letter) printf("|%s:-%c", command->name, flag->letter);
    printf(") values='");
    for (size_t i = 0; flag->row.choices && flag->row.choices[i]; i++)
        printf("%s%s", i ? " " : "", flag->row.choices[i]);
    printf("'; is_path=%d ;;\n", takes_path(flag));
}

static void print_bash(void)
{
    fputs("# bash completion of millrace; to load it:  source <(millrace completion bash)\n"
          "_millrace() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
          "    local values= flags= words= is_path=-1\n"
          "    COMPREPLY=()\n"
          "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
          "        COMPREPLY=($(compgen -W '",
          stdout);
    for (size_t i = 0; mr_commands[i]; i++) printf("%s ", mr_commands[i]->name);
    fputs("--help --version --no-color' -- \"$cur\"))\n        return\n    fi\n    case $command:$prev in\n", stdout);
    for (size_t i = 0; mr_commands[i]; i++) each_flag(mr_commands[i]->flags, mr_commands[i], bash_flag_values);
    fputs("    esac\n"
          "    if [[ $is_path -eq 1 ]]; then COMPREPLY=($(compgen -f -- \"$cur\")); return; fi\n"
          "    if [[ $is_path -eq 0 ]]; then COMPREPLY=($(compgen -W \"$values\" -- \"$cur\")); return; fi\n"
          "    case $command in\n",
          stdout);
    for (size_t i = 0; mr_commands[i]; i++) {
        const struct mr_command *const command = mr_commands[i];
        printf("        %s) flags='", command->name);
        each_flag(command->flags, command, bash_flag);
        each_flag(mr_common_flags, command, bash_flag);
        fputs("'; words='", stdout);
        for (size_t j = 0; command->choices && command->choices[j]; j++) printf("%s ", command->choices[j]);
        if (!strcmp(command->name, "help")) {
            for (size_t j = 0; mr_commands[j]; j++) printf("%s ", mr_commands[j]->name);
        }
        printf("'; is_path=%d ;;\n", command->completes_files);
    }
    fputs("    esac\n"
          "    if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\")); return; fi\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "    if [[ $is_path -eq 1 ]]; then COMPREPLY+=($(compgen -f -- \"$cur\")); fi\n"
          "}\n"
          "complete -o filenames -F _millrace millrace\n",
          stdout);
}

static void zsh_flag(const struct mr_flag *flag, const struct mr_command *command)
{
    (void)command;
    const bool repeats = flag->row.type == MR_OPT_STRINGS || flag->row.type == MR_OPT_MAP;
    for (int form = 0; form < (flag->letter ? 2 : 1); form++) {
        fputs(" \\\n                '", stdout);
        if (repeats) putchar('*');
        if (form)
            printf("-%c[", flag->letter);
        else
            printf("--%s[", flag->row.key);
        print_quoted(flag->row.doc, "[]:\\");
        putchar(']');
        if (flag->row.type != MR_OPT_BOOL) {
            printf(":%s:", flag->argument ? flag->argument : "VALUE");
            if (takes_path(flag)) fputs("_files", stdout);
            if (flag->row.choices) {
                putchar('(');
                for (size_t i = 0; flag->row.choices[i]; i++) printf("%s%s", i ? " " : "", flag->row.choices[i]);
                putchar(')');
            }
        }
        putchar('\'');
    }
}

static void print_zsh(void)
{
    fputs("#compdef millrace\n"
          "# zsh completion of millrace; to load it:  millrace completion zsh > \"${fpath[1]}/_millrace\"\n"
          "_millrace() {\n"
          "    local -a commands\n"
          "    commands=(\n",
          stdout);
    for (size_t i = 0; mr_commands[i]; i++) {
        printf("        '%s:", mr_commands[i]->name);
        print_quoted(mr_commands[i]->summary, ":\\");
        fputs("'\n", stdout);
    }
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
          "    local command=$words[2]\n"
          "    words=(\"${(@)words[2,-1]}\")\n"
          "    (( CURRENT-- ))\n"
          "    case $command in\n",
          stdout);
    for (size_t i = 0; mr_commands[i]; i++) {
        const struct mr_command *const command = mr_commands[i];
        printf("        %s)\n            _arguments -s", command->name);
        each_flag(command->flags, command, zsh_flag);
        each_flag(mr_common_flags, command, zsh_flag);
        if (command->choices) {
            fputs(" \\\n                '1:what:(", stdout);
            for (size_t j = 0; command->choices[j]; j++) printf("%s%s", j ? " " : "", command->choices[j]);
            fputs(")'", stdout);
        }
        if (!strcmp(command->name, "help")) fputs(" \\\n                '1:command:(${commands%%:*})'", stdout);
        if (command->completes_files) fputs(" \\\n                '*:file:_files'", stdout);
        fputs("\n            ;;\n", stdout);
    }
    fputs("    esac\n"
          "}\n"
          "if [[ $funcstack[1] == _millrace ]]; then _millrace \"$@\"; else compdef _millrace millrace; fi\n",
          stdout);
}

static void fish_flag(const struct mr_flag *flag, const struct mr_command *command)
{
    printf("complete -c millrace -n '__fish_seen_subcommand_from %s' -l %s", command->name, flag->row.key);
    if (flag->letter) printf(" -s %c", flag->letter);
    if (flag->row.type != MR_OPT_BOOL) fputs(takes_path(flag) ? " -r -F" : " -x", stdout);
    if (flag->row.choices) {
        fputs(" -a '", stdout);
        for (size_t i = 0; flag->row.choices[i]; i++) printf("%s%s", i ? " " : "", flag->row.choices[i]);
        putchar('\'');
    }
    fputs(" -d '", stdout);
    print_quoted(flag->row.doc, "\\");
    fputs("'\n", stdout);
}

static void print_fish(void)
{
    fputs("# fish completion of millrace; to load it:  millrace completion fish | source\n"
          "complete -c millrace -f\n",
          stdout);
    for (size_t i = 0; mr_commands[i]; i++) {
        const struct mr_command *const command = mr_commands[i];
        printf("complete -c millrace -n __fish_use_subcommand -a %s -d '", command->name);
        print_quoted(command->summary, "\\");
        fputs("'\n", stdout);
        for (size_t j = 0; command->choices && command->choices[j]; j++) {
            printf("complete -c millrace -n '__fish_seen_subcommand_from %s' -a %s\n", command->name,
                   command->choices[j]);
        }
        if (command->completes_files) {
            printf("complete -c millrace -n '__fish_seen_subcommand_from %s' -F\n", command->name);
        }
        each_flag(command->flags, command, fish_flag);
        each_flag(mr_common_flags, command, fish_flag);
    }
}

static mr_status completion_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    (void)options;
    (void)err;
    if (!strcmp(words->item[0], "bash"))
        print_bash();
    else if (!strcmp(words->item[0], "zsh"))
        print_zsh();
    else
        print_fish();
    return MR_OK;
}

static const char *const completion_shells[] = {"bash", "zsh", "fish", NULL};

const struct mr_command mr_command_completion = {
    .name = "completion",
    .summary = "Print a completion script for bash, zsh or fish",
    .usage = "bash|zsh|fish",
    .examples = "source <(millrace completion bash)                          # this shell only\n"
                "millrace completion bash > /etc/bash_completion.d/millrace  # every shell\n"
                "millrace completion zsh > \"${fpath[1]}/_millrace\"\n"
                "millrace completion fish | source",
    .choices = completion_shells,
    .word_min = 1,
    .word_max = 1,
    .run = completion_run,
};
