/* The reference page of the job file, in Markdown, made from the same tables that read it. */
#include <string.h>

#include "base/options.h"
#include "config/sections.h"

/* Within a cell of a table. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputs("\\|", out);
        else if (*text == '\n')
            fputc(' ', out);
        else
            fputc(*text, out);
    }
}

static void print_row(FILE *out, const struct mr_option *row)
{
    char expected[MR_EXPECTED_BYTES];
    mr_option_expected(row, expected);
    fprintf(out, "| `%s` | ", row->key);
    print_cell(out, expected);
    if (row->required)
        fputs(" | required | ", out);
    else if (!row->fallback || !*row->fallback)
        fputs(" | - | ", out);
    else
        fprintf(out, " | `%s` | ", row->fallback);
    print_cell(out, row->doc);
    if (row->example) {
        fputs(" Such as `", out);
        print_cell(out, row->example);
        fputs("`.", out);
    }
    fputs(row->secret ? " Never printed. |\n" : " |\n", out);
}

/* One Markdown table of up to three option tables. */
static void print_tables(FILE *out, const struct mr_option *const *tables, size_t count)
{
    fputs("\n| key | value | default | meaning |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < count; i++) {
        for (const struct mr_option *row = tables[i]; row && row->key; row++) print_row(out, row);
    }
}

static void print_section(FILE *out, const struct mr_section *section)
{
    const struct mr_option *const common[] = {section->selectors, section->rows};
    struct mr_plug plug;
    fprintf(out, "\n## %s\n\n%s%s%s\n\n```json\n\"%s\": %s\n```\n", section->key, section->doc,
            section->is_required ? "" : " The section may be left out.",
            section->is_list ? " An array of at least one." : "", section->key, section->example);
    print_tables(out, common, 2);
    for (size_t i = 0; mr_plug_at(section->kind, i, &plug); i++) {
        fprintf(out, "\n### %s %s\n\n%s\n", mr_plug_kind_name(section->kind), plug.name,
                plug.summary ? plug.summary : "");
        if (plug.options && plug.options->key)
            print_tables(out, &plug.options, 1);
        else
            fputs("\nNo options of its own.\n", out);
    }
}

void mr_job_reference_print(FILE *out)
{
    const struct mr_option *const plain = mr_job_options;
    fputs(
        "# The job file\n\n"
        "Made by `millrace config reference` from the tables that read it. `millrace config schema` prints the same as "
        "JSON Schema for\n"
        "editors, `millrace check JOB` says what is wrong with a file, `millrace config show JOB` what it comes to.\n\n"
        "- JSON with `//` and `/* */` comments and commas behind the last item. Unknown keys are errors, but keys that "
        "begin with `x-`\n"
        "  are free for notes, and so is `$schema`.\n"
        "- `${env:NAME}` and `${file:PATH}` in a string are replaced; what comes from them is never printed. `$${` "
        "stands for `${`.\n"
        "- Relative paths count from the job file's folder.\n"
        "- Durations: `\"250us\"`, `\"5ms\"`, `\"2s\"`, `\"1m\"`, `\"1h\"`; a bare number counts seconds. Sizes: "
        "`\"64MiB\"`, `\"1kB\"`,\n"
        "  `\"10GB\"`; a bare number counts bytes.\n\n"
        "## Keys of the job\n",
        out);
    print_tables(out, &plain, 1);
    for (const struct mr_section *section = mr_sections; section->key; section++) print_section(out, section);
}
