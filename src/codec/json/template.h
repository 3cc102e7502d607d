/**
 * Templates: the shape of a record that was read strictly before. A record is cut into literals (keys, punctuation,
 * spacing) and slots (numbers, strings, words). A later record whose literals are the same bytes and whose slots hold
 * scalars of the same kind is valid for the same reasons, has the same keys in the same places, and only its slots need
 * a look. Anything else is "not taken", and the strict reader decides: a template never refuses a record, and takes
 * none that the strict reader would refuse.
 */
#ifndef MR_CODEC_JSON_TEMPLATE_H
#define MR_CODEC_JSON_TEMPLATE_H

#include "codec/json/json.h"

#define JSON_SLOT_MAX     1024
#define JSON_TEXT_MAX     16384 /* bytes of all literals of a template */
#define JSON_TEXT_SLACK   64    /* readable bytes behind them */
#define JSON_TEMPLATE_MAX 4

typedef enum { JSON_SLOT_NUMBER, JSON_SLOT_STRING, JSON_SLOT_WORD } json_slot_kind;

/** A literal and the value behind it. */
struct json_slot {
    uint64_t head, head_mask; /* first 8 bytes of the literal; the mask says how many it has */
    uint64_t tail;            /* its last 8 bytes, where it has more than 8 */
    uint32_t text;            /* offset of the literal in json_template.text */
    uint32_t text_bytes;
    uint64_t text_mask; /* one bit for each byte of the literal, at most 64 */
    uint32_t column;    /* NUMBER: feature that it becomes; JSON_NONE: none */
    uint32_t kind;      /* json_slot_kind */
};

/** A place in a record: `offset` bytes behind the end of the value of slot - 1 (slot 0: behind the record's start). */
struct json_place {
    uint32_t slot, offset;
};

/** What else is to be done with a record that was taken. */
struct json_chore {
    enum { JSON_COPY, JSON_CONSTANT, JSON_LABEL, JSON_LABEL_CONSTANT, JSON_CAPTURE, JSON_ABSENT } kind;
    uint32_t column;
    uint32_t source;               /* COPY: the column that has the value */
    double value;                  /* constants */
    struct json_place first, last; /* LABEL, CAPTURE: the bytes */
};

struct json_template {
    struct json_slot slot[JSON_SLOT_MAX + 1]; /* the one behind the last slot holds the final literal */
    uint16_t slot_bytes[JSON_SLOT_MAX + 8];   /* text_bytes of each slot, zeros behind them */
    bool is_numeric;                          /* numbers only, each literal of 1 to 64 bytes, at least 4 numbers */
    uint32_t literal_bytes_max;
    uint32_t slot_count;
    uint32_t text_bytes;
    char text[JSON_TEXT_MAX + JSON_TEXT_SLACK];
    struct json_chore *chore; /* [chore_cap] */
    uint32_t chore_count;
    uint64_t hits;
};

/** One scalar of the record that the strict reader has just read. */
struct json_scalar {
    const char *first, *last;
    uint32_t node;
};

/**
 * Tries to read a record of this shape at text into x. Returns behind it, or NULL when it is not of this shape; x may
 * then hold anything. gap: [slot_count + 1], filled when the template has chores: gap[i + 1] is the end of the value of
 * slot i, gap[0] the record's start.
 */
typedef const char *json_match_fn(const struct json_template *template, const char *text, const char *end, float *x,
                                  const char **gap);

/** What a run of records of one shape needs. */
struct json_run {
    const struct json_template *template;
    struct mr_rows *rows;
    const char **gap;
    uint32_t bytes_max; /* of a record */
};

/**
 * Reads messages [first, count), one record each, as long as they are of this shape and rows has room. Returns how many
 * became rows.
 */
typedef size_t json_run_single_fn(const struct json_run *run, const struct mr_message *messages, size_t first,
                                  size_t count);

/** Reads the lines [text, end) of one message likewise. Returns behind the last line (and its end of line) that became
 * a row. */
typedef const char *json_run_lines_fn(const struct json_run *run, const char *text, const char *end, uint32_t message);

/** One way to match, for one kind of machine. */
struct json_variant {
    const char *name;
    json_match_fn *match; /* NULL: no templates, always strict */
    json_run_single_fn *run_single;
    json_run_lines_fn *run_lines;
    bool (*is_supported)(void);
};

/** Best first; ends with a row without a name. "strict" and "base" run anywhere. */
extern const struct json_variant json_variants[];

json_match_fn json_match_base, json_match_avx512;
json_run_single_fn json_run_single_base, json_run_single_avx512;
json_run_lines_fn json_run_lines_base, json_run_lines_avx512;

/** Labels, captures, constants of a record that was matched. False when a label is out of range: for the strict reader
 * to say. */
bool json_chores_do(const struct json_template *template, const char *const *gap, struct mr_rows *rows, float *x);

struct json_template_set {
    struct json_template *item[JSON_TEMPLATE_MAX + 1]; /* [count] are known; the last one is where the next is made */
    uint32_t count, current;
    uint32_t miss_run; /* records in a row that no template took */
    uint64_t miss_count;
    const struct json_variant *variant;
    struct json_scalar scalar[JSON_SLOT_MAX];
    uint32_t scalar_count;
    const char *gap[JSON_SLOT_MAX + 1];
};

/** NULL when out of memory. Starts with the best variant that the machine supports. */
struct json_template_set *json_templates_create(const struct mr_decoder *decoder);

void json_templates_destroy(struct json_template_set *set);

/** Forces a variant and forgets all templates. MR_EBACKEND when it is unknown or the machine lacks it. For tests and
 * benchmarks. */
mr_status json_variant_set(struct mr_decoder *decoder, const char *name, struct mr_err *err);

/**
 * The template that took the last record, ready for a run; false when there is none, or the last record was not taken.
 * After the run json_run_end says how many records were.
 */
bool json_run_begin(struct mr_decoder *decoder, struct mr_rows *rows, struct json_run *run);
void json_run_end(struct mr_decoder *decoder, size_t taken);

/** Tries the templates that are known. Returns behind the record, with the row filled, or NULL. */
const char *json_templates_read(struct mr_decoder *decoder, const char *text, const char *end,
                                const struct json_target *target);

/** Called when the strict reader has made the record [text, end) a row: may learn its shape from set->scalar. */
void json_templates_learn(struct mr_decoder *decoder, const char *text, const char *end,
                          const struct json_target *target);

#endif
