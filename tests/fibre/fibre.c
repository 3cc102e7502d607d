#include "fibre/fibre.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

struct fibre {
    ucontext_t context, scheduler;
    void *stack;
    size_t stack_bytes;
    void (*main)(void *context);
    void *argument;
    bool is_done;
    void *fake_stack, *scheduler_fake_stack;
    const void *scheduler_stack;
    size_t scheduler_stack_bytes;
};

static _Thread_local struct fibre *starting;

/* The address sanitizer wants to know which stack it is on. */
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
    struct fibre *const fibre = starting;
    switch_end(NULL, &fibre->scheduler_stack, &fibre->scheduler_stack_bytes);
    fibre->main(fibre->argument);
    fibre->is_done = true;
    switch_begin(NULL, fibre->scheduler_stack, fibre->scheduler_stack_bytes); /* NULL: this fibre is over */
    setcontext(&fibre->scheduler);
}

struct fibre *fibre_create(size_t stack_bytes)
{
    struct fibre *const fibre = calloc(1, sizeof *fibre);
    if (!fibre) return NULL;
    fibre->stack_bytes = stack_bytes;
    fibre->is_done = true;
    fibre->stack = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fibre->stack != MAP_FAILED) return fibre;
    free(fibre);
    return NULL;
}

void fibre_destroy(struct fibre *fibre)
{
    if (!fibre) return;
    munmap(fibre->stack, fibre->stack_bytes);
    free(fibre);
}

void fibre_start(struct fibre *fibre, void (*main)(void *context), void *context)
{
#if defined(__SANITIZE_ADDRESS__)
    if (!fibre->is_done) ASAN_UNPOISON_MEMORY_REGION(fibre->stack, fibre->stack_bytes); /* of what was killed */
#endif
    fibre->main = main;
    fibre->argument = context;
    fibre->is_done = false;
    fibre->fake_stack = NULL;
    getcontext(&fibre->context);
    fibre->context.uc_stack.ss_sp = fibre->stack;
    fibre->context.uc_stack.ss_size = fibre->stack_bytes;
    fibre->context.uc_link = NULL;
    makecontext(&fibre->context, fibre_main, 0);
}

bool fibre_run(struct fibre *fibre)
{
    starting = fibre;
    switch_begin(&fibre->scheduler_fake_stack, fibre->stack, fibre->stack_bytes);
    swapcontext(&fibre->scheduler, &fibre->context);
    switch_end(fibre->scheduler_fake_stack, NULL, NULL);
    return !fibre->is_done;
}

void fibre_yield(struct fibre *fibre)
{
    switch_begin(&fibre->fake_stack, fibre->scheduler_stack, fibre->scheduler_stack_bytes);
    swapcontext(&fibre->context, &fibre->scheduler);
    switch_end(fibre->fake_stack, &fibre->scheduler_stack, &fibre->scheduler_stack_bytes);
}
