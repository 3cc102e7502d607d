/** The rows that centres were made of, each with the number of its centre: what a classifier is then fitted to. */
#ifndef MR_CLI_FIT_LABELS_H
#define MR_CLI_FIT_LABELS_H

#include "cli/fit.h"

/** Writes CSV with a header, or JSON lines where path ends in .json or .jsonl: the features, and "label". center:
 * [k][cols]. MR_EIO: path and reason; a file that was there stays. */
mr_status fit_labels_write(struct fit *fit, const double *center, size_t k, const char *path, struct mr_err *err);

#endif
