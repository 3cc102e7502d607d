/** What is wrong with a job file: findings are collected first, then printed all at once in the order of the text. */
#ifndef MR_CONFIG_REPORT_H
#define MR_CONFIG_REPORT_H

#include <stdio.h>

#include "config/document.h"
#include "millrace/option.h"

#define MR_FINDINGS_MAX 200 /* kept; later ones are only counted */

struct mr_finding {
    uint32_t first, bytes; /* what is marked in the text */
    bool is_warning;
    size_t order; /* in which it was found */
    char *path;
    char *message;
    char *hint; /* stands behind the mark; may be NULL */
    char *note; /* stands on a line of its own; may be NULL */
};

struct mr_report {
    const struct mr_document *document;
    const char *file; /* name in messages */
    struct mr_finding item[MR_FINDINGS_MAX];
    size_t count;             /* kept */
    size_t error_count;       /* all */
    struct mr_strings hidden; /* values that no text may hold: mr_report_hide */
    bool is_out_of_memory;
};

/** report: some 14 KiB, best on the heap. document and file are borrowed until deinit. */
void mr_report_init(struct mr_report *report, const struct mr_document *document, const char *file);
void mr_report_deinit(struct mr_report *report);

/**
 * From now on value is printed as [set] wherever it would stand in a message: what came from ${...}. Values of less
 * than 4 bytes stay, or no message could be read; callers do not print those.
 */
void mr_report_hide(struct mr_report *report, const char *value);

/** Adds an error at bytes of the text. path is copied. */
void mr_report_error(struct mr_report *report, uint32_t first, uint32_t bytes, const char *path, const char *format,
                     ...) __attribute__((format(printf, 5, 6)));

/** Makes the last error a warning: it is printed, and the job is good. */
void mr_report_as_warning(struct mr_report *report);

/** What to do about the last error, shown behind its mark. */
void mr_report_hint(struct mr_report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** More on the last error, shown below its mark: allowed names and the like. */
void mr_report_note(struct mr_report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Findings for people: file:line:column, the line, a mark, with colours where talk takes them. Secrets in the line are
 * masked. */
void mr_report_print(struct mr_report *report, FILE *talk);

/** Findings for programs: {"file":..,"ok":..,"findings":[{"severity","line","column","path","message","hint","note"}]}.
 * MR_ENOMEM. */
mr_status mr_report_print_json(struct mr_report *report, FILE *out);

/** Bytes that hold a quoted text; longer ones are cut with "...". */
#define MR_QUOTED_BYTES 96

/** text in double quotes, control bytes escaped, cut after 60 bytes at a character's border. Returns out. */
char *mr_quote(const char *text, char out[MR_QUOTED_BYTES]);

#endif
