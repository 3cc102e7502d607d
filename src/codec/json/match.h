/** The parts of matching that every variant compiles for its own instruction set. */
#ifndef MR_CODEC_JSON_MATCH_H
#define MR_CODEC_JSON_MATCH_H

#include <float.h>
#include <string.h>

#include "base/number.h"
#include "codec/json/template.h"

#define JSON_EACH(byte) (0x0101010101010101u * (byte))

/* The 8 bytes at text, the first one lowest. */
static inline uint64_t json_load_8(const char *text)
{
    uint64_t bytes;
    memcpy(&bytes, text, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

/* The same where fewer than 8 bytes may be left: zeros behind the end. `first` is the start of memory that may be read.
 */
static inline uint64_t json_load_tail(const char *text, const char *end, const char *first)
{
    uint64_t bytes = 0;
    if (end - text >= 8) return json_load_8(text);
    if (text >= end) return 0;
    if (end - first >= 8) return json_load_8(end - 8) >> 8 * (8 - (end - text));
    for (ptrdiff_t i = end - text; i--;) bytes = bytes << 8 | (unsigned char)text[i];
    return bytes;
}

static inline bool json_literal_is(const struct json_template *template, const struct json_slot *slot, const char *text,
                                   const char *end)
{
    const size_t left = (size_t)(end - text), bytes = slot->text_bytes;
    if (left < 8 || left < bytes) return left >= bytes && !memcmp(text, template->text + slot->text, bytes);
    uint64_t head, tail;
    memcpy(&head, text, 8);
    if ((head & slot->head_mask) != slot->head) return false;
    if (bytes <= 8) return true;
    memcpy(&tail, text + bytes - 8, 8);
    if (tail != slot->tail) return false;
    return bytes <= 16 || !memcmp(text + 8, template->text + slot->text + 8, bytes - 16);
}

/* Powers of ten that are exact in float32; negative ones for numbers with a sign. */
static const float json_powers[16] = {1e0f,  1e1f,  1e2f,  1e3f,  1e4f,  1e5f,  1e6f,  1e7f,
                                      -1e0f, -1e1f, -1e2f, -1e3f, -1e4f, -1e5f, -1e6f, -1e7f};

/*
 * A number of at most 8 characters beside its sign; of 8 only with a point. bytes: the 8 bytes at it, next: those from
 * its second one on; zeros behind the end. behind_8: the byte behind 8 characters, and the one behind 9, as far as they
 * are known; else digits. Returns its length; 0 when it is longer, has an exponent, or is none: ask mr_parse_f32.
 *
 * The next number waits for the length of this one, so that is found first: the first byte that is neither digit nor
 * point ends it.
 */
static inline size_t json_short_number(uint64_t bytes, uint64_t next, const char *behind_8, float *value_out)
{
    const uint64_t sign = (bytes & 0xff) == '-';
    const uint64_t text =
        (bytes ^ ((bytes ^ next) & -sign)) ^ JSON_EACH('0'); /* a choice, not a branch: signs are random */
    /* The top bit of each byte that is no digit, and of each that is no point. */
    const uint64_t others = (((text & JSON_EACH(0x7f)) + JSON_EACH(0x76)) | text) & JSON_EACH(0x80);
    const uint64_t no_point = text ^ JSON_EACH('.' ^ '0');
    const uint64_t no_points = ((no_point & JSON_EACH(0x7f)) + JSON_EACH(0x7f)) | no_point;
    const uint64_t ends = others & no_points;
    uint64_t points = others ^ ends, digits = text;
    unsigned length = 64, after = (unsigned char)behind_8[sign] ^ '0', fraction = 0; /* length: in bits */
    if (ends) {
        const uint64_t within = ((ends & -ends) >> 7) - 1;
        length = (unsigned)__builtin_ctzll(ends) & ~7u;
        after = (unsigned)(text >> length) & 0xff;
        points &= within;
        digits &= within;
    } else if (after <= 9 || after == ('.' ^ '0') || !points) {
        return 0;
    }
    /* The first two characters: at most 9, a digit behind a zero; 0xa00 or more, no digit. */
    const unsigned head = __builtin_bswap16((uint16_t)text);
    if (head - 10 >= 0xa00 - 10 || (after & 0xdf) == (('E' ^ '0') & 0xdf)) return 0;
    if (points) {
        const uint64_t before = ((points & -points) >> 7) - 1;
        fraction = (length - ((unsigned)__builtin_ctzll(points) & ~7u)) / 8 - 1;
        if (!fraction || points & (points - 1)) return 0;
        digits = (digits & before) | (digits >> 8 & ~before);
        digits <<= 72 - length;
    } else {
        digits <<= 64 - length;
    }
    digits = digits * 10 + (digits >> 8);
    const uint64_t mask = 0x000000ff000000ffu;
    digits = (uint32_t)(((digits & mask) * 0x000f424000000064u + ((digits >> 16) & mask) * 0x0000271000000001u) >> 32);
    *value_out = (float)(uint32_t)digits / json_powers[8 * sign + fraction]; /* both exact: one rounding */
    return length / 8 + sign;
}

/* json_short_number at text, whatever is left behind it. */
static inline size_t json_number_at(const char *text, const char *end, const char *first, float *value_out)
{
    if (end - text > 9) return json_short_number(json_load_8(text), json_load_8(text + 1), text + 8, value_out);
    const uint64_t bytes = json_load_tail(text, end, first);
    return json_short_number(bytes, bytes >> 8, "00", value_out);
}

/* A string or a word. */
static inline const char *json_other_match(uint32_t kind, const char *text, const char *end)
{
    if (text == end) return NULL;
    if (kind == JSON_SLOT_STRING) {
        bool is_escaped;
        mr_reason reason;
        return *text == '"' ? json_string_read(text + 1, end, &is_escaped, &reason) : NULL;
    }
    const size_t left = (size_t)(end - text);
    if (left >= 4 && (!memcmp(text, "true", 4) || !memcmp(text, "null", 4))) return text + 4;
    return left >= 5 && !memcmp(text, "false", 5) ? text + 5 : NULL;
}

/* Matches the slots from `index` on; text stands at the literal of that slot. The contract is that of json_match_fn. */
static inline const char *json_match_slots(const struct json_template *template, uint32_t index, const char *text,
                                           const char *end, float *x, const char **gap)
{
    const char *const first = text;
    const bool has_chores = template->chore_count;
    if (has_chores) gap[index] = text;
    for (; index < template->slot_count; index++) {
        const struct json_slot *const slot = &template->slot[index];
        if (!json_literal_is(template, slot, text, end)) return NULL;
        text += slot->text_bytes;
        if (slot->kind == JSON_SLOT_NUMBER) {
            float value;
            const size_t bytes = json_number_at(text, end, first, &value);
            if (__builtin_expect(bytes != 0, 1)) {
                text += bytes;
            } else {
                text = mr_parse_f32(text, end, &value);
                if (!text || (slot->column != JSON_NONE && !(value <= FLT_MAX && value >= -FLT_MAX))) return NULL;
            }
            if (slot->column != JSON_NONE) x[slot->column * MR_TILE_ROWS] = value;
        } else {
            text = json_other_match(slot->kind, text, end);
            if (!text) return NULL;
        }
        if (has_chores) gap[index + 1] = text;
    }
    return json_literal_is(template, &template->slot[index], text, end) ? text + template->slot[index].text_bytes
                                                                        : NULL;
}

/* Where column 0 of the next row stands. */
static inline float *json_row_x(const struct mr_rows *rows)
{
    return rows->x + mr_tile_at(rows->row_count, 0, rows->feature_count);
}

/*
 * The body of a json_run_single_fn and a json_run_lines_fn around a json_match_fn that the compiler sees: one indirect
 * call for a batch of records, not for each.
 */
static inline __attribute__((always_inline)) size_t json_run_single_with(json_match_fn *match,
                                                                         const struct json_run *run,
                                                                         const struct mr_message *messages,
                                                                         size_t first, size_t count)
{
    struct mr_rows *const rows = run->rows;
    const size_t room = rows->row_cap - rows->row_count;
    if (count - first > room) count = first + room;
    size_t at = first;
    for (; at < count; at++) {
        const char *const text = messages[at].value, *const end = text + messages[at].value_bytes;
        float *const x = json_row_x(rows);
        if (messages[at].value_bytes > run->bytes_max || match(run->template, text, end, x, run->gap) != end) break;
        if (run->template->chore_count && !json_chores_do(run->template, run->gap, rows, x)) break;
        rows->message[rows->row_count++] = (uint32_t)at;
    }
    return at - first;
}

static inline __attribute__((always_inline)) const char *json_run_lines_with(json_match_fn *match,
                                                                             const struct json_run *run,
                                                                             const char *text, const char *end,
                                                                             uint32_t message)
{
    struct mr_rows *const rows = run->rows;
    while (text < end && rows->row_count < rows->row_cap) {
        float *const x = json_row_x(rows);
        const char *behind = match(run->template, text, end, x, run->gap);
        if (!behind || (size_t)(behind - text) > run->bytes_max) break;
        if (behind < end) {
            if (*behind == '\r' && end - behind > 1) behind++;
            if (*behind != '\n') break;
            behind++;
        }
        if (run->template->chore_count && !json_chores_do(run->template, run->gap, rows, x)) break;
        rows->message[rows->row_count++] = message;
        text = behind;
    }
    return text;
}

#endif
