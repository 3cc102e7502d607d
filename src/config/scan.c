/* The scan of a job file: strict JSON, plus comments and trailing commas, which are blanked so that positions stay
 * true. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "config/document.h"

struct scan {
    struct mr_document *document;
    char *text;
    uint32_t at, end;
    uint32_t open[MR_DOCUMENT_DEPTH_MAX]; /* nodes that are not closed yet */
    uint32_t last[MR_DOCUMENT_DEPTH_MAX]; /* the last child of each */
    size_t depth;
    uint32_t value_end; /* end of the last complete value: where a comma is missing */
    struct mr_syntax_error *error;
    bool is_out_of_memory;
};

__attribute__((format(printf, 4, 5))) static bool fail(struct scan *scan, uint32_t first, uint32_t bytes,
                                                       const char *format, ...)
{
    va_list arguments;
    scan->error->first = first;
    scan->error->bytes = bytes;
    va_start(arguments, format);
    vsnprintf(scan->error->message, sizeof scan->error->message, format, arguments);
    va_end(arguments);
    return false;
}

/* Adds what to do to an error that fail() has just set. */
__attribute__((format(printf, 2, 3))) static bool hint(struct scan *scan, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(scan->error->hint, sizeof scan->error->hint, format, arguments);
    va_end(arguments);
    return false;
}

static void blank(struct scan *scan, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        if (scan->text[i] != '\n') scan->text[i] = ' ';
    }
}

static bool skip_comment(struct scan *scan)
{
    const uint32_t first = scan->at;
    if (scan->text[first + 1] == '/') {
        while (scan->at < scan->end && scan->text[scan->at] != '\n') scan->at++;
    } else {
        const char *const close = strstr(scan->text + first + 2, "*/");
        if (!close) return fail(scan, first, 2, "this comment is never closed"), hint(scan, "end it with */");
        scan->at = (uint32_t)(close - scan->text) + 2;
    }
    blank(scan, first, scan->at);
    return true;
}

/* Blanks between tokens. */
static bool skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end) {
        const char c = scan->text[scan->at];
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            scan->at++;
        else if (c == '/' && (scan->text[scan->at + 1] == '/' || scan->text[scan->at + 1] == '*')) {
            if (!skip_comment(scan)) return false;
        } else {
            break;
        }
    }
    return true;
}

static int hex_value(const char *text)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        const char c = text[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape at text[at]; the bytes behind it are readable up to the 0 at the end of the text. */
static bool scan_escape(struct scan *scan)
{
    const uint32_t first = scan->at;
    const char *const text = scan->text + first;
    if (text[1] && strchr("\"\\/bfnrt", text[1])) {
        scan->at += 2;
        return true;
    }
    if (text[1] != 'u') {
        fail(scan, first, 2, "\\%c is not an escape of JSON",
             (unsigned char)text[1] > ' ' && text[1] != 0x7f ? text[1] : ' ');
        return hint(scan, "a backslash itself is written \\\\");
    }
    const int unit = hex_value(text + 2);
    if (unit < 0) return fail(scan, first, 2, "\\u needs four hexadecimal digits");
    if (unit == 0) return fail(scan, first, 6, "\\u0000 is not allowed in a job file");
    if (unit >= 0xd800 && unit <= 0xdfff) {
        const int low = unit < 0xdc00 && text[6] == '\\' && text[7] == 'u' ? hex_value(text + 8) : -1;
        if (low < 0xdc00 || low > 0xdfff) return fail(scan, first, 6, "half of a surrogate pair");
        scan->at += 6;
    }
    scan->at += 6;
    return true;
}

static bool scan_string(struct scan *scan)
{
    const uint32_t first = scan->at++;
    while (scan->at < scan->end) {
        const unsigned char c = (unsigned char)scan->text[scan->at];
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c == '\n' || c == '\r') break;
        if (c < 0x20)
            return fail(scan, scan->at, 1, "a control byte (0x%02x) within a string", c),
                   hint(scan, "write \\u%04x", c);
        if (c == '\\') {
            if (!scan_escape(scan)) return false;
            continue;
        }
        const size_t bytes = mr_utf8_sequence(scan->text + scan->at, scan->end - scan->at);
        if (!bytes) return fail(scan, scan->at, 1, "not UTF-8 (byte 0x%02x)", c), hint(scan, "save the file as UTF-8");
        scan->at += (uint32_t)bytes;
    }
    return fail(scan, first, scan->at - first, "this string is not closed on its line");
}

static uint32_t digits(const struct scan *scan, uint32_t at)
{
    return (uint32_t)strspn(scan->text + at, "0123456789");
}

static bool scan_number(struct scan *scan)
{
    const uint32_t first = scan->at;
    const uint32_t shown = (uint32_t)strcspn(scan->text + first, " \t\r\n,]}");
    uint32_t at = first + (scan->text[first] == '-');
    const uint32_t whole = digits(scan, at);
    if (!whole) {
        fail(scan, first, shown, "this is not a number of JSON");
        return hint(scan, scan->text[at] == '.' ? "write 0 before the point" : "write digits, such as -1 or 0.5");
    }
    if (scan->text[at] == '0' && whole > 1) return fail(scan, first, shown, "a number must not begin with 0");
    at += whole;
    if (scan->text[at] == '.') {
        const uint32_t fraction = digits(scan, at + 1);
        if (!fraction) return fail(scan, first, shown, "a number must have digits behind its point");
        at += 1 + fraction;
    }
    if (scan->text[at] == 'e' || scan->text[at] == 'E') {
        at++;
        if (scan->text[at] == '+' || scan->text[at] == '-') at++;
        if (!digits(scan, at)) return fail(scan, first, shown, "a number must have digits behind its exponent");
        at += digits(scan, at);
    }
    if (at - first > MR_DOCUMENT_NUMBER_MAX)
        return fail(scan, first, shown, "a number of more than %d characters", MR_DOCUMENT_NUMBER_MAX);
    if (at != first + shown && !strchr("/", scan->text[at])) {
        fail(scan, first, shown, "neither a number nor a string");
        return hint(scan, "values with units stand in double quotes");
    }
    scan->at = at;
    return true;
}

/* true, false, null, or a word that should stand in quotes. */
static bool scan_word(struct scan *scan, mr_node_kind *kind_out)
{
    static const struct {
        const char *word, *meant;
        mr_node_kind kind;
    } words[] = {
        {"true", NULL, MR_NODE_BOOL},   {"false", NULL, MR_NODE_BOOL},    {"null", NULL, MR_NODE_NULL},
        {"True", "true", MR_NODE_BOOL}, {"False", "false", MR_NODE_BOOL}, {"None", "null", MR_NODE_NULL},
        {"yes", "true", MR_NODE_BOOL},  {"no", "false", MR_NODE_BOOL},    {"on", "true", MR_NODE_BOOL},
        {"off", "false", MR_NODE_BOOL},
    };
    const char *const text = scan->text + scan->at;
    const uint32_t bytes = (uint32_t)strcspn(text, " \t\r\n,:]}\"/");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i].word) != bytes || memcmp(words[i].word, text, bytes) != 0) continue;
        if (words[i].meant) {
            fail(scan, scan->at, bytes, "%s is not a value of JSON", words[i].word);
            return hint(scan, "write %s", words[i].meant);
        }
        *kind_out = words[i].kind;
        scan->at += bytes;
        return true;
    }
    if (*text == '\'')
        return fail(scan, scan->at, 1, "strings stand in double quotes"), hint(scan, "write \" instead of '");
    if (mr_utf8_sequence(text, scan->end - scan->at) == 1 && (unsigned char)*text > ' ' && *text != 0x7f) {
        fail(scan, scan->at, bytes ? bytes : 1, "expected a value");
        return hint(scan, bytes ? "strings stand in double quotes" : "%c cannot begin one", *text);
    }
    return fail(scan, scan->at, 1, "expected a value, found byte 0x%02x", (unsigned char)*text);
}

static struct mr_node *node_add(struct scan *scan, mr_node_kind kind)
{
    struct mr_document *const document = scan->document;
    if (document->node_count == MR_DOCUMENT_NODES_MAX) {
        fail(scan, scan->at, 1, "more than %d values in one job file", MR_DOCUMENT_NODES_MAX);
        return NULL;
    }
    if (document->node_count == document->node_cap) {
        const size_t cap = document->node_cap ? document->node_cap * 2 : 128;
        struct mr_node *const node = realloc(document->node, cap * sizeof *node);
        if (!node) {
            scan->is_out_of_memory = true;
            return NULL;
        }
        document->node = node;
        document->node_cap = cap;
    }
    const uint32_t index = (uint32_t)document->node_count++;
    struct mr_node *const node = &document->node[index];
    *node = (struct mr_node){.kind = kind,
                             .first = scan->at,
                             .parent = MR_NODE_NONE,
                             .child = MR_NODE_NONE,
                             .next = MR_NODE_NONE,
                             .previous = MR_NODE_NONE};
    if (scan->depth) {
        struct mr_node *const parent = &document->node[scan->open[scan->depth - 1]];
        const uint32_t before = scan->last[scan->depth - 1];
        node->parent = scan->open[scan->depth - 1];
        node->index = parent->child_count++;
        node->previous = before;
        if (before == MR_NODE_NONE)
            parent->child = index;
        else
            document->node[before].next = index;
        scan->last[scan->depth - 1] = index;
    }
    return node;
}

/* A value that begins at `at`; of an object or array the opening bracket only. */
static bool scan_value(struct scan *scan, uint32_t key_first, uint32_t key_bytes)
{
    const char c = scan->at < scan->end ? scan->text[scan->at] : '\0';
    mr_node_kind kind = c == '{'   ? MR_NODE_OBJECT
                        : c == '[' ? MR_NODE_ARRAY
                        : c == '"' ? MR_NODE_STRING
                                   : MR_NODE_NUMBER;
    const uint32_t first = scan->at;
    if (c == '{' || c == '[')
        scan->at++;
    else if (c == '"') {
        if (!scan_string(scan)) return false;
    } else if (c && strchr("-+.0123456789", c)) {
        if (!scan_number(scan)) return false;
    } else if (scan->at >= scan->end) {
        return fail(scan, scan->value_end, 1, "the file ends where a value should stand");
    } else if (!scan_word(scan, &kind)) {
        return false;
    }
    if (kind <= MR_NODE_ARRAY && scan->depth == MR_DOCUMENT_DEPTH_MAX) {
        return fail(scan, first, 1, "nested deeper than %d", MR_DOCUMENT_DEPTH_MAX);
    }
    struct mr_node *const node = node_add(scan, kind);
    if (!node) return false;
    node->first = first;
    node->bytes = scan->at - first;
    node->key_first = key_first;
    node->key_bytes = key_bytes;
    scan->value_end = scan->at;
    if (kind <= MR_NODE_ARRAY) {
        scan->open[scan->depth] = (uint32_t)(node - scan->document->node);
        scan->last[scan->depth++] = MR_NODE_NONE;
    }
    return true;
}

/* "key": of an object. */
static bool scan_key(struct scan *scan, uint32_t *key_first_out, uint32_t *key_bytes_out)
{
    const uint32_t first = scan->at;
    const char *const text = scan->text + first;
    if (*text != '"') {
        const uint32_t bytes = (uint32_t)strcspn(text, " \t\r\n,:={}[]\"/'");
        fail(scan, first, bytes ? bytes : 1, "expected a key in double quotes");
        if (*text == '\'') hint(scan, "write \" instead of '");
        if (mr_utf8_sequence(text, scan->end - first) == 1 && bytes && bytes < 60)
            hint(scan, "write \"%.*s\":", (int)bytes, text);
        return false;
    }
    if (!scan_string(scan)) return false;
    *key_first_out = first;
    *key_bytes_out = scan->at - first;
    if (!skip_blanks(scan)) return false;
    if (scan->text[scan->at] != ':') {
        return fail(scan, first + *key_bytes_out, 1, "expected \":\" behind the key");
    }
    scan->at++;
    return skip_blanks(scan);
}

static bool close_bracket(struct scan *scan)
{
    struct mr_node *const node = &scan->document->node[scan->open[scan->depth - 1]];
    node->bytes = scan->at + 1 - node->first;
    scan->value_end = ++scan->at;
    scan->depth--;
    return true;
}

static bool never_closed(struct scan *scan)
{
    const struct mr_node *const node = &scan->document->node[scan->open[scan->depth - 1]];
    fail(scan, node->first, 1, "this %s is never closed", node->kind == MR_NODE_OBJECT ? "{" : "[");
    return hint(scan, "the file ends before its %s", node->kind == MR_NODE_OBJECT ? "}" : "]");
}

/* What stands behind a value within an object or array: a comma, its end, or a mistake. */
static bool scan_separator(struct scan *scan, char close)
{
    const char c = scan->text[scan->at];
    if (c == ',') {
        const uint32_t comma = scan->at++;
        if (!skip_blanks(scan)) return false;
        if (scan->at < scan->end && scan->text[scan->at] == close) blank(scan, comma, comma + 1);
        return true;
    }
    if (c == close) return true;
    if (c == '}' || c == ']') {
        fail(scan, scan->at, 1, "%c closes a %c", c, close == '}' ? '{' : '[');
        return hint(scan, "expected %c", close);
    }
    fail(scan, scan->value_end, 1, "expected \",\" or \"%c\" here", close);
    return hint(scan, "a comma is missing");
}

/* One step within the innermost open object or array. */
static bool scan_member(struct scan *scan)
{
    const struct mr_node *const node = &scan->document->node[scan->open[scan->depth - 1]];
    const char close = node->kind == MR_NODE_OBJECT ? '}' : ']';
    uint32_t key_first = 0, key_bytes = 0;
    if (!skip_blanks(scan)) return false;
    if (scan->at >= scan->end) return never_closed(scan);
    if (node->child_count) {
        if (!scan_separator(scan, close)) return false;
        if (scan->at >= scan->end) return never_closed(scan);
    }
    if (scan->text[scan->at] == close) return close_bracket(scan);
    if (node->kind == MR_NODE_OBJECT && !scan_key(scan, &key_first, &key_bytes)) return false;
    return scan_value(scan, key_first, key_bytes);
}

mr_status mr_document_scan(struct mr_document *document, struct mr_syntax_error *error)
{
    struct scan scan = {.document = document, .text = document->text, .end = (uint32_t)document->bytes, .error = error};
    *error = (struct mr_syntax_error){0};
    if (document->bytes >= 3 && !memcmp(document->text, "\xef\xbb\xbf", 3)) blank(&scan, 0, 3);
    const char *const zero = memchr(document->text, 0, document->bytes);
    if (zero) {
        fail(&scan, (uint32_t)(zero - document->text), 1, "a zero byte: this is not a text file");
        return MR_ECONFIG;
    }
    bool is_good = skip_blanks(&scan);
    if (is_good && scan.at >= scan.end)
        is_good = fail(&scan, 0, 1, "the file is empty"), hint(&scan, "a job file is one object: { ... }");
    if (is_good && scan.text[scan.at] != '{') {
        is_good = fail(&scan, scan.at, 1, "expected \"{\": a job file is one JSON object");
    }
    is_good = is_good && scan_value(&scan, 0, 0);
    while (is_good && scan.depth) is_good = scan_member(&scan);
    is_good = is_good && skip_blanks(&scan);
    if (is_good && scan.at < scan.end) is_good = fail(&scan, scan.at, 1, "something stands behind the end of the job");
    if (is_good) return MR_OK;
    document->node_count = 0;
    return scan.is_out_of_memory ? MR_ENOMEM : MR_ECONFIG;
}
