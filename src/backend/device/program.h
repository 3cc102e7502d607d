/**
 * Device programs: what the backends with a device of its own (cuda, opencl) and the emulation of the tests share. An
 * operation with its parameters becomes a constant block and a list of kernel launches; all launches take the same
 * arguments (MR_KERNEL_ARGS in kernels/gpu.h). Nothing here knows an API: a backend allocates, uploads, launches by
 * kernel name, downloads and waits. How they fit together: kernels/README.md, "On a device".
 */
#ifndef MR_BACKEND_DEVICE_PROGRAM_H
#define MR_BACKEND_DEVICE_PROGRAM_H

#include "millrace/model.h"

/** What the device is like. */
struct mr_device_kind {
    unsigned lanes;      /* MR_LANES that its kernels are compiled with: 1 on a GPU, 8 or 16 on a CPU */
    size_t shared_bytes; /* shared memory that a work-group may have */
    unsigned units;      /* work-groups that run at the same time, about: cores, multiprocessors */
};

/** One launch: mr_device_groups() work-groups of `threads` threads of the kernel mr_gpu_<kernel>. */
struct mr_device_step {
    const char *kernel; /* as in kernels/gpu.def */
    uint32_t step;      /* the kernel's last argument */
    uint32_t threads;
    uint32_t rows;       /* that a work-group takes, */
    uint32_t blocks;     /* and how many of them take the same rows */
    size_t shared_bytes; /* of each work-group; a multiple of 16 */
};

/** Immutable between updates. Sizes are for row_cap rows. */
struct mr_device_program {
    struct mr_device_kind kind;
    mr_op op;
    unsigned want;
    const void *params;
    size_t row_cap;
    size_t in, width;     /* columns of x and of y */
    size_t sum_count;     /* of a sum operation: float64 sums that the host gets */
    uint32_t *model;      /* the constant block, to be uploaded */
    size_t model_bytes;   /* the same after every update */
    size_t scratch_bytes; /* on the device, may hold anything at first; never 0 */
    size_t partial_count; /* of a sum operation: floats a block of partial_rows rows, at the start of scratch */
    size_t partial_rows;
    size_t scatter_cols;         /* not 0: the partial sums stand in the order of kmeans_scatter */
    struct mr_device_step *step; /* [step_count], in this order, each after the one before has ended */
    size_t step_count;
};

/**
 * Makes a program. params (the struct that op names) must outlive it; want: MR_WANT_..., of an operation that scores.
 * On error *program_out is NULL: MR_ENOMEM; MR_EBACKEND when the model or row_cap is too large for 32-bit positions.
 */
mr_status mr_device_program_create(const struct mr_device_kind *kind, mr_op op, const void *params, size_t row_cap,
                                   unsigned want, struct mr_device_program **program_out, struct mr_err *err);

/** Takes over what the numbers behind params have become; only what `model` points to changes, and it must be uploaded
 * again. MR_ENOMEM: the program is as before. */
mr_status mr_device_program_update(struct mr_device_program *program, struct mr_err *err);

/** Accepts NULL. */
void mr_device_program_destroy(struct mr_device_program *program);

/** Work-groups of a step for so many rows; rows > 0. */
static inline size_t mr_device_groups(const struct mr_device_step *step, size_t rows)
{
    return (rows + step->rows - 1) / step->rows * step->blocks;
}

/** Bytes of the buffers for so many rows; 0 where the program has no such buffer, whose argument is then NULL. */
size_t mr_device_x_bytes(const struct mr_device_program *program, size_t rows);
size_t mr_device_y_bytes(const struct mr_device_program *program, size_t rows);
size_t mr_device_class_bytes(const struct mr_device_program *program, size_t rows);
size_t mr_device_label_bytes(const struct mr_device_program *program, size_t rows);
size_t mr_device_partial_bytes(const struct mr_device_program *program, size_t rows);

/** Where the kernels' class_index goes: of a recommender the items, whose tiles are as wide as y. */
int32_t *mr_device_class_of(const struct mr_device_program *program, const struct mr_scores *scores);

/** Labels as kernels read them: parts[0 .. tile_rows - 1] rounded to float32, then what was rounded off; NaN behind the
 * last row. parts: mr_device_label_bytes(). */
void mr_device_labels_split(const double *label, size_t rows, float *parts);

/** The sums of a batch from its partial sums, mr_device_partial_bytes() from the start of scratch: added in float64, in
 * their order. rows may be 0, then partial is not read. */
void mr_device_sums(const struct mr_device_program *program, const float *partial, size_t rows, double *sums);

#endif
