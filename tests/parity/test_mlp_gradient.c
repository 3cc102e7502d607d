/*
 * mlp_gradient: every variant against the reference, over shapes, activations, losses and row counts; the reference
 * against finite differences of the loss; rows without a label; and the same bits when the same rows come again.
 */
#include <float.h>

#include "kernels/mlp_gradient/mlp_gradient.h"
#include "parity_rig.h"

#define EPS        ((double)FLT_EPSILON)
#define LAYERS_MAX 4

struct shape {
    size_t width[LAYERS_MAX + 1]; /* 0 at the end */
    mr_activation hidden;
    mr_loss loss;
};

static const struct shape shapes[] = {
    {{1, 1}, MR_ACT_RELU, MR_LOSS_SQUARED},          {{3, 1}, MR_ACT_RELU, MR_LOSS_HUBER},
    {{1, 6, 8, 6}, MR_ACT_SIGMOID, MR_LOSS_LOG},     {{16, 32, 8}, MR_ACT_TANH, MR_LOSS_LOG},
    {{2, 5, 1}, MR_ACT_GELU, MR_LOSS_LOG},           {{9, 7, 5, 3, 2}, MR_ACT_TANH, MR_LOSS_LOG},
    {{17, 64, 33, 1}, MR_ACT_RELU, MR_LOSS_SQUARED}, {{64, 129, 10}, MR_ACT_RELU, MR_LOSS_LOG},
    {{5, 13, 1}, MR_ACT_IDENTITY, MR_LOSS_SQUARED},  {{8, 31, 15, 4}, MR_ACT_GELU, MR_LOSS_LOG},
    {{1024, 3, 1}, MR_ACT_SIGMOID, MR_LOSS_LOG},
};

struct subject {
    struct mr_mlp_layer layer[LAYERS_MAX];
    struct mr_mlp_gradient_params params;
    struct mr_packed *packed, *forward;
    float *x, *y, *shift;
    double *label, *want, *got, *size;
    void *scratch, *forward_scratch;
    struct mr_sum_target target;
    float weight[16]; /* of classes, where there are any */
    size_t in, out, rows, count;
};

static mr_activation last_activation(const struct shape *shape, size_t out)
{
    return shape->loss != MR_LOSS_LOG ? MR_ACT_IDENTITY : out > 1 ? MR_ACT_SOFTMAX : MR_ACT_SIGMOID;
}

static void layers_make(struct subject *s, const struct shape *shape)
{
    size_t count = 0;
    for (; count < LAYERS_MAX && shape->width[count + 1]; count++) {
        struct mr_mlp_layer *const layer = &s->layer[count];
        const size_t in = shape->width[count], out = shape->width[count + 1];
        float *const w = zeroed(in * out * sizeof *w), *const b = zeroed(out * sizeof *b);
        for (size_t i = 0; i < in * out; i++) w[i] = (float)(uniform() * 1.7 / sqrt((double)in));
        for (size_t i = 0; i < out; i++) b[i] = (float)uniform();
        *layer = (struct mr_mlp_layer){.in = in, .out = out, .w = w, .b = b, .activation = shape->hidden};
    }
    s->in = shape->width[0];
    s->out = shape->width[count];
    s->layer[count - 1].activation = last_activation(shape, s->out);
    s->shift = zeroed(s->in * sizeof(float));
    for (size_t c = 0; c < s->in; c++) s->shift[c] = c % 3 ? (float)uniform() : 0;
    s->params = (struct mr_mlp_gradient_params){
        .mlp = {.layer = s->layer, .layer_count = count, .shift = s->in % 2 ? s->shift : NULL},
        .loss = shape->loss,
        .delta = 0.7f,
        .class_weight = shape->loss == MR_LOSS_LOG && s->rows % 2 ? s->weight : NULL};
    for (size_t i = 0; i < sizeof s->weight / sizeof *s->weight; i++) s->weight[i] = 0.25f * (float)(i % 5 + 1);
}

static void labels_make(struct subject *s)
{
    for (size_t row = 0; row < s->rows; row++) {
        const double share = (uniform() + 1) / 2;
        double label = s->out > 1                      ? floor(share * (double)s->out)
                       : s->params.loss == MR_LOSS_LOG ? share > 0.5
                                                       : 3 * uniform();
        if (row % 11 == 3) label = NAN;
        if (row % 17 == 4 && s->params.loss == MR_LOSS_LOG) label = (double)s->out + 1;
        s->label[row] = label;
    }
}

static void score(struct subject *s)
{
    mr_kernel_select(MR_OP_MLP_FORWARD, "ref")->score(s->x, s->forward, s->y, NULL, s->forward_scratch, s->rows);
}

static void subject_make(struct subject *s, const struct shape *shape, size_t rows)
{
    *s = (struct subject){.rows = rows};
    layers_make(s, shape);
    s->packed = mr_packed_create(MR_OP_MLP_GRADIENT, &s->params);
    s->forward = mr_packed_create(MR_OP_MLP_FORWARD, &s->params.mlp);
    assert_non_null(s->packed);
    assert_non_null(s->forward);
    s->count = mr_packed_sum_count(s->packed);
    s->x = rows_make(rows, s->in, 1);
    s->y = zeroed(mr_tile_count(rows) * MR_TILE_ROWS * s->out * sizeof(float));
    s->label = malloc(rows * sizeof(double) + 1); /* to the byte: the sanitizers see what is read behind it */
    s->want = zeroed(s->count * sizeof(double));
    s->size = zeroed(s->count * sizeof(double));
    s->got = zeroed((s->count + GUARD_COUNT) * sizeof(double));
    s->scratch = zeroed(mr_packed_scratch_bytes(s->packed) + GUARD_COUNT * sizeof(float));
    s->forward_scratch = zeroed(mr_packed_scratch_bytes(s->forward));
    labels_make(s);
    score(s);
    s->target = (struct mr_sum_target){.label = s->label, .y = s->y};
}

static void subject_free(struct subject *s)
{
    void *const all[] = {s->x, s->y, s->shift, s->label, s->want, s->size, s->got, s->scratch, s->forward_scratch};
    mr_packed_free(s->packed);
    mr_packed_free(s->forward);
    for (size_t i = 0; i < s->params.mlp.layer_count; i++) {
        free((void *)(uintptr_t)s->layer[i].w);
        free((void *)(uintptr_t)s->layer[i].b);
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* The sum of the absolute terms of each sum, by the reference, one row at a time. */
static void sizes_make(struct subject *s)
{
    double *const term = zeroed(s->count * sizeof *term);
    float *const x = zeroed(MR_TILE_ROWS * s->in * sizeof *x), *const y = zeroed(MR_TILE_ROWS * s->out * sizeof *y);
    for (size_t row = 0; row < s->rows; row++) {
        for (size_t c = 0; c < s->in; c++) x[c * MR_TILE_ROWS] = s->x[mr_tile_at(row, c, s->in)];
        for (size_t o = 0; o < s->out; o++) y[o * MR_TILE_ROWS] = s->y[mr_tile_at(row, o, s->out)];
        const struct mr_sum_target target = {.label = &s->label[row], .y = y};
        mr_kernel_select(MR_OP_MLP_GRADIENT, "ref")->sum(x, s->packed, &target, term, s->scratch, 1);
        for (size_t i = 0; i < s->count; i++) s->size[i] += fabs(term[i]);
    }
    free(term);
    free(x);
    free(y);
}

/* What a value of a layer is off by, relative to what is usual in it: rounding of its sums, of the activations (1e-6,
 * kernels/README.md), and of the layers on both sides of it. */
static double bound_of(const struct subject *s, size_t i)
{
    double most = 0, deepest = (double)s->params.mlp.layer_count;
    size_t widest = s->in;
    for (size_t k = 0; k < s->params.mlp.layer_count; k++) widest = s->layer[k].out > widest ? s->layer[k].out : widest;
    for (size_t k = 0; k < s->count; k++) most = fmax(most, s->size[k]);
    return (MR_SUM_ROWS / 8 + 8) * EPS * s->size[i] + deepest * (16 + sqrt((double)widest)) * EPS * most + EPS;
}

static void case_check(const struct mr_kernel *kernel, const struct shape *shape, size_t rows)
{
    struct subject s;
    subject_make(&s, shape, rows);
    mr_kernel_select(kernel->op, "ref")->sum(s.x, s.packed, &s.target, s.want, s.scratch, rows);
    sizes_make(&s);
    float *const scratch_end = (float *)s.scratch + mr_packed_scratch_bytes(s.packed) / sizeof(float);
    for (size_t i = 0; i < GUARD_COUNT; i++) s.got[s.count + i] = scratch_end[i] = GUARD;
    kernel->sum(s.x, s.packed, &s.target, s.got, s.scratch, rows);
    assert_string_equal(mr_kernel_last_ran(), kernel->variant);
    for (size_t i = 0; i < s.count; i++) {
        const double off = fabs(s.got[i] - s.want[i]), bound = bound_of(&s, i);
        if (!(off <= bound))
            fail_msg("%s shape %zu rows=%zu: sum %zu of %zu is %.12g, want %.12g, off by %.3g, bound %.3g",
                     kernel->variant, (size_t)(shape - shapes), rows, i, s.count, s.got[i], s.want[i], off, bound);
    }
    double *const again = zeroed((s.count + GUARD_COUNT) * sizeof *again);
    kernel->sum(s.x, s.packed, &s.target, again, s.scratch, rows);
    assert_memory_equal(again, s.got, s.count * sizeof *again);
    for (size_t i = 0; i < GUARD_COUNT; i++) {
        if (s.got[s.count + i] != (double)GUARD || scratch_end[i] != GUARD)
            fail_msg("%s shape %zu rows=%zu: wrote past the sums or its scratch", kernel->variant,
                     (size_t)(shape - shapes), rows);
    }
    free(again);
    subject_free(&s);
}

static void kernel_check(void **state)
{
    const struct mr_kernel *const kernel = *state;
    const size_t every = cases_every(kernel, 3);
    size_t count = 0;
    need_kernel(kernel);
    seed = 815;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (size_t r = i % every; r < ROW_COUNTS; r += every, count++) case_check(kernel, &shapes[i], row_counts[r]);
    }
    printf("%s_%s: %zu cases agree with the reference\n", kernel->op_name, kernel->variant, count);
}

/* The mean loss of the reference at the weights as they are. */
static double loss_now(struct subject *s)
{
    score(s);
    mr_kernel_select(MR_OP_MLP_GRADIENT, "ref")->sum(s->x, s->packed, &s->target, s->got, s->scratch, s->rows);
    return s->got[s->count - 2];
}

/* The reference reads the parameters themselves, so that a weight can be moved under it. */
static void finite_differences(void **state)
{
    const double step = 1.0 / 1024;
    (void)state;
    seed = 42;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct subject s;
        if (shapes[i].hidden == MR_ACT_RELU && shapes[i].width[2]) continue; /* has kinks */
        subject_make(&s, &shapes[i], 17);
        loss_now(&s);
        memcpy(s.want, s.got, s.count * sizeof *s.want);
        size_t at = 0;
        for (size_t k = 0; k < s.params.mlp.layer_count; k++) {
            float *const w = (float *)(uintptr_t)s.layer[k].w;
            const size_t weights = s.layer[k].in * s.layer[k].out;
            for (size_t tried = 0; tried < 20; tried++) {
                const size_t which = tried * 7919 % weights;
                const float before = w[which];
                w[which] = before + (float)step;
                const double above = loss_now(&s), up = (double)w[which];
                w[which] = before - (float)step;
                const double below = loss_now(&s), down = (double)w[which];
                w[which] = before;
                const double slope = (above - below) / (up - down), want = s.want[at + which];
                if (fabs(slope - want) > 5e-3 * (fabs(want) + 1))
                    fail_msg("shape %zu layer %zu weight %zu: %.6g by differences, %.6g by the kernel", i, k, which,
                             slope, want);
            }
            at += weights;
        }
        subject_free(&s);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {{.name = "finite_differences", .test_func = finite_differences}};
    const int failed = argc > 1 ? 0 : _cmocka_run_group_tests("reference", tests, 1, NULL, NULL);
    return failed + parity_main(argc, argv, kernel_check, MR_OP_MLP_GRADIENT, MR_OP_MLP_GRADIENT);
}
