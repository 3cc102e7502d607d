/** Field paths as far as the job file checks them: whether they are well-formed, and which features a range stands for.
 */
#ifndef MR_CONFIG_PATH_H
#define MR_CONFIG_PATH_H

#include <stdbool.h>

/** What is wrong with a path such as a.b, x[3], x[0..15], "a.b".c or @key; NULL when nothing is. A literal text. */
const char *mr_path_problem(const char *path);

/** True when path is feature itself, or one of those that its range stands for: x[0..15] covers x[3]. */
bool mr_path_covers(const char *feature, const char *path);

#endif
