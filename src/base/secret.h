/** Secrets that stand in files: tokens and passwords. */
#ifndef MR_BASE_SECRET_H
#define MR_BASE_SECRET_H

#include "millrace/status.h"

/** The first line of a file. what: who asks, for errors, which never hold the secret. On success *text_out is the
 * caller's, for mr_secret_free(). MR_EINPUT: the file cannot be read, or its first line is empty. */
mr_status mr_secret_read(const char *what, const char *path, char **text_out, struct mr_err *err);

/** Overwrites and frees. Accepts NULL. */
void mr_secret_free(char *secret);

#endif
