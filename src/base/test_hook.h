/**
 * Named moments at which a test may kill this process, or hold it until something else has happened. Only in the
 * program that tests are run with (tests/CMakeLists.txt builds it from the same sources, with MR_TEST_HOOKS): in the
 * one that is installed they are nothing at all.
 *
 * MILLRACE_CRASH_AT=NAME:N  SIGKILL when the moment comes for the N-th time.
 * MILLRACE_WAIT_AT=NAME:N:PATH,...  then makes the file PATH.reached and waits until PATH is there; up to 8 of them.
 * MILLRACE_KEEP_DIRTY=1  transactions go on in an epoch that should have been recycled.
 */
#ifndef MR_BASE_TEST_HOOK_H
#define MR_BASE_TEST_HOOK_H

#include <stdbool.h>

#ifdef MR_TEST_HOOKS

/** The moment has come. Any thread. */
void mr_test_hook(const char *name);
/** Whether MILLRACE_KEEP_DIRTY asks for what recycling prevents. */
bool mr_test_keeps_dirty(void);

#define MR_TEST_HOOK(name) mr_test_hook(name)

#else

#define MR_TEST_HOOK(name) ((void)0)
static inline bool mr_test_keeps_dirty(void)
{
    return false;
}

#endif
#endif
