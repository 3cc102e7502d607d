#include "verify/proof.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/json_text.h"
#include "base/term.h"

static const char *const names[MR_FOUND_KINDS] = {
    [MR_FOUND_MISSING] = "missing",         [MR_FOUND_DUPLICATED] = "duplicated",
    [MR_FOUND_REORDERED] = "reordered",     [MR_FOUND_DIFFERENT] = "different",
    [MR_FOUND_FOREIGN] = "foreign",         [MR_FOUND_LEARNED_TWICE] = "learned_twice",
    [MR_FOUND_NOT_LEARNED] = "not_learned", [MR_FOUND_STATE] = "state",
    [MR_FOUND_WEIGHTS] = "weights",         [MR_FOUND_AHEAD] = "offsets_ahead",
    [MR_FOUND_BEHIND] = "offsets_behind",   [MR_FOUND_COUNTS] = "counts",
};

const char *mr_found_name(mr_found kind)
{
    return names[kind];
}

void mr_proof_found(struct mr_proof *proof, mr_found kind, const char *topic, int32_t partition, int64_t offset,
                    const char *format, ...)
{
    va_list arguments;
    proof->count[kind]++;
    if (proof->total++ >= MR_FINDINGS_SHOWN) return;
    struct mr_finding *const finding = &proof->finding[proof->total - 1];
    *finding = (struct mr_finding){.kind = kind, .partition = partition, .offset = offset};
    snprintf(finding->topic, sizeof finding->topic, "%s", topic ? topic : "");
    va_start(arguments, format);
    vsnprintf(finding->text, sizeof finding->text, format, arguments);
    va_end(arguments);
}

__attribute__((format(printf, 2, 0))) static void line_add(struct mr_proof_lines *lines, const char *format,
                                                           va_list arguments)
{
    char line[MR_FINDING_TEXT_BYTES];
    vsnprintf(line, sizeof line, format, arguments);
    if (mr_blob_put(&lines->text, line, strlen(line) + 1))
        lines->count++;
    else
        lines->left_out++;
}

void mr_proof_note(struct mr_proof *proof, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    line_add(&proof->notes, format, arguments);
    va_end(arguments);
}

void mr_proof_fact(struct mr_proof *proof, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    line_add(&proof->facts, format, arguments);
    va_end(arguments);
}

void mr_proof_deinit(struct mr_proof *proof)
{
    mr_blob_deinit(&proof->notes.text);
    mr_blob_deinit(&proof->facts.text);
}

/* ---- JSON ---- */

static void json_text(FILE *out, const char *text)
{
    char quoted[MR_JSON_ESCAPE_MAX * MR_FINDING_TEXT_BYTES + MR_JSON_QUOTES];
    const size_t bytes = strnlen(text, MR_FINDING_TEXT_BYTES);
    fwrite(quoted, 1, mr_json_quote(text, bytes, quoted), out);
}

static void json_list(FILE *out, const char *key, const struct mr_proof_lines *lines)
{
    const char *line = lines->text.data;
    fprintf(out, ",\"%s\":[", key);
    for (uint64_t i = 0; i < lines->count; i++, line += strlen(line) + 1) {
        if (i) putc(',', out);
        json_text(out, line);
    }
    putc(']', out);
    if (lines->left_out) fprintf(out, ",\"%s_left_out\":%llu", key, (unsigned long long)lines->left_out);
}

static void json_print(const struct mr_proof *proof, const char *job, FILE *out)
{
    const bool is_proved = !proof->total && !proof->missing && !proof->stopped;
    fputs("{\"type\":\"verify\",\"job\":", out);
    json_text(out, job);
    fprintf(out,
            ",\"ok\":%s,\"messages\":%llu,\"in\":%llu,\"out\":%llu,\"dead\":%llu,\"filtered\":%llu,\"commits\":%llu,"
            "\"updates\":%llu,\"models_equal\":%llu,\"seconds\":%.3f,\"violations\":%llu,\"kinds\":{",
            is_proved ? "true" : "false", (unsigned long long)proof->messages, (unsigned long long)proof->in,
            (unsigned long long)proof->out, (unsigned long long)proof->dead, (unsigned long long)proof->filtered,
            (unsigned long long)proof->commits, (unsigned long long)proof->updates,
            (unsigned long long)proof->models_equal, proof->seconds, (unsigned long long)proof->total);
    for (int i = 0, shown = 0; i < MR_FOUND_KINDS; i++) {
        if (proof->count[i])
            fprintf(out, "%s\"%s\":%llu", shown++ ? "," : "", names[i], (unsigned long long)proof->count[i]);
    }
    fputs("},\"findings\":[", out);
    for (uint64_t i = 0; i < proof->total && i < MR_FINDINGS_SHOWN; i++) {
        const struct mr_finding *const finding = &proof->finding[i];
        fprintf(out, "%s{\"kind\":\"%s\",\"topic\":", i ? "," : "", names[finding->kind]);
        json_text(out, finding->topic);
        fprintf(out, ",\"partition\":%d,\"offset\":%lld,\"text\":", (int)finding->partition,
                (long long)finding->offset);
        json_text(out, finding->text);
        putc('}', out);
    }
    putc(']', out);
    json_list(out, "proved", &proof->facts);
    json_list(out, "not_proved", &proof->notes);
    fputs("}\n", out);
}

/* ---- text ---- */

static void lines_print(FILE *out, const struct mr_proof_lines *lines, const char *style, const char *plain,
                        const char *what)
{
    const char *line = lines->text.data;
    for (uint64_t i = 0; i < lines->count; i++, line += strlen(line) + 1)
        fprintf(out, "%s%-10s%s  %s\n", style, what, plain, line);
    if (lines->left_out)
        fprintf(out, "%12sand %llu more that memory had no room for\n", "", (unsigned long long)lines->left_out);
}

void mr_proof_print(const struct mr_proof *proof, const char *job, bool is_json, FILE *out)
{
    const int fd = out == stdout ? STDOUT_FILENO : STDERR_FILENO;
    const char *const plain = mr_term_style(fd, MR_STYLE_PLAIN);
    if (is_json) {
        json_print(proof, job, out);
        return;
    }
    lines_print(out, &proof->facts, mr_term_style(fd, MR_STYLE_GREEN), plain, "ok");
    lines_print(out, &proof->notes, mr_term_style(fd, MR_STYLE_YELLOW), plain, "not proved");
    for (uint64_t i = 0; i < proof->total && i < MR_FINDINGS_SHOWN; i++) {
        const struct mr_finding *const finding = &proof->finding[i];
        fprintf(out, "%sWRONG%s       %s: ", mr_term_style(fd, MR_STYLE_RED), plain, names[finding->kind]);
        if (*finding->topic && finding->partition >= 0)
            fprintf(out, "%s[%d] offset %lld: ", finding->topic, (int)finding->partition, (long long)finding->offset);
        else if (*finding->topic)
            fprintf(out, "%s: ", finding->topic);
        fprintf(out, "%s\n", finding->text);
    }
    if (proof->total > MR_FINDINGS_SHOWN)
        fprintf(out, "            and %llu more\n", (unsigned long long)(proof->total - MR_FINDINGS_SHOWN));
    fprintf(out, "%llu messages, %llu records = %llu out + %llu dead + %llu filtered, in %.1f s\n",
            (unsigned long long)proof->messages, (unsigned long long)proof->in, (unsigned long long)proof->out,
            (unsigned long long)proof->dead, (unsigned long long)proof->filtered, proof->seconds);
}

mr_status mr_proof_status(const struct mr_proof *proof, struct mr_err *err)
{
    char kinds[256] = "";
    size_t at = 0;
    if (!proof->total && proof->missing)
        return mr_fail(err, proof->missing, "records that are needed are no longer in the topics: not all is proved");
    if (!proof->total) return MR_OK;
    for (int i = 0; i < MR_FOUND_KINDS && at < sizeof kinds; i++) {
        if (!proof->count[i]) continue;
        at += (size_t)snprintf(kinds + at, sizeof kinds - at, "%s%llu %s", at ? ", " : "",
                               (unsigned long long)proof->count[i], names[i]);
    }
    return mr_fail(err, MR_EINVARIANT, "the topics contradict what was promised: %s", kinds);
}
