/** The folder that a demo works in: a copy of its data set, which is gone when the process is. */
#ifndef MR_CLI_DEMO_WORK_H
#define MR_CLI_DEMO_WORK_H

#include <sys/types.h>

#include "millrace/status.h"

struct mr_demo_work {
    char *path;
    int alive;     /* the end of a pipe: closed when the process has ended, however it did */
    pid_t cleaner; /* the process that waits for that, and removes the folder */
};

/**
 * Makes a temporary folder with the files of a data set; *.gz of them are there without .gz, decompressed, too. Forks:
 * call it before any thread is started. MR_EIO: no room, or no place, for temporary files.
 */
mr_status mr_demo_work_begin(struct mr_demo_work *work, const char *data_set, struct mr_err *err);

/** Removes it. Accepts a zeroed one, and what begin() has left after an error. */
void mr_demo_work_end(struct mr_demo_work *work);

#endif
