/** ${env:NAME} and ${file:PATH} in string values of a job file. */
#ifndef MR_CONFIG_SUBSTITUTE_H
#define MR_CONFIG_SUBSTITUTE_H

#include <stdbool.h>

#include "millrace/status.h"

/** A file that stands for a value may hold so much. */
#define MR_SUBSTITUTE_BYTES_MAX (1 << 16)

/** True when text holds a ${...} that is to be replaced. */
bool mr_is_substituted(const char *text);

/**
 * Copies text with every ${env:NAME} and ${file:PATH} replaced; "$${" stands for "${". Relative paths count from folder
 * ("" is the current one); one newline at a file's end is dropped. *text_out is to be freed. MR_ECONFIG: err->text says
 * what is wrong, without any value, and *text_out is NULL.
 */
mr_status mr_substitute(const char *text, const char *folder, char **text_out, struct mr_err *err);

/** folder and name joined; a copy of name when it is absolute or folder is "". NULL: out of memory. To be freed. */
char *mr_path_join(const char *folder, const char *name);

#endif
