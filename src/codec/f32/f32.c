/*
 * The f32 codec: rows of float32, bytes as they lie in memory. Rows are checked one by one, then transposed into the
 * tile four rows by four columns at a time. A message whose length is no whole number of rows is refused whole: its
 * floats could be anything.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "registry.h"

enum { ORDER_LITTLE, ORDER_BIG };

struct f32_options {
    int64_t stride;
    int order;
};

/* Bits of a float32 that are all set when it is infinite or NaN. */
#define EXPONENT_BITS 0x7f800000u
#define ELEMENTS_MAX  (1u << 20)

typedef uint32_t u32x4 __attribute__((vector_size(16)));

struct element {
    uint32_t at;     /* index within the row */
    uint32_t column; /* of x */
    uint16_t field;  /* for rejects */
};

struct mr_decoder {
    struct element *feature; /* [feature_count], by order of the schema */
    size_t feature_count;
    struct element label;
    bool has_label;
    bool is_plain; /* feature i is element i and column i, and there is nothing else to check: the fast way */
    bool is_swapped;
    bool is_packed;
    size_t stride;          /* bytes a row */
    uint32_t exponent_bits; /* as they lie in the row */
};

static inline uint32_t load_bits(const struct mr_decoder *decoder, const char *row, size_t at)
{
    uint32_t bits;
    memcpy(&bits, row + at * sizeof bits, sizeof bits);
    return decoder->is_swapped ? __builtin_bswap32(bits) : bits;
}

static inline u32x4 load_4(const char *row)
{
    u32x4 bits;
    memcpy(&bits, row, sizeof bits);
    return bits;
}

static inline u32x4 swap_4(u32x4 bits)
{
    bits = (bits & 0x00ff00ff) << 8 | (bits >> 8 & 0x00ff00ff);
    return bits << 16 | bits >> 16;
}

/* The first field of a row that is not finite, or NULL. */
static const struct element *row_check(const struct mr_decoder *decoder, const char *row)
{
    if (decoder->is_plain) {
        u32x4 is_bad = {0};
        size_t at = 0;
        for (; at + 4 <= decoder->feature_count; at += 4) {
            is_bad |= (u32x4)((load_4(row + at * 4) & decoder->exponent_bits) == decoder->exponent_bits);
        }
        uint64_t half[2];
        memcpy(half, &is_bad, sizeof half);
        bool is_fine = !(half[0] | half[1]);
        for (; at < decoder->feature_count; at++)
            is_fine &= (load_bits(decoder, row, at) & EXPONENT_BITS) != EXPONENT_BITS;
        if (is_fine) return NULL;
    }
    for (size_t i = 0; i < decoder->feature_count; i++) {
        if ((load_bits(decoder, row, decoder->feature[i].at) & EXPONENT_BITS) == EXPONENT_BITS)
            return &decoder->feature[i];
    }
    if (decoder->has_label && (load_bits(decoder, row, decoder->label.at) & EXPONENT_BITS) == EXPONENT_BITS)
        return &decoder->label;
    return NULL;
}

/* Four rows by four columns: out is column 0 of the first row in its tile. */
static inline void transpose_4(const struct mr_decoder *decoder, const char *const *row, size_t at, float *out)
{
    u32x4 r[4];
    for (int i = 0; i < 4; i++) {
        r[i] = load_4(row[i] + at * 4);
        if (decoder->is_swapped) r[i] = swap_4(r[i]);
    }
    const u32x4 low02 = __builtin_shufflevector(r[0], r[2], 0, 4, 1, 5),
                high02 = __builtin_shufflevector(r[0], r[2], 2, 6, 3, 7);
    const u32x4 low13 = __builtin_shufflevector(r[1], r[3], 0, 4, 1, 5),
                high13 = __builtin_shufflevector(r[1], r[3], 2, 6, 3, 7);
    const u32x4 column[4] = {
        __builtin_shufflevector(low02, low13, 0, 4, 1, 5), __builtin_shufflevector(low02, low13, 2, 6, 3, 7),
        __builtin_shufflevector(high02, high13, 0, 4, 1, 5), __builtin_shufflevector(high02, high13, 2, 6, 3, 7)};
    for (int i = 0; i < 4; i++) memcpy(out + i * MR_TILE_ROWS, &column[i], sizeof column[i]);
}

/* Rows that were checked, into the tile in which rows->row_count lies; they all fit into it. */
static void block_store(const struct mr_decoder *decoder, const char *const *row, size_t count, struct mr_rows *rows)
{
    float *tile = rows->x + mr_tile_at(rows->row_count, 0, rows->feature_count);
    size_t done_rows = 0, done_columns = 0;
    if (decoder->is_plain) {
        done_columns = decoder->feature_count / 4 * 4;
        for (; done_rows + 4 <= count; done_rows += 4) {
            for (size_t at = 0; at < done_columns; at += 4)
                transpose_4(decoder, row + done_rows, at, tile + at * MR_TILE_ROWS + done_rows);
        }
    }
    for (size_t i = 0; i < decoder->feature_count; i++) {
        const struct element *element = &decoder->feature[i];
        float *out = tile + (size_t)element->column * MR_TILE_ROWS;
        for (size_t r = i < done_columns ? done_rows : 0; r < count; r++) {
            const uint32_t bits = load_bits(decoder, row[r], element->at);
            memcpy(out + r, &bits, sizeof bits);
        }
    }
    for (size_t r = 0; decoder->has_label && r < count; r++) {
        const uint32_t bits = load_bits(decoder, row[r], decoder->label.at);
        float label;
        memcpy(&label, &bits, sizeof label);
        rows->label[rows->row_count + r] = label;
    }
    rows->row_count += count;
}

static void reject_add(struct mr_rows *rows, size_t message, size_t first, size_t bytes, mr_reason reason,
                       uint16_t field)
{
    rows->reject[rows->reject_count++] =
        (struct mr_reject){.message = (uint32_t)message,
                           .first = (uint32_t)(first < UINT32_MAX ? first : UINT32_MAX),
                           .bytes = (uint32_t)(bytes < UINT32_MAX ? bytes : UINT32_MAX),
                           .reason = (uint16_t)reason,
                           .field = field};
}

/* Is the message's length one that it may have? If not it becomes a reject. */
static bool length_check(const struct mr_decoder *decoder, const struct mr_message *message, size_t index,
                         struct mr_rows *rows)
{
    const size_t bytes = message->value_bytes;
    const bool is_fine = bytes && (decoder->is_packed ? bytes % decoder->stride == 0 : bytes == decoder->stride);
    if (!is_fine) reject_add(rows, index, 0, bytes, bytes ? MR_REASON_LENGTH : MR_REASON_EMPTY, MR_FIELD_NONE);
    return is_fine;
}

static void f32_decode(struct mr_decoder *decoder, const struct mr_message *messages, size_t count,
                       struct mr_cursor *cursor, struct mr_rows *rows)
{
    const char *block[MR_TILE_ROWS]; /* rows of the tile at rows->row_count that wait to be stored */
    size_t block_count = 0;
    while (cursor->message < count && rows->row_count + block_count < rows->row_cap &&
           rows->reject_count < rows->reject_cap) {
        const struct mr_message *message = &messages[cursor->message];
        if (cursor->byte == 0 && !length_check(decoder, message, cursor->message, rows)) {
            cursor->message++;
            continue;
        }
        const char *row = message->value + cursor->byte;
        const struct element *bad = row_check(decoder, row);
        if (bad) {
            reject_add(rows, cursor->message, cursor->byte, decoder->stride, MR_REASON_RANGE, bad->field);
        } else {
            rows->message[rows->row_count + block_count] = (uint32_t)cursor->message;
            block[block_count++] = row;
            if ((rows->row_count + block_count) % MR_TILE_ROWS == 0) {
                block_store(decoder, block, block_count, rows);
                block_count = 0;
            }
        }
        cursor->byte += decoder->stride;
        if (cursor->byte == message->value_bytes) *cursor = (struct mr_cursor){.message = cursor->message + 1};
    }
    if (block_count) block_store(decoder, block, block_count, rows);
}

/* Element of a path: `[3]` says it, a name stands for its place among the features. False when the index is none. */
static bool path_element(const char *path, size_t place, uint32_t *at_out)
{
    *at_out = (uint32_t)place;
    if (*path != '[') return true;
    char *end;
    if (!isdigit((unsigned char)path[1])) return false;
    const unsigned long at = strtoul(path + 1, &end, 10);
    *at_out = (uint32_t)at;
    return *end == ']' && !end[1] && at < ELEMENTS_MAX;
}

static mr_status element_add(struct mr_decoder *decoder, const struct mr_field *field, size_t index, struct mr_err *err)
{
    struct element element = {.column = field->column, .field = (uint16_t)index};
    if (field->role == MR_FIELD_CAPTURE) {
        return mr_fail(err, MR_ECONFIG, "record: \"%s\": rows of format f32 hold no text to capture", field->path);
    }
    if (field->role == MR_FIELD_LABEL && *field->path != '[') {
        return mr_fail(err, MR_ECONFIG, "record.label: \"%s\": in rows of format f32 give its place, such as \"[%zu]\"",
                       field->path, decoder->feature_count);
    }
    if (!path_element(field->path, decoder->feature_count, &element.at)) {
        return mr_fail(err, MR_ECONFIG, "record: \"%s\": expected a place within the row such as \"[3]\", at most [%u]",
                       field->path, ELEMENTS_MAX - 1);
    }
    if (field->role == MR_FIELD_LABEL) {
        decoder->label = element;
        decoder->has_label = true;
    } else {
        decoder->feature[decoder->feature_count++] = element;
    }
    return MR_OK;
}

/* Bytes a row, from the option or from the last element, and whether the fast way fits. */
static mr_status shape_fill(struct mr_decoder *decoder, const struct f32_options *options, struct mr_err *err)
{
    size_t element_count = decoder->has_label ? decoder->label.at + 1 : 1;
    decoder->is_plain = !decoder->has_label;
    for (size_t i = 0; i < decoder->feature_count; i++) {
        const struct element *element = &decoder->feature[i];
        if (element->at >= element_count) element_count = element->at + 1;
        decoder->is_plain &= element->at == i && element->column == i;
    }
    decoder->stride = options->stride ? (size_t)options->stride : element_count * sizeof(float);
    if (decoder->stride < element_count * sizeof(float)) {
        return mr_fail(err, MR_ECONFIG,
                       "record.stride: %zu bytes hold %zu floats, the fields reach to the %zuth: give %zu or more",
                       decoder->stride, decoder->stride / sizeof(float), element_count, element_count * sizeof(float));
    }
    return MR_OK;
}

static void f32_destroy(struct mr_decoder *decoder)
{
    if (!decoder) return;
    free(decoder->feature);
    free(decoder);
}

static mr_status f32_create(const void *options, const struct mr_schema *schema, struct mr_decoder **decoder_out,
                            struct mr_err *err)
{
    static const struct f32_options fallback = {0, ORDER_LITTLE};
    const struct f32_options *f32 = options ? options : &fallback;
    struct mr_decoder *decoder = calloc(1, sizeof *decoder);
    *decoder_out = NULL;
    if (schema->framing != MR_FRAMING_SINGLE && schema->framing != MR_FRAMING_PACKED) {
        free(decoder);
        return mr_fail(err, MR_ECONFIG, "record.framing: format f32 reads single and packed only");
    }
    if (!decoder) return mr_fail(err, MR_ENOMEM, "f32 codec: out of memory");
    decoder->is_packed = schema->framing == MR_FRAMING_PACKED;
    decoder->is_swapped = (f32->order == ORDER_BIG) != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
    decoder->exponent_bits = decoder->is_swapped ? __builtin_bswap32(EXPONENT_BITS) : EXPONENT_BITS;
    decoder->feature = calloc(schema->field_count + 1, sizeof *decoder->feature);
    mr_status status = decoder->feature ? MR_OK : mr_fail(err, MR_ENOMEM, "f32 codec: out of memory");
    for (size_t i = 0; !status && i < schema->field_count; i++)
        status = element_add(decoder, &schema->field[i], i, err);
    if (!status) status = shape_fill(decoder, f32, err);
    if (status) {
        f32_destroy(decoder);
        return status;
    }
    *decoder_out = decoder;
    return MR_OK;
}

static void f32_cut(const struct mr_decoder *decoder, struct mr_cut *cut_out)
{
    *cut_out = (struct mr_cut){.kind = MR_CUT_PACKED,
                               .is_block = decoder->is_packed,
                               .row_bytes = decoder->stride,
                               .bytes_max = decoder->stride};
}

#define AT(field) offsetof(struct f32_options, field)
static const char *const orders[] = {"little", "big", NULL};
static const struct mr_option f32_option_table[] = {
    {.key = "stride",
     .type = MR_OPT_SIZE,
     .offset = AT(stride),
     .fallback = "0",
     .min = 0,
     .max = ELEMENTS_MAX * 4.0,
     .doc = "Bytes from one row to the next; 0: as many as the fields need. Bytes behind the last field are skipped."},
    {.key = "byte_order",
     .type = MR_OPT_ENUM,
     .offset = AT(order),
     .fallback = "little",
     .choices = orders,
     .doc = "Byte order of the floats."},
    {0},
};
#undef AT

const struct mr_codec_ops mr_codec_f32 = {
    .name = "f32",
    .summary = "rows of float32 as they lie in memory",
    .options = f32_option_table,
    .options_size = sizeof(struct f32_options),
    .framings = 1u << MR_FRAMING_SINGLE | 1u << MR_FRAMING_PACKED,
    .create = f32_create,
    .decode = f32_decode,
    .cut = f32_cut,
    .destroy = f32_destroy,
};
