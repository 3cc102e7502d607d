/** Whether a file can be written where a command shall write it, asked before the work is done. */
#ifndef MR_BASE_OUTPUT_CHECK_H
#define MR_BASE_OUTPUT_CHECK_H

#include <stdbool.h>

#include "millrace/status.h"

/**
 * MR_EUSAGE: `output` is `input` itself, by whatever name (input NULL or "-": nothing is read from a file). MR_EIO: its
 * folder is not there, or it is a folder or a device. `what` names the flag in messages: "-o". Thread-safe; what holds
 * now may not hold when the file is written, which then says so itself.
 */
mr_status mr_output_check(const char *what, const char *output, const char *input, struct mr_err *err);

/** Whether two paths name one file, by whatever names; only equal names do where there is none yet. */
bool mr_output_is_same(const char *a, const char *b);

#endif
