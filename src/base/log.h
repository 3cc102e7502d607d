/**
 * Log lines on stderr: one write a line, RFC 3339 UTC with milliseconds, a level, a component, then key=value pairs.
 * Pretty on a terminal, logfmt elsewhere (forced by MILLRACE_LOG=pretty|logfmt|json). Thread-safe; never allocates.
 * The same line from the same place more than 5 times in 10 s is folded into "repeated n times".
 */
#ifndef MR_BASE_LOG_H
#define MR_BASE_LOG_H

typedef enum { MR_LOG_DEBUG, MR_LOG_INFO, MR_LOG_WARN, MR_LOG_ERROR } mr_log_level;

/** Lines below this level are dropped. Default MR_LOG_INFO. */
void mr_log_level_set(mr_log_level level);

/**
 * component: a string literal: "kafka", "lane", ... key=value words at the end of the text become fields ("joined
 * group=a lag=3"; a value with blanks stands in double quotes). The text must not hold record contents or secrets;
 * control bytes are escaped; more than 2 KiB are cut.
 */
void mr_log(mr_log_level level, const char *component, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** From now on each line says which of a job's processes wrote it. role: lives as long as the process; NULL: one alone.
 */
void mr_log_role_set(const char *role);

/** Says how often folded lines were hidden so far. The program calls it before it ends. */
void mr_log_flush(void);

/** While a live progress line is shown, the log clears it first; the progress module sets and resets this hook. */
void mr_log_clear_line_set(void (*clear)(void));

#endif
