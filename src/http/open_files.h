/** How many files and connections the process may have open. */
#ifndef MR_HTTP_OPEN_FILES_H
#define MR_HTTP_OPEN_FILES_H

#include <stddef.h>

/** Raises the process's limit, as far as it may, so that so many connections fit beside all else; returns how many of
 * them do. */
size_t mr_open_files_allow(size_t connections);

#endif
