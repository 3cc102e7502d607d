/* The arithmetic of learning: steps by hand, Spark's check numbers, the guard, a plane whose coefficients are known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "learn/kmeans_learner.h"
#include "learn/linear_spark.h"
#include "millrace/batch.h"

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.17g, want %.17g", got, want);
}

/* ---- optimizer ---- */

static double one_step(const struct mr_optimizer_options *options, double w, double g, int times, double *w_out)
{
    struct mr_optimizer optimizer;
    double pair[2] = {w, w};
    const double slopes[2] = {g, g};
    assert_true(mr_optimizer_init(&optimizer, options, 2, 1));
    for (int i = 0; i < times; i++) mr_optimizer_step(&optimizer, pair, slopes);
    mr_optimizer_deinit(&optimizer);
    if (w_out) *w_out = pair[1];
    return pair[0];
}

static void test_steps(void **state)
{
    (void)state;
    double bias;
    near(one_step(&(struct mr_optimizer_options){.kind = MR_STEP_CONSTANT, .step = 0.5}, 1, 0.4, 2, NULL), 0.6, 1e-15);
    near(one_step(&(struct mr_optimizer_options){.kind = MR_STEP_SQRT, .step = 0.5}, 1, 0.4, 2, NULL),
         1 - 0.2 - 0.2 / sqrt(2), 1e-15);
    near(one_step(&(struct mr_optimizer_options){.kind = MR_STEP_ADAGRAD, .step = 0.5}, 1, 0.4, 2, NULL),
         1 - 0.5 - 0.5 / sqrt(2), 1e-8);
    near(one_step(&(struct mr_optimizer_options){.kind = MR_STEP_CONSTANT, .step = 0.5, .l2 = 0.1}, 1, 0.4, 1, &bias),
         1 - 0.5 * 0.5, 1e-15);
    near(bias, 0.8, 1e-15); /* not regularised */
    near(one_step(&(struct mr_optimizer_options){.kind = MR_STEP_CONSTANT, .step = 0.5, .l1 = 0.1}, 1, 0.4, 1, &bias),
         0.75, 1e-15);
    assert_true(
        one_step(&(struct mr_optimizer_options){.kind = MR_STEP_CONSTANT, .step = 0.5, .l1 = 9}, 1, 0, 1, NULL) == 0);
}

/* Two steps of FTRL worked out by hand: alpha 0.5, beta 1, l1 0.1, l2 0.2, g 0.4 each, from w = 0. */
static void test_ftrl(void **state)
{
    (void)state;
    const struct mr_optimizer_options options = {.kind = MR_STEP_FTRL, .step = 0.5, .beta = 1, .l1 = 0.1, .l2 = 0.2};
    const double w1 = -(0.4 - 0.1) / ((1 + 0.4) / 0.5 + 0.2), n2 = 0.32, sigma = (sqrt(n2) - 0.4) / 0.5;
    near(one_step(&options, 0, 0.4, 1, NULL), w1, 1e-15);
    near(one_step(&options, 0, 0.4, 2, NULL), -(0.4 + 0.4 - sigma * w1 - 0.1) / ((1 + sqrt(n2)) / 0.5 + 0.2), 1e-15);
    assert_true(one_step(&options, 0, 0.04, 2, NULL) == 0); /* below l1: exactly none */
}

/* Weights from elsewhere: a first FTRL step from them is a step, not a new beginning. */
static void test_ftrl_goes_on(void **state)
{
    (void)state;
    const struct mr_optimizer_options options = {.kind = MR_STEP_FTRL, .step = 0.5, .beta = 1, .l1 = 0.1, .l2 = 0.2};
    double bias;
    near(one_step(&options, 3, 0, 1, &bias), 3, 1e-12);
    near(bias, 3, 1e-12);
    near(one_step(&options, -3, 1e-6, 1, &bias), -3, 1e-5);
}

/* ---- k-means ---- */

static double center_after(double weight, double decay, mr_decay_unit unit, double points, double mean,
                           double *weight_out)
{
    struct mr_kmeans_learner l;
    assert_true(mr_kmeans_learner_init(&l, 1, 1));
    l.decay = decay;
    l.unit = unit;
    l.weight[0] = weight;
    const double sum = points * mean;
    mr_kmeans_learner_update(&l, &points, &sum);
    const double center = l.center[0];
    *weight_out = l.weight[0];
    mr_kmeans_learner_deinit(&l);
    return center;
}

static void test_kmeans_decay(void **state)
{
    (void)state;
    double n;
    near(center_after(10, 0.5, MR_DECAY_BATCHES, 5, 10, &n), 5, 1e-12), near(n, 10, 1e-12);
    near(center_after(10, 1, MR_DECAY_BATCHES, 5, 10, &n), 10.0 / 3, 1e-12), near(n, 15, 1e-12);
    near(center_after(10, 0, MR_DECAY_BATCHES, 5, 10, &n), 10, 1e-12), near(n, 5, 1e-12);
    near(center_after(10, 0.9, MR_DECAY_POINTS, 5, 10, &n), 4.58509, 1e-5), near(n, 10.9049, 1e-12);
    near(center_after(10, 0.9, MR_DECAY_POINTS, 0, 10, &n), 0, 0), near(n, 10, 0); /* no points: nothing passes */
    near(center_after(10, 0.9, MR_DECAY_BATCHES, 0, 10, &n), 0, 0), near(n, 9, 1e-12);
    near(mr_decay_of_half_life(2) * mr_decay_of_half_life(2), 0.5, 1e-15);
}

static void test_kmeans_split(void **state)
{
    (void)state;
    struct mr_kmeans_learner l;
    const double count[3] = {0, 4, 4}, sum[3] = {0, 40, -8};
    assert_true(mr_kmeans_learner_init(&l, 3, 1));
    l.decay = 0; /* the first one has nothing left */
    l.weight[0] = 5;
    mr_kmeans_learner_update(&l, count, sum);
    near(l.weight[0], 2, 0), near(l.weight[1], 2, 0), near(l.weight[2], 4, 0);
    assert_true(l.center[1] > 10 && l.center[0] < 10 && l.center[1] - l.center[0] < 3e-13);
    near(l.center[2], -2, 0);
    assert_int_equal(l.split_count, 1);
    memset(l.weight, 0, 3 * sizeof *l.weight);
    mr_kmeans_learner_update(&l, (const double[3]){0}, sum);
    assert_int_equal(l.split_count, 1); /* nothing weighs less than nothing */
    mr_kmeans_learner_deinit(&l);
}

/* ---- linear ---- */

#define ROWS 1024
#define COLS 3

struct stream {
    float *x;
    double label[ROWS];
    uint64_t seed;
};

static double uniform(struct stream *s)
{
    s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(s->seed >> 11) * 0x1p-53;
}

/* label = 3 x0 - 2 x1 + 0.5 x2 + 7, plus noise; or whether that is above 7. Every tenth row has none. */
static void stream_next(struct stream *s, bool is_class)
{
    for (size_t row = 0; row < ROWS; row++) {
        double z = 7;
        for (size_t c = 0; c < COLS; c++) {
            const float x = (float)(2 * uniform(s) - 1);
            s->x[mr_tile_at(row, c, COLS)] = x;
            z += (double)x * (c == 0 ? 3 : c == 1 ? -2 : 0.5);
        }
        z += 0.01 * (uniform(s) - 0.5);
        s->label[row] = row % 10 == 9 ? NAN : is_class ? z > 7 : z;
    }
}

/* Scores the stream with the learner's weights as the pipeline does, and learns from it; returns the report. */
static struct mr_learn_report learn_rows(struct mr_linear_learner *l, const struct stream *s, size_t count)
{
    float w[COLS], b;
    struct mr_learn_report report;
    static _Alignas(MR_ALIGN) float y[ROWS];
    for (size_t c = 0; c < COLS; c++) w[c] = (float)l->w[c];
    b = (float)l->w[COLS];
    const struct mr_linear_params params = {COLS, 1, w, &b,
                                            l->sum.loss == MR_LOSS_LOG ? MR_ACT_SIGMOID : MR_ACT_IDENTITY};
    struct mr_packed *const score = mr_packed_create(MR_OP_LINEAR_SCORE, &params), *const sum = mr_packed_create(
                                                                                       MR_OP_LINEAR_SUM, &l->sum);
    void *const scratch = aligned_alloc(MR_ALIGN, mr_packed_scratch_bytes(sum) + mr_packed_scratch_bytes(score));
    double *const sums = calloc(mr_packed_sum_count(sum), sizeof *sums);
    mr_kernel_select(MR_OP_LINEAR_SCORE, NULL)->score(s->x, score, y, NULL, scratch, count);
    const struct mr_sum_target target = {.label = s->label, .y = y};
    mr_kernel_select(MR_OP_LINEAR_SUM, NULL)->sum(s->x, sum, &target, sums, scratch, count);
    const struct mr_learn_rows rows = {s->x, s->label, count};
    mr_linear_learner_update(l, sums, &rows, &report);
    free(sums);
    free(scratch);
    mr_packed_free(score);
    mr_packed_free(sum);
    return report;
}

static struct mr_learn_report learn_batch(struct mr_linear_learner *l, const struct stream *s)
{
    return learn_rows(l, s, ROWS);
}

static void stream_open(struct stream *s)
{
    s->seed = 99;
    s->x = aligned_alloc(MR_ALIGN, ROWS * COLS * sizeof(float));
    assert_non_null(s->x);
}

/* Every schedule finds the plane: the truth is known. */
static void test_plane(void **state)
{
    static const struct mr_optimizer_options options[] = {{.kind = MR_STEP_CONSTANT, .step = 0.5},
                                                          {.kind = MR_STEP_SQRT, .step = 1},
                                                          {.kind = MR_STEP_ADAGRAD, .step = 1},
                                                          {.kind = MR_STEP_FTRL, .step = 1, .beta = 0.1}};
    static const double truth[COLS + 1] = {3, -2, 0.5, 7};
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        for (mr_loss loss = MR_LOSS_SQUARED; loss <= MR_LOSS_HUBER; loss++) {
            struct mr_linear_learner l;
            struct stream s;
            struct mr_learn_report report = {0};
            stream_open(&s);
            assert_true(
                mr_linear_learner_init(&l, &(struct mr_linear_sum_params){COLS, 1, loss, 1}, &options[i], false));
            for (int batch = 0; batch < 300; batch++) {
                stream_next(&s, false);
                report = learn_batch(&l, &s);
                assert_int_equal(report.rows, ROWS - ROWS / 10);
                assert_false(report.is_undone);
            }
            for (size_t c = 0; c <= COLS; c++) near(l.w[c], truth[c], 0.02);
            assert_true(report.loss / (double)report.rows < 1e-3);
            mr_linear_learner_deinit(&l);
            free(s.x);
        }
    }
}

static void test_classes(void **state)
{
    struct mr_linear_learner l;
    struct stream s;
    double first = 0, last = 0;
    (void)state;
    stream_open(&s);
    const struct mr_optimizer_options options = {.kind = MR_STEP_ADAGRAD, .step = 2};
    assert_true(mr_linear_learner_init(&l, &(struct mr_linear_sum_params){COLS, 1, MR_LOSS_LOG, 0}, &options, false));
    for (int batch = 0; batch < 300; batch++) {
        stream_next(&s, true);
        const struct mr_learn_report report = learn_batch(&l, &s);
        last = report.loss / (double)report.rows;
        if (!batch) first = last;
    }
    near(first, log(2), 1e-6);
    assert_true(last < 0.1);
    near(l.w[1] / l.w[0], -2.0 / 3, 0.02);
    mr_linear_learner_deinit(&l);
    free(s.x);
}

/* A step that is too large is undone, and the one that is proposed instead works. */
static void test_guard(void **state)
{
    struct mr_linear_learner l;
    struct stream s;
    struct mr_learn_report report;
    (void)state;
    stream_open(&s);
    struct mr_optimizer_options options = {.kind = MR_STEP_CONSTANT, .step = 50};
    const struct mr_linear_sum_params sum = {COLS, 1, MR_LOSS_SQUARED, 0};
    assert_true(mr_linear_learner_init(&l, &sum, &options, false));
    stream_next(&s, false);
    report = learn_batch(&l, &s);
    assert_true(report.is_undone);
    assert_int_equal(l.undone_count, 1);
    for (size_t c = 0; c <= COLS; c++) assert_true(l.w[c] == 0);
    assert_int_equal(l.optimizer.updates, 0);
    assert_true(report.step_stable > 0.3 && report.step_stable < 2);
    mr_linear_learner_deinit(&l);

    options.step = report.step_stable;
    assert_true(mr_linear_learner_init(&l, &sum, &options, false));
    for (int batch = 0; batch < 100; batch++) {
        stream_next(&s, false);
        report = learn_batch(&l, &s);
        assert_false(report.is_undone);
    }
    near(l.w[0], 3, 0.01);
    s.x[5] = INFINITY; /* what no decoder lets pass */
    assert_true(learn_batch(&l, &s).is_undone);
    near(l.w[0], 3, 0.01);
    for (size_t row = 0; row < ROWS; row++) s.label[row] = NAN;
    assert_int_equal(learn_batch(&l, &s).rows, 0);
    mr_linear_learner_deinit(&l);
    free(s.x);
}

/* The stream and a learner that follows it, `rows` at a time. */
struct trial {
    struct mr_linear_learner l;
    struct stream s;
    double worst, last; /* mean loss of a batch */
    uint64_t undone;
};

static void trial_run(struct trial *t, mr_loss loss, const struct mr_optimizer_options *options, size_t rows,
                      int batches, double noise, double shift)
{
    stream_open(&t->s);
    assert_true(mr_linear_learner_init(&t->l, &(struct mr_linear_sum_params){COLS, 1, loss, 1}, options, false));
    t->worst = 0;
    for (int batch = 0; batch < batches; batch++) {
        stream_next(&t->s, loss == MR_LOSS_LOG);
        for (size_t row = 0; row < rows && loss != MR_LOSS_LOG; row++)
            t->s.label[row] += noise * (uniform(&t->s) + uniform(&t->s) - 1) + (batch > batches / 2 ? shift : 0);
        for (size_t row = 0; row < rows && loss == MR_LOSS_LOG; row++)
            if (uniform(&t->s) < noise / 100) t->s.label[row] = 1 - t->s.label[row];
        const struct mr_learn_report report = learn_rows(&t->l, &t->s, rows);
        if (report.rows) t->last = report.loss / (double)report.rows;
        t->worst = fmax(t->worst, t->last);
        for (size_t c = 0; c <= COLS; c++) assert_true(isfinite(t->l.w[c]));
    }
    t->undone = t->l.undone_count;
    mr_linear_learner_deinit(&t->l);
    free(t->s.x);
}

/* Just past the limit, which is 2 / curvature, every batch is a little worse than the one before: that ends. */
static void test_slow_divergence(void **state)
{
    static const double steps[] = {2.1, 2.3, 2.5, 2.9};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t rows = 64; rows <= ROWS; rows *= 16) {
            struct trial t;
            const struct mr_optimizer_options options = {.kind = MR_STEP_CONSTANT, .step = steps[i]};
            trial_run(&t, MR_LOSS_SQUARED, &options, rows, 1000, 1, 0);
            assert_true(t.undone > 0);
            assert_true(t.worst < 1e4); /* the first batch: 25 */
        }
    }
    struct trial t;
    trial_run(&t, MR_LOSS_SQUARED, &(struct mr_optimizer_options){.kind = MR_STEP_SQRT, .step = 6}, 64, 1000, 0.1, 0);
    assert_true(t.last < 0.1); /* steps shrink, undone ones as well: it finds the plane */
}

/* What looks like it and is none: a stream that jumps, noise, one row at a time, other losses and schedules. */
static void test_no_divergence(void **state)
{
    static const struct mr_optimizer_options options[] = {{.kind = MR_STEP_CONSTANT, .step = 0.4},
                                                          {.kind = MR_STEP_SQRT, .step = 0.4},
                                                          {.kind = MR_STEP_ADAGRAD, .step = 0.4},
                                                          {.kind = MR_STEP_FTRL, .step = 0.4, .beta = 1},
                                                          {.kind = MR_STEP_ADAM, .step = 0.02}};
    static const size_t rows[] = {1, 7, 64, ROWS};
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        for (size_t k = 0; k < 4; k++) {
            for (mr_loss loss = MR_LOSS_SQUARED; loss <= MR_LOSS_LOG; loss++) {
                struct trial t;
                trial_run(&t, loss, &options[i], rows[k], 2000, 3, 100);
                if (t.undone)
                    fail_msg("schedule %zu, %zu rows, loss %d: %d undone", i, rows[k], (int)loss, (int)t.undone);
            }
        }
    }
}

/* Spark's logistic regression learns from labels 0 to 1 alone, as the plain one does. */
static void test_spark_labels(void **state)
{
    static _Alignas(MR_ALIGN) float x[MR_TILE_ROWS] = {1, -1, 2, 0.5F};
    const double good[4] = {1, 0, NAN, 1}, bad[4] = {1, 0, 7, 1};
    const struct mr_spark_options options = {.step = 0.1, .iterations = 50, .tolerance = 0, .is_logistic = true};
    double w[2] = {0}, bias = 0, scratch[4];
    (void)state;
    mr_linear_spark_update(&options, 1, &(struct mr_learn_rows){x, good, 4}, &w[0], &bias, scratch);
    mr_linear_spark_update(&options, 1, &(struct mr_learn_rows){x, bad, 4}, &w[1], &bias, scratch);
    assert_true(w[0] > 0 && w[0] == w[1]);
}

/* The gradient against finite differences of the loss, in double. */
static void test_gradient(void **state)
{
    static const mr_loss losses[] = {MR_LOSS_SQUARED, MR_LOSS_HUBER, MR_LOSS_LOG, MR_LOSS_LOG};
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        const size_t out = k == 3 ? 3 : 1, count = out * (COLS + 1);
        const struct mr_linear_sum_params sum = {COLS, out, losses[k], 0.7f};
        const mr_activation last = losses[k] != MR_LOSS_LOG ? MR_ACT_IDENTITY
                                   : out > 1                ? MR_ACT_SOFTMAX
                                                            : MR_ACT_SIGMOID;
        struct stream s;
        float wf[12], bf[3];
        double w[12], sums[14];
        static _Alignas(MR_ALIGN) float y[3 * ROWS];
        stream_open(&s);
        stream_next(&s, losses[k] == MR_LOSS_LOG);
        for (size_t i = 0; i < count; i++) w[i] = (double)(float)(uniform(&s) - 0.5);
        for (size_t i = 0; i < out * COLS; i++) wf[i] = (float)w[i];
        for (size_t o = 0; o < out; o++) bf[o] = (float)w[out * COLS + o];
        const struct mr_linear_params params = {COLS, out, wf, bf, last};
        struct mr_packed *const score = mr_packed_create(MR_OP_LINEAR_SCORE, &params), *const packed = mr_packed_create(
                                                                                           MR_OP_LINEAR_SUM, &sum);
        void *const scratch = aligned_alloc(MR_ALIGN, 4096);
        mr_kernel_select(MR_OP_LINEAR_SCORE, "ref")->score(s.x, score, y, NULL, scratch, ROWS);
        const struct mr_sum_target target = {.label = s.label, .y = y};
        mr_kernel_select(MR_OP_LINEAR_SUM, "ref")->sum(s.x, packed, &target, sums, scratch, ROWS);
        const struct mr_learn_rows rows = {s.x, s.label, ROWS};
        near(sums[count] / sums[count + 1], mr_linear_loss(&sum, w, &rows, ROWS), 1e-6);
        for (size_t i = 0; i < count; i++) {
            const double at = w[i], h = 1e-5;
            w[i] = at + h;
            const double above = mr_linear_loss(&sum, w, &rows, ROWS);
            w[i] = at - h;
            near(sums[i] / sums[count + 1], (above - mr_linear_loss(&sum, w, &rows, ROWS)) / (2 * h), 2e-6);
            w[i] = at;
        }
        mr_packed_free(score);
        mr_packed_free(packed);
        free(scratch);
        free(s.x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),           cmocka_unit_test(test_ftrl),
        cmocka_unit_test(test_ftrl_goes_on),    cmocka_unit_test(test_kmeans_decay),
        cmocka_unit_test(test_kmeans_split),    cmocka_unit_test(test_plane),
        cmocka_unit_test(test_classes),         cmocka_unit_test(test_guard),
        cmocka_unit_test(test_gradient),        cmocka_unit_test(test_spark_labels),
        cmocka_unit_test(test_slow_divergence), cmocka_unit_test(test_no_divergence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
