/** --class-weights of a fit. */
#ifndef MR_CLI_FIT_CLASS_WEIGHTS_H
#define MR_CLI_FIT_CLASS_WEIGHTS_H

#include "cli/fit.h"

/** How much a row of each class counts: [fit->matrix.class_count], the caller's to free whatever the outcome;
 * "balanced" looks at the rows of the matrix. MR_EUSAGE: no such text, no such class, no classes; MR_ENOMEM. */
mr_status fit_class_weights_read(const struct fit *fit, float **weight_out, struct mr_err *err);

#endif
