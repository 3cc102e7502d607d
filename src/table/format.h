/** What the rows of a file are, by its name. */
#ifndef MR_TABLE_FORMAT_H
#define MR_TABLE_FORMAT_H

#include <stdbool.h>

#include "millrace/codec.h"

/** "auto", then the codecs in the order of registry.def; NULL at the end: what a flag --format may be. */
extern const char *const mr_table_formats[];

/** The codec of a path by its end (.csv .tsv .json .jsonl .ndjson .f32 .bin), and whether tabs stand between its cells.
 * NULL, with *has_tabs_out false: the end says nothing, or path is NULL. */
const struct mr_codec_ops *mr_format_of_path(const char *path, bool *has_tabs_out);

#endif
