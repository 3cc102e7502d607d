#include "sink/influx/line.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"
#include "codec/json/walk.h"

#define NS_A_MS      1000000
#define INTEGER_MAX  9007199254740992.0 /* above, float64 does not hold every whole number */
#define SPREAD_ROW   1009               /* rows of a message that cannot meet those of the next */
#define SPREAD_PARTS 700001             /* prime: partitions fall apart */

static const int64_t unit_ns[] = {1, 1000, NS_A_MS, 1000000000};

struct out {
    char *at, *end;
    bool is_full;
};

struct tag {
    const char *name; /* of the leaf, or with @ of a part of the message */
    size_t name_bytes;
    const char *text; /* of the current object; NULL: it has none */
    size_t bytes;
    mr_leaf_kind kind;
    bool is_escaped;
};

struct mr_line {
    const struct mr_line_options *options;
    struct tag *tag; /* [tag_count], in the order of what they are called in the line */
    size_t tag_count;
    char *decoded; /* [text_bytes] a text without escapes */
    char *fields;  /* [text_bytes] of the current object */
    size_t text_bytes;
    struct out out; /* into fields */
    size_t field_count;
    bool has_time, is_time_bad;
    int64_t time_ns;
    uint64_t skipped, empty;
};

/* ---- writing ---- */

static void put(struct out *out, const char *text, size_t bytes)
{
    if (bytes > (size_t)(out->end - out->at)) {
        out->is_full = true;
        return;
    }
    memcpy(out->at, text, bytes);
    out->at += bytes;
}

static void put_byte(struct out *out, char byte)
{
    put(out, &byte, 1);
}

/* Writes text with a backslash before each of the bytes in `special`; control bytes become spaces. */
static void put_escaped(struct out *out, const char *text, size_t bytes, const char *special)
{
    for (size_t i = 0; i < bytes; i++) {
        const char byte = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
        if (strchr(special, byte)) put_byte(out, '\\');
        put_byte(out, byte);
    }
}

/* A name or a tag's value: a backslash at its end would escape what comes behind it. */
static void put_name(struct out *out, const char *text, size_t bytes, const char *special)
{
    while (bytes && text[bytes - 1] == '\\') bytes--;
    put_escaped(out, text, bytes, special);
}

#define NAME_SPECIAL        ",= "
#define MEASUREMENT_SPECIAL ", "
#define TEXT_SPECIAL        "\"\\"

/* ---- one leaf ---- */

static bool is_called(const struct mr_leaf *leaf, const char *name)
{
    return name && strlen(name) == leaf->name_bytes && !memcmp(name, leaf->name, leaf->name_bytes);
}

static bool is_among(const struct mr_strings *names, const struct mr_leaf *leaf)
{
    for (size_t i = 0; i < names->count; i++)
        if (is_called(leaf, names->item[i])) return true;
    return false;
}

/* The number as a whole one. False: it is none, or too large. */
static bool whole_of(const char *text, size_t bytes, int64_t *value_out)
{
    double value;
    const char *const end = text + bytes;
    const bool is_negative = *text == '-';
    int64_t sum = 0;
    for (const char *at = text + is_negative; at < end; at++) {
        const int digit = *at - '0';
        if (digit < 0 || digit > 9) { /* 3.0, 1e3 */
            if (!mr_parse_f64(text, end, &value) || fabs(value) > INTEGER_MAX || value != rint(value)) return false;
            *value_out = (int64_t)value;
            return true;
        }
        if (__builtin_mul_overflow(sum, 10, &sum) ||
            (is_negative ? __builtin_sub_overflow(sum, digit, &sum) : __builtin_add_overflow(sum, digit, &sum)))
            return false;
    }
    *value_out = sum;
    return true;
}

static void time_take(struct mr_line *line, const struct mr_leaf *leaf)
{
    const int64_t unit = unit_ns[line->options->timestamp_unit];
    int64_t whole;
    double value;
    line->has_time = line->is_time_bad = true;
    if (leaf->kind != MR_LEAF_NUMBER) return;
    if (whole_of(leaf->text, leaf->bytes, &whole)) {
        line->is_time_bad = __builtin_mul_overflow(whole, unit, &line->time_ns);
        return;
    }
    if (!mr_parse_f64(leaf->text, leaf->text + leaf->bytes, &value) || !(fabs(value * (double)unit) < 9.2e18)) return;
    line->time_ns = (int64_t)(value * (double)unit);
    line->is_time_bad = false;
}

/* The text of a string leaf without its escapes. */
static const char *text_of(struct mr_line *line, const char *text, size_t *bytes, bool is_escaped)
{
    if (!is_escaped || *bytes > line->text_bytes) return text;
    *bytes = mr_json_decode(text, text + *bytes, line->decoded);
    return line->decoded;
}

/* Writes the value of a field. False: the protocol has none for it. */
static bool field_value_put(struct mr_line *line, const struct mr_leaf *leaf)
{
    char digits[MR_NUMBER_BYTES];
    size_t bytes = leaf->bytes;
    int64_t whole;
    double value;
    switch (leaf->kind) {
    case MR_LEAF_NUMBER:
        if (is_among(&line->options->integers, leaf)) {
            if (!whole_of(leaf->text, leaf->bytes, &whole)) return false;
            put(&line->out, digits, mr_print_i64(whole, digits));
            put_byte(&line->out, 'i');
            return true;
        }
        if (!mr_parse_f64(leaf->text, leaf->text + leaf->bytes, &value) || !isfinite(value)) return false;
        put(&line->out, leaf->text, leaf->bytes);
        return true;
    case MR_LEAF_STRING:
        put_byte(&line->out, '"');
        const char *const text = text_of(line, leaf->text, &bytes, leaf->is_escaped);
        put_escaped(&line->out, text, bytes, TEXT_SPECIAL);
        put_byte(&line->out, '"');
        return true;
    case MR_LEAF_TRUE:
    case MR_LEAF_FALSE:
        put(&line->out, leaf->text, leaf->bytes);
        return true;
    case MR_LEAF_NULL:
    case MR_LEAF_EMPTY:
        break;
    }
    return false;
}

static void field_put(struct mr_line *line, const struct mr_leaf *leaf)
{
    char *const first = line->out.at;
    if (line->field_count) put_byte(&line->out, ',');
    char *const name = line->out.at;
    put_name(&line->out, leaf->name, leaf->name_bytes, NAME_SPECIAL);
    const bool has_name = line->out.at > name && !is_called(leaf, "time");
    put_byte(&line->out, '=');
    if (has_name && field_value_put(line, leaf)) {
        line->field_count++;
        return;
    }
    line->out.at = first;
    line->skipped++;
}

static void leaf_take(void *context, const struct mr_leaf *leaf)
{
    struct mr_line *const line = context;
    if (is_called(leaf, line->options->timestamp)) {
        time_take(line, leaf);
        return;
    }
    for (size_t i = 0; i < line->tag_count; i++) {
        struct tag *const tag = &line->tag[i];
        if (tag->name_bytes != leaf->name_bytes || memcmp(tag->name, leaf->name, leaf->name_bytes) != 0) continue;
        tag->text = leaf->text;
        tag->bytes = leaf->bytes;
        tag->kind = leaf->kind;
        tag->is_escaped = leaf->is_escaped;
        return;
    }
    const struct mr_strings *const fields = &line->options->fields;
    if (!fields->count || is_among(fields, leaf)) field_put(line, leaf);
}

/* ---- one line ---- */

static void tags_put(struct mr_line *line, const struct mr_remote_record *record, struct out *out)
{
    for (size_t i = 0; i < line->tag_count; i++) {
        const struct tag *const tag = &line->tag[i];
        const bool is_part = *tag->name == '@', is_topic = is_part && tag->name[1] == 't';
        char digits[MR_NUMBER_BYTES];
        size_t bytes = tag->bytes;
        const char *text = tag->text;
        if (is_part) {
            text = is_topic ? record->topic : digits;
            bytes = is_topic ? strlen(text) : mr_print_i64(record->partition, digits);
        } else if (!text || tag->kind == MR_LEAF_NULL || tag->kind == MR_LEAF_EMPTY) {
            continue;
        } else if (tag->kind == MR_LEAF_STRING) {
            text = text_of(line, text, &bytes, tag->is_escaped);
        }
        while (bytes && text[bytes - 1] == '\\') bytes--;
        if (!bytes) continue; /* a tag without a value is not there */
        put_byte(out, ',');
        put_name(out, tag->name + is_part, tag->name_bytes - is_part, NAME_SPECIAL);
        put_byte(out, '=');
        put_name(out, text, bytes, NAME_SPECIAL);
    }
}

/* Nanoseconds that tell points of one moment apart, below the unit in which the moment is known: of the same record
 * always the same. */
static int64_t spread_ns(const struct mr_line *line, const struct mr_remote_record *record, uint32_t unit)
{
    const int64_t known_ns = line->has_time ? unit_ns[line->options->timestamp_unit] : NS_A_MS;
    const int64_t room = known_ns < NS_A_MS ? known_ns : NS_A_MS;
    const uint64_t place = (uint64_t)record->offset * SPREAD_ROW + record->row + unit +
                           (uint64_t)(uint32_t)record->partition * SPREAD_PARTS;
    return line->options->same_time == MR_SAME_TIME_SPREAD ? (int64_t)(place % (uint64_t)room) : 0;
}

static void time_put(const struct mr_line *line, const struct mr_remote_record *record, uint32_t unit, struct out *out)
{
    const int64_t divisor = unit_ns[line->options->precision];
    char digits[MR_NUMBER_BYTES];
    int64_t ns = line->time_ns;
    if (!line->has_time && (record->event_ms < 0 || __builtin_mul_overflow(record->event_ms, NS_A_MS, &ns))) return;
    ns += spread_ns(line, record, unit);
    const int64_t whole = ns / divisor - (ns % divisor < 0);
    put_byte(out, ' ');
    put(out, digits, mr_print_i64(whole, digits));
}

static void line_put(struct mr_line *line, const struct mr_remote_record *record, uint32_t unit, struct out *out)
{
    const char *const measurement = line->options->measurement;
    put_name(out, measurement, strlen(measurement), MEASUREMENT_SPECIAL);
    tags_put(line, record, out);
    put_byte(out, ' ');
    put(out, line->fields, (size_t)(line->out.at - line->fields));
    time_put(line, record, unit, out);
    put_byte(out, '\n');
}

static void object_begin(struct mr_line *line)
{
    for (size_t i = 0; i < line->tag_count; i++) line->tag[i].text = NULL;
    line->out = (struct out){line->fields, line->fields + line->text_bytes, false};
    line->field_count = 0;
    line->has_time = line->is_time_bad = false;
}

static mr_status refuse(const char *text, mr_reason reason, mr_reason *reason_out, char why[128])
{
    *reason_out = reason;
    snprintf(why, 128, "%s", text);
    return MR_EDATA;
}

static mr_status time_check(const struct mr_line *line, mr_reason *reason_out, char why[128])
{
    char text[128];
    if (!line->options->timestamp || (line->has_time && !line->is_time_bad)) return MR_OK;
    snprintf(text, sizeof text, "field \"%.60s\", its timestamp, is %s", line->options->timestamp,
             line->has_time ? "no moment" : "missing");
    return refuse(text, line->has_time ? MR_REASON_RANGE : MR_REASON_MISSING, reason_out, why);
}

mr_status mr_line_add(struct mr_line *line, const struct mr_remote_record *record, struct mr_remote_text *text,
                      uint32_t *units_out, mr_reason *reason_out, char why[128])
{
    struct out out = {text->data + text->used, text->data + text->cap, false};
    const char *cursor = record->value, *object;
    const char *const end = record->value ? record->value + record->value_bytes : NULL;
    uint32_t at = 0, empty = 0;
    const uint64_t skipped = line->skipped;
    int more = 0;
    *units_out = 0;
    if (!record->value) return refuse("it is null", MR_REASON_TOMBSTONE, reason_out, why);
    for (object_begin(line); (more = mr_objects_next(record->value, end, &cursor, &object, leaf_take, line)) > 0;
         at++) {
        const mr_status status = time_check(line, reason_out, why);
        if (status) return status;
        if (line->field_count) {
            line_put(line, record, at, &out);
            ++*units_out;
        } else {
            empty++;
        }
        if (out.is_full || line->out.is_full) {
            line->skipped = skipped; /* they come again */
            return MR_AGAIN;
        }
        object_begin(line);
    }
    if (more < 0) return refuse("it is no JSON object", MR_REASON_SYNTAX, reason_out, why);
    if (!*units_out) return refuse("it has no field that a point can hold", MR_REASON_MISSING, reason_out, why);
    line->empty += empty;
    text->used = (size_t)(out.at - text->data);
    return MR_OK;
}

/* ---- options ---- */

static int tag_compare(const void *left, const void *right)
{
    const struct tag *const a = left, *const b = right;
    return strcmp(a->name + (*a->name == '@'), b->name + (*b->name == '@'));
}

mr_status mr_line_create(const struct mr_line_options *options, size_t text_bytes, struct mr_line **line_out,
                         struct mr_err *err)
{
    struct mr_line *const line = calloc(1, sizeof *line);
    *line_out = line;
    if (line) {
        line->options = options;
        line->text_bytes = text_bytes;
        line->decoded = malloc(text_bytes);
        line->fields = malloc(text_bytes);
        line->tag = calloc(options->tags.count + 1, sizeof *line->tag);
    }
    if (!line || !line->decoded || !line->fields || !line->tag) {
        mr_line_destroy(line);
        *line_out = NULL;
        return mr_fail(err, MR_ENOMEM, "influx sink: out of memory");
    }
    line->tag_count = options->tags.count;
    for (size_t i = 0; i < line->tag_count; i++)
        line->tag[i] = (struct tag){.name = options->tags.item[i], .name_bytes = strlen(options->tags.item[i])};
    qsort(line->tag, line->tag_count, sizeof *line->tag, tag_compare); /* the server likes them sorted */
    return MR_OK;
}

void mr_line_destroy(struct mr_line *line)
{
    if (!line) return;
    free(line->decoded);
    free(line->fields);
    free(line->tag);
    free(line);
}

uint64_t mr_line_skipped(const struct mr_line *line)
{
    return line->skipped;
}

uint64_t mr_line_empty(const struct mr_line *line)
{
    return line->empty;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) return true;
    return false;
}

mr_status mr_line_check(const struct mr_line_options *options, struct mr_err *err)
{
    const char *const measurement = options->measurement;
    if (!measurement) return MR_OK; /* has a finding of its own */
    const size_t bytes = strlen(measurement);
    if (!bytes || *measurement == '#' || measurement[bytes - 1] == '\\' || has_control(measurement))
        return mr_fail(err, MR_ECONFIG,
                       "influx sink: measurement \"%s\": expected a name that neither begins with # nor ends with a "
                       "backslash, without line breaks",
                       measurement);
    for (size_t i = 0; i < options->tags.count; i++) {
        const char *const tag = options->tags.item[i];
        if (!*tag || !strcmp(tag, "time") ||
            (*tag == '@' && strcmp(tag, "@partition") != 0 && strcmp(tag, "@topic") != 0))
            return mr_fail(err, MR_ECONFIG,
                           "influx sink: tags: \"%s\": expected the name of an emitted field other than time, or "
                           "@partition or @topic",
                           tag);
    }
    if (options->same_time == MR_SAME_TIME_SPREAD && options->precision != MR_PRECISION_NS)
        return mr_fail(err, MR_ECONFIG,
                       "influx sink: same_time \"spread\" needs precision \"ns\"; with a coarser one points of one "
                       "series and moment overwrite each other: say same_time \"overwrite\"");
    return MR_OK;
}
