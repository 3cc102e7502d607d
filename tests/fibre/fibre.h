/** Fibres on ucontext, for tests that run many things by turns on one thread: a scheduler runs one until it yields. One
 * that is to end early is simply never run again, or started anew. A fibre and its scheduler stay on one thread. */
#ifndef MR_TESTS_FIBRE_H
#define MR_TESTS_FIBRE_H

#include <stdbool.h>
#include <stddef.h>

struct fibre;

/** NULL: no memory. The stack's pages are taken as they are used. */
struct fibre *fibre_create(size_t stack_bytes);
void fibre_destroy(struct fibre *fibre); /* accepts NULL */

/** From the scheduler: a fibre that will run main(context); what it was doing before is forgotten. */
void fibre_start(struct fibre *fibre, void (*main)(void *context), void *context);

/** From the scheduler: runs it until it yields or ends. False: it ended. */
bool fibre_run(struct fibre *fibre);

/** From inside. */
void fibre_yield(struct fibre *fibre);

#endif
