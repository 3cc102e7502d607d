/*
 * kmeans_assign and scale against their references, each element with its own bound (kmeans_assign.h): the distance,
 * and that no centre is taken which is farther than the nearest by more than rounding. One feature: exactly the
 * reference's centre.
 */
#include <float.h>

#include "parity_rig.h"

#define EPS ((double)FLT_EPSILON)

struct subject {
    struct mr_kmeans_params kmeans;
    struct mr_scale_params scale;
    struct mr_packed *packed;
    float *x, *want_y, *got_y, *center, *shift, *scale_by;
    int32_t *want_class, *got_class;
    void *scratch;
    size_t cols, k, width, rows, tile_rows;
};

static void subject_make(struct subject *s, mr_op op, size_t cols, size_t k, size_t rows)
{
    *s = (struct subject){.cols = cols, .k = k, .rows = rows, .width = op == MR_OP_SCALE ? cols : 1};
    s->tile_rows = mr_tile_count(rows) * MR_TILE_ROWS;
    s->center = zeroed(k * cols * sizeof(float));
    s->shift = zeroed(cols * sizeof(float));
    s->scale_by = zeroed(cols * sizeof(float));
    for (size_t c = 0; c < cols; c++) s->shift[c] = salted(10), s->scale_by[c] = salted(2);
    /* Far from the origin, so that the mean of the centres matters; every seventh centre equals the one before. */
    for (size_t i = 0; i < k * cols; i++) s->center[i] = salted(1) + s->shift[i % cols];
    for (size_t i = 7; i < k; i += 7) memcpy(s->center + i * cols, s->center + (i - 1) * cols, cols * sizeof(float));
    s->kmeans = (struct mr_kmeans_params){cols, k, s->center};
    s->scale = (struct mr_scale_params){cols, s->shift, s->scale_by};
    s->packed = mr_packed_create(op, op == MR_OP_SCALE ? (const void *)&s->scale : (const void *)&s->kmeans);
    assert_non_null(s->packed);
    s->x = rows_make(rows, cols, 2);
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < cols; c++) s->x[mr_tile_at(row, c, cols)] += s->shift[c];
    }
    s->want_y = zeroed((s->tile_rows * s->width + GUARD_COUNT) * sizeof(float));
    s->got_y = zeroed((s->tile_rows * s->width + GUARD_COUNT) * sizeof(float));
    s->want_class = zeroed((s->tile_rows + GUARD_COUNT) * sizeof(int32_t));
    s->got_class = zeroed((s->tile_rows + GUARD_COUNT) * sizeof(int32_t));
    s->scratch = zeroed(mr_packed_scratch_bytes(s->packed) + GUARD_COUNT * sizeof(float));
}

static void subject_free(struct subject *s)
{
    void *const all[] = {s->x,        s->want_y,     s->got_y,     s->center, s->shift,
                         s->scale_by, s->want_class, s->got_class, s->scratch};
    mr_packed_free(s->packed);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void guards_set(struct subject *s)
{
    float *const scratch_end = (float *)s->scratch + mr_packed_scratch_bytes(s->packed) / sizeof(float);
    for (size_t i = 0; i < GUARD_COUNT; i++) {
        s->got_y[s->tile_rows * s->width + i] = scratch_end[i] = GUARD;
        s->got_class[s->tile_rows + i] = (int32_t)GUARD;
    }
}

static void guards_check(const struct subject *s, const struct mr_kernel *kernel)
{
    const float *const scratch_end = (const float *)s->scratch + mr_packed_scratch_bytes(s->packed) / sizeof(float);
    for (size_t i = 0; i < GUARD_COUNT; i++) {
        if (s->got_y[s->tile_rows * s->width + i] != GUARD || scratch_end[i] != GUARD ||
            s->got_class[s->tile_rows + i] != (int32_t)GUARD)
            fail_msg("%s_%s cols=%zu k=%zu rows=%zu: wrote past an output or its scratch", kernel->op_name,
                     kernel->variant, s->cols, s->k, s->rows);
    }
}

/* Distance of a row to a centre in double, and the bound of what the kernel may be off. */
static double distance(const struct subject *s, size_t row, size_t k, double *bound_out)
{
    double sum = 0, x_size = 0, c_size = 0;
    for (size_t c = 0; c < s->cols; c++) {
        double mean = 0;
        for (size_t i = 0; i < s->k && s->cols > 1; i++) mean += (double)s->center[i * s->cols + c] / (double)s->k;
        const double x = (double)s->x[mr_tile_at(row, c, s->cols)], at = (double)s->center[k * s->cols + c];
        sum += (x - at) * (x - at);
        x_size += (x - mean) * (x - mean) + EPS * fabs(x) * EPS * fabs(x);
        c_size += (at - mean) * (at - mean);
    }
    const double size = sqrt(x_size) + sqrt(c_size);
    *bound_out = s->cols == 1 ? 2 * EPS * sum + 1e-37 : ((double)s->cols + 8) * EPS * size * size;
    return sum;
}

static void row_check(const struct subject *s, const struct mr_kernel *kernel, size_t row)
{
    const int32_t want = s->want_class[row], got = s->got_class[row];
    double bound, other_bound;
    assert_in_range(got, 0, s->k - 1);
    const double nearest = distance(s, row, (size_t)want, &bound), taken = distance(s, row, (size_t)got, &other_bound);
    if (got != want && (s->cols == 1 || taken - nearest > bound + other_bound || taken == nearest))
        fail_msg("%s_%s cols=%zu k=%zu rows=%zu: row %zu: centre %d at %.9g, want %d at %.9g", kernel->op_name,
                 kernel->variant, s->cols, s->k, s->rows, row, got, taken, want, nearest);
    const double off = fabs((double)s->got_y[row] - nearest);
    if (off > bound)
        fail_msg("%s_%s cols=%zu k=%zu rows=%zu: row %zu: distance %.9g, want %.9g, off by %.3g, bound %.3g",
                 kernel->op_name, kernel->variant, s->cols, s->k, s->rows, row, (double)s->got_y[row], nearest, off,
                 bound);
}

static void scale_check(const struct subject *s, const struct mr_kernel *kernel, size_t row)
{
    for (size_t c = 0; c < s->cols; c++) {
        const size_t at = mr_tile_at(row, c, s->cols);
        const double want = (double)s->want_y[at], off = fabs((double)s->got_y[at] - want);
        if (off > 2 * EPS * fabs(want) + 1e-37)
            fail_msg("%s_%s cols=%zu rows=%zu: row %zu column %zu: got %.9g, want %.9g", kernel->op_name,
                     kernel->variant, s->cols, s->rows, row, c, (double)s->got_y[at], want);
    }
}

static void case_check(const struct mr_kernel *kernel, size_t cols, size_t k, size_t rows)
{
    struct subject s;
    subject_make(&s, kernel->op, cols, k, rows);
    mr_kernel_select(kernel->op, "ref")->score(s.x, s.packed, s.want_y, s.want_class, s.scratch, rows);
    guards_set(&s);
    kernel->score(s.x, s.packed, s.got_y, s.got_class, s.scratch, rows);
    assert_string_equal(mr_kernel_last_ran(), kernel->variant);
    for (size_t row = 0; row < rows; row++) {
        if (kernel->op == MR_OP_SCALE)
            scale_check(&s, kernel, row);
        else
            row_check(&s, kernel, row);
    }
    /* Each output alone is the same as both together. */
    float *const y = zeroed(s.tile_rows * s.width * sizeof *y + 1);
    int32_t *const class_index = zeroed(s.tile_rows * sizeof *class_index + 1);
    kernel->score(s.x, s.packed, y, NULL, s.scratch, rows);
    kernel->score(s.x, s.packed, NULL, class_index, s.scratch, rows);
    for (size_t row = 0; row < rows; row++) {
        assert_int_equal(class_index[row], s.got_class[row]);
        for (size_t c = 0; c < s.width; c++)
            assert_memory_equal(&y[mr_tile_at(row, c, s.width)], &s.got_y[mr_tile_at(row, c, s.width)], sizeof *y);
    }
    guards_check(&s, kernel);
    free(y);
    free(class_index);
    subject_free(&s);
}

/* Midway between two centres, and on them, to the last bit. */
static void ties_check(const struct mr_kernel *kernel)
{
    enum { K = 5, ROWS = 70 };
    float center[K] = {3, -1, 7, 3, 0.1f};
    const struct mr_kmeans_params params = {1, K, center};
    float *const x = zeroed(2 * MR_TILE_ROWS * sizeof *x), *const y = zeroed(2 * MR_TILE_ROWS * sizeof *y);
    int32_t *const want = zeroed(2 * MR_TILE_ROWS * sizeof *want), *const got = zeroed(2 * MR_TILE_ROWS * sizeof *got);
    struct mr_packed *const packed = mr_packed_create(MR_OP_KMEANS_ASSIGN, &params);
    void *const scratch = zeroed(mr_packed_scratch_bytes(packed));
    for (int row = 0; row < ROWS; row++) {
        const double middle = ((double)center[row % K] + (double)center[row / K % K]) / 2;
        x[row] = (float)middle;
        if (row % 3) x[row] = nextafterf(x[row], row % 3 == 1 ? INFINITY : -INFINITY);
    }
    mr_kernel_select(kernel->op, "ref")->score(x, packed, y, want, scratch, ROWS);
    kernel->score(x, packed, y, got, scratch, ROWS);
    for (int row = 0; row < ROWS; row++) assert_int_equal(got[row], want[row]);
    mr_packed_free(packed);
    free(scratch);
    free(x);
    free(y);
    free(want);
    free(got);
}

static void kernel_check(void **state)
{
    static const size_t cols[] = {1, 2, 3, 7, 8, 9, 16, 17, 64, 129, 1024},
                        ks[] = {1, 2, 3, 4, 5, 6, 7, 12, 13, 64, 256};
    const struct mr_kernel *const kernel = *state;
    const size_t every = cases_every(kernel, 1);
    size_t count = 0, number = 0;
    need_kernel(kernel);
    seed = 4711;
    for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) {
        for (size_t k = 0; k < sizeof ks / sizeof *ks; k++) {
            if (kernel->op == MR_OP_SCALE && k) break;
            for (size_t r = 0; r < ROW_COUNTS; r++) {
                if (row_counts[r] * cols[c] * ks[k] * (cols[c] > 1 ? ks[k] : 1) > 1500000) continue;
                if (number++ % every) continue;
                case_check(kernel, cols[c], ks[k], row_counts[r]);
                count++;
            }
        }
    }
    if (kernel->op == MR_OP_KMEANS_ASSIGN) ties_check(kernel);
    printf("%s_%s: %zu cases agree with the reference\n", kernel->op_name, kernel->variant, count);
}

int main(int argc, char **argv)
{
    return parity_main(argc, argv, kernel_check, MR_OP_KMEANS_ASSIGN, MR_OP_SCALE);
}
