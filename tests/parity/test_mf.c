/*
 * mf_topn and mf_estimate against their references: the scores, each with its own bound (mf_topn.h), and the items:
 * none that was seen, none twice, the reference's unless the two scores are nearer than the bounds; with exact scores,
 * ties by the lowest item.
 */
#include <float.h>

#include "parity_rig.h"

struct subject {
    struct mr_mf_params params;
    struct mr_packed *packed;
    float *user_factor, *item_factor, *user_bias, *item_bias, *x, *want_y, *got_y;
    uint64_t *first;
    int32_t *seen, *want_item, *got_item;
    void *scratch;
    size_t rows, cells;
    bool is_exact; /* small integers: every sum is exact, so that ties are */
};

/* What a case is made of. */
struct shape {
    size_t rank, items, top, rows, own_listed_max;
    bool is_biased, is_exact;
};

static float number(bool is_exact, double size)
{
    return is_exact ? (float)(int)(uniform() * 3) : salted(size);
}

static void model_make(struct subject *s, const struct shape *shape, size_t users)
{
    s->user_factor = zeroed(users * shape->rank * sizeof(float));
    s->item_factor = zeroed(shape->items * shape->rank * sizeof(float));
    s->user_bias = zeroed(users * sizeof(float));
    s->item_bias = zeroed(shape->items * sizeof(float));
    s->first = zeroed((users + 1) * sizeof(uint64_t));
    s->seen = zeroed(users * shape->items * sizeof(int32_t));
    for (size_t i = 0; i < users * shape->rank; i++) s->user_factor[i] = number(shape->is_exact, 1);
    for (size_t i = 0; i < shape->items * shape->rank; i++) s->item_factor[i] = number(shape->is_exact, 0.3);
    for (size_t i = 0; i < users; i++) s->user_bias[i] = number(shape->is_exact, 1);
    for (size_t i = 0; i < shape->items; i++) s->item_bias[i] = number(shape->is_exact, 1);
    for (size_t user = 0; user < users; user++) { /* nothing, few, half, or all that there are */
        const double share = user % 5 == 4 ? 2 : (double)(user % 3) - 0.8;
        s->first[user + 1] = s->first[user];
        for (size_t i = 0; i < shape->items; i++) {
            if (uniform() < share) s->seen[s->first[user + 1]++] = (int32_t)i;
        }
    }
    s->params = (struct mr_mf_params){.users = users,
                                      .items = shape->items,
                                      .rank = shape->rank,
                                      .top = shape->top,
                                      .user_factor = s->user_factor,
                                      .item_factor = s->item_factor,
                                      .user_bias = shape->is_biased ? s->user_bias : NULL,
                                      .item_bias = shape->is_biased ? s->item_bias : NULL,
                                      .mean = 3,
                                      .scale_min = 1,
                                      .scale_max = 5,
                                      .seen_first = s->first,
                                      .seen = s->seen,
                                      .own_listed_max = shape->own_listed_max};
}

static void row_make(struct subject *s, mr_op op, size_t row)
{
    const struct mr_mf_params *const p = &s->params;
    const size_t cols = s->packed->in;
    float *const x = s->x;
    const double dice = uniform();
    x[mr_tile_at(row, 0, cols)] = dice > 0.9 ? MR_MF_UNKNOWN : (float)(size_t)((uniform() + 1) / 2 * (double)p->users);
    if (op == MR_OP_MF_ESTIMATE) {
        x[mr_tile_at(row, 1, cols)] =
            uniform() > 0.8 ? MR_MF_UNKNOWN : (float)(size_t)((uniform() + 1) / 2 * (double)p->items);
        return;
    }
    if (!p->own_listed_max || dice > 0) return;
    size_t listed = 0;
    x[mr_tile_at(row, 0, cols)] = MR_MF_OWN;
    for (size_t f = 0; f <= p->rank; f++) x[mr_tile_at(row, 1 + f, cols)] = number(s->is_exact, 1);
    for (size_t i = 0; i < p->items && listed < p->own_listed_max; i++) {
        if (uniform() > 0.5) x[mr_tile_at(row, 2 + p->rank + listed++, cols)] = (float)i;
    }
    if (listed < p->own_listed_max) x[mr_tile_at(row, 2 + p->rank + listed, cols)] = -1;
}

static void subject_make(struct subject *s, mr_op op, const struct shape *shape)
{
    *s = (struct subject){.rows = shape->rows, .is_exact = shape->is_exact};
    model_make(s, shape, 9);
    s->packed = mr_packed_create(op, &s->params);
    assert_non_null(s->packed);
    const size_t tile_rows = mr_tile_count(shape->rows) * MR_TILE_ROWS;
    s->cells = tile_rows * s->packed->out;
    s->x = zeroed(tile_rows * s->packed->in * sizeof(float));
    for (size_t row = 0; row < shape->rows; row++) row_make(s, op, row);
    s->want_y = zeroed((s->cells + GUARD_COUNT) * sizeof(float));
    s->got_y = zeroed((s->cells + GUARD_COUNT) * sizeof(float));
    s->want_item = zeroed((s->cells + GUARD_COUNT) * sizeof(int32_t));
    s->got_item = zeroed((s->cells + GUARD_COUNT) * sizeof(int32_t));
    s->scratch = zeroed(mr_packed_scratch_bytes(s->packed) + GUARD_COUNT * sizeof(float));
    float *const scratch_end = (float *)s->scratch + mr_packed_scratch_bytes(s->packed) / sizeof(float);
    for (size_t i = 0; i < GUARD_COUNT; i++) {
        s->got_y[s->cells + i] = scratch_end[i] = GUARD;
        s->got_item[s->cells + i] = (int32_t)GUARD;
    }
}

static void subject_free(struct subject *s)
{
    void *const all[] = {s->user_factor, s->item_factor, s->user_bias, s->item_bias, s->x,        s->want_y,
                         s->got_y,       s->first,       s->seen,      s->want_item, s->got_item, s->scratch};
    const float *const scratch_end = (const float *)s->scratch + mr_packed_scratch_bytes(s->packed) / sizeof(float);
    for (size_t i = 0; i < GUARD_COUNT; i++) {
        if (s->got_y[s->cells + i] != GUARD || scratch_end[i] != GUARD || s->got_item[s->cells + i] != (int32_t)GUARD)
            fail_msg("wrote past an output or its scratch");
    }
    mr_packed_free(s->packed);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* The bound of an item's score for a row, and the exact score. */
static double score_of(const struct subject *s, size_t row, size_t item, double *bound_out)
{
    const struct mr_mf_params *const p = &s->params;
    const size_t cols = s->packed->in;
    const float user = s->x[mr_tile_at(row, 0, cols)];
    double size = 3, sum = p->user_bias || user == MR_MF_UNKNOWN ? 3 : 0;
    if (p->user_bias) {
        const double own = user == MR_MF_UNKNOWN ? 0
                           : user == MR_MF_OWN   ? (double)s->x[mr_tile_at(row, 1, cols)]
                                                 : (double)p->user_bias[(size_t)user];
        sum += own + (double)p->item_bias[item];
        size += fabs(own) + fabs((double)p->item_bias[item]);
    }
    for (size_t f = 0; f < p->rank && user != MR_MF_UNKNOWN; f++) {
        const float own =
            user == MR_MF_OWN ? s->x[mr_tile_at(row, 2 + f, cols)] : p->user_factor[(size_t)user * p->rank + f];
        const double term = (double)own * (double)p->item_factor[item * p->rank + f];
        sum += term;
        size += fabs(term);
    }
    *bound_out = ((double)p->rank + 6) * (double)FLT_EPSILON * size;
    return sum;
}

static void place_check(const struct subject *s, const struct mr_kernel *kernel, size_t row, size_t n)
{
    const size_t at = mr_tile_at(row, n, s->params.top);
    const int32_t got = s->got_item[at], want = s->want_item[at];
    double bound, want_bound;
    if ((got < 0) != (want < 0) || got >= (int32_t)s->params.items)
        fail_msg("%s_%s row %zu place %zu: item %d, want %d", kernel->op_name, kernel->variant, row, n, got, want);
    if (got < 0) {
        assert_true(isnan(s->got_y[at]));
        return;
    }
    const double score = score_of(s, row, (size_t)got, &bound), best = score_of(s, row, (size_t)want, &want_bound);
    if (fabs((double)s->got_y[at] - score) > bound ||
        (got != want && (s->is_exact || best - score > bound + want_bound)))
        fail_msg(
            "%s_%s rank=%zu items=%zu top=%zu rows=%zu: row %zu place %zu: item %d with %.9g (exactly %.9g), want %d "
            "with %.9g",
            kernel->op_name, kernel->variant, s->params.rank, s->params.items, s->params.top, s->rows, row, n, got,
            (double)s->got_y[at], score, want, best);
    for (size_t other = 0; other < n; other++)
        assert_int_not_equal(s->got_item[mr_tile_at(row, other, s->params.top)], got);
    const float user = s->x[mr_tile_at(row, 0, s->packed->in)];
    for (uint64_t i = user >= 0 ? s->first[(size_t)user] : 0; user >= 0 && i < s->first[(size_t)user + 1]; i++)
        assert_int_not_equal(s->seen[i], got);
    for (size_t i = 0; user == MR_MF_OWN && i < s->params.own_listed_max; i++) {
        const float listed = s->x[mr_tile_at(row, 2 + s->params.rank + i, s->packed->in)];
        if (listed < 0) break;
        assert_true(listed != (float)got);
    }
}

static void case_check(const struct mr_kernel *kernel, const struct shape *shape)
{
    struct subject s;
    subject_make(&s, kernel->op, shape);
    const bool is_topn = kernel->op != MR_OP_MF_ESTIMATE;
    mr_kernel_select(kernel->op, "ref")
        ->score(s.x, s.packed, s.want_y, is_topn ? s.want_item : NULL, s.scratch, s.rows);
    kernel->score(s.x, s.packed, s.got_y, is_topn ? s.got_item : NULL, s.scratch, s.rows);
    assert_string_equal(mr_kernel_last_ran(), kernel->variant);
    for (size_t row = 0; row < s.rows; row++) {
        for (size_t n = 0; is_topn && n < shape->top; n++) place_check(&s, kernel, row, n);
        if (is_topn) continue;
        if (fabs((double)s.got_y[row] - (double)s.want_y[row]) >
            ((double)shape->rank * 3 + 30) * 4 * (double)FLT_EPSILON * 100)
            fail_msg("%s_%s rank=%zu row %zu: %.9g, want %.9g", kernel->op_name, kernel->variant, shape->rank, row,
                     (double)s.got_y[row], (double)s.want_y[row]);
    }
    if (is_topn && s.rows) { /* each output alone is the same as both together */
        float *const y = zeroed(s.cells * sizeof *y);
        int32_t *const item = zeroed(s.cells * sizeof *item);
        kernel->score(s.x, s.packed, y, NULL, s.scratch, s.rows);
        kernel->score(s.x, s.packed, NULL, item, s.scratch, s.rows);
        for (size_t row = 0; row < s.rows; row++) {
            for (size_t n = 0; n < shape->top; n++) {
                const size_t at = mr_tile_at(row, n, shape->top);
                assert_int_equal(item[at], s.got_item[at]);
                assert_memory_equal(&y[at], &s.got_y[at], sizeof *y);
            }
        }
        free(y);
        free(item);
    }
    subject_free(&s);
}

static void kernel_check(void **state)
{
    static const size_t ranks[] = {1, 2, 3, 8, 17, 100}, items[] = {1, 2, 5, 6, 7, 13, 64, 333},
                        tops[] = {1, 3, 10, 16, 17, 40};
    const struct mr_kernel *const kernel = *state;
    const size_t every = cases_every(kernel, 7);
    size_t count = 0, number = 0;
    need_kernel(kernel);
    seed = 4711;
    for (size_t f = 0; f < sizeof ranks / sizeof *ranks; f++) {
        for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
            for (size_t t = 0; t < sizeof tops / sizeof *tops; t++) {
                for (size_t r = 0; r < ROW_COUNTS; r++) {
                    const struct shape shape = {.rank = ranks[f],
                                                .items = items[i],
                                                .top = tops[t],
                                                .rows = row_counts[r],
                                                .own_listed_max = r % 3 ? 0 : 4,
                                                .is_biased = (r + t) % 2,
                                                .is_exact = (f + i) % 2};
                    if (shape.rows * shape.rank * shape.items * shape.top > 400000 || number++ % every) continue;
                    case_check(kernel, &shape);
                    count++;
                }
            }
        }
    }
    /* Many items, whose scores are close to each other, and many that are equal. */
    static const struct shape large[] = {{.rank = 100, .items = 5000, .top = 10, .rows = 33, .is_biased = true},
                                         {.rank = 17, .items = 3001, .top = 16, .rows = 65, .own_listed_max = 4},
                                         {.rank = 33, .items = 3000, .top = 17, .rows = 17, .is_exact = true}};
    for (size_t i = 0; i < sizeof large / sizeof *large && every < 7; i++, count++) case_check(kernel, &large[i]);
    printf("%s_%s: %zu cases agree with the reference\n", kernel->op_name, kernel->variant, count);
}

int main(int argc, char **argv)
{
    const int wrong = parity_main(argc, argv, kernel_check, MR_OP_MF_TOPN, MR_OP_MF_ESTIMATE);
    return wrong ? wrong : parity_main(argc, argv, kernel_check, MR_OP_MF_TOPN_BF16, MR_OP_MF_TOPN_BF16);
}
