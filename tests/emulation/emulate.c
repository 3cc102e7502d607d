#include "emulation/emulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fibre/fibre.h"

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

struct thread {
    struct fibre *fibre;
    bool is_done, is_at_barrier;
};

static _Thread_local struct {
    struct thread thread[THREADS_MAX];
    const struct kernel *kernel;
    const struct mr_emulated_args *args;
    float *shared;
} at;

static void kernel_call(void)
{
    const struct mr_emulated_args *const a = at.args;
    at.kernel->fn(a->x, a->model, a->y, a->class_index, a->label, a->scratch, a->rows, a->step, at.shared);
}

static void thread_main(void *context)
{
    struct thread *const thread = context;
    kernel_call();
    thread->is_done = true;
}

void mr_emulated_barrier(void)
{
    struct thread *const thread = &at.thread[mr_emulated_place.local];
    if (mr_emulated_place.group_size == 1) return;
    if (!at.kernel->shares) {
        fprintf(stderr, "emulation: %s waits at a barrier: say so in kernels/gpu.def\n", at.kernel->name);
        abort();
    }
    thread->is_at_barrier = true;
    fibre_yield(thread->fibre);
}

/* Fibres are kept: the next launch needs them. */
static bool fibres_make(uint32_t threads)
{
    for (uint32_t i = 0; i < threads; i++)
        if (!at.thread[i].fibre && !(at.thread[i].fibre = fibre_create(STACK_BYTES))) return false;
    return true;
}

static void thread_start(struct thread *thread)
{
    thread->is_done = thread->is_at_barrier = false;
    fibre_start(thread->fibre, thread_main, thread);
}

static void thread_resume(struct thread *thread)
{
    thread->is_at_barrier = false;
    fibre_run(thread->fibre);
}

/* All threads up to the next barrier, again and again. Odd rounds go backwards: nobody may rely on an order. */
static void group_run(uint32_t threads)
{
    for (uint32_t i = 0; i < threads; i++) thread_start(&at.thread[i]);
    for (uint32_t done = 0, round = 0; done < threads; round++) {
        uint32_t waiting = 0;
        done = 0;
        for (uint32_t i = 0; i < threads; i++) {
            struct thread *const thread = &at.thread[round % 2 ? threads - 1 - i : i];
            mr_emulated_place.local = (uint32_t)(thread - at.thread);
            if (!thread->is_done) thread_resume(thread);
            done += thread->is_done;
            waiting += thread->is_at_barrier && !thread->is_done;
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
    if (!at.shared || (is_lockstep && !fibres_make(threads))) {
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
