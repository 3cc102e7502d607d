/** What the tests of the JSON decoder share: a schema in one line, a decoder with rows around it, messages of exact
 * size. */
#ifndef MR_TESTS_JSON_RIG_H
#define MR_TESTS_JSON_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry.h"

#define RIG_FIELD_MAX 64
#define RIG_GUARD     0x5a5a5a5au

struct rig {
    struct mr_field field[RIG_FIELD_MAX];
    struct mr_schema schema;
    struct mr_decoder *decoder;
    struct mr_rows rows;
    struct mr_err err;
};

/** Adds a field. role: 'f' feature, 'l' label, 'c' capture, 'C' required capture, 'd' feature with default -7.5, 'm'
 * label with default. */
static inline void rig_field(struct rig *rig, char role, const char *path)
{
    struct mr_field *const field = &rig->field[rig->schema.field_count++];
    *field = (struct mr_field){.path = path, .default_value = -7.5};
    field->role = role == 'l' || role == 'm'   ? MR_FIELD_LABEL
                  : role == 'c' || role == 'C' ? MR_FIELD_CAPTURE
                                               : MR_FIELD_FEATURE;
    field->required = role == 'C';
    field->missing = role == 'd' || role == 'm' ? MR_MISSING_DEFAULT : MR_MISSING_DEAD;
    if (field->role == MR_FIELD_FEATURE) field->column = (uint32_t)rig->schema.feature_count++;
    if (field->role == MR_FIELD_CAPTURE) field->column = (uint32_t)rig->schema.capture_count++;
}

/** A schema such as "f:a.b c:id": roles as rig_field, separated by spaces. spec is cut in place and must live as long
 * as the rig. */
static inline void rig_spec(struct rig *rig, char *spec, mr_framing framing)
{
    memset(rig, 0, sizeof *rig);
    for (char *save = NULL, *word = strtok_r(spec, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        rig_field(rig, word[0], word + 2);
    }
    rig->schema.field = rig->field;
    rig->schema.framing = framing;
    rig->schema.depth_max = 8;
    rig->schema.record_bytes_max = 1 << 16;
}

/** Creates the decoder and rows of exactly these sizes. */
static inline mr_status rig_open(struct rig *rig, size_t row_cap, size_t reject_cap)
{
    const size_t tile_floats = mr_tile_count(row_cap) * rig->schema.feature_count * MR_TILE_ROWS;
    struct mr_rows *const rows = &rig->rows;
    rows->feature_count = rig->schema.feature_count;
    rows->capture_count = rig->schema.capture_count;
    rows->row_cap = row_cap;
    rows->reject_cap = reject_cap;
    rows->x = aligned_alloc(MR_ALIGN, (tile_floats * sizeof(float) + MR_ALIGN) / MR_ALIGN * MR_ALIGN);
    rows->label = calloc(row_cap, sizeof *rows->label);
    rows->capture = calloc(row_cap * rows->capture_count + 1, sizeof *rows->capture);
    rows->message = calloc(row_cap, sizeof *rows->message);
    rows->reject = calloc(reject_cap, sizeof *rows->reject);
    for (size_t i = 0; i < tile_floats; i++) {
        const uint32_t guard = RIG_GUARD;
        memcpy(&rows->x[i], &guard, sizeof guard);
    }
    return mr_codec_find("json")->create(NULL, &rig->schema, &rig->decoder, &rig->err);
}

static inline void rig_close(struct rig *rig)
{
    mr_codec_find("json")->destroy(rig->decoder);
    free(rig->rows.x);
    free(rig->rows.label);
    free(rig->rows.capture);
    free(rig->rows.message);
    free(rig->rows.reject);
    rig->decoder = NULL;
}

/** Decodes all messages from the start into rows that are emptied first; rows and rejects must be large enough. False
 * if not all were taken. */
static inline int rig_decode(struct rig *rig, const struct mr_message *messages, size_t count)
{
    struct mr_cursor cursor = {0};
    rig->rows.row_count = rig->rows.reject_count = 0;
    mr_codec_find("json")->decode(rig->decoder, messages, count, &cursor, &rig->rows);
    return cursor.message == count;
}

/** A copy that ends where its memory ends, so that the address sanitizer sees a read behind it. */
static inline struct mr_message rig_message(const char *text, size_t bytes)
{
    char *const copy = malloc(bytes ? bytes : 1);
    memcpy(copy, text, bytes);
    return (struct mr_message){.value = copy, .value_bytes = bytes};
}

static inline void rig_message_free(struct mr_message *message)
{
    union {
        const char *in;
        void *out;
    } value = {.in = message->value};
    free(value.out);
    message->value = NULL;
}

static inline float rig_x(const struct rig *rig, size_t row, size_t column)
{
    return rig->rows.x[mr_tile_at(row, column, rig->rows.feature_count)];
}

/** A small random generator: the same numbers everywhere. */
static inline uint64_t rig_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

#endif
