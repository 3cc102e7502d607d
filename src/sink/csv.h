/**
 * Records as rows of CSV (RFC 4180, but for the line breaks, which are bare line feeds): columns are the members of
 * emit.fields in their order, under a header with their names. A number, true or false stands as it is, null and a
 * member that is not there as nothing, a text without its escapes, a list or an object as its JSON text; in quotes what
 * has commas, quotes or line breaks, begins or ends with a blank, or is an empty text (which null is not).
 */
#ifndef MR_SINK_CSV_H
#define MR_SINK_CSV_H

#include <stdbool.h>

#include "millrace/batch.h"
#include "millrace/option.h"

struct mr_csv {
    const struct mr_map *fields; /* keys: names of the columns */
    char *header;                /* [header_bytes], with its line break */
    size_t header_bytes;
    struct mr_span *cell; /* [fields->count]: of the object at hand */
    char *scratch;        /* [scratch_cap]: a text without its escapes */
    size_t scratch_cap;
};

/** fields must outlive it. False: no memory; deinit may be called. */
bool mr_csv_init(struct mr_csv *csv, const struct mr_map *fields);
void mr_csv_deinit(struct mr_csv *csv);

/** At most how many bytes the rows of a value take. */
size_t mr_csv_bytes_max(const struct mr_csv *csv, const char *value, size_t bytes);

/**
 * Writes a row for each object of a value (one, several one behind the other, or an array of them) at out, which has
 * room for mr_csv_bytes_max. False: it is no object, or no memory; nothing counts as written then.
 */
bool mr_csv_write(struct mr_csv *csv, const char *value, size_t bytes, char *out, size_t *bytes_out);

#endif
