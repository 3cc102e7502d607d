/*
 * graph_forward against its reference: every operation alone on the features, and behind a dense step in the workspace,
 * with each number of rows around a tile's and a register's size. Then a graph of many steps, whose values share
 * columns.
 */
#include <float.h>

#include "parity_rig.h"

#define COLS      5
#define COLUMNS   256
#define TOLERANCE 4e-6 /* of the larger of 1 and the value: exponentials and logarithms in float32 */

struct subject {
    struct mr_graph_step step[8];
    struct mr_graph_params params;
    float *x;
    float w[64], bias[16], shift[16];
    int32_t column[16];
};

static const struct mr_kernel *reference(void)
{
    return mr_kernel_select(MR_OP_GRAPH_FORWARD, "ref");
}

/* Adds a step behind the last one; its operands are z (a value of one column, or none) and x. */
static void step_add(struct subject *s, mr_graph_op op, size_t x, size_t x_width, size_t z, size_t z_width,
                     size_t width)
{
    struct mr_graph_step *const step = &s->step[s->params.step_count++];
    *step = (struct mr_graph_step){.op = op,
                                   .x = x,
                                   .x_width = x_width,
                                   .z = z,
                                   .z_width = z_width,
                                   .to = s->params.columns,
                                   .width = width,
                                   .a = 0.3,
                                   .b = 0.7,
                                   .w = s->w,
                                   .bias = s->bias,
                                   .shift = s->shift,
                                   .column = s->column};
    if (op == MR_GRAPH_CLIP) step->a = -0.4;
    if (op == MR_GRAPH_POWER) step->a = 2;
    if (mr_graph_kind_of(op) == MR_GRAPH_top) step->a = 1;
    s->params.columns += width;
    s->params.y = step->to;
    s->params.width = width;
}

static size_t width_of(mr_graph_op op, size_t x_width)
{
    switch (mr_graph_kind_of(op)) {
    case MR_GRAPH_fold:
        return 1;
    case MR_GRAPH_join:
        return x_width + 1;
    case MR_GRAPH_top:
        return 3;
    case MR_GRAPH_dense:
    case MR_GRAPH_columns:
        return 4;
    default:
        return x_width;
    }
}

static void subject_make(struct subject *s, size_t rows)
{
    *s = (struct subject){.params = {.cols = COLS, .columns = COLS}};
    s->params.step = s->step;
    for (size_t i = 0; i < 64; i++) s->w[i] = (float)uniform();
    for (size_t i = 0; i < 16; i++) {
        s->bias[i] = (float)uniform();
        s->shift[i] = (float)uniform();
        s->column[i] = (int32_t)(i * 7 % COLS);
    }
    s->x = rows_make(rows, COLS, 2);
}

/* Where a rounding of the operand may make much of a difference: these are tried on features alone. */
static bool is_steep(mr_graph_op op)
{
    switch (op) {
    case MR_GRAPH_CEIL:
    case MR_GRAPH_FLOOR:
    case MR_GRAPH_ROUND:
    case MR_GRAPH_SIGN:
    case MR_GRAPH_THRESHOLDED_RELU:
    case MR_GRAPH_TOP:
    case MR_GRAPH_TOP_INDEX:
    case MR_GRAPH_LOG:
    case MR_GRAPH_SQRT:
    case MR_GRAPH_RECIPROCAL:
    case MR_GRAPH_DIV:
    case MR_GRAPH_POW:
    case MR_GRAPH_NORMALIZE_MAX:
        return true;
    default:
        return false;
    }
}

/* Roots, logarithms and quotients near 0 make much of a rounding: there the operand is moved away from 0. */
static void positive_make(struct subject *s, size_t rows)
{
    for (size_t i = 0; i < rows * COLS; i++) {
        float *const x = &s->x[mr_tile_at(i / COLS, i % COLS, COLS)];
        *x = fabsf(*x) + 0.5f;
    }
}

static void rows_compare(const struct mr_kernel *kernel, const struct subject *s, size_t rows, const float *want,
                         const float *got)
{
    for (size_t i = 0; i < rows * s->params.width; i++) {
        const size_t at = mr_tile_at(i / s->params.width, i % s->params.width, s->params.width);
        const double off = fabs((double)want[at] - (double)got[at]);
        if (isnan(want[at]) && isnan(got[at])) continue;
        if (want[at] == got[at] || off <= TOLERANCE * fmax(1, fabs((double)want[at]))) continue;
        fail_msg("%s after %zu steps, %s: row %zu of %zu, column %zu: %.9g, the reference has %.9g", kernel->variant,
                 s->params.step_count, mr_graph_op_name(s->step[s->params.step_count - 1].op), i / s->params.width,
                 rows, i % s->params.width, (double)got[at], (double)want[at]);
    }
}

/* Scores, classes, and each of them alone, with guards behind. */
static void subject_check(const struct mr_kernel *kernel, const struct subject *s, size_t rows)
{
    const size_t tile_rows = mr_tile_count(rows) * MR_TILE_ROWS, values = tile_rows * s->params.width;
    struct mr_packed *const packed = mr_packed_create(MR_OP_GRAPH_FORWARD, &s->params);
    assert_non_null(packed);
    const size_t scratch_bytes = mr_packed_scratch_bytes(packed);
    float *const want = zeroed(values * sizeof(float)), *const got = zeroed((values + GUARD_COUNT) * sizeof(float));
    int32_t *const want_class = zeroed(tile_rows * sizeof(int32_t)), *const got_class =
                                                                         zeroed(tile_rows * sizeof(int32_t));
    float *const scratch = zeroed(scratch_bytes + GUARD_COUNT * sizeof(float));
    for (size_t i = 0; i < GUARD_COUNT; i++) got[values + i] = scratch[scratch_bytes / sizeof(float) + i] = GUARD;
    reference()->score(s->x, packed, want, want_class, scratch, rows);
    kernel->score(s->x, packed, got, got_class, scratch, rows);
    assert_string_equal(mr_kernel_last_ran(), kernel->variant);
    rows_compare(kernel, s, rows, want, got);
    memset(got, 0, values * sizeof *got);
    kernel->score(s->x, packed, got, NULL, scratch, rows);
    rows_compare(kernel, s, rows, want, got);
    for (size_t row = 0; row < rows; row++) assert_int_equal(want_class[row], got_class[row]);
    memset(got_class, 0, tile_rows * sizeof *got_class);
    kernel->score(s->x, packed, NULL, got_class, scratch, rows);
    for (size_t row = 0; row < rows; row++) assert_int_equal(want_class[row], got_class[row]);
    for (size_t i = 0; i < GUARD_COUNT; i++)
        assert_true(got[values + i] == GUARD && scratch[scratch_bytes / sizeof(float) + i] == GUARD);
    void *const all[] = {want, got, want_class, got_class, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    mr_packed_free(packed);
}

/* The class is that of features, which every variant has exactly. */
static void class_set(struct subject *s, size_t width, bool is_least)
{
    s->params.of = 1;
    s->params.of_width = width;
    s->params.is_least = is_least;
}

static void op_check(const struct mr_kernel *kernel, mr_graph_op op, size_t rows)
{
    const bool is_pair = mr_graph_kind_of(op) == MR_GRAPH_binary || mr_graph_kind_of(op) == MR_GRAPH_join;
    struct subject s;
    subject_make(&s, rows);
    if (op == MR_GRAPH_LOG || op == MR_GRAPH_SQRT || op == MR_GRAPH_RECIPROCAL || op == MR_GRAPH_DIV ||
        op == MR_GRAPH_POW)
        positive_make(&s, rows);
    class_set(&s, op % 5, op % 2);
    step_add(&s, op, 0, COLS, is_pair ? 2 : 0, is_pair ? 1 : 0, width_of(op, COLS));
    subject_check(kernel, &s, rows);
    if (!is_steep(op)) {
        s.params.step_count = 0;
        s.params.columns = COLS;
        step_add(&s, MR_GRAPH_DENSE, 0, COLS, 0, 0, 7);
        step_add(&s, MR_GRAPH_TANH, COLS, 7, 0, 0, 7);
        step_add(&s, op, COLS + 7, 6, is_pair ? COLS + 3 : 0, is_pair ? 1 : 0, width_of(op, 6));
        subject_check(kernel, &s, rows);
    }
    free(s.x);
}

static void kernel_check(void **state)
{
    const struct mr_kernel *const kernel = *state;
    size_t cases = 0;
    need_kernel(kernel);
    for (mr_graph_op op = 0; op < MR_GRAPH_OP_COUNT; op++) {
        for (size_t i = 0; i < ROW_COUNTS; i++, cases++) {
            if (cases % cases_every(kernel, 1) == 0) op_check(kernel, op, row_counts[i]);
        }
    }
    printf("graph_forward_%s: %u operations agree with the reference\n", kernel->variant, (unsigned)MR_GRAPH_OP_COUNT);
}

int main(int argc, char **argv)
{
    return parity_main(argc, argv, kernel_check, MR_OP_GRAPH_FORWARD, MR_OP_GRAPH_FORWARD);
}
