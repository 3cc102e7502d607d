/** What the job file's loader, the command line, the schema and the reference page share about option tables
 * (millrace/option.h). */
#ifndef MR_BASE_OPTIONS_H
#define MR_BASE_OPTIONS_H

#include "millrace/option.h"

/** The row of a key, or NULL. table may be NULL: no options. */
const struct mr_option *mr_option_find(const struct mr_option *table, const char *key);

/** The value of a key of that type in options that the table describes; NULL: the table has none such, or options is
 * NULL. Borrowed from options. */
const void *mr_option_value(const struct mr_option *table, const void *options, const char *key, mr_option_type type);

/** The known key nearest to a mistyped one, or NULL. */
const char *mr_option_nearest(const struct mr_option *table, const char *key);

/** The choice of an MR_OPT_ENUM row nearest to a mistyped one, or NULL. */
const char *mr_choice_nearest(const struct mr_option *row, const char *text);

/** Bytes of the member that a row of this type fills. */
size_t mr_option_member_bytes(mr_option_type type);

/**
 * Reads text as the row's type and checks its range. BOOL, INT, DOUBLE, DURATION, SIZE and ENUM only.
 * Writes the value to the row's member of options; returns false and writes nothing when the text is not what the row
 * wants.
 */
bool mr_option_scan(const struct mr_option *row, const char *text, void *options);

/** Bytes that hold any text of mr_option_expected; longer lists of choices are cut with "...". */
#define MR_EXPECTED_BYTES 384

/** What the row wants, for "expected %s": `a duration from "1ms" to "10s", such as "5ms"`. Always terminated. */
void mr_option_expected(const struct mr_option *row, char out[MR_EXPECTED_BYTES]);

/** A number in the unit of the row as a user would write it: 5000 of a DURATION is "5ms". */
#define MR_AMOUNT_BYTES 48
void mr_option_amount(mr_option_type type, double amount, char out[MR_AMOUNT_BYTES]);

/** True when the row limits its value; a max of MR_NO_MAX or more counts as "no upper limit". */
bool mr_option_has_range(const struct mr_option *row);
#define MR_NO_MAX 9e15

/** Puts a copy of text at the end of the list. False: out of memory, list unchanged. */
bool mr_strings_add(struct mr_strings *strings, const char *text);

/** Sets key to value, both copied: replaces the pair of that key or adds one. False: out of memory, map unchanged. */
bool mr_map_put(struct mr_map *map, const char *key, const char *value);

/** Puts all pairs of another map. False: out of memory, some may be there. */
bool mr_map_copy(struct mr_map *map, const struct mr_map *from);

/** Frees what add, put and copy have made; empty afterwards. */
void mr_strings_deinit(struct mr_strings *strings);
void mr_map_deinit(struct mr_map *map);

/** The value of a key, or NULL. */
const char *mr_map_get(const struct mr_map *map, const char *key);

/**
 * As mr_options_set for a flag that may be given more than once: MR_OPT_STRINGS and MR_OPT_MAP grow. table is needed
 * for the nearest key only.
 */
mr_status mr_options_add(const struct mr_option *table, void *options, const char *key, const char *text,
                         struct mr_err *err);

#endif
