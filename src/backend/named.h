/** A backend by the text of a flag. */
#ifndef MR_BACKEND_NAMED_H
#define MR_BACKEND_NAMED_H

#include "millrace/backend.h"

/**
 * text: as a job file names it ("cpu", "cpu:avx2", "cuda" ...); "auto" is cpu. MR_EUSAGE: no such backend, *ops_out is
 * NULL then; else as its open. The caller closes it.
 */
mr_status mr_backend_open_named(const char *text, const struct mr_backend_ops **ops_out,
                                struct mr_backend **backend_out, struct mr_err *err);

#endif
