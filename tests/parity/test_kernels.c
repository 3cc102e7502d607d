/*
 * Every row of kernels.def against its reference: shapes, activations and row counts around every block and register
 * size.
 *
 * Each element has its own bound (error_bound.h). Outliers are salted in, so that one wrong lane or element cannot hide
 * in an average.
 */
#include "error_bound.h"
#include "parity_rig.h"
#include "reduced_bound.h"

#define LAYERS_MAX 4
#define EPS        ((double)FLT_EPSILON)

/* A model under test: weights random, some of them large. */
struct shape {
    size_t width[LAYERS_MAX + 1]; /* inputs, then outputs of each layer; 0 ends it */
};

struct subject {
    mr_op op;
    struct mr_mlp_layer layer[LAYERS_MAX];
    struct mr_mlp_params mlp;
    struct mr_linear_params linear;
    struct mr_packed *packed;
    float *x, *want_y, *got_y;
    int32_t *want_class, *got_class;
    void *scratch;
    struct error_bound bound; /* of one row */
    float *shift;
    size_t in, out, rows, y_count, class_count, near_tie_count;
};

static float *weights_make(size_t count, double size)
{
    float *const w = zeroed(count * sizeof *w);
    for (size_t i = 0; i < count; i++) w[i] = salted(size);
    return w;
}

static struct mr_packed *packed_make(const struct subject *s, mr_op op)
{
    return mr_packed_create(op, op != MR_OP_LINEAR_SCORE ? (const void *)&s->mlp : (const void *)&s->linear);
}

static void subject_make(struct subject *s, mr_op op, const struct shape *shape, mr_activation hidden,
                         mr_activation last, size_t rows)
{
    size_t widest = shape->width[0], count = 0;
    *s = (struct subject){.op = op, .in = shape->width[0], .rows = rows};
    for (; count < LAYERS_MAX && shape->width[count + 1]; count++) {
        struct mr_mlp_layer *const layer = &s->layer[count];
        layer->in = shape->width[count];
        layer->out = s->out = shape->width[count + 1];
        layer->w = weights_make(layer->in * layer->out, 2 / sqrt((double)layer->in));
        layer->b = weights_make(layer->out, 1);
        layer->activation = hidden;
        if (layer->out > widest) widest = layer->out;
    }
    s->layer[count - 1].activation = last;
    /* Odd row counts: inputs around a mean, which is taken off again. */
    s->shift = rows % 2 ? weights_make(s->in, 10) : NULL;
    s->mlp = (struct mr_mlp_params){
        .layer = s->layer, .layer_count = count, .shift = op != MR_OP_LINEAR_SCORE ? s->shift : NULL};
    s->linear = (struct mr_linear_params){s->in, s->out, s->layer[0].w, s->layer[0].b, last};
    s->packed = packed_make(s, op);
    assert_non_null(s->packed);
    const size_t tile_rows = mr_tile_count(rows) * MR_TILE_ROWS;
    s->y_count = tile_rows * s->out;
    s->class_count = tile_rows;
    s->x = zeroed(tile_rows * s->in * sizeof *s->x);
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < s->in; c++) {
            s->x[mr_tile_at(row, c, s->in)] = salted(1.5) + (s->mlp.shift ? s->mlp.shift[c] : 0);
        }
    }
    s->want_y = zeroed((s->y_count + GUARD_COUNT) * sizeof(float));
    s->got_y = zeroed((s->y_count + GUARD_COUNT) * sizeof(float));
    s->want_class = zeroed((s->class_count + GUARD_COUNT) * sizeof(int32_t));
    s->got_class = zeroed((s->class_count + GUARD_COUNT) * sizeof(int32_t));
    s->scratch = zeroed(mr_packed_scratch_bytes(s->packed) + GUARD_COUNT * sizeof(float));
    s->bound.value = zeroed(widest * sizeof(double));
    s->bound.error = zeroed(widest * sizeof(double));
    s->bound.z = zeroed(widest * sizeof(double));
    s->bound.z_error = zeroed(widest * sizeof(double));
}

static void subject_free(struct subject *s)
{
    for (size_t i = 0; i < s->mlp.layer_count; i++) {
        free((void *)(uintptr_t)s->layer[i].w);
        free((void *)(uintptr_t)s->layer[i].b);
    }
    mr_packed_free(s->packed);
    void *const all[] = {s->x,           s->want_y,      s->got_y,   s->want_class,    s->got_class, s->scratch,
                         s->bound.value, s->bound.error, s->bound.z, s->bound.z_error, s->shift};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void row_check(struct subject *s, const struct mr_kernel *kernel, size_t row, const char *what)
{
    const int32_t want = s->want_class[row], got = s->got_class[row];
    for (size_t c = 0; c < s->in; c++) s->bound.value[c] = (double)s->x[mr_tile_at(row, c, s->in)];
    if (s->op == MR_OP_MLP_BF16 || s->op == MR_OP_MLP_INT8)
        bound_reduced(&s->bound, s->mlp.shift, s->layer, s->mlp.layer_count, s->op);
    else
        bound_forward(&s->bound, s->mlp.shift, s->layer, s->mlp.layer_count);
    for (size_t o = 0; o < s->out; o++) {
        const size_t at = mr_tile_at(row, o, s->out);
        const double off = fabs((double)s->got_y[at] - (double)s->want_y[at]);
        if (off <= s->bound.error[o]) continue;
        fail_msg("%s_%s %s rows=%zu: row %zu output %zu: got %.9g, want %.9g, off by %.3g, bound %.3g", kernel->op_name,
                 kernel->variant, what, s->rows, row, o, (double)s->got_y[at], (double)s->want_y[at], off,
                 s->bound.error[o]);
    }
    if (got == want) return;
    if (got < 0 || got >= (int32_t)(s->out == 1 ? 2 : s->out) || !bound_is_near_tie(&s->bound, s->out, want, got)) {
        fail_msg("%s_%s %s rows=%zu: row %zu: class %d, want %d", kernel->op_name, kernel->variant, what, s->rows, row,
                 got, want);
    }
    s->near_tie_count++;
}

static void guards_set(struct subject *s)
{
    float *const scratch_end = (float *)s->scratch + mr_packed_scratch_bytes(s->packed) / sizeof(float);
    for (size_t i = 0; i < GUARD_COUNT; i++) {
        s->got_y[s->y_count + i] = scratch_end[i] = GUARD;
        s->got_class[s->class_count + i] = (int32_t)GUARD;
    }
}

static void guards_check(const struct subject *s, const struct mr_kernel *kernel, const char *what)
{
    const float *const scratch_end = (const float *)s->scratch + mr_packed_scratch_bytes(s->packed) / sizeof(float);
    for (size_t i = 0; i < GUARD_COUNT; i++) {
        if (s->got_y[s->y_count + i] != GUARD || scratch_end[i] != GUARD ||
            s->got_class[s->class_count + i] != (int32_t)GUARD) {
            fail_msg("%s_%s %s rows=%zu: wrote past an output or its scratch", kernel->op_name, kernel->variant, what,
                     s->rows);
        }
    }
}

/* One shape with its activations at one row count: outputs and classes together, then each alone. */
static size_t case_check(const struct mr_kernel *kernel, const struct shape *shape, mr_activation hidden,
                         mr_activation last, size_t rows)
{
    struct subject s;
    char what[128];
    subject_make(&s, kernel->op, shape, hidden, last, rows);
    snprintf(what, sizeof what, "%zu-%zu-%zu-%zu %s %s", shape->width[0], shape->width[1], shape->width[2],
             shape->width[3], mr_activation_name(hidden), mr_activation_name(last));
    mr_kernel_select(kernel->op, "ref")->score(s.x, s.packed, s.want_y, s.want_class, s.scratch, rows);
    guards_set(&s);
    kernel->score(s.x, s.packed, s.got_y, s.got_class, s.scratch, rows);
    assert_string_equal(mr_kernel_last_ran(), kernel->variant); /* it is this variant that ran */
    guards_check(&s, kernel, what);
    for (size_t row = 0; row < rows; row++) row_check(&s, kernel, row, what);

    int32_t *const classes = zeroed((s.class_count + 1) * sizeof *classes);
    float *const y = zeroed((s.y_count + 1) * sizeof *y);
    memcpy(classes, s.got_class, s.class_count * sizeof *classes);
    memcpy(y, s.got_y, s.y_count * sizeof *y);
    memset(s.got_class, 0x55, s.class_count * sizeof *classes);
    memset(s.got_y, 0x55, s.y_count * sizeof *y);
    kernel->score(s.x, s.packed, NULL, s.got_class, s.scratch, rows);
    kernel->score(s.x, s.packed, s.got_y, NULL, s.scratch, rows);
    guards_check(&s, kernel, what);
    for (size_t row = 0; row < rows; row++) {
        if (s.got_class[row] != classes[row])
            fail_msg("%s %s: class of row %zu differs without y", kernel->variant, what, row);
        for (size_t o = 0; o < s.out; o++) {
            const size_t at = mr_tile_at(row, o, s.out);
            if (memcmp(&s.got_y[at], &y[at], sizeof *y))
                fail_msg("%s %s: y of row %zu differs without class", kernel->variant, what, row);
        }
    }
    free(classes);
    free(y);
    const size_t near_ties = s.near_tie_count;
    subject_free(&s);
    return near_ties;
}

static const struct shape mlp_small[] = {
    {{1, 1}},         {{1, 6, 8, 6}}, {{3, 5}},      {{2, 1, 1}},     {{16, 32, 8}},
    {{7, 13, 11, 9}}, {{9, 2, 3, 4}}, {{17, 12, 1}}, {{5, 7, 7, 10}},
};
static const struct shape mlp_large[] = {
    {{64, 256, 64, 10}}, {{1024, 7, 3}}, {{7, 1024, 2}}, {{129, 65, 33, 17}}, {{63, 31, 1}}};

static size_t mlp_check(const struct mr_kernel *kernel, size_t *case_count)
{
    const size_t every = cases_every(kernel, 1);
    size_t near_ties = 0, number = 0;
    for (unsigned hidden = MR_ACT_IDENTITY; hidden < MR_ACT_SOFTMAX; hidden++) {
        for (unsigned last = MR_ACT_IDENTITY; last <= MR_ACT_SOFTMAX; last++) {
            for (size_t i = 0; i < sizeof mlp_small / sizeof *mlp_small; i++) {
                /* All row counts for one shape of each pair, the tails of registers and tiles for the others. */
                for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++) {
                    if (row_counts[r] > 65 && i != (hidden + last) % 9) continue;
                    if (number++ % every) continue;
                    near_ties +=
                        case_check(kernel, &mlp_small[i], (mr_activation)hidden, (mr_activation)last, row_counts[r]);
                    ++*case_count;
                }
            }
            for (size_t i = 0; i < sizeof mlp_large / sizeof *mlp_large; i++) {
                if (number++ % every) continue;
                near_ties +=
                    case_check(kernel, &mlp_large[i], (mr_activation)hidden, (mr_activation)last, i % 2 ? 65 : 17);
                ++*case_count;
            }
        }
    }
    return near_ties;
}

/* Layers at the bound from which they are reduced, below it, and around the sizes of words, blocks and registers. */
static const struct shape reduced_shapes[] = {
    {{32, 24, 1}}, {{33, 25, 3}}, {{34, 31, 24}}, {{35, 36, 37, 29}}, {{31, 24, 5}}, {{32, 23, 5}}, {{64, 48}},
};
static const struct shape reduced_large[] = {
    {{64, 256, 64, 10}}, {{1024, 26, 3}}, {{129, 65, 33, 17}}, {{1000, 24}}, {{33, 1024, 32, 27}}};

static size_t reduced_check(const struct mr_kernel *kernel, size_t *case_count)
{
    enum { SMALL = sizeof reduced_shapes / sizeof *reduced_shapes };
    const size_t every = cases_every(kernel, 1);
    size_t near_ties = 0, number = 0;
    for (unsigned hidden = MR_ACT_IDENTITY; hidden < MR_ACT_SOFTMAX; hidden++) {
        for (unsigned last = MR_ACT_IDENTITY; last <= MR_ACT_SOFTMAX; last++) {
            for (size_t i = 0; i < SMALL; i++) {
                for (size_t r = 0; r < ROW_COUNTS; r++) {
                    if (row_counts[r] > 17 && i != (hidden + last) % SMALL) continue;
                    if (row_counts[r] > 65 && hidden != MR_ACT_RELU) continue;
                    if (number++ % every) continue;
                    near_ties += case_check(kernel, &reduced_shapes[i], (mr_activation)hidden, (mr_activation)last,
                                            row_counts[r]);
                    ++*case_count;
                }
            }
            for (size_t i = 0; i < sizeof reduced_large / sizeof *reduced_large; i++) {
                if (number++ % every) continue;
                near_ties +=
                    case_check(kernel, &reduced_large[i], (mr_activation)hidden, (mr_activation)last, i % 2 ? 17 : 49);
                ++*case_count;
            }
        }
    }
    return near_ties;
}

/* A row that holds NaN gives NaN, whatever the layers are, and the rows beside it do not. */
static void nan_check(const struct mr_kernel *kernel)
{
    enum { ROWS = 40, BAD = 33 };
    const struct shape shape = {{64, 48, 3}};
    struct subject s;
    subject_make(&s, kernel->op, &shape, MR_ACT_RELU, MR_ACT_SOFTMAX, ROWS);
    s.x[mr_tile_at(BAD, 7, 64)] = NAN;
    kernel->score(s.x, s.packed, s.got_y, s.got_class, s.scratch, ROWS);
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t o = 0; o < 3; o++) assert_int_equal(isnan(s.got_y[mr_tile_at(row, o, 3)]) != 0, row == BAD);
    }
    assert_int_equal(s.got_class[BAD], 0);
    subject_free(&s);
}

/* Inputs whose range is beyond float32, though each of them and each score is within it. */
static void range_check(const struct mr_kernel *kernel)
{
    enum { ROWS = 40, IN = 64, OUT = 48 };
    const struct shape shape = {{IN, OUT}};
    struct subject s;
    subject_make(&s, kernel->op, &shape, MR_ACT_RELU, MR_ACT_IDENTITY, ROWS);
    for (size_t k = 0; k < (size_t)IN * OUT; k++) ((float *)(uintptr_t)s.layer[0].w)[k] *= 0.01f;
    mr_packed_free(s.packed);
    s.packed = packed_make(&s, kernel->op);
    for (size_t row = 0; row < ROWS; row += 3) {
        s.x[mr_tile_at(row, row % IN, IN)] = 3e38f;
        s.x[mr_tile_at(row, (row + 7) % IN, IN)] = -3e38f;
    }
    kernel->score(s.x, s.packed, s.got_y, s.got_class, s.scratch, ROWS);
    mr_kernel_select(kernel->op, "ref")->score(s.x, s.packed, s.want_y, s.want_class, s.scratch, ROWS);
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t o = 0; o < OUT; o++) {
            assert_true(isfinite(s.want_y[mr_tile_at(row, o, OUT)]));
            assert_true(isfinite(s.got_y[mr_tile_at(row, o, OUT)]));
        }
        row_check(&s, kernel, row, "a range beyond float32");
    }
    subject_free(&s);
}

/* What fewer bits cost: the largest difference of a probability from float32's. */
static void cost_print(const struct mr_kernel *kernel)
{
    enum { ROWS = 1000 };
    const struct shape shape = {{64, 256, 64, 10}};
    struct subject s;
    double worst = 0;
    size_t others = 0;
    subject_make(&s, kernel->op, &shape, MR_ACT_RELU, MR_ACT_SOFTMAX, ROWS);
    for (size_t i = 0; i < s.mlp.layer_count; i++) { /* without the salt: as a trained model is */
        float *const w = (float *)(uintptr_t)s.layer[i].w;
        for (size_t k = 0; k < s.layer[i].in * s.layer[i].out; k++)
            w[k] = (float)(uniform() * 2 / sqrt((double)s.layer[i].in));
    }
    for (size_t i = 0; i < mr_tile_count(ROWS) * MR_TILE_ROWS * s.in; i++) s.x[i] = (float)uniform();
    mr_packed_free(s.packed);
    s.packed = packed_make(&s, kernel->op);
    kernel->score(s.x, s.packed, s.got_y, s.got_class, s.scratch, ROWS);
    mr_packed_free(s.packed);
    s.packed = packed_make(&s, MR_OP_MLP_FORWARD);
    mr_kernel_select(MR_OP_MLP_FORWARD, "ref")->score(s.x, s.packed, s.want_y, s.want_class, s.scratch, ROWS);
    for (size_t row = 0; row < ROWS; row++) {
        others += s.got_class[row] != s.want_class[row];
        for (size_t o = 0; o < s.out; o++) {
            const size_t at = mr_tile_at(row, o, s.out);
            worst = fmax(worst, fabs((double)s.got_y[at] - (double)s.want_y[at]));
        }
    }
    printf("%s: 64-256-64-10, 1,000 rows: a probability is off float32's by %.2g at most, %zu classes differ\n",
           kernel->op_name, worst, others);
    assert_true(worst > 1e-6 && worst < (kernel->op == MR_OP_MLP_BF16 ? 0.01 : 0.05));
    subject_free(&s);
}

static size_t linear_check(const struct mr_kernel *kernel, size_t *case_count)
{
    static const size_t cols[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 1000, 1024};
    const size_t every = cases_every(kernel, 1);
    size_t near_ties = 0, number = 0;
    for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) {
        for (size_t out = 1; out <= 14; out++) {
            for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++) {
                const struct shape shape = {{cols[c], out}};
                const mr_activation last[] = {MR_ACT_IDENTITY, out == 1 ? MR_ACT_SIGMOID : MR_ACT_SOFTMAX};
                if (row_counts[r] * cols[c] * out > 200000 || number++ % every) continue;
                near_ties += case_check(kernel, &shape, MR_ACT_IDENTITY, last[r % 2], row_counts[r]);
                ++*case_count;
            }
        }
    }
    return near_ties;
}

/* Ties go to the lowest index; a binary model says 1 only when its logit is above 0; NaN never wins. */
static void classes_check(const struct mr_kernel *kernel)
{
    enum { ROWS = 70, CLASSES = 8 };
    const float w[CLASSES] = {0}, equal[CLASSES] = {1, 2, 2, 2, 0, 2, 1, 2};
    struct subject s;
    for (size_t out = 1; out <= CLASSES; out += CLASSES - 1) {
        const struct shape shape = {{1, out}};
        subject_make(&s, kernel->op, &shape, MR_ACT_IDENTITY, out == 1 ? MR_ACT_SIGMOID : MR_ACT_SOFTMAX, ROWS);
        memcpy((void *)(uintptr_t)s.layer[0].w, w, out * sizeof *w);
        memcpy((void *)(uintptr_t)s.layer[0].b, out == 1 ? w : equal, out * sizeof *w);
        mr_packed_free(s.packed);
        s.packed = packed_make(&s, kernel->op);
        kernel->score(s.x, s.packed, s.got_y, s.got_class, s.scratch, ROWS);
        for (size_t row = 0; row < ROWS; row++) assert_int_equal(s.got_class[row], out == 1 ? 0 : 1);
        subject_free(&s);
    }
    /* Class 0 is inf - inf, class 1 is finite; in the second half of the rows all are NaN. */
    const struct shape shape = {{2, 3}};
    const float huge[] = {3e38f, -3e38f, 1, 0, 0, 3e38f};
    subject_make(&s, kernel->op, &shape, MR_ACT_IDENTITY, MR_ACT_SOFTMAX, ROWS);
    memcpy((void *)(uintptr_t)s.layer[0].w, huge, sizeof huge);
    mr_packed_free(s.packed);
    s.packed = packed_make(&s, kernel->op);
    for (size_t row = 0; row < ROWS; row++) {
        s.x[mr_tile_at(row, 0, 2)] = row < 35 ? 3e38f : NAN;
        s.x[mr_tile_at(row, 1, 2)] = row < 35 ? 3e38f : NAN;
    }
    kernel->score(s.x, s.packed, s.got_y, s.got_class, s.scratch, ROWS);
    for (size_t row = 0; row < ROWS; row++) {
        if (row >= 35) assert_int_equal(s.got_class[row], 0);
        assert_true(isnan(s.got_y[mr_tile_at(row, 1, 3)]) || row < 35);
    }
    subject_free(&s);
}

/* Each activation alone, on a grid: the logit is the input, so that only the activation's own error and one rounding
 * are left. */
static void activations_check(const struct mr_kernel *kernel)
{
    enum { ROWS = 4096 };
    const struct shape shape = {{1, 1}};
    const float one = 1, zero = 0;
    for (unsigned activation = MR_ACT_IDENTITY; activation < MR_ACT_SOFTMAX; activation++) {
        struct subject s;
        subject_make(&s, kernel->op, &shape, MR_ACT_IDENTITY, (mr_activation)activation, ROWS);
        memcpy((void *)(uintptr_t)s.layer[0].w, &one, sizeof one);
        memcpy((void *)(uintptr_t)s.layer[0].b, &zero, sizeof zero);
        mr_packed_free(s.packed);
        s.packed = packed_make(&s, kernel->op);
        for (int row = 0; row < ROWS; row++) {
            const double size = row < ROWS / 2 ? 0.01 * row : exp2((row - ROWS) / 40.0); /* to 20, and 2^-51 to 1 */
            s.x[row] = (float)(row % 2 ? -size : size);
        }
        kernel->score(s.x, s.packed, s.got_y, NULL, s.scratch, ROWS);
        for (size_t row = 0; row < ROWS; row++) {
            s.bound.z[0] = (double)s.x[row];
            s.bound.z_error[0] = 1.5 * EPS * fabs(s.bound.z[0]);
            bound_activate(&s.bound, (mr_activation)activation, 1);
            const double off = fabs((double)s.got_y[row] - s.bound.value[0]);
            if (off <= s.bound.error[0]) continue;
            fail_msg("%s_%s %s(%.9g) = %.9g, want %.9g, off by %.3g, bound %.3g", kernel->op_name, kernel->variant,
                     mr_activation_name((mr_activation)activation), (double)s.x[row], (double)s.got_y[row],
                     s.bound.value[0], off, s.bound.error[0]);
        }
        subject_free(&s);
    }
}

static void kernel_check(void **state)
{
    const struct mr_kernel *const kernel = *state;
    size_t case_count = 0, near_ties;
    need_kernel(kernel);
    seed = 12345;
    near_ties = kernel->op == MR_OP_LINEAR_SCORE ? linear_check(kernel, &case_count) : mlp_check(kernel, &case_count);
    if (kernel->op == MR_OP_MLP_BF16 || kernel->op == MR_OP_MLP_INT8) {
        near_ties += reduced_check(kernel, &case_count);
        nan_check(kernel);
        range_check(kernel);
        cost_print(kernel);
    }
    classes_check(kernel);
    activations_check(kernel);
    printf("%s_%s: %zu cases agree with the reference, %zu classes within rounding of a tie\n", kernel->op_name,
           kernel->variant, case_count, near_ties);
}

int main(int argc, char **argv)
{
    const int wrong = parity_main(argc, argv, kernel_check, MR_OP_MLP_FORWARD, MR_OP_LINEAR_SCORE);
    return wrong ? wrong : parity_main(argc, argv, kernel_check, MR_OP_MLP_BF16, MR_OP_MLP_INT8);
}
