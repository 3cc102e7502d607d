/* Log lines: text is formatted on the stack under one lock, then goes out in one write. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log_kept.h"
#include "base/term.h"
#include "base/utf8.h"

enum {
    TEXT_BYTES = 2048,                 /* of a message before escaping; longer ones are cut */
    LINE_BYTES = 6 * TEXT_BYTES + 512, /* every byte of a message may become 6: "\u001b" */
    FOLD_SLOTS = 64,                   /* places that are watched for repeats; the least recent one makes room */
    FOLD_AFTER = 5,                    /* same line from the same place, within */
    FOLD_WINDOW_MS = 10000,
};

typedef enum { FORM_UNKNOWN, FORM_PRETTY, FORM_LOGFMT, FORM_JSON } log_form;

/* One place and text that was logged lately. */
struct fold {
    const char *format;
    const char *component;
    uint64_t text_hash;
    mr_log_level level;
    int64_t first_ms, last_ms;
    unsigned count, hidden;
};

struct line {
    char bytes[LINE_BYTES];
    size_t used;
};

static struct {
    pthread_mutex_t lock;
    atomic_int level; /* read without the lock: dropped lines cost a load */
    log_form form;
    void (*clear)(void);
    const char *role;
    struct fold fold[FOLD_SLOTS];
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = MR_LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static int64_t now_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static log_form form_choose(void)
{
    const char *const wanted = getenv("MILLRACE_LOG");
    if (wanted && !strcmp(wanted, "pretty")) return FORM_PRETTY;
    if (wanted && !strcmp(wanted, "logfmt")) return FORM_LOGFMT;
    if (wanted && !strcmp(wanted, "json")) return FORM_JSON;
    return mr_term_is_live(STDERR_FILENO) ? FORM_PRETTY : FORM_LOGFMT;
}

static void put_bytes(struct line *line, const char *bytes, size_t count)
{
    const size_t room = sizeof line->bytes - 1 - line->used; /* 1 for the newline */
    if (count > room) count = room;
    memcpy(line->bytes + line->used, bytes, count);
    line->used += count;
}

static void put(struct line *line, const char *text)
{
    put_bytes(line, text, strlen(text));
}

/* Control bytes and what is no UTF-8 never reach a terminal or break a line; is_quoted: also what ends a quoted string.
 */
static void put_escaped(struct line *line, const char *text, size_t bytes, bool is_quoted)
{
    const bool is_json = log_state.form == FORM_JSON;
    for (size_t i = 0; i < bytes;) {
        const unsigned char c = (unsigned char)text[i];
        const size_t step = mr_utf8_sequence(text + i, bytes - i);
        char escape[8];
        if (c == '\n')
            put(line, "\\n");
        else if (c == '\t')
            put(line, "\\t");
        else if (!step || c < 0x20 || c == 0x7f) {
            snprintf(escape, sizeof escape, is_json ? "\\u%04x" : "\\x%02x", is_json && !step ? 0xfffdu : c);
            put(line, escape);
        } else if (is_quoted && (c == '"' || c == '\\')) {
            put(line, c == '"' ? "\\\"" : "\\\\");
        } else {
            put_bytes(line, text + i, step);
        }
        i += step ? step : 1;
    }
}

/* Bytes of a "key=value" token (value bare or in double quotes) at text, or 0. */
static size_t pair_bytes(const char *text)
{
    const size_t key = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    if (!key || text[key] != '=') return 0;
    size_t at = key + 1;
    if (text[at] != '"') {
        const size_t value = strcspn(text + at, " ");
        return value ? at + value : 0;
    }
    for (at++; text[at] && text[at] != '"'; at++) {
        if (text[at] == '\\' && text[at + 1]) at++;
    }
    return text[at] == '"' && (!text[at + 1] || text[at + 1] == ' ') ? at + 1 : 0;
}

/* Where the pairs at the end of a message begin: "joined group=a lag=3" -> "group=a lag=3". Its end when it has none.
 */
static const char *pairs_begin(const char *text)
{
    const char *begin = NULL;
    for (const char *at = text; *at;) {
        const size_t pair = pair_bytes(at);
        if (!pair)
            begin = NULL;
        else if (!begin)
            begin = at;
        at += pair ? pair : strcspn(at, " ");
        at += strspn(at, " ");
    }
    return begin ? begin : text + strlen(text);
}

/* A value that stands in double quotes already: \" and \\ are as JSON writes them, any other backslash is not. */
static void put_quoted_json(struct line *line, const char *value, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        const bool is_escape = value[i] == '\\' && i + 1 < bytes && (value[i + 1] == '"' || value[i + 1] == '\\');
        const size_t plain = strcspn(value + i, "\\");
        const size_t step = is_escape ? 2 : plain ? (plain < bytes - i ? plain : bytes - i) : 1;
        if (is_escape)
            put_bytes(line, value + i, 2);
        else
            put_escaped(line, value + i, step, true);
        i += step;
    }
}

static void put_pairs_json(struct line *line, const char *pairs)
{
    for (const char *at = pairs; *at;) {
        const size_t bytes = pair_bytes(at), key = strcspn(at, "=");
        const char *const value = at + key + 1;
        const size_t value_bytes = bytes - key - 1;
        put(line, ",\"");
        put_bytes(line, at, key);
        put(line, "\":\"");
        if (*value == '"')
            put_quoted_json(line, value + 1, value_bytes - 2);
        else
            put_escaped(line, value, value_bytes, true);
        put(line, "\"");
        at += bytes;
        at += strspn(at, " ");
    }
}

static void put_time(struct line *line, bool is_short)
{
    const int64_t ms = now_ms(CLOCK_REALTIME);
    const time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char text[40], fraction[8];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, is_short ? "%H:%M:%S" : "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(fraction, sizeof fraction, ".%03dZ", (int)(ms % 1000));
    if (is_short) fraction[4] = '\0';
    put(line, text);
    put(line, fraction);
}

static void format_pretty(struct line *line, mr_log_level level, const char *component, const char *text)
{
    static const mr_style styles[] = {MR_STYLE_DIM, MR_STYLE_GREEN, MR_STYLE_YELLOW, MR_STYLE_RED};
    static const char *const names[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    const char *const pairs = pairs_begin(text);
    put(line, mr_term_style(STDERR_FILENO, MR_STYLE_DIM));
    put_time(line, true);
    put(line, mr_term_style(STDERR_FILENO, MR_STYLE_PLAIN));
    put(line, " ");
    put(line, mr_term_style(STDERR_FILENO, styles[level]));
    put(line, names[level]);
    put(line, mr_term_style(STDERR_FILENO, MR_STYLE_PLAIN));
    put(line, " ");
    if (log_state.role) put(line, log_state.role);
    if (log_state.role) put(line, " ");
    put(line, component);
    put(line, ": ");
    put_escaped(line, text, (size_t)(pairs - text), false);
    put(line, mr_term_style(STDERR_FILENO, MR_STYLE_DIM));
    put_escaped(line, pairs, strlen(pairs), false);
    put(line, mr_term_style(STDERR_FILENO, MR_STYLE_PLAIN));
}

static void format_plain(struct line *line, mr_log_level level, const char *component, const char *text)
{
    const bool is_json = log_state.form == FORM_JSON;
    const char *const pairs = pairs_begin(text);
    size_t words = (size_t)(pairs - text);
    while (words && text[words - 1] == ' ') words--;
    put(line, is_json ? "{\"ts\":\"" : "ts=");
    put_time(line, false);
    put(line, is_json ? "\",\"level\":\"" : " level=");
    put(line, level_names[level]);
    if (log_state.role) put(line, is_json ? "\",\"role\":\"" : " role=");
    if (log_state.role) put(line, log_state.role);
    put(line, is_json ? "\",\"component\":\"" : " component=");
    put(line, component);
    put(line, is_json ? "\",\"msg\":\"" : " msg=\"");
    put_escaped(line, text, words, true);
    put(line, "\"");
    if (is_json) {
        put_pairs_json(line, pairs);
        put(line, "}");
    } else if (*pairs) {
        put(line, " ");
        put_escaped(line, pairs, strlen(pairs), false);
    }
}

static void line_write(mr_log_level level, const char *component, const char *text)
{
    static struct line line; /* under the lock */
    line.used = 0;
    mr_log_keep(level, component, text);
    if (log_state.form == FORM_UNKNOWN) log_state.form = form_choose();
    if (log_state.form == FORM_PRETTY)
        format_pretty(&line, level, component, text);
    else
        format_plain(&line, level, component, text);
    line.bytes[line.used++] = '\n';
    if (log_state.clear) log_state.clear();
    /* One write a line. What a full disk or a closed pipe does not take is lost: there is nowhere to say it. */
    const ssize_t written = write(STDERR_FILENO, line.bytes, line.used);
    (void)written;
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash;
}

static void fold_tell(struct fold *fold)
{
    char text[64];
    if (fold->hidden) {
        snprintf(text, sizeof text, "last line repeated %u times", fold->hidden);
        line_write(fold->level, fold->component, text);
    }
    *fold = (struct fold){0};
}

/* Windows that are over: says how often their line was hidden. */
static void fold_expire(int64_t now)
{
    for (size_t i = 0; i < FOLD_SLOTS; i++) {
        struct fold *const fold = &log_state.fold[i];
        if (fold->format && now - fold->first_ms >= FOLD_WINDOW_MS) fold_tell(fold);
    }
}

/* True when the line is to be hidden. */
static bool fold_line(mr_log_level level, const char *component, const char *format, const char *text, int64_t now)
{
    const uint64_t hash = hash_text(text);
    struct fold *oldest = &log_state.fold[0];
    for (size_t i = 0; i < FOLD_SLOTS; i++) {
        struct fold *const fold = &log_state.fold[i];
        if (fold->format == format && fold->component == component && fold->text_hash == hash) {
            fold->last_ms = now;
            fold->count++;
            if (fold->count > FOLD_AFTER) fold->hidden++;
            return fold->count > FOLD_AFTER;
        }
        if (!fold->format || (oldest->format && fold->last_ms < oldest->last_ms)) oldest = fold;
    }
    fold_tell(oldest);
    *oldest = (struct fold){.format = format,
                            .component = component,
                            .text_hash = hash,
                            .level = level,
                            .first_ms = now,
                            .last_ms = now,
                            .count = 1};
    return false;
}

void mr_log_level_set(mr_log_level level)
{
    atomic_store(&log_state.level, (int)level);
}

void mr_log_role_set(const char *role)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.role = role;
    pthread_mutex_unlock(&log_state.lock);
}

void mr_log_clear_line_set(void (*clear)(void))
{
    pthread_mutex_lock(&log_state.lock);
    log_state.clear = clear;
    pthread_mutex_unlock(&log_state.lock);
}

void mr_log_flush(void)
{
    pthread_mutex_lock(&log_state.lock);
    for (size_t i = 0; i < FOLD_SLOTS; i++) fold_tell(&log_state.fold[i]);
    pthread_mutex_unlock(&log_state.lock);
}

void mr_log(mr_log_level level, const char *component, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list arguments;
    if ((int)level < atomic_load_explicit(&log_state.level, memory_order_relaxed)) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    pthread_mutex_lock(&log_state.lock);
    const int64_t now = now_ms(CLOCK_MONOTONIC);
    fold_expire(now);
    if (!fold_line(level, component, format, text, now)) line_write(level, component, text);
    pthread_mutex_unlock(&log_state.lock);
}
