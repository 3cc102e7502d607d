/** Field paths as a job writes them: `a.b`, `x[3]`, `"a.b".c`, and the ranges `x[0..15]` of record.features. */
#ifndef MR_PIPELINE_PATHS_H
#define MR_PIPELINE_PATHS_H

#include <stdbool.h>

#include "millrace/option.h"

/** A path must be there and its quotes closed. MR_ECONFIG names `place`, the key of the job file. */
mr_status mr_path_check(const char *place, const char *path, struct mr_err *err);

/**
 * Appends what a path stands for to paths_out: itself, or one path for each number of its ranges, the last range
 * fastest. Both ends belong to a range. At most count_max paths. On error paths_out may hold some of them; the caller
 * deinits it.
 */
mr_status mr_paths_expand(const char *place, const char *path, size_t count_max, struct mr_strings *paths_out,
                          struct mr_err *err);

/** Appends a copy of path. False: out of memory, paths unchanged. */
bool mr_paths_add(struct mr_strings *paths, const char *path);

/** Frees all paths. */
void mr_paths_deinit(struct mr_strings *paths);

/** False for array elements (`x[3]`) and column numbers (`4`, `$4`): they carry no name that a model could know. */
bool mr_path_has_name(const char *path);

/** True when `name` is the whole path, or its last key without quotes; a leading @ counts or not. */
bool mr_path_names(const char *path, const char *name);

#endif
