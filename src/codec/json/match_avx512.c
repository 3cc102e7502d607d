/*
 * Matching a template of numbers with AVX-512: first the ends of all values (64 bytes of text a step), then eight
 * numbers at a time. No number waits for the one before it, which is what bounds matching slot after slot. Records that
 * it does not take (a string, a number of more than 8 characters, an exponent) go through the slots one by one.
 * Compiled with AVX-512 flags: called only after json_variants has asked the machine.
 */
#if defined(__AVX512BW__) && defined(__AVX512VBMI2__)
#include <immintrin.h>

#include "codec/json/match.h"

#define GROUP 8 /* numbers at a time, one in each 64-bit lane */

/* Bytes of a block that end a number: a comma, a closing bracket or space, behind a digit. *carry: the byte before was
 * a digit. */
static inline uint64_t ends_find(__m512i block, uint64_t *carry)
{
    const __mmask64 digit = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(block, _mm512_set1_epi8('0')), _mm512_set1_epi8(10));
    const __mmask64 close =
        _mm512_cmpeq_epi8_mask(_mm512_or_si512(block, _mm512_set1_epi8(0x20)), _mm512_set1_epi8('}'));
    const __mmask64 comma = _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8(','));
    const __mmask64 space = _mm512_cmple_epu8_mask(block, _mm512_set1_epi8(' '));
    const uint64_t behind_digit = digit << 1 | *carry;
    *carry = digit >> 63;
    return (close | comma | space) & behind_digit;
}

/*
 * Finds the ends of the first `count` numbers in [text, end): position_out[i], [count + 31 rounded up]. False when
 * there are fewer, or they lie too far for 16 bits.
 */
static inline bool ends_list(const char *text, const char *end, uint32_t count, uint16_t *position_out)
{
    const __m512i iota =
        _mm512_set_epi8(63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40,
                        39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16,
                        15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const size_t bytes = (size_t)(end - text) < 0xffc0 ? (size_t)(end - text) : 0xffc0;
    uint64_t carry = 0;
    uint32_t found = 0;
    for (size_t at = 0; at < bytes && found < count; at += 64) {
        const __mmask64 valid = bytes - at >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << (bytes - at)) - 1;
        const uint64_t ends = ends_find(_mm512_maskz_loadu_epi8(valid, text + at), &carry) & valid;
        /* At most 32 in 64 bytes: before each one stands a digit. */
        const __m256i packed = _mm512_castsi512_si256(_mm512_maskz_compress_epi8(ends, iota));
        const __m512i wide = _mm512_add_epi16(_mm512_cvtepu8_epi16(packed), _mm512_set1_epi16((short)at));
        _mm512_storeu_si512(position_out + found, wide);
        found += (uint32_t)_mm_popcnt_u64(ends);
    }
    return found >= count;
}

/* Compares `count` literals from slot `index` on, the first of which starts at `text + position[-1]`. All lie inside
 * the record. */
static inline bool literals_are(const struct json_template *template, uint32_t index, uint32_t count, const char *text,
                                const uint16_t *position)
{
    __m512i wrong = _mm512_setzero_si512();
    if (template->literal_bytes_max <= 16) {
        __m128i bad = _mm_setzero_si128();
        for (uint32_t i = index; i < index + count; i++) {
            const __mmask16 mask = (__mmask16) template->slot[i].text_mask;
            const __m128i got = _mm_maskz_loadu_epi8(mask, text + position[(int)i - 1]);
            const __m128i want = _mm_loadu_si128((const __m128i *)(template->text + template->slot[i].text));
            bad = _mm_ternarylogic_epi64(bad, got, _mm_maskz_mov_epi8(mask, want), 0xf6); /* bad | (got ^ want) */
        }
        return _mm_testz_si128(bad, bad);
    }
    for (uint32_t i = index; i < index + count; i++) {
        const __mmask64 mask = template->slot[i].text_mask;
        const __m512i got = _mm512_maskz_loadu_epi8(mask, text + position[(int)i - 1]);
        const __m512i want = _mm512_maskz_loadu_epi8(mask, template->text + template->slot[i].text);
        wrong = _mm512_ternarylogic_epi64(wrong, got, want, 0xf6);
    }
    return !_mm512_test_epi64_mask(wrong, wrong);
}

/* Digits in ASCII, the last one at the top of its lane, zeros (not '0') below: their values. */
static inline __m512i digits_value(__m512i digits)
{
    const __m512i pairs = _mm512_maddubs_epi16(digits, _mm512_set1_epi16(0x010a));
    const __m512i fours = _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x00010064));
    return _mm512_add_epi64(_mm512_mul_epu32(fours, _mm512_set1_epi64(10000)), _mm512_srli_epi64(fours, 32));
}

/*
 * digits / 10^fraction as float32, correctly rounded: 8 characters with a point hold at most 7 digits, less than 2^24,
 * so that dividend and divisor are exact and there is one rounding; without a point the conversion is the one rounding.
 */
static inline __m256 lanes_scale(__m512i digits, __m512i fraction)
{
    const __m256 power = _mm256_permutevar8x32_ps(_mm256_loadu_ps(json_powers), _mm512_cvtepi64_epi32(fraction));
    return _mm256_div_ps(_mm256_cvtepi32_ps(_mm512_cvtepi64_epi32(digits)), power);
}

/*
 * Eight numbers. raw: the 8 bytes before the end of each, of which the last one is a digit; length: their characters.
 * Returns the lanes that are not a plain JSON number of 1 to 8 characters (any other length shifts all of them out):
 * their values mean nothing.
 */
static inline __mmask8 lanes_read(__m512i raw, __m512i length, __m256 *value_out)
{
    __m512i shift = _mm512_sub_epi64(_mm512_set1_epi64(64), _mm512_slli_epi64(length, 3));
    /* The first character in the lowest byte; what lies behind the number is no digit. */
    __m512i text = _mm512_xor_si512(_mm512_srlv_epi64(raw, shift), _mm512_set1_epi8('0'));
    const __m512i first = _mm512_and_si512(text, _mm512_set1_epi64(0xff));
    const __mmask8 negative = _mm512_cmpeq_epi64_mask(first, _mm512_set1_epi64('-' ^ '0'));
    text = _mm512_mask_srli_epi64(text, negative, text, 8);
    shift = _mm512_mask_add_epi64(shift, negative, shift, _mm512_set1_epi64(8));
    /* A digit first, and no digit behind a first zero. */
    const uint64_t small = _mm512_cmple_epu8_mask(text, _mm512_set1_epi8(9)), zero = _mm512_testn_epi8_mask(text, text);
    uint64_t bad = (~small | (zero & small >> 1)) & 0x0101010101010101u;
    /* The last character in the highest byte, zeros below: digits, and at most one point that is not the last
     * character. */
    const __m512i right = _mm512_sllv_epi64(text, shift);
    const uint64_t point = _mm512_cmpeq_epi8_mask(right, _mm512_set1_epi8('.' ^ '0'));
    bad |= (_mm512_cmpgt_epu8_mask(right, _mm512_set1_epi8(9)) ^ point);
    const __m512i at_point = _mm512_movm_epi8(point), at_bad = _mm512_movm_epi8(bad);
    const __mmask8 has_point = _mm512_test_epi64_mask(at_point, at_point);
    const __m512i points = _mm512_and_si512(at_point, _mm512_set1_epi8(1)); /* one bit a point; all but the first: */
    const __m512i further = _mm512_and_si512(points, _mm512_sub_epi64(points, _mm512_set1_epi64(1)));
    const __m512i left = _mm512_or_si512(at_bad, further);
    /* Moves the digits before the point up by one byte. */
    const __m512i below =
        _mm512_maskz_andnot_epi64(has_point, at_point, _mm512_sub_epi64(at_point, _mm512_set1_epi64(1)));
    const __m512i integer = _mm512_slli_epi64(_mm512_and_si512(right, below), 8);
    const __m512i fraction_digits =
        _mm512_ternarylogic_epi64(right, at_point, below, 0x10); /* right & ~at_point & ~below */
    const __m512i digits = digits_value(_mm512_or_si512(integer, fraction_digits));
    /* Digits behind the point; 8 without one, which the tables of 8 powers take for 0. */
    const __m512i fraction = _mm512_srli_epi64(_mm512_lzcnt_epi64(at_point), 3);
    *value_out = lanes_scale(digits, fraction);
    *value_out = _mm256_mask_xor_ps(*value_out, negative, *value_out, _mm256_set1_ps(-0.0f));
    return _mm512_test_epi64_mask(left, left);
}

/* The 8 bytes before each of eight positions. The first ones may lie closer than that to the start of the record. */
static inline __m512i lanes_load(const char *text, const uint16_t *position)
{
    uint64_t raw[GROUP];
    for (int i = 0; i < GROUP; i++) {
        const uint32_t at = position[i];
        if (__builtin_expect(at >= 8, 1)) {
            raw[i] = json_load_8(text + at - 8);
        } else {
            raw[i] = 0;
            for (uint32_t k = 0; k < at; k++) raw[i] |= (uint64_t)(unsigned char)text[k] << 8 * (8 - at + k);
        }
    }
    return _mm512_set_epi64((long long)raw[7], (long long)raw[6], (long long)raw[5], (long long)raw[4],
                            (long long)raw[3], (long long)raw[2], (long long)raw[1], (long long)raw[0]);
}

#define POSITIONS (JSON_SLOT_MAX + 64)

/* Reads one by one what the lanes left: numbers that are long or have an exponent. False when one is no finite number.
 */
static __attribute__((noinline)) bool numbers_rest(const struct json_template *template, const char *text,
                                                   const uint16_t *position, const uint8_t *rest, float *x)
{
    for (uint32_t i = 0; i < template->slot_count; i += GROUP) {
        for (unsigned lanes = rest[i / GROUP]; lanes; lanes &= lanes - 1) {
            const uint32_t k = i + (uint32_t)__builtin_ctz(lanes);
            const struct json_slot *const slot = &template->slot[k];
            const uint32_t first = position[(int)k - 1] + slot->text_bytes, last = position[k];
            float value;
            if (first >= last || mr_parse_f32(text + first, text + last, &value) != text + last) return false;
            if (!(value <= FLT_MAX && value >= -FLT_MAX)) return false;
            if (slot->column != JSON_NONE) x[slot->column * MR_TILE_ROWS] = value;
        }
    }
    return true;
}

/* Records of numbers only. */
static inline const char *numbers_match(const struct json_template *template, const char *text, const char *end,
                                        float *x, const char **gap)
{
    uint16_t list[8 + POSITIONS];
    uint16_t *const position = list + 8; /* position[-1]: the start of the record */
    uint8_t rest[JSON_SLOT_MAX / GROUP + 1];
    unsigned is_rest = 0;
    __mmask8 is_wrong = 0;
    const uint32_t count = template->slot_count;
    if (!ends_list(text, end, count, position)) return NULL;
    position[-1] = 0;
    const size_t last = (size_t)position[count - 1] + template->slot[count].text_bytes;
    if (last > (size_t)(end - text)) return NULL;
    for (uint32_t i = 0; i < count; i += GROUP) {
        const uint32_t left = count - i;
        const __mmask8 active = left >= GROUP ? 0xff : (__mmask8)((1u << left) - 1);
        const __m128i stop = _mm_maskz_loadu_epi16(active, position + i),
                      before = _mm_maskz_loadu_epi16(active, position + i - 1);
        const __m128i start = _mm_add_epi16(before, _mm_loadu_si128((const __m128i *)(template->slot_bytes + i)));
        const __m128i length = _mm_sub_epi16(stop, start);
        is_wrong = _kor_mask8(is_wrong, _mm_mask_cmple_epi16_mask(active, length, _mm_setzero_si128()));
        uint16_t at[GROUP];
        _mm_storeu_si128((__m128i *)at, stop);
        __m256 value;
        rest[i / GROUP] = active & lanes_read(lanes_load(text, left >= GROUP ? position + i : at),
                                              _mm512_cvtepu16_epi64(length), &value);
        is_rest |= rest[i / GROUP];
        float values[GROUP];
        _mm256_storeu_ps(values, value);
        const uint32_t group = left < GROUP ? left : GROUP;
        for (uint32_t k = 0; k < group; k++) {
            if (template->slot[i + k].column != JSON_NONE) x[template->slot[i + k].column * MR_TILE_ROWS] = values[k];
        }
    }
    /* When each number ends behind the literal in front of it, all literals lie inside the record, and may be loaded.
     */
    if (__builtin_expect(is_wrong, 0)) return NULL;
    if (!literals_are(template, 0, count + 1, text, position)) return NULL;
    if (is_rest && !numbers_rest(template, text, position, rest, x)) return NULL;
    if (template->chore_count) {
        for (uint32_t i = 0; i <= count; i++) gap[i] = text + position[(int)i - 1];
    }
    return text + last;
}

static inline __attribute__((always_inline)) const char *
avx512_match(const struct json_template *template, const char *text, const char *end, float *x, const char **gap)
{
    if (template->is_numeric) {
        const char *const behind = numbers_match(template, text, end, x, gap);
        if (behind) return behind;
    }
    return json_match_slots(template, 0, text, end, x, gap);
}

const char *json_match_avx512(const struct json_template *template, const char *text, const char *end, float *x,
                              const char **gap)
{
    return avx512_match(template, text, end, x, gap);
}

size_t json_run_single_avx512(const struct json_run *run, const struct mr_message *messages, size_t first, size_t count)
{
    return json_run_single_with(avx512_match, run, messages, first, count);
}

const char *json_run_lines_avx512(const struct json_run *run, const char *text, const char *end, uint32_t message)
{
    return json_run_lines_with(avx512_match, run, text, end, message);
}
#else
typedef int json_no_avx512; /* a translation unit may not be empty */
#endif
