/* Fibres on ucontext. One that is killed is simply never run again, and its stack used for the next. */
#include <stdlib.h>
#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#include "sim/world.h"

#define STACK_BYTES ((size_t)128 << 10)

struct sim_fibre {
    ucontext_t context, scheduler;
    char *stack;
    void (*main)(void *context);
    void *argument;
    bool is_done;
    void *fake_stack, *scheduler_fake_stack;
    const void *scheduler_stack;
    size_t scheduler_stack_bytes;
};

static struct sim_fibre *starting;

static void switch_begin(void **fake_stack, const void *stack, size_t bytes)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#else
    (void)fake_stack;
    (void)stack;
    (void)bytes;
#endif
}

static void switch_end(void *fake_stack, const void **stack, size_t *bytes)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, stack, bytes);
#else
    (void)fake_stack;
    (void)stack;
    (void)bytes;
#endif
}

static void fibre_main(void)
{
    struct sim_fibre *const fibre = starting;
    switch_end(NULL, &fibre->scheduler_stack, &fibre->scheduler_stack_bytes);
    fibre->main(fibre->argument);
    fibre->is_done = true;
    switch_begin(NULL, fibre->scheduler_stack, fibre->scheduler_stack_bytes); /* NULL: this fibre is over */
    setcontext(&fibre->scheduler);
}

struct sim_fibre *sim_fibre_create(void)
{
    struct sim_fibre *const fibre = calloc(1, sizeof *fibre);
    if (!fibre || !(fibre->stack = malloc(STACK_BYTES))) abort();
    return fibre;
}

void sim_fibre_destroy(struct sim_fibre *fibre)
{
    free(fibre->stack);
    free(fibre);
}

void sim_fibre_start(struct sim_fibre *fibre, void (*main)(void *context), void *context)
{
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(fibre->stack, STACK_BYTES); /* of what was killed */
#endif
    fibre->main = main;
    fibre->argument = context;
    fibre->is_done = false;
    fibre->fake_stack = NULL;
    getcontext(&fibre->context);
    fibre->context.uc_stack.ss_sp = fibre->stack;
    fibre->context.uc_stack.ss_size = STACK_BYTES;
    fibre->context.uc_link = NULL;
    makecontext(&fibre->context, fibre_main, 0);
}

bool sim_fibre_run(struct sim_fibre *fibre)
{
    starting = fibre;
    switch_begin(&fibre->scheduler_fake_stack, fibre->stack, STACK_BYTES);
    swapcontext(&fibre->scheduler, &fibre->context);
    switch_end(fibre->scheduler_fake_stack, NULL, NULL);
    return !fibre->is_done;
}

void sim_fibre_yield(struct sim_fibre *fibre)
{
    switch_begin(&fibre->fake_stack, fibre->scheduler_stack, fibre->scheduler_stack_bytes);
    swapcontext(&fibre->context, &fibre->scheduler);
    switch_end(fibre->fake_stack, &fibre->scheduler_stack, &fibre->scheduler_stack_bytes);
}
