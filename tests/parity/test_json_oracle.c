/*
 * The JSON decoder, in every variant, against an oracle made of cJSON (structure), POSIX regular expressions (numbers),
 * and strtof and strtod (values). Streams of random records of one shape hold mutated, truncated and differently shaped
 * ones, so that templates are learned, missed and left. cJSON alone is too lenient; what it lets pass and the oracle
 * checks by itself:
 *   - numbers such as 01, 1. and 1.e5, and any length over 63 characters (such texts are not made here)
 *   - control characters as space and inside strings; a byte order mark
 *   - text that is not UTF-8
 *   - duplicate keys; keys that differ only in case are told apart by asking case-sensitively
 *   - depth up to 1000; text behind the value
 *   - \u without four hexadecimal digits
 *   - \u0000 ends its strings (not made here; the unit test has it)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cJSON.h>
#include <math.h>
#include <regex.h>

#include "codec/json/template.h"
#include "json_rig.h"

#define RECORD_MAX  4096
#define NUMBERS_MAX 256

struct oracle {
    regex_t number;
    const char *text; /* of the record, terminated */
    struct {
        char text[128];
        cJSON *item;
    } numbers[NUMBERS_MAX];
    size_t number_count;
};

/* A strict check of UTF-8 by decoding and encoding again: whatever does not come back as it was is refused. */
static int is_utf8(const unsigned char *s, size_t bytes)
{
    while (bytes) {
        const size_t n = *s < 0x80 ? 1 : *s < 0xc0 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf8 ? 4 : 0;
        unsigned long code = n == 1 ? *s : n ? *s & (0x7fu >> n) : 0;
        if (!n || n > bytes) return 0;
        for (size_t i = 1; i < n; i++) {
            if (s[i] < 0x80 || s[i] > 0xbf) return 0;
            code = code * 64 + (s[i] - 0x80u);
        }
        const size_t shortest = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        if (shortest != n || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
        s += n;
        bytes -= n;
    }
    return 1;
}

/* Looks at the text byte by byte: strings, numbers, and what may stand between them. */
static int lex(struct oracle *oracle, const char *text, size_t bytes)
{
    oracle->number_count = 0;
    for (size_t i = 0; i < bytes;) {
        if (text[i] == '"') {
            for (i++; i < bytes && text[i] != '"'; i++) {
                if ((unsigned char)text[i] < 0x20) return 0;
                if (text[i] != '\\') continue;
                i++;
                if (text[i] == 'u' && strspn(text + i + 1, "0123456789abcdefABCDEF") < 4) return 0;
            }
            i++;
        } else if (strchr("-0123456789", text[i]) && text[i]) {
            const size_t length = strspn(text + i, "+-.0123456789eE");
            char *const copy = oracle->numbers[oracle->number_count].text;
            if (length >= sizeof oracle->numbers->text || oracle->number_count + 1 >= NUMBERS_MAX) return 0;
            memcpy(copy, text + i, length);
            copy[length] = 0;
            if (regexec(&oracle->number, copy, 0, NULL, 0)) return 0;
            oracle->number_count++;
            i += length;
        } else {
            if (!text[i] || !strchr("{}[]:, \t\r\nnultrefas", text[i])) return 0;
            i++;
        }
    }
    return is_utf8((const unsigned char *)text, bytes);
}

/* Depth, duplicate keys, and the number items in reading order. */
static int tree_check(struct oracle *oracle, cJSON *item, unsigned depth, size_t *numbers)
{
    const int is_container = cJSON_IsObject(item) || cJSON_IsArray(item);
    if (is_container && depth + 1 > 8) return 0;
    if (cJSON_IsNumber(item)) oracle->numbers[(*numbers)++].item = item;
    for (cJSON *a = item->child; a; a = a->next) {
        for (const cJSON *b = a->next; b && cJSON_IsObject(item); b = b->next) {
            if (!strcmp(a->string, b->string)) return 0;
        }
        if (!tree_check(oracle, a, depth + 1, numbers)) return 0;
    }
    return 1;
}

/* Follows a path of plain keys and indices. */
static cJSON *tree_find(cJSON *item, const char *path, mr_reason *reason_out)
{
    while (*path) {
        if (cJSON_IsNull(item)) {
            *reason_out = MR_REASON_NULL;
            return NULL;
        }
        if (*path == '[') {
            if (!cJSON_IsArray(item)) return *reason_out = MR_REASON_TYPE, NULL;
            item = cJSON_GetArrayItem(item, atoi(path + 1));
            path = strchr(path, ']') + 1;
            if (!item) return *reason_out = MR_REASON_LENGTH, NULL;
        } else {
            char key[64];
            path += *path == '.';
            const size_t bytes = strcspn(path, ".[");
            memcpy(key, path, bytes);
            key[bytes] = 0;
            path += bytes;
            if (!cJSON_IsObject(item)) return *reason_out = MR_REASON_TYPE, NULL;
            item = cJSON_GetObjectItemCaseSensitive(item, key);
            if (!item) return *reason_out = MR_REASON_MISSING, NULL;
        }
    }
    return item;
}

static const char *number_text(const struct oracle *oracle, const cJSON *item)
{
    for (size_t i = 0; i < oracle->number_count; i++) {
        if (oracle->numbers[i].item == item) return oracle->numbers[i].text;
    }
    fail_msg("number of cJSON that is not in the text: %s", oracle->text);
    return "";
}

/* What the record should become. */
struct expectation {
    bool is_broken;   /* syntax, encoding, depth or duplicate key */
    mr_reason reason; /* else */
    int field;
    cJSON *tree;
};

static struct expectation expect(struct oracle *oracle, const struct rig *rig, const char *text, size_t bytes)
{
    struct expectation want = {.field = -1};
    const char *end = NULL;
    size_t numbers = 0;
    oracle->text = text;
    if (!bytes) return want.reason = MR_REASON_EMPTY, want;
    want.is_broken = !lex(oracle, text, bytes);
    if (want.is_broken) return want;
    want.tree = cJSON_ParseWithLengthOpts(text, bytes + 1, &end, 0);
    want.is_broken = !want.tree || strspn(end, " \t\r\n") != (size_t)(text + bytes - end) ||
                     !tree_check(oracle, want.tree, 0, &numbers) || numbers != oracle->number_count;
    if (want.is_broken) return want;
    if (!cJSON_IsObject(want.tree)) return want.reason = MR_REASON_TYPE, want;
    for (size_t i = 0; i < rig->schema.field_count && !want.reason; i++) {
        const struct mr_field *const field = &rig->field[i];
        mr_reason reason = MR_REASON_NONE;
        const cJSON *const item = tree_find(want.tree, field->path, &reason);
        if (item && cJSON_IsNull(item)) reason = MR_REASON_NULL;
        const bool is_absent = reason == MR_REASON_MISSING || reason == MR_REASON_NULL || reason == MR_REASON_LENGTH;
        if (field->role == MR_FIELD_CAPTURE) {
            if (!field->required) reason = MR_REASON_NONE;
        } else if (is_absent && field->missing == MR_MISSING_DEFAULT) {
            reason = MR_REASON_NONE;
        } else if (!reason && !cJSON_IsNumber(item)) {
            reason = MR_REASON_TYPE;
        } else if (!reason &&
                   !isfinite(field->role == MR_FIELD_LABEL ? strtod(number_text(oracle, item), NULL)
                                                           : (double)strtof(number_text(oracle, item), NULL))) {
            reason = MR_REASON_RANGE;
        }
        if (reason) {
            want.reason = reason;
            want.field = (int)i;
        }
    }
    return want;
}

/* By their text: cJSON_Compare takes infinity for different from itself. */
static int is_same_tree(const cJSON *a, const cJSON *b)
{
    char *const text_a = cJSON_PrintUnformatted(a), *const text_b = cJSON_PrintUnformatted(b);
    const int is_same = text_a && text_b && !strcmp(text_a, text_b);
    free(text_a);
    free(text_b);
    return is_same;
}

/* The row's values against the tree's. */
static void row_check(const struct oracle *oracle, const struct rig *rig, size_t row, const struct expectation *want,
                      const char *variant)
{
    for (size_t i = 0; i < rig->schema.field_count; i++) {
        const struct mr_field *const field = &rig->field[i];
        mr_reason reason = MR_REASON_NONE;
        const cJSON *item = tree_find(want->tree, field->path, &reason);
        if (item && cJSON_IsNull(item)) item = NULL;
        if (field->role == MR_FIELD_CAPTURE) {
            const struct mr_span *const span = &rig->rows.capture[field->column * rig->rows.row_cap + row];
            if (!item != !span->data) fail_msg("%s: capture %s of %s", variant, field->path, oracle->text);
            if (!item) continue;
            cJSON *const again = cJSON_ParseWithLength(span->data, span->bytes);
            if (!again || !is_same_tree(item, again))
                fail_msg("%s: capture %.*s of %s", variant, (int)span->bytes, span->data, oracle->text);
            if (strchr(" \t\r\n", span->data[0]) || strchr(" \t\r\n,:", span->data[span->bytes - 1]))
                fail_msg("space in capture of %s", oracle->text);
            cJSON_Delete(again);
        } else if (field->role == MR_FIELD_LABEL) {
            const double value = item ? strtod(number_text(oracle, item), NULL) : field->default_value;
            if (memcmp(&value, &rig->rows.label[row], sizeof value)) fail_msg("%s: label of %s", variant, oracle->text);
        } else {
            const float value = item ? strtof(number_text(oracle, item), NULL) : (float)field->default_value,
                        got = rig_x(rig, row, field->column);
            if (memcmp(&value, &got, sizeof value))
                fail_msg("%s: %s is %.9g, want %.9g in %s", variant, field->path, (double)got, (double)value,
                         oracle->text);
        }
    }
}

/* How the records of a stream look. */
struct style {
    int order; /* seed of the key order */
    const char *comma, *colon, *open, *close;
    int number;      /* kind of numbers: 0 to 3 by digits, 4 odd ones, above plain ones */
    bool is_numeric; /* no other values */
};

static char *number_write(char *out, uint64_t *seed, int kind)
{
    static const char *const odd[] = {"1.",        ".5",    "01",          "-",          "--1",       "1.2.3",
                                      "1e",        "1e5",   "12a",         "",           "-.5",       "-0",
                                      "00",        "0.0",   "1.-",         "+1",         "16777217",  "-01.5",
                                      "1 2",       "1:2",   "9.9999999e9", "\"7\"",      "null",      "1/2",
                                      "1..2",      "0.",    "1234567.",    "12345678",   "123456789", "1e39",
                                      "-0.123456", "-1e39", "-12345678",   "-0.1234567", "1e-50",     "3.4028236e38"};
    if (rig_random(seed) % 128 == 0)
        return out + sprintf(out, "%s", odd[rig_random(seed) % (sizeof odd / sizeof *odd)]);
    const int digits = kind == 0 ? 4 : kind == 1 ? 6 : kind == 2 ? 9 : 17;
    if (rig_random(seed) % 5 == 0) *out++ = '-';
    if (kind >= 5) { /* plain and short, which the templates read best */
        const unsigned magnitude = (unsigned[]){10, 1000, 100000, 10000000}[rig_random(seed) % 4];
        const double value = (double)(rig_random(seed) % magnitude) / (double)(1 << (kind == 5 ? 2 : 0));
        return out + sprintf(out, "%.*f", (int)(rig_random(seed) % (magnitude > 1000 ? 2 : 5)), value);
    }
    switch (rig_random(seed) % (kind == 4 ? 9 : 40)) {
    case 0:
        return out + sprintf(out, "%d", (int)(rig_random(seed) % 100));
    case 1:
        return out + sprintf(out, "0");
    case 2:
        return out + sprintf(out, "%llu", (unsigned long long)rig_random(seed) >> rig_random(seed) % 60);
    case 3:
        return out + sprintf(out, "%.*e", (int)(rig_random(seed) % 12), (double)(rig_random(seed) % 100000) / 7);
    case 4:
        return out + sprintf(out, "%.*f", (int)(rig_random(seed) % 30), (double)(rig_random(seed) % 100000) / 7);
    case 5:
        return out + sprintf(out, "%dE%+d", (int)(rig_random(seed) % 100000), (int)(rig_random(seed) % 90) - 45);
    case 6:
        return out + sprintf(out, "16777217.%d", (int)(rig_random(seed) % 2));
    case 7:
        return out + sprintf(out, "0.%08d", (int)(rig_random(seed) % 100000000));
    default:
        return out + sprintf(out, "%.*g", digits,
                             (double)(rig_random(seed) % 100000000000) / (double)(1 << rig_random(seed) % 31));
    }
}

static char *string_write(char *out, uint64_t *seed)
{
    static const char *const parts[] = {"a",
                                        "Zz",
                                        "12,34",
                                        "}",
                                        "]",
                                        "{\\\"",
                                        "\xc3\xa9",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "\\n",
                                        "\\u00e9",
                                        "\\ud83d\\ude00",
                                        "\\\\",
                                        ":",
                                        "long plain text of a name"};
    *out++ = '"';
    for (uint64_t count = rig_random(seed) % 5; count; count--) out += sprintf(out, "%s", parts[rig_random(seed) % 15]);
    *out++ = '"';
    return out;
}

static char *value_write(char *out, uint64_t *seed, const struct style *style, int key)
{
    switch (key) {
    case 0:
    case 1:
    case 2:
        return number_write(out, seed, style->number);
    case 3:
        out += sprintf(out, "{%s\"b\"%s", style->open, style->colon);
        out = number_write(out, seed, style->number);
        return out + sprintf(out, "%s}", style->close);
    case 4:
        out += sprintf(out, "[");
        for (int i = 0; i < 4; i++) {
            if (i) out += sprintf(out, "%s", style->comma);
            out = number_write(out, seed, style->number);
        }
        return out + sprintf(out, "]");
    case 5:
        return string_write(out, seed);
    case 6:
        return out + sprintf(out, "%s", (const char *[]){"true", "false", "null"}[rig_random(seed) % 3]);
    default:
        return out + sprintf(out, "{\"k\":[],\"l\":{},\"m\":[[1],{\"n\":null}]}");
    }
}

/* Numbers only, flat, nested or in arrays: what the widest variants read many at a time. */
static size_t numbers_write(char *out, uint64_t *seed, const struct style *style)
{
    static const char *const keys[] = {"a",  "temperature", "c",
                                       "x1", "f02",         "a rather long name of a field: some like them so"};
    const char *const first = out;
    uint64_t shape = (uint64_t)style->order;
    const unsigned count = 2 + (unsigned)(rig_random(&shape) % 30);
    out += sprintf(out, "{%s\"a\"%s", style->open, style->colon);
    out = number_write(out, seed, style->number);
    for (unsigned i = 1; i < count; i++) {
        const char *const close = style->close;
        const unsigned kind = i < 6 ? 0 : (unsigned)(rig_random(&shape) % 4);
        out += sprintf(out, "%s%s\"%s%.0u\"%s", close, style->comma, keys[i % 6], i / 6, style->colon);
        if (kind == 1) out += sprintf(out, "{\"b%u\"%s", i, style->colon);
        if (kind == 2) out += sprintf(out, "[");
        out = number_write(out, seed, style->number);
        if (kind == 2) out = number_write(out + sprintf(out, "%s", style->comma), seed, style->number);
        if (kind) out += sprintf(out, "%s", kind == 1 ? "}" : kind == 2 ? "]" : "");
    }
    out += sprintf(out, "%s}", style->close);
    return (size_t)(out - first);
}

static size_t record_write(char *out, uint64_t *seed, const struct style *style)
{
    if (style->is_numeric) return numbers_write(out, seed, style);
    static const char *const keys[] = {"a", "temperature", "c", "p", "x", "id", "on", "extra"};
    const char *const first = out;
    uint64_t order = (uint64_t)style->order;
    unsigned at = (unsigned)(rig_random(&order) % 8), step = (unsigned[]){1, 3, 5, 7}[rig_random(&order) % 4];
    out += sprintf(out, "{%s", style->open);
    for (int i = 0; i < 8; i++, at = (at + step) % 8) {
        out += sprintf(out, "%s\"%s\"%s", i ? style->comma : "", keys[at], style->colon);
        out = value_write(out, seed, style, (int)at);
    }
    out += sprintf(out, "%s}", style->close);
    return (size_t)(out - first);
}

/* Damages a record a little. Returns its new length. */
static size_t record_mutate(char *text, size_t bytes, uint64_t *seed)
{
    static const char *const pieces[] = {"\"",       "{",   "}",    "[",       "]",    ",",        ":",
                                         "\\",       "0",   "-",    ".",       "e",    "9",        " ",
                                         "\n",       "\t",  "\x01", "\xff",    "\xc3", "\xe2\x82", "null",
                                         "\"a\":1,", "\\u", "NaN",  "\\ud800", "E5",   "1e999",    "true"};
    for (uint64_t count = 1 + rig_random(seed) % 2; count && bytes; count--) {
        const size_t near = rig_random(seed) % 4,
                     reach = bytes < 6 ? bytes : 6; /* the ends are few bytes, and special */
        const size_t at = near == 0   ? rig_random(seed) % reach
                          : near == 1 ? bytes - 1 - rig_random(seed) % reach
                                      : rig_random(seed) % bytes;
        const size_t span = 1 + rig_random(seed) % 12;
        const char *const piece = pieces[rig_random(seed) % 28];
        const size_t length = strlen(piece);
        switch (rig_random(seed) % 6) {
        case 0:
            return at;
        case 1:
            text[at] = (char)(rig_random(seed) % 255 + 1);
            break;
        case 2:
            memmove(text + at + length, text + at, bytes - at);
            memcpy(text + at, piece, length);
            bytes += length;
            break;
        case 3: {
            const size_t cut = at + span > bytes ? bytes - at : span;
            memmove(text + at, text + at + cut, bytes - at - cut);
            bytes -= cut;
            break;
        }
        case 4: {
            const size_t copy = at + span > bytes ? bytes - at : span;
            memmove(text + at + copy, text + at, bytes - at);
            bytes += copy;
            break;
        }
        default:
            memcpy(text + at, piece, at + length > bytes ? bytes - at : length);
            break;
        }
    }
    return bytes;
}

#define STREAM_RECORDS 120
static const char *const specs[] = {
    "f:a f:temperature f:c",    "f:c f:p.b f:x[0] f:x[3] l:a c:id", "d:a d:p.b d:x[2] m:c c:on c:p",
    "f:a f:a c:a l:a C:id c:x", "c:extra c:x[1] f:temperature",     "d:p.q d:x[7] f:a c:on.x",
};

static void stream_check(struct oracle *oracle, const struct json_variant *variant, uint64_t seed)
{
    static const char *const commas[] = {",", ", ", " ,\n\t"}, *const colons[] = {":", ": ", " : "};
    char spec[128];
    struct rig rig;
    struct mr_message messages[STREAM_RECORDS];
    static char texts[STREAM_RECORDS][RECORD_MAX];
    uint64_t random = seed;
    rig_spec(&rig, strcpy(spec, specs[rig_random(&random) % 6]), MR_FRAMING_SINGLE);
    assert_int_equal(rig_open(&rig, STREAM_RECORDS, STREAM_RECORDS), MR_OK);
    assert_int_equal(json_variant_set(rig.decoder, variant->name, &rig.err), MR_OK);
    const unsigned spaces = (unsigned)rig_random(&random);
    struct style style = {.order = (int)rig_random(&random),
                          .comma = commas[spaces % 3],
                          .colon = colons[spaces / 3 % 3],
                          .open = "",
                          .close = spaces & 64 ? " " : ""};
    style.is_numeric = rig_random(&random) % 2;
    style.number = (int)(rig_random(&random) % (style.is_numeric ? 10 : 6)); /* 5 and above: plain */
    const uint64_t damage = 1 + rig_random(&random) % 8;
    for (size_t i = 0; i < STREAM_RECORDS; i++) {
        struct style other = style;
        if (rig_random(&random) % 16 == 0) other.order++;
        size_t bytes = record_write(texts[i], &random, &other);
        if (rig_random(&random) % (2 * damage) == 0) bytes = record_mutate(texts[i], bytes, &random);
        texts[i][bytes] = 0;
        messages[i] = rig_message(texts[i], bytes);
    }
    assert_true(rig_decode(&rig, messages, STREAM_RECORDS));
    assert_int_equal(rig.rows.row_count + rig.rows.reject_count, STREAM_RECORDS);
    for (size_t i = 0, row = 0, reject = 0; i < STREAM_RECORDS; i++) {
        struct expectation want = expect(oracle, &rig, texts[i], messages[i].value_bytes);
        if (row < rig.rows.row_count && rig.rows.message[row] == i) {
            if (want.is_broken || want.reason)
                fail_msg("%s seed %llu took %s", variant->name, (unsigned long long)seed, texts[i]);
            row_check(oracle, &rig, row++, &want, variant->name);
        } else {
            const struct mr_reject *const got = &rig.rows.reject[reject++];
            const bool is_broken = got->reason == MR_REASON_SYNTAX || got->reason == MR_REASON_ENCODING ||
                                   got->reason == MR_REASON_DEPTH || got->reason == MR_REASON_DUPLICATE_KEY;
            const int field = got->field == MR_FIELD_NONE ? -1 : got->field;
            assert_int_equal(got->message, i);
            if (is_broken != want.is_broken || (!is_broken && (got->reason != want.reason || field != want.field))) {
                fail_msg("%s seed %llu: %s field %d, want %s field %d: %s", variant->name, (unsigned long long)seed,
                         mr_reason_name(got->reason), field, want.is_broken ? "broken" : mr_reason_name(want.reason),
                         want.field, texts[i]);
            }
        }
        cJSON_Delete(want.tree);
    }
    for (size_t i = 0; i < STREAM_RECORDS; i++) rig_message_free(&messages[i]);
    rig_close(&rig);
}

static void test_streams(void **state)
{
    (void)state;
    static struct oracle oracle;
    const char *const rounds = getenv("MILLRACE_ORACLE_STREAMS"); /* more of them by hand */
    const uint64_t count = rounds ? strtoull(rounds, NULL, 10) : 300;
    assert_int_equal(
        regcomp(&oracle.number, "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?$", REG_EXTENDED | REG_NOSUB), 0);
    for (const struct json_variant *variant = json_variants; variant->name; variant++) {
        if (!variant->is_supported()) {
            print_message("SKIP: no variant %s on this machine\n", variant->name);
            continue;
        }
        for (uint64_t seed = 1; seed <= count; seed++) stream_check(&oracle, variant, seed * 7919);
    }
    regfree(&oracle.number);
}

/* A variant that is not there is refused, and the forced one is the one that runs. */
static void test_variants(void **state)
{
    (void)state;
    char spec[] = "f:a";
    struct rig rig;
    rig_spec(&rig, spec, MR_FRAMING_SINGLE);
    assert_int_equal(rig_open(&rig, 4, 4), MR_OK);
    assert_int_equal(json_variant_set(rig.decoder, "avx9", &rig.err), MR_EBACKEND);
    const struct mr_message messages[] = {{.value = "{\"a\":1}", .value_bytes = 7},
                                          {.value = "{\"a\":2}", .value_bytes = 7}};
    for (const struct json_variant *variant = json_variants; variant->name; variant++) {
        if (json_variant_set(rig.decoder, variant->name, NULL)) continue;
        assert_true(rig_decode(&rig, messages, 2));
        assert_int_equal(rig.decoder->templates->count, variant->match ? 1 : 0);
        if (variant->match)
            assert_int_equal(rig.decoder->templates->item[0]->hits, 1); /* the second record went by the template */
    }
    rig_close(&rig);
}

/* A number of up to 11 characters, or something that nearly is one. */
static size_t short_number_write(char *out, uint64_t *random)
{
    static const char alphabet[] = "0123456789012345678900..-eE+,";
    const uint64_t draw = rig_random(random);
    const size_t whole = 1 + draw % 4, fraction = draw / 4 % 8;
    size_t used = 0;
    if (draw / 32 % 4 == 0) { /* mostly none */
        const size_t bytes = 1 + draw / 128 % 10;
        while (used < bytes) out[used++] = alphabet[rig_random(random) % (sizeof alphabet - 1)];
        return used;
    }
    if (draw / 128 % 2) out[used++] = '-';
    for (size_t i = 0; i < whole; i++) out[used++] = (char)('0' + rig_random(random) % 10);
    if (fraction) out[used++] = '.';
    for (size_t i = 0; i < fraction; i++) out[used++] = (char)('0' + rig_random(random) % 10);
    if (draw / 256 % 16 == 0) out[used++] = "eE.x"[draw / 4096 % 4];
    return used;
}

#define NUMBER_RECORDS 64

/* Numbers of every length near the ones that are read eight bytes at a time, at the end of a record and within: what
 * the strict way takes is taken, and its value is strtof's. */
static void test_short_numbers(void **state)
{
    static char texts[NUMBER_RECORDS][64];
    struct mr_message messages[NUMBER_RECORDS];
    char spec[] = "f:a", strict_spec[] = "f:a";
    struct rig rig, strict;
    uint64_t random = 5;
    (void)state;
    rig_spec(&rig, spec, MR_FRAMING_SINGLE);
    rig_spec(&strict, strict_spec, MR_FRAMING_SINGLE);
    assert_int_equal(rig_open(&rig, NUMBER_RECORDS, NUMBER_RECORDS), MR_OK);
    assert_int_equal(rig_open(&strict, NUMBER_RECORDS, NUMBER_RECORDS), MR_OK);
    assert_int_equal(json_variant_set(strict.decoder, "strict", NULL), MR_OK);
    for (int round = 0; round < 3000; round++) {
        const char *const rest = round % 2 ? "}" : ",\"b\":true}";
        for (size_t i = 0; i < NUMBER_RECORDS; i++) {
            char number[32];
            const size_t bytes = i ? short_number_write(number, &random) : 1;
            if (!i) *number = '1'; /* the record that is learned */
            const int used = sprintf(texts[i], "{\"a\":%.*s%s", (int)bytes, number, rest);
            messages[i] = rig_message(texts[i], (size_t)used); /* a block of its own: a sanitizer sees what is behind */
        }
        assert_true(rig_decode(&strict, messages, NUMBER_RECORDS));
        for (const struct json_variant *variant = json_variants; variant->match; variant++) {
            if (json_variant_set(rig.decoder, variant->name, NULL)) continue;
            assert_true(rig_decode(&rig, messages, NUMBER_RECORDS));
            assert_int_equal(rig.rows.row_count, strict.rows.row_count);
            for (size_t row = 0; row < rig.rows.row_count; row++) {
                const char *const text = texts[rig.rows.message[row]];
                const float got = rig_x(&rig, row, 0), want = strtof(text + 5, NULL);
                assert_int_equal(rig.rows.message[row], strict.rows.message[row]);
                if (memcmp(&got, &want, sizeof got))
                    fail_msg("%s: %s: %.9g, want %.9g", variant->name, text, (double)got, (double)want);
            }
        }
        for (size_t i = 0; i < NUMBER_RECORDS; i++) rig_message_free(&messages[i]);
    }
    rig_close(&rig);
    rig_close(&strict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_variants), cmocka_unit_test(test_short_numbers),
                                       cmocka_unit_test(test_streams)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
