#include "config/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/term.h"
#include "base/utf8.h"

enum {
    TEXT_BYTES = 1024,   /* of one message */
    QUOTED_SHOWN = 60,   /* bytes of a value that a message shows */
    LINE_SHOWN = 110,    /* characters of a source line */
    LINE_BEFORE = 60,    /* of those, at least so many before the mark in a cut line */
    LINE_SCANNED = 4096, /* bytes of a line that are searched for the name of a secret */
    MARK_SHOWN = 40,     /* longest mark */
    HIDDEN_MIN = 4,      /* shortest value that is scrubbed from texts */
    PRINTED_MAX = 50,    /* findings in one report for people */
};

/* Where a byte of the text stands, for people: both from 1, the column in characters. */
struct place {
    size_t line, column;
    size_t line_first, line_end; /* bytes */
};

void mr_report_init(struct mr_report *report, const struct mr_document *document, const char *file)
{
    memset(report, 0, sizeof *report);
    report->document = document;
    report->file = file;
}

void mr_report_deinit(struct mr_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->item[i].path);
        free(report->item[i].message);
        free(report->item[i].hint);
        free(report->item[i].note);
    }
    for (size_t i = 0; i < report->hidden.count; i++) free(report->hidden.item[i]);
    free(report->hidden.item);
    report->hidden = (struct mr_strings){0};
    report->count = 0;
}

void mr_report_hide(struct mr_report *report, const char *value)
{
    if (strlen(value) >= HIDDEN_MIN && !mr_strings_add(&report->hidden, value)) report->is_out_of_memory = true;
}

/* Replaces hidden values within a text of TEXT_BYTES. */
static void scrub(const struct mr_report *report, char *text)
{
    static const char mask[] = "[set]";
    for (size_t i = 0; i < report->hidden.count; i++) {
        const size_t bytes = strlen(report->hidden.item[i]);
        for (char *at = text; (at = strstr(at, report->hidden.item[i])); at += sizeof mask - 1) {
            const size_t mask_bytes = bytes < sizeof mask - 1 ? bytes : sizeof mask - 1;
            memcpy(at, mask, mask_bytes);
            memmove(at + mask_bytes, at + bytes, strlen(at + bytes) + 1);
            if (mask_bytes < sizeof mask - 1) at -= sizeof mask - 1 - mask_bytes;
        }
    }
}

__attribute__((format(printf, 2, 0))) static char *text_format(struct mr_report *report, const char *format,
                                                               va_list arguments)
{
    char text[TEXT_BYTES];
    vsnprintf(text, sizeof text, format, arguments);
    scrub(report, text);
    char *const copy = strdup(text);
    if (!copy) report->is_out_of_memory = true;
    return copy;
}

void mr_report_error(struct mr_report *report, uint32_t first, uint32_t bytes, const char *path, const char *format,
                     ...)
{
    report->error_count++;
    if (report->count == MR_FINDINGS_MAX) return;
    struct mr_finding *const finding = &report->item[report->count++];
    va_list arguments;
    va_start(arguments, format);
    *finding =
        (struct mr_finding){.first = first, .order = report->count, .bytes = bytes ? bytes : 1, .path = strdup(path)};
    finding->message = text_format(report, format, arguments);
    va_end(arguments);
    if (!finding->path) report->is_out_of_memory = true;
}

/* The finding that was added last, unless it was only counted. */
static struct mr_finding *last_finding(struct mr_report *report)
{
    return report->error_count && report->count && report->error_count <= MR_FINDINGS_MAX
               ? &report->item[report->count - 1]
               : NULL;
}

void mr_report_as_warning(struct mr_report *report)
{
    struct mr_finding *const finding = last_finding(report);
    if (!finding) return;
    finding->is_warning = true;
    report->error_count--;
}

void mr_report_hint(struct mr_report *report, const char *format, ...)
{
    struct mr_finding *const finding = last_finding(report);
    va_list arguments;
    if (!finding || finding->hint) return;
    va_start(arguments, format);
    finding->hint = text_format(report, format, arguments);
    va_end(arguments);
}

void mr_report_note(struct mr_report *report, const char *format, ...)
{
    struct mr_finding *const finding = last_finding(report);
    va_list arguments;
    if (!finding || finding->note) return;
    va_start(arguments, format);
    finding->note = text_format(report, format, arguments);
    va_end(arguments);
}

char *mr_quote(const char *text, char out[MR_QUOTED_BYTES])
{
    const size_t bytes = strlen(text);
    size_t used = 0, at = 0;
    out[used++] = '"';
    while (at < bytes && used < QUOTED_SHOWN) {
        const size_t step = mr_utf8_sequence(text + at, bytes - at);
        const unsigned char c = (unsigned char)text[at];
        if (!step || c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(out + used, MR_QUOTED_BYTES - used, "\\x%02x", c);
            at++;
        } else {
            if (c == '"' || c == '\\') out[used++] = '\\';
            memcpy(out + used, text + at, step);
            used += step;
            at += step;
        }
    }
    snprintf(out + used, MR_QUOTED_BYTES - used, at < bytes ? "...\"" : "\"");
    return out;
}

static struct place place_of(const struct mr_document *document, uint32_t first)
{
    const char *const source = document->source;
    struct place place = {.line = 1, .column = 1};
    if (first > document->bytes) first = (uint32_t)document->bytes;
    for (size_t i = 0; i < first; i++) {
        if (source[i] != '\n') continue;
        place.line++;
        place.line_first = i + 1;
    }
    for (size_t i = place.line_first; i < first; i++) place.column += ((unsigned char)source[i] & 0xc0) != 0x80;
    const char *const end = memchr(source + place.line_first, '\n', document->bytes - place.line_first);
    place.line_end = end ? (size_t)(end - source) : document->bytes;
    return place;
}

/*
 * Secrets that stand in the text as they are must not show in an excerpt. Without nodes (the file is no JSON)
 * everything behind a key of a secret's name is one, up to the end of the line.
 */
static bool is_in_secret(const struct mr_document *document, size_t line_first, size_t byte)
{
    for (size_t i = 1; i < document->node_count; i++) {
        const struct mr_node *const node = &document->node[i];
        const size_t quote = node->kind == MR_NODE_STRING;
        if (node->is_secret && byte >= node->first + quote && byte + quote < (size_t)node->first + node->bytes)
            return true;
    }
    if (document->node_count) return false;
    char before[LINE_SCANNED];
    const size_t bytes = byte - line_first < sizeof before - 1 ? byte - line_first : sizeof before - 1;
    memcpy(before, document->source + line_first, bytes);
    before[bytes] = '\0';
    char *const colon = strrchr(before, ':');
    if (!colon) return false;
    *colon = '\0';
    return mr_key_is_secret(before);
}

/* Bytes [first, end) of a line as single-width characters. */
static void print_line_part(const struct mr_document *document, FILE *talk, size_t line_first, size_t first, size_t end)
{
    for (size_t at = first; at < end;) {
        const size_t bytes = mr_utf8_sequence(document->source + at, end - at);
        const unsigned char c = (unsigned char)document->source[at];
        if (bytes && c != '\t' && (c < 0x20 || c == 0x7f))
            fputc(c == '\r' ? ' ' : '?', talk);
        else if (c == '\t')
            fputc(' ', talk);
        else if (!bytes)
            fputc('?', talk);
        else if (is_in_secret(document, line_first, at))
            fputc('*', talk);
        else
            fwrite(document->source + at, 1, bytes, talk);
        at += bytes ? bytes : 1;
    }
}

static size_t step_back(const char *source, size_t at, size_t first, size_t characters)
{
    while (at > first && characters) {
        at--;
        while (at > first && ((unsigned char)source[at] & 0xc0) == 0x80) at--;
        characters--;
    }
    return at;
}

static size_t step_on(const char *source, size_t at, size_t end, size_t characters)
{
    while (at < end && characters) {
        at++;
        while (at < end && ((unsigned char)source[at] & 0xc0) == 0x80) at++;
        characters--;
    }
    return at;
}

/* Text that came from a file in part: control bytes must not reach a terminal. */
static void print_clean(FILE *talk, const char *text)
{
    for (; *text; text++) fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, talk);
}

/* The line with a mark below it; of a long line the part around the mark. */
static void print_excerpt(const struct mr_report *report, FILE *talk, const struct mr_finding *finding,
                          const struct place *place)
{
    const char *const source = report->document->source;
    const int fd = fileno(talk);
    const size_t length = place->line_end - place->line_first;
    size_t first = place->line_first, end = place->line_end;
    const size_t at = finding->first < place->line_end ? finding->first : place->line_end;
    if (length > LINE_SHOWN) {
        first = step_back(source, at, first, LINE_BEFORE);
        end = step_on(source, at, end, LINE_SHOWN - LINE_BEFORE);
    }
    while (end > first && (source[end - 1] == '\r' || source[end - 1] == ' ')) end--;
    fprintf(talk, "%s%5zu |%s %s", mr_term_style(fd, MR_STYLE_DIM), place->line, mr_term_style(fd, MR_STYLE_PLAIN),
            first > place->line_first ? "..." : "");
    print_line_part(report->document, talk, place->line_first, first, end);
    fprintf(talk, "%s\n", end < place->line_end && length > LINE_SHOWN ? "..." : "");

    size_t before = first > place->line_first ? 3 : 0, marked = 0;
    for (size_t i = first; i < at; i++) before += ((unsigned char)source[i] & 0xc0) != 0x80;
    for (size_t i = at; i < (size_t)finding->first + finding->bytes && i < end; i++)
        marked += ((unsigned char)source[i] & 0xc0) != 0x80;
    if (marked > MARK_SHOWN) marked = MARK_SHOWN;
    fprintf(talk, "%s      |%s %*s%s^", mr_term_style(fd, MR_STYLE_DIM), mr_term_style(fd, MR_STYLE_PLAIN), (int)before,
            "", mr_term_style(fd, finding->is_warning ? MR_STYLE_YELLOW : MR_STYLE_RED));
    for (size_t i = 1; i < marked; i++) fputc('~', talk);
    if (finding->hint) fputc(' ', talk);
    if (finding->hint) print_clean(talk, finding->hint);
    fprintf(talk, "%s\n", mr_term_style(fd, MR_STYLE_PLAIN));
}

static void print_aside(FILE *talk, const char *text)
{
    const int fd = fileno(talk);
    fprintf(talk, "%s      =%s ", mr_term_style(fd, MR_STYLE_DIM), mr_term_style(fd, MR_STYLE_PLAIN));
    print_clean(talk, text);
    fputc('\n', talk);
}

/* is_again: the finding before stands at the same place, whose line need not be shown twice. */
static void print_finding(const struct mr_report *report, FILE *talk, const struct mr_finding *finding, bool is_again)
{
    const struct place place = place_of(report->document, finding->first);
    const int fd = fileno(talk);
    fputs(mr_term_style(fd, MR_STYLE_BOLD), talk);
    print_clean(talk, report->file);
    fprintf(talk, ":%zu:%zu:%s %s", place.line, place.column, mr_term_style(fd, MR_STYLE_PLAIN),
            finding->is_warning ? "warning: " : "");
    print_clean(talk, finding->path);
    fputs(*finding->path ? ": " : "", talk);
    print_clean(talk, finding->message);
    fputc('\n', talk);
    if (!is_again)
        print_excerpt(report, talk, finding, &place);
    else if (finding->hint)
        print_aside(talk, finding->hint);
    if (finding->note) print_aside(talk, finding->note);
}

static int compare_findings(const void *a, const void *b)
{
    const struct mr_finding *const x = a, *const y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

void mr_report_print(struct mr_report *report, FILE *talk)
{
    if (report->is_out_of_memory) return;
    qsort(report->item, report->count, sizeof *report->item, compare_findings);
    for (size_t i = 0; i < report->count && i < PRINTED_MAX; i++) {
        print_finding(report, talk, &report->item[i], i && report->item[i].first == report->item[i - 1].first);
    }
    if (report->error_count > PRINTED_MAX) fprintf(talk, "... and %zu more\n", report->error_count - PRINTED_MAX);
}

static bool add_finding_json(const struct mr_report *report, cJSON *findings, const struct mr_finding *finding)
{
    const struct place place = place_of(report->document, finding->first);
    cJSON *const item = cJSON_CreateObject();
    bool is_good = item && cJSON_AddStringToObject(item, "severity", finding->is_warning ? "warning" : "error") &&
                   cJSON_AddNumberToObject(item, "line", (double)place.line) &&
                   cJSON_AddNumberToObject(item, "column", (double)place.column) &&
                   cJSON_AddStringToObject(item, "path", finding->path) &&
                   cJSON_AddStringToObject(item, "message", finding->message);
    if (finding->hint) is_good = is_good && cJSON_AddStringToObject(item, "hint", finding->hint);
    if (finding->note) is_good = is_good && cJSON_AddStringToObject(item, "note", finding->note);
    if (is_good && cJSON_AddItemToArray(findings, item)) return true;
    cJSON_Delete(item);
    return false;
}

mr_status mr_report_print_json(struct mr_report *report, FILE *out)
{
    cJSON *const root = cJSON_CreateObject();
    bool is_good = !report->is_out_of_memory && root && cJSON_AddStringToObject(root, "file", report->file) &&
                   cJSON_AddBoolToObject(root, "ok", report->error_count == 0);
    cJSON *const findings = is_good ? cJSON_AddArrayToObject(root, "findings") : NULL;
    qsort(report->item, report->count, sizeof *report->item, compare_findings);
    is_good = findings != NULL;
    for (size_t i = 0; is_good && i < report->count; i++)
        is_good = add_finding_json(report, findings, &report->item[i]);
    char *const text = is_good ? cJSON_PrintUnformatted(root) : NULL;
    if (text) fprintf(out, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text ? MR_OK : MR_ENOMEM;
}
