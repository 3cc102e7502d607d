/* Single values of options: text to number, and what is expected in words. */
#include "base/options.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

struct unit {
    const char *name;
    int64_t scale;
};

static const struct unit duration_units[] = {
    {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", 3600000000}, {0},
};
static const struct unit size_units[] = {
    {"B", 1},         {"kB", 1000},     {"MB", 1000000},  {"GB", 1000000000},        {"TB", 1000000000000},
    {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", INT64_C(1) << 40}, {0},
};

bool mr_option_has_range(const struct mr_option *row)
{
    return row->min != 0 || row->max != 0;
}

static bool in_range(const struct mr_option *row, double value)
{
    return !mr_option_has_range(row) || (value >= row->min && (row->max >= MR_NO_MAX || value <= row->max));
}

/*
 * "1.5s" times the scale of its unit, exactly: digits are summed as integers. False for anything else, for more than
 * int64_t holds and for a fraction finer than one base unit. A bare number has the scale bare.
 */
static bool scan_amount(const char *text, const struct unit *units, int64_t bare, int64_t *amount_out)
{
    const size_t whole_digits = strspn(text, "0123456789");
    const char *fraction = text + whole_digits;
    size_t fraction_digits = 0;
    if (*fraction == '.') fraction_digits = strspn(++fraction, "0123456789");
    const char *unit_name = fraction + fraction_digits;
    if (!whole_digits || whole_digits > 18 || fraction_digits > 6 || unit_name[-1] == '.') return false;
    int64_t scale = *unit_name ? 0 : bare;
    while (*unit_name == ' ') unit_name++;
    for (const struct unit *unit = units; *unit_name && unit->name; unit++) {
        if (!strcmp(unit->name, unit_name)) scale = unit->scale;
    }
    if (!scale) return false;
    int64_t amount, part = 0, tens = 1;
    if (__builtin_mul_overflow((int64_t)strtoll(text, NULL, 10), scale, &amount)) return false;
    for (size_t i = 0; i < fraction_digits; i++) {
        part = part * 10 + (fraction[i] - '0');
        tens *= 10;
    }
    /* At most 6 digits times 2^40: no overflow. */
    if (part * scale % tens || __builtin_add_overflow(amount, part * scale / tens, &amount)) return false;
    *amount_out = amount;
    return true;
}

/* A number as JSON writes it: no hex, no inf, no blanks, and no locale. */
static bool scan_real(const char *text, double *real_out)
{
    const char *const end = text + strlen(text);
    return mr_parse_f64(text, end, real_out) == end && isfinite(*real_out);
}

/* Whole numbers; also 1e6 and 4096.0 as JSON allows. */
static bool scan_integer(const char *text, int64_t *integer_out)
{
    char *end;
    if (!*text || text[strspn(text, "+-.0123456789eE")]) return false;
    errno = 0;
    *integer_out = strtoll(text, &end, 10);
    if (!*end) return !errno && end != text;
    double real;
    if (!scan_real(text, &real) || !(fabs(real) <= 9007199254740992.0) || real != nearbyint(real)) return false;
    *integer_out = (int64_t)real;
    return true;
}

static bool scan_truth(const char *text, bool *truth_out)
{
    *truth_out = !strcmp(text, "true");
    return *truth_out || !strcmp(text, "false");
}

static bool scan_choice(const struct mr_option *row, const char *text, int *choice_out)
{
    for (int i = 0; row->choices[i]; i++) {
        *choice_out = i;
        if (!strcmp(row->choices[i], text)) return true;
    }
    return false;
}

bool mr_option_scan(const struct mr_option *row, const char *text, void *options)
{
    void *const at = (char *)options + row->offset;
    int64_t integer = 0;
    double real = 0;
    bool truth = false;
    int choice = 0;
    switch (row->type) {
    case MR_OPT_BOOL:
        if (!scan_truth(text, &truth)) return false;
        *(bool *)at = truth;
        return true;
    case MR_OPT_DOUBLE:
        if (!scan_real(text, &real) || !in_range(row, real)) return false;
        *(double *)at = real;
        return true;
    case MR_OPT_ENUM:
        if (!scan_choice(row, text, &choice)) return false;
        *(int *)at = choice;
        return true;
    case MR_OPT_INT:
        if (!scan_integer(text, &integer)) return false;
        break;
    case MR_OPT_DURATION:
        if (!scan_amount(text, duration_units, 1000000, &integer)) return false;
        break;
    case MR_OPT_SIZE:
        if (!scan_amount(text, size_units, 1, &integer)) return false;
        break;
    default:
        return false;
    }
    if (!in_range(row, (double)integer)) return false;
    *(int64_t *)at = integer;
    return true;
}

/* The largest unit that divides the amount; binary units before decimal ones. */
static const struct unit *unit_of(const struct unit *units, int64_t amount)
{
    const struct unit *best = units;
    for (const struct unit *unit = units; unit->name; unit++) {
        if (amount % unit->scale == 0 && amount / unit->scale <= amount / best->scale) best = unit;
    }
    return best;
}

void mr_option_amount(mr_option_type type, double amount, char out[MR_AMOUNT_BYTES])
{
    const struct unit *const units = type == MR_OPT_DURATION ? duration_units : type == MR_OPT_SIZE ? size_units : NULL;
    if (units && amount >= 1) {
        const struct unit *const unit = unit_of(units, (int64_t)amount);
        snprintf(out, MR_AMOUNT_BYTES, "%" PRId64 "%s", (int64_t)amount / unit->scale, unit->name);
    } else {
        snprintf(out, MR_AMOUNT_BYTES, "%.15g", amount);
    }
}

/* Appends to a text of MR_EXPECTED_BYTES, cutting it. */
__attribute__((format(printf, 2, 3))) static void append(char *out, const char *format, ...)
{
    const size_t used = strlen(out);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out + used, MR_EXPECTED_BYTES - used, format, arguments);
    va_end(arguments);
}

static void append_range(const struct mr_option *row, char *out)
{
    char low[MR_AMOUNT_BYTES], high[MR_AMOUNT_BYTES];
    if (!mr_option_has_range(row)) return;
    mr_option_amount(row->type, row->min, low);
    mr_option_amount(row->type, row->max, high);
    if (row->max >= MR_NO_MAX)
        append(out, ", at least %s", low);
    else
        append(out, " from %s to %s", low, high);
}

static void append_choices(const struct mr_option *row, char *out)
{
    if (row->choices[0] && row->choices[1]) append(out, "one of ");
    for (size_t i = 0; row->choices[i]; i++) append(out, "%s\"%s\"", i ? ", " : "", row->choices[i]);
    if (strlen(out) + 1 == MR_EXPECTED_BYTES) strcpy(out + MR_EXPECTED_BYTES - 4, "...");
}

void mr_option_expected(const struct mr_option *row, char out[MR_EXPECTED_BYTES])
{
    out[0] = '\0';
    switch (row->type) {
    case MR_OPT_STRING:
        append(out, "a string");
        return;
    case MR_OPT_BOOL:
        append(out, "true or false");
        return;
    case MR_OPT_INT:
        append(out, "a whole number");
        break;
    case MR_OPT_DOUBLE:
        append(out, "a number");
        break;
    case MR_OPT_DURATION:
        append(out, "a duration such as \"%s\"", row->fallback ? row->fallback : "5ms");
        break;
    case MR_OPT_SIZE:
        append(out, "a size such as \"%s\"", row->fallback ? row->fallback : "64MiB");
        break;
    case MR_OPT_ENUM:
        append_choices(row, out);
        return;
    case MR_OPT_STRINGS:
        append(out, "a string or an array of strings");
        return;
    case MR_OPT_MAP:
        append(out, "an object of settings");
        return;
    }
    append_range(row, out);
}
