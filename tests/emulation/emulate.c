#include "emulation/emulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES ((size_t)256 << 10)
#define THREADS_MAX 1024

typedef void emulated_fn(const float *x, const uint32_t *model, float *y, int *class_index, const float *label,
                         float *scratch, uint32_t rows, uint32_t step, float *shared);

#define MR_GPU_KERNEL(name, shares)                                                                                    \
    emulated_fn mr_gpu_##name##_1, mr_gpu_##name##_8, mr_gpu_##name##_16; /* kernels_<lanes>.c */
#define MR_GPU_KERNEL_WIDE(name) emulated_fn mr_gpu_##name##_1;
#include "kernels/gpu.def"
#undef MR_GPU_KERNEL
#undef MR_GPU_KERNEL_WIDE

struct kernel {
    const char *name;
    unsigned lanes;
    bool shares;
    emulated_fn *fn;
};
#define ROW(kernel, width, does_share)                                                                                 \
    {                                                                                                                  \
#kernel, (width), (does_share), mr_gpu_##kernel##_##width                                                      \
    }
#define MR_GPU_KERNEL(name, shares) ROW(name, 1, shares), ROW(name, 8, shares), ROW(name, 16, shares),
#define MR_GPU_KERNEL_WIDE(name)    ROW(name, 1, true),
static const struct kernel kernels[] = {
#include "kernels/gpu.def"
};

/* Which thread of which group is at work: gpu.h declares it. */
struct mr_emulated_place {
    uint32_t group, local, group_size;
};
extern _Thread_local struct mr_emulated_place mr_emulated_place;
_Thread_local struct mr_emulated_place mr_emulated_place;
void mr_emulated_barrier(void);

struct fibre {
    ucontext_t context;
    void *stack, *fake_stack;
    bool is_done, is_at_barrier;
};

static _Thread_local struct {
    struct fibre fibre[THREADS_MAX];
    ucontext_t scheduler;
    void *scheduler_fake_stack;
    const void *scheduler_stack;
    size_t scheduler_stack_bytes;
    const struct kernel *kernel;
    const struct mr_emulated_args *args;
    float *shared;
} at;

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

static void kernel_call(void)
{
    const struct mr_emulated_args *const a = at.args;
    at.kernel->fn(a->x, a->model, a->y, a->class_index, a->label, a->scratch, a->rows, a->step, at.shared);
}

static void fibre_main(void)
{
    struct fibre *const fibre = &at.fibre[mr_emulated_place.local];
    switch_end(NULL, &at.scheduler_stack, &at.scheduler_stack_bytes);
    kernel_call();
    fibre->is_done = true;
    switch_begin(NULL, at.scheduler_stack, at.scheduler_stack_bytes); /* NULL: this fibre is over */
    setcontext(&at.scheduler);
}

void mr_emulated_barrier(void)
{
    const uint32_t local = mr_emulated_place.local;
    struct fibre *const fibre = &at.fibre[local];
    if (mr_emulated_place.group_size == 1) return;
    if (!at.kernel->shares) {
        fprintf(stderr, "emulation: %s waits at a barrier: say so in kernels/gpu.def\n", at.kernel->name);
        abort();
    }
    fibre->is_at_barrier = true;
    switch_begin(&fibre->fake_stack, at.scheduler_stack, at.scheduler_stack_bytes);
    swapcontext(&fibre->context, &at.scheduler);
    switch_end(fibre->fake_stack, &at.scheduler_stack, &at.scheduler_stack_bytes);
}

static void fibre_resume(struct fibre *fibre)
{
    fibre->is_at_barrier = false;
    switch_begin(&at.scheduler_fake_stack, fibre->stack, STACK_BYTES);
    swapcontext(&at.scheduler, &fibre->context);
    switch_end(at.scheduler_fake_stack, NULL, NULL);
}

/* Stacks are kept: the next launch needs them. */
static bool stacks_make(uint32_t threads)
{
    for (uint32_t i = 0; i < threads; i++) {
        if (at.fibre[i].stack) continue;
        void *const stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == MAP_FAILED) return false;
        at.fibre[i].stack = stack;
    }
    return true;
}

/* A function of its own: getcontext returns twice. */
static __attribute__((noinline)) void fibre_make(struct fibre *fibre)
{
    getcontext(&fibre->context);
    fibre->context.uc_stack = (stack_t){.ss_sp = fibre->stack, .ss_size = STACK_BYTES};
    fibre->is_done = false;
    makecontext(&fibre->context, fibre_main, 0);
}

/* All threads up to the next barrier, again and again. Odd rounds go backwards: nobody may rely on an order. */
static void group_run(uint32_t threads)
{
    for (uint32_t i = 0; i < threads; i++) fibre_make(&at.fibre[i]);
    for (uint32_t done = 0, round = 0; done < threads; round++) {
        uint32_t waiting = 0;
        done = 0;
        for (uint32_t i = 0; i < threads; i++) {
            struct fibre *const fibre = &at.fibre[round % 2 ? threads - 1 - i : i];
            mr_emulated_place.local = (uint32_t)(fibre - at.fibre);
            if (!fibre->is_done) fibre_resume(fibre);
            done += fibre->is_done;
            waiting += fibre->is_at_barrier && !fibre->is_done;
        }
        if (done && waiting) {
            fprintf(stderr, "emulation: %s: %u threads of group %u wait at a barrier, %u have ended\n", at.kernel->name,
                    waiting, mr_emulated_place.group, done);
            abort();
        }
    }
}

bool mr_emulate_launch(const char *kernel, unsigned lanes, uint32_t groups, uint32_t threads, size_t shared_bytes,
                       const struct mr_emulated_args *args)
{
    at.kernel = NULL;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (!strcmp(kernels[i].name, kernel) && kernels[i].lanes == lanes) at.kernel = &kernels[i];
    }
    if (!at.kernel || !threads || threads > THREADS_MAX) return false;
    const bool is_lockstep = at.kernel->shares && threads > 1;
    at.args = args;
    at.shared = aligned_alloc(64, (shared_bytes / 64 + 1) * 64);
    if (!at.shared || (is_lockstep && !stacks_make(threads))) {
        free(at.shared);
        return false;
    }
    for (uint32_t group = 0; group < groups; group++) {
        memset(at.shared, 0xff, shared_bytes);
        mr_emulated_place = (struct mr_emulated_place){.group = group, .group_size = threads};
        if (is_lockstep) group_run(threads);
        for (uint32_t i = 0; !is_lockstep && i < threads; i++) {
            mr_emulated_place.local = i;
            kernel_call();
        }
    }
    free(at.shared);
    return true;
}
