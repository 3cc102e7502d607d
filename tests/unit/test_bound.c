/* How far another unit may be off: against numbers worked out by hand, and against float32 sums in other orders. */
#include "verify/bound.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/kmeans_assign/kmeans_assign.h"
#include "kernels/linear_score/linear_score.h"
#include "kernels/mlp_forward/mlp_forward.h"
#include "kernels/scale/scale.h"
#include "verify_fixture.h"

#define ULP 1.1920928955078125e-7 /* of float32, at 1 */

static struct chain chain;

/* The bound of an output of the last model of the chain, for these features. */
static double bound_at(const float *x, size_t output, bool *is_known)
{
    struct mr_bound *bound;
    struct mr_err err;
    for (size_t c = 0; c < chain.rows.feature_count; c++) chain.x[mr_tile_at(0, c, chain.rows.feature_count)] = x[c];
    assert_int_equal(mr_bound_create(&chain.models, &bound, &err), MR_OK);
    mr_bound_row(bound, &chain.rows, chain.scores, 0);
    const double off = mr_bound_of(bound, chain.models.count - 1, output, is_known);
    mr_bound_destroy(bound);
    return off;
}

/* The bound must be that, within a millionth of it. */
static void bound_is(const float *x, size_t output, double want)
{
    bool is_known = false;
    const double off = bound_at(x, output, &is_known);
    assert_true(is_known);
    if (fabs(off - want) > 1e-6 * want) fail_msg("output %zu: %.12g, not %.12g", output, off, want);
}

static void unknown_is(const float *x, size_t output, double want)
{
    bool is_known = true;
    const double off = bound_at(x, output, &is_known);
    assert_false(is_known);
    assert_true(fabs(off - want) <= 1e-6 * want);
}

static void test_linear(void **state)
{
    const float w[] = {2, 3, 1, 1}, b[] = {-1, 0};
    struct mr_linear_params params = {.cols = 2, .out = 2, .w = w, .b = b, .activation = MR_ACT_IDENTITY};
    (void)state;
    chain_init(&chain, 2);
    chain_add(&chain, MR_OP_LINEAR_SCORE, &params, 2, MR_NO_MODEL);
    bound_is((float[]){10, -5}, 0, 3.6e-5);    /* 1 + 20 + 15 */
    bound_is((float[]){1e4F, -1e4F}, 1, 2e-2); /* they cancel: it is of the terms, not of what is left */
    bound_is((float[]){0, 0}, 0, 1e-6);        /* the bias alone */
    params.out = 1;
    params.activation = MR_ACT_SIGMOID;
    chain_init(&chain, 2);
    chain_add(&chain, MR_OP_LINEAR_SCORE, &params, 1, MR_NO_MODEL);
    bound_is((float[]){10, -5}, 0, 9.98201379e-6); /* z = 4: 3.6e-5 / 4 and a millionth of 0.98201379 */
    /* z = -31: a quarter of 6.1e-5 says nothing; 3.44247711e-14 * (exp(3.1e-5) - 1) and a millionth of it */
    bound_is((float[]){-15, 0}, 0, 1.1016092e-18);
}

/* Sums of more terms than 1e-6 has roundings in it. */
static void test_wide(void **state)
{
    static float w[256], x[256];
    const float b[] = {0};
    const struct mr_linear_params params = {.cols = 256, .out = 1, .w = w, .b = b};
    (void)state;
    for (size_t i = 0; i < 256; i++) w[i] = 1, x[i] = i % 2 ? 1 : -1;
    chain_init(&chain, 256);
    chain_add(&chain, MR_OP_LINEAR_SCORE, &params, 1, MR_NO_MODEL);
    bound_is(x, 0, 260 * ULP * 256);
}

static void test_mlp(void **state)
{
    const float w1[] = {1, 2, 3, -4}, b1[] = {0.5F, -0.5F}, w2[] = {2, -1}, b2[] = {1}, shift[] = {1e3F, 0};
    struct mr_mlp_layer layer[] = {{2, 2, w1, b1, MR_ACT_RELU}, {2, 1, w2, b2, MR_ACT_IDENTITY}};
    struct mr_mlp_params params = {.layer = layer, .layer_count = 2};
    (void)state;
    chain_init(&chain, 2);
    chain_add(&chain, MR_OP_MLP_FORWARD, &params, 1, MR_NO_MODEL);
    /* z = 4.5 and 1.5, of 4.5 and 10.5: off by 4.5e-6 and 1.05e-5. Then 2 * 4.5e-6 + 1.05e-5, and 1e-6 of 1 + 9 + 1.5
     */
    bound_is((float[]){2, 1}, 0, 3.1e-5 + 1.95e-11);
    layer[0].activation = MR_ACT_TANH;
    /* tanh 4.5 = 0.99975321, tanh 1.5 = 0.90514825: their arguments' errors and a millionth of each */
    const double first = 4.5e-6 + 0.99975321e-6, second = 1.05e-5 + 0.90514825e-6;
    bound_is((float[]){2, 1}, 0, 2 * first + second + 1e-6 * (1 + 2 * 0.99975321 + 0.90514825));
    layer[0].activation = MR_ACT_GELU;
    /* gelu 4.5 = 4.49998471, gelu 1.5 = 1.39978917: slopes of at most 1.13, a millionth of each argument */
    bound_is((float[]){2, 1}, 0,
             2 * (1.13 * 4.5e-6 + 4.5e-6) + (1.13 * 1.05e-5 + 1.5e-6) + 1e-6 * (1 + 2 * 4.49998471 + 1.39978917));
    layer[0].activation = MR_ACT_RELU;
    params.shift = shift;
    /* each difference is rounded once: 2 and 1 of these more in the features */
    bound_is((float[]){1002, 1}, 0, 3.1e-5 + 1.95e-11 + (2 * (2 + 2) + (6 + 4)) * ULP);
}

static void test_softmax(void **state)
{
    const float w[] = {1, 0, -1}, b[] = {0, 0, 0};
    const struct mr_linear_params params = {.cols = 1, .out = 3, .w = w, .b = b, .activation = MR_ACT_SOFTMAX};
    (void)state;
    chain_init(&chain, 1);
    chain_add(&chain, MR_OP_LINEAR_SCORE, &params, 3, MR_NO_MODEL);
    /* x = 1: 0.66524096, 0.24472847, 0.09003057; the worst argument is off by 1e-6, so value * (exp(2e-6) - 1) and 1e-6
     */
    bound_is((float[]){1}, 0, 0.66524096 * 3.000002e-6);
    bound_is((float[]){1}, 1, 0.24472847 * 3.000002e-6);
    bound_is((float[]){1}, 2, 0.09003057 * 3.000002e-6);
}

static void test_kmeans(void **state)
{
    const float center[] = {0, 0, 100, 100};
    struct mr_kmeans_params params = {.cols = 2, .k = 2, .center = center};
    (void)state;
    chain_init(&chain, 2);
    chain_add(&chain, MR_OP_KMEANS_ASSIGN, &params, 1, MR_NO_MODEL);
    /* 25 from the first: 1e-6 of it, 2 * 5 * 1e-6 * (5 + 0), and (2 + 8) roundings of (5 + 0) squared */
    bound_is((float[]){3, 4}, 0, 2.5e-5 + 5e-5 + 10 * ULP * 25);
    chain.class_index[0][0] = 1; /* 97 and 96 away from the second */
    const double far = 97.0 * 97 + 96.0 * 96, size = 5 + sqrt(20000);
    bound_is((float[]){3, 4}, 0, 1e-6 * far + 2 * sqrt(far) * 1e-6 * size + 10 * ULP * size * size);
    chain.class_index[0][0] = -1; /* nobody is near */
    chain.y[0][0] = 7;
    bool is_known = true;
    bound_at((float[]){3, 4}, 0, &is_known);
    assert_false(is_known);
    params.cols = 1; /* a line: no squares are taken apart */
    chain_init(&chain, 1);
    chain_add(&chain, MR_OP_KMEANS_ASSIGN, &params, 1, MR_NO_MODEL);
    bound_is((float[]){3}, 0, 9e-6 + 2 * 3 * 3e-6);
}

/* What a model reads of another one is off already. */
static void test_chain(void **state)
{
    const float shift[] = {10}, scale[] = {4}, w[] = {-3}, b[] = {1}, center[] = {0};
    const struct mr_scale_params scaler = {.cols = 1, .shift = shift, .scale = scale};
    const struct mr_linear_params linear = {.cols = 1, .out = 1, .w = w, .b = b};
    const struct mr_kmeans_params kmeans = {.cols = 1, .k = 1, .center = center};
    (void)state;
    chain_init(&chain, 1);
    chain_add(&chain, MR_OP_SCALE, &scaler, 1, MR_NO_MODEL);
    bound_is((float[]){12}, 0, 1e-6 * 22 * 4);
    chain_add(&chain, MR_OP_LINEAR_SCORE, &linear, 1, 0);
    chain.y[0][0] = 8; /* (12 - 10) * 4 */
    bound_is((float[]){12}, 0, 3 * 8.8e-5 * 1.000001 + 1e-6 * (1 + 24));
    chain_add(&chain, MR_OP_KMEANS_ASSIGN, &kmeans, 1, 0);
    bound_is((float[]){12}, 0, 1e-6 * 64 + 2 * 8 * (8e-6 + 8.8e-5));
}

/* Where there is no bound, it is a millionth of the number, and says so; also behind such a model. */
static void test_unknown(void **state)
{
    static float w[257 * 256], b[257];
    struct mr_mlp_layer layer[] = {{256, 256, w, b, MR_ACT_RELU}, {256, 1, w, b, MR_ACT_IDENTITY}};
    const struct mr_mlp_params large = {.layer = layer, .layer_count = 2};
    const struct mr_linear_params small = {.cols = 1, .out = 1, .w = w, .b = b};
    static float x[256];
    (void)state;
    chain_init(&chain, 256);
    chain_add(&chain, MR_OP_MLP_FORWARD, &large, 1, MR_NO_MODEL); /* 65,792 weights */
    chain.y[0][0] = -50;
    unknown_is(x, 0, 5e-5);
    chain_add(&chain, MR_OP_LINEAR_SCORE, &small, 1, 0);
    chain.y[1][0] = 3;
    unknown_is(x, 0, 3e-6);
    chain_init(&chain, 1);
    chain_add(&chain, MR_OP_MF_ESTIMATE, NULL, 1, MR_NO_MODEL);
    chain.y[0][0] = 4;
    unknown_is(x, 0, 4e-6);
    chain_init(&chain, 1);
    chain_add(&chain, MR_OP_LINEAR_SCORE, &small, 1, MR_NO_MODEL);
    chain.item[0].reduced.name = "bf16";
    chain.y[0][0] = 2;
    unknown_is(x, 0, 2e-6);
}

static unsigned seed = 1;

static float number(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(int32_t)seed / (float)(1u << 28);
}

/* Float32 sums, first to last and last to first, are no farther than that from the sum in double, nor from each other.
 */
static void test_sums(void **state)
{
    static float w[100], x[100];
    (void)state;
    for (int turn = 0; turn < 200; turn++) {
        const size_t cols = 1 + (size_t)turn % 100;
        const float b[] = {number()};
        const struct mr_linear_params params = {.cols = cols, .out = 1, .w = w, .b = b};
        for (size_t c = 0; c < cols; c++) w[c] = number(), x[c] = 1000 * number();
        chain_init(&chain, cols);
        chain_add(&chain, MR_OP_LINEAR_SCORE, &params, 1, MR_NO_MODEL);
        bool is_known;
        const double off = bound_at(x, 0, &is_known);
        double exact = b[0];
        volatile float up = b[0], down = b[0];
        for (size_t c = 0; c < cols; c++) {
            exact += (double)w[c] * x[c];
            up += w[c] * x[c];
            down += w[cols - 1 - c] * x[cols - 1 - c];
        }
        assert_true(is_known && fabs(up - exact) <= off && fabs(down - exact) <= off && fabs(up - down) <= off);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear),  cmocka_unit_test(test_wide),
                                       cmocka_unit_test(test_mlp),     cmocka_unit_test(test_softmax),
                                       cmocka_unit_test(test_kmeans),  cmocka_unit_test(test_chain),
                                       cmocka_unit_test(test_unknown), cmocka_unit_test(test_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
