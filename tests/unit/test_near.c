/* Outputs of another unit: what of them are numbers, what these may be, and which records are the same. */
#include "verify/near.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/linear_score/linear_score.h"
#include "verify_fixture.h"

#define ITEMS 4

static struct chain chain;
static char literal[ITEMS][16];
static struct mr_emit_item item[ITEMS];
static struct mr_layout layout;

/* {"id":CAPTURE,"p":SCORE,"all":PROBABILITIES,"class":CLASS} of one linear model: a score 2 x of two, the other x + 1
 */
static struct mr_near *make(void)
{
    static const char *const text[ITEMS] = {"{\"id\":", ",\"p\":", ",\"all\":", ",\"class\":"};
    static const mr_emit_kind kind[ITEMS] = {MR_EMIT_CAPTURE, MR_EMIT_SCORE, MR_EMIT_PROBABILITIES, MR_EMIT_CLASS};
    static const float w[] = {2, 1}, b[] = {0, 1};
    static const struct mr_linear_params params = {.cols = 1, .out = 2, .w = w, .b = b};
    struct mr_near *near;
    struct mr_err err;
    for (size_t i = 0; i < ITEMS; i++) {
        strcpy(literal[i], text[i]);
        item[i] = (struct mr_emit_item){.literal = literal[i], .literal_bytes = strlen(text[i]), .kind = kind[i]};
    }
    layout = (struct mr_layout){.item = item, .item_count = ITEMS, .decimals = -1};
    chain_init(&chain, 1);
    chain_add(&chain, MR_OP_LINEAR_SCORE, &params, 2, MR_NO_MODEL);
    assert_int_equal(mr_near_create(&layout, &chain.models, &near, &err), MR_OK);
    return near;
}

static void score(float x)
{
    chain.x[0] = x;
    chain.y[0][mr_tile_at(0, 0, 2)] = 2 * x;
    chain.y[0][mr_tile_at(0, 1, 2)] = x + 1;
}

/* Splits a text; its hash, or 0: it has another form. */
static uint64_t hash_of(struct mr_near *near, const char *text, const struct mr_match_number **numbers, size_t *count)
{
    uint64_t hash = 0;
    const size_t bytes = strlen(text);
    char *const copy = malloc(bytes + 1); /* exactly as long: what reads on is seen by a sanitizer */
    memcpy(copy, text, bytes);
    char *const tight = realloc(copy, bytes ? bytes : 1);
    const bool is_split = mr_near_split(near, tight, bytes, &hash, numbers, count);
    free(tight);
    return is_split ? hash : 0;
}

static void test_split(void **state)
{
    const struct mr_match_number *number;
    size_t count;
    struct mr_near *const near = make();
    (void)state;
    const uint64_t hash = hash_of(near, "{\"id\":7,\"p\":0.5,\"all\":[-25e-2,1],\"class\":1}", &number, &count);
    assert_true(hash && count == 3);
    assert_true(number[0].value == 0.5 && number[1].value == -0.25 && number[2].value == 1);
    /* Other numbers, the same record. */
    assert_true(hash == hash_of(near, "{\"id\":7,\"p\":3,\"all\":[0,9.25],\"class\":1}", &number, &count));
    assert_true(hash == hash_of(near, "{\"id\":7,\"p\":null,\"all\":[null,2],\"class\":1}", &number, &count));
    assert_true(isnan(number[0].value) && isnan(number[1].value) && number[2].value == 2);
    /* Another record: all else counts, and how many numbers there are. */
    assert_true(hash != hash_of(near, "{\"id\":8,\"p\":0.5,\"all\":[-25e-2,1],\"class\":1}", &number, &count));
    assert_true(hash != hash_of(near, "{\"id\":7,\"p\":0.5,\"all\":[-25e-2,1],\"class\":0}", &number, &count));
    assert_true(hash != hash_of(near, "{\"id\":7,\"p\":0.5,\"all\":[1],\"class\":1}", &number, &count));
    assert_true(hash != hash_of(near, "{\"id\":7,\"p\":0.5,\"all\":[],\"class\":1}", &number, &count) && count == 1);
    /* Copied values end where they end. */
    static const char *const ids[] = {"\"a,b}\"", "\"q\\\",\\\\\"", "{\"x\":[1,{\"y\":2}],\"z\":\"]\"}", "[[],[1,2]]",
                                      "null"};
    uint64_t before = hash;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"id\":%s,\"p\":0.5,\"all\":[1,2],\"class\":1}", ids[i]);
        const uint64_t other = hash_of(near, text, &number, &count);
        assert_true(other && other != before && count == 3 && number[0].value == 0.5);
        before = other;
    }
    mr_near_destroy(near);
}

static void test_other_forms(void **state)
{
    static const char *const text[] = {
        "",
        "{",
        "null",
        "{\"id\":7}",
        "{\"id\":7,\"p\":0.5,\"all\":[1,2],\"class\":1",   /* cut */
        "{\"id\":7,\"p\":0.5,\"all\":[1,2],\"class\":1}}", /* more */
        "{\"id\":7,\"p\":0.5,\"all\":[1,2],\"class\":1} ",
        "{\"id\":7,\"p\":0.5,\"all\":[1,2],\"class\":1,\"more\":2}",
        "{\"id\":7,\"p\": 0.5,\"all\":[1,2],\"class\":1}",    /* no bytes of ours */
        "{\"id\":7,\"p\":\"0.5\",\"all\":[1,2],\"class\":1}", /* no number */
        "{\"id\":7,\"p\":true,\"all\":[1,2],\"class\":1}",
        "{\"id\":7,\"p\":nul,\"all\":[1,2],\"class\":1}",
        "{\"id\":7,\"p\":,\"all\":[1,2],\"class\":1}",
        "{\"id\":7,\"p\":0.5x,\"all\":[1,2],\"class\":1}",
        "{\"id\":7,\"p\":0.5,\"all\":[1,2,\"class\":1}", /* no end of the array */
        "{\"id\":7,\"p\":0.5,\"all\":[1,2",
        "{\"id\":7,\"p\":0.5,\"all\":[1,,2],\"class\":1}",
        "{\"id\":7,\"p\":0.5,\"all\":[[1],2],\"class\":1}",
        "{\"id\":7,\"p\":0.5,\"all\":[1,2,3,4,5,6,7,8],\"class\":1}", /* more numbers than the model gives */
        "{\"id\":\"7,\"p\":0.5,\"all\":[1,2],\"class\":1}",           /* a text without an end */
        "{\"p\":0.5,\"id\":7,\"all\":[1,2],\"class\":1}",             /* another order */
    };
    const struct mr_match_number *number;
    size_t count;
    struct mr_near *const near = make();
    (void)state;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        if (hash_of(near, text[i], &number, &count)) fail_msg("taken for one of the job's: %s", text[i]);
    mr_near_destroy(near);
}

static void number_is(const struct mr_match_number *number, double value, double off, double most)
{
    if (fabs(number->value - value) > 1e-12 || fabs(number->off - off) > 1e-6 * off ||
        fabs(number->off_most - most) > 1e-6 * most)
        fail_msg("%.12g off %.12g or %.12g, not %.12g off %.12g or %.12g", number->value, number->off, number->off_most,
                 value, off, most);
}

static void test_numbers(void **state)
{
    const struct mr_match_number *number;
    struct mr_near *near = make();
    (void)state;
    score(8); /* 16, off by 1e-6 of 16; 9, by 1e-6 of 8 + 1 */
    assert_int_equal(mr_near_numbers(near, &chain.rows, chain.scores, 0, 1, &number), 3);
    number_is(&number[0], 16, 16e-6, 16e-6);
    number_is(&number[1], 16, 16e-6, 16e-6);
    number_is(&number[2], 9, 9e-6, 9e-6);
    mr_near_numbers(near, &chain.rows, chain.scores, 0, 5, &number); /* learned on for four updates */
    number_is(&number[2], 9, 9e-6, 45e-6);
    chain.y[0][mr_tile_at(0, 0, 2)] = INFINITY; /* is emitted as null */
    mr_near_numbers(near, &chain.rows, chain.scores, 0, 1, &number);
    assert_true(isnan(number[0].value) && isnan(number[1].value) && !isnan(number[2].value));
    layout.decimals = 3; /* half of the last digit more */
    score(8);
    mr_near_numbers(near, &chain.rows, chain.scores, 0, 2, &number);
    number_is(&number[2], 9, 9e-6 + 5.00001e-4, 18e-6 + 5.00001e-4);
    chain.item[0].reduced.name = "int8"; /* without a bound: a hundred times as far is not wrong */
    mr_near_numbers(near, &chain.rows, chain.scores, 0, 2, &number);
    number_is(&number[2], 9, 9e-6 + 5.00001e-4, 200 * 9e-6 + 5.00001e-4);
    mr_near_destroy(near);
}

/* The winner's probability, and of two classes in one number. */
static void test_probability(void **state)
{
    const struct mr_match_number *number;
    struct mr_near *near = make();
    (void)state;
    item[1].kind = MR_EMIT_PROBABILITY;
    score(3);
    chain.class_index[0][0] = 1;
    mr_near_numbers(near, &chain.rows, chain.scores, 0, 1, &number);
    number_is(&number[0], 4, 4e-6, 4e-6); /* of the second */
    mr_near_destroy(near);
    near = make();
    item[1].kind = MR_EMIT_PROBABILITY;
    item[2].is_complement = true;
    chain.facts[0].width = chain.scores[0].width = 1;
    chain.y[0][0] = 0.75F;
    chain.x[0] = 0.375F;
    chain.class_index[0][0] = 0;
    assert_int_equal(mr_near_numbers(near, &chain.rows, chain.scores, 0, 1, &number), 3);
    assert_true(number[0].value == 0.25 && number[1].value == 0.25 && number[2].value == 0.75);
    chain.class_index[0][0] = 1;
    mr_near_numbers(near, &chain.rows, chain.scores, 0, 1, &number);
    assert_true(number[0].value == 0.75);
    mr_near_destroy(near);
}

static void test_bare(void **state)
{
    struct mr_near *const near = make();
    (void)state;
    assert_false(mr_near_is_bare(near));
    item[0].kind = MR_EMIT_VERSION;
    assert_true(mr_near_is_bare(near));
    item[3].kind = MR_EMIT_PART;
    assert_false(mr_near_is_bare(near));
    mr_near_destroy(near);
}

static void fault(void *context, mr_match_fault kind, const struct mr_match_place *expected,
                  const struct mr_match_place *actual)
{
    (void)kind, (void)expected, (void)actual;
    ++*(int *)context;
}

/* What one record makes of x = 8 against what is there: "same", "near", "far" or "different". */
static const char *held(const char *there, double slack)
{
    static const char want[] = "{\"id\":7,\"p\":16,\"all\":[16,9],\"class\":0}";
    struct mr_near *const near = make();
    int faults = 0;
    const struct mr_match_open open = {.source_count = 1,
                                       .partition_count = 1,
                                       .split = mr_near_split,
                                       .split_context = near,
                                       .fault = fault,
                                       .context = &faults};
    struct mr_match_record expected = {.value = want, .value_bytes = sizeof want - 1};
    const struct mr_match_record actual = {.value = there, .value_bytes = strlen(there), .is_placed = true};
    struct mr_match *match;
    struct mr_err err;
    score(8);
    expected.number_count = (uint32_t)mr_near_numbers(near, &chain.rows, chain.scores, 0, slack, &expected.number);
    assert_int_equal(mr_match_create(&open, &match, &err), MR_OK);
    assert_int_equal(mr_match_expect(match, &expected, &err), MR_OK);
    assert_int_equal(mr_match_actual(match, &actual, &err), MR_OK);
    mr_match_end(match);
    const char *const how = faults                       ? "different"
                            : mr_match_far_count(match)  ? "far"
                            : mr_match_near_count(match) ? "near"
                                                         : "same";
    mr_match_destroy(match);
    mr_near_destroy(near);
    return how;
}

static void test_held(void **state)
{
    (void)state;
    assert_string_equal(held("{\"id\":7,\"p\":16,\"all\":[16,9],\"class\":0}", 1), "same");
    assert_string_equal(held("{\"id\":7,\"p\":16.0,\"all\":[16,9],\"class\":0}", 1), "near");
    assert_string_equal(held("{\"id\":7,\"p\":16.000015,\"all\":[15.999985,9.000008],\"class\":0}", 1), "near");
    assert_string_equal(held("{\"id\":7,\"p\":16.000017,\"all\":[16,9],\"class\":0}", 1), "different");
    assert_string_equal(held("{\"id\":7,\"p\":16,\"all\":[16,8.99999],\"class\":0}", 1), "different");
    assert_string_equal(held("{\"id\":7,\"p\":16,\"all\":[16,8.99999],\"class\":0}", 2), "far");
    assert_string_equal(held("{\"id\":7,\"p\":16,\"all\":[16,8.99998],\"class\":0}", 2), "different");
    assert_string_equal(held("{\"id\":7,\"p\":null,\"all\":[16,9],\"class\":0}", 100), "different");
    assert_string_equal(held("{\"id\":7,\"p\":16,\"all\":[16],\"class\":0}", 1), "different");
    assert_string_equal(held("{\"id\":8,\"p\":16.0,\"all\":[16,9],\"class\":0}", 1), "different");
    assert_string_equal(held("{\"id\":7,\"p\":16.0,\"all\":[16,9],\"class\":1}", 1), "different");
    assert_string_equal(held("{\"id\":7, \"p\":16,\"all\":[16,9],\"class\":0}", 1), "different");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_split),   cmocka_unit_test(test_other_forms),
                                       cmocka_unit_test(test_numbers), cmocka_unit_test(test_probability),
                                       cmocka_unit_test(test_bare),    cmocka_unit_test(test_held)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
