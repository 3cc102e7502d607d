/** The demos: folders of data sets with a demo.json. */
#ifndef MR_CLI_DEMO_SETS_H
#define MR_CLI_DEMO_SETS_H

#include <stddef.h>

#include "millrace/status.h"

struct mr_demo_sets {
    char *folder; /* that holds them; absolute */
    struct mr_demo_set {
        char *name;
        char *title; /* the first heading of its README.md; "" without one */
    } * item;        /* by name */
    size_t count;
};

/**
 * Finds them: where MILLRACE_DATASETS says; without that, where they were installed, or beside the folder that the
 * program was built in. MR_EINPUT: there is no such folder, or no demo in it. The caller frees them, also after an
 * error.
 */
mr_status mr_demo_sets_find(struct mr_demo_sets *sets, struct mr_err *err);
void mr_demo_sets_free(struct mr_demo_sets *sets);

/** The one of that name. MR_EUSAGE: there is none; the nearest one is named. */
mr_status mr_demo_sets_choose(const struct mr_demo_sets *sets, const char *name, const struct mr_demo_set **set_out,
                              struct mr_err *err);

#endif
