/** What the rows of a file are, by its name. */
#ifndef MR_TABLE_FORMAT_H
#define MR_TABLE_FORMAT_H

#include <stdbool.h>

#include "millrace/codec.h"

/** "auto", then the codecs in the order of registry.def; NULL at the end: what a flag --format may be. */
extern const char *const mr_table_formats[];

/**
 * The codec that a flag --format names by its index in mr_table_formats; with 0, that of the path by its end (.csv .tsv
 * .json .jsonl .ndjson .f32 .bin). NULL: the end says nothing, or path is NULL. *has_tabs_out: by its end, tabs stand
 * between the cells that this codec reads.
 */
const struct mr_codec_ops *mr_format_find(unsigned format, const char *path, bool *has_tabs_out);

#endif
