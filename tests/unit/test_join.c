/* Records and labels that wait for each other: against a plain list that is searched from end to end, and case by case.
 */
#include "pipeline/join.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WAIT_MS 100

static struct mr_join *make(size_t cap, size_t floats)
{
    struct mr_join *join;
    struct mr_err err;
    assert_int_equal(mr_join_create(cap, floats, WAIT_MS, &join, &err), MR_OK);
    return join;
}

static struct mr_span span(const char *key)
{
    return (struct mr_span){key, strlen(key)};
}

static mr_join_verdict record(struct mr_join *join, const char *key, int64_t time_ms, float first, double *label)
{
    const struct mr_span text = span(key);
    float *payload = NULL;
    const mr_join_verdict verdict = mr_join_record(join, &text, time_ms, &payload, label);
    if (verdict == MR_JOIN_WAITS) payload[0] = first;
    return verdict;
}

static mr_join_verdict label(struct mr_join *join, const char *key, int64_t time_ms, double value, float *first)
{
    const struct mr_span text = span(key);
    const float *payload = NULL;
    const mr_join_verdict verdict = mr_join_label(join, &text, time_ms, value, &payload);
    if (verdict == MR_JOIN_MATCHED) *first = payload[0];
    return verdict;
}

static void counts_are(const struct mr_join *join, const uint64_t want[9])
{
    const struct mr_join_counts *const c = mr_join_counts(join);
    const uint64_t got[] = {c->matched,    c->waiting[0], c->waiting[1],   c->expired[0],  c->expired[1],
                            c->evicted[0], c->evicted[1], c->duplicate[0], c->duplicate[1]};
    static const char *const names[] = {"matched",         "records waiting",  "labels waiting",
                                        "records expired", "labels expired",   "records evicted",
                                        "labels evicted",  "records repeated", "labels repeated"};
    for (size_t i = 0; i < 9; i++) {
        if (got[i] != want[i])
            fail_msg("%s: %llu, not %llu", names[i], (unsigned long long)got[i], (unsigned long long)want[i]);
    }
}
#define COUNTS(...) ((const uint64_t[9]){__VA_ARGS__})

static void late_and_early(void **state)
{
    struct mr_join *const join = make(8, 2);
    double y = 0;
    float x = 0;
    (void)state;
    assert_int_equal(record(join, "a", 1000, 1.5f, &y), MR_JOIN_WAITS);
    assert_int_equal(label(join, "b", 1000, 7, &x), MR_JOIN_WAITS);
    counts_are(join, COUNTS(0, 1, 1));
    assert_int_equal(label(join, "a", 1000 + WAIT_MS, 3, &x), MR_JOIN_MATCHED);
    assert_true(x == 1.5f);
    assert_int_equal(record(join, "b", 1000 - WAIT_MS, 2.5f, &y), MR_JOIN_MATCHED);
    assert_true(y == 7);
    counts_are(join, COUNTS(2));
    mr_join_destroy(join);
}

/* What is more than wait_ms apart is no pair, whichever came first. */
static void out_of_time(void **state)
{
    struct mr_join *const join = make(8, 1);
    double y = 0;
    float x = 0;
    (void)state;
    record(join, "a", 1000, 1, &y);
    assert_int_equal(label(join, "a", 1001 + WAIT_MS, 3, &x), MR_JOIN_WAITS); /* for a record that may still come */
    counts_are(join, COUNTS(0, 0, 1, 1));
    assert_int_equal(record(join, "a", 1000, 1, &y), MR_JOIN_REFUSED); /* too early for the label that is there */
    counts_are(join, COUNTS(0, 0, 1, 2));
    assert_int_equal(record(join, "a", 1002 + 2 * WAIT_MS, 1, &y), MR_JOIN_WAITS);
    counts_are(join, COUNTS(0, 1, 0, 2, 1));
    mr_join_destroy(join);
}

static void duplicates(void **state)
{
    struct mr_join *const join = make(8, 1);
    double y = 0;
    float x = 0;
    (void)state;
    label(join, "a", 0, 1, &x);
    assert_int_equal(label(join, "a", 10, 2, &x), MR_JOIN_REFUSED);
    assert_int_equal(record(join, "a", 20, 1, &y), MR_JOIN_MATCHED);
    assert_true(y == 1); /* the first label counts */
    assert_int_equal(label(join, "a", 30, 3, &x), MR_JOIN_REFUSED);
    assert_int_equal(record(join, "a", 40, 1, &y), MR_JOIN_REFUSED);
    counts_are(join, COUNTS(1, 0, 0, 0, 0, 0, 0, 1, 2));
    assert_int_equal(record(join, "a", 1 + WAIT_MS, 9, &y), MR_JOIN_WAITS); /* the key is free again */
    counts_are(join, COUNTS(1, 1, 0, 0, 0, 0, 0, 1, 2));
    mr_join_destroy(join);
}

/* Records are forgotten by the clock of labels, labels by that of records, what was matched by both. */
static void clocks(void **state)
{
    struct mr_join *const join = make(8, 1);
    double y = 0;
    float x = 0;
    (void)state;
    record(join, "a", 1000, 1, &y);
    record(join, "b", 1001, 1, &y);
    label(join, "c", 1000, 1, &x);
    label(join, "d", 1001, 1, &x);
    mr_join_expire(join, (const int64_t[]){INT64_MIN, INT64_MIN});
    mr_join_expire(join, (const int64_t[]){1000 + WAIT_MS, 1000 + WAIT_MS});
    counts_are(join, COUNTS(0, 2, 2));
    mr_join_expire(join, (const int64_t[]){INT64_MIN, 1001 + WAIT_MS});
    counts_are(join, COUNTS(0, 1, 2, 1));
    mr_join_expire(join, (const int64_t[]){1001 + WAIT_MS, INT64_MIN});
    counts_are(join, COUNTS(0, 1, 1, 1, 1));
    assert_int_equal(record(join, "d", 1001, 1, &y), MR_JOIN_MATCHED);
    mr_join_expire(join, (const int64_t[]){5000, 1001 + WAIT_MS});
    assert_int_equal(label(join, "d", 1001, 1, &x), MR_JOIN_REFUSED); /* still known */
    mr_join_expire(join, (const int64_t[]){5000, 5000});
    assert_int_equal(label(join, "d", 1001, 1, &x), MR_JOIN_WAITS);
    mr_join_destroy(join);
}

/* A full store: what was matched goes first, then for a record the oldest by time. */
static void full(void **state)
{
    struct mr_join *const join = make(3, 1), *const one = make(1, 1);
    double y = 0;
    float x = 0;
    (void)state;
    record(join, "a", 10, 1, &y);
    label(join, "b", 5, 1, &x);
    record(join, "m", 12, 1, &y);
    label(join, "m", 12, 1, &x);
    record(join, "c", 13, 1, &y);
    counts_are(join, COUNTS(1, 2, 1));
    record(join, "d", 14, 1, &y); /* pushes out b */
    counts_are(join, COUNTS(1, 3, 0, 0, 0, 0, 1));
    assert_int_equal(label(join, "e", 15, 1, &x), MR_JOIN_REFUSED); /* of three, labels have no share */
    counts_are(join, COUNTS(1, 3, 0, 0, 0, 0, 2));
    record(join, "f", 16, 1, &y); /* pushes out a */
    counts_are(join, COUNTS(1, 3, 0, 0, 0, 1, 2));
    assert_int_equal(label(join, "c", 15, 1, &x), MR_JOIN_MATCHED);
    assert_int_equal(label(join, "g", 16, 1, &x), MR_JOIN_WAITS); /* in the place of what was matched */
    assert_int_equal(label(join, "h", 16, 1, &x), MR_JOIN_WAITS); /* in that of g */
    counts_are(join, COUNTS(2, 2, 1, 0, 0, 1, 3));
    for (int i = 0; i < 10; i++) record(one, i % 2 ? "odd" : "even", i, 1, &y);
    counts_are(one, COUNTS(0, 1, 0, 0, 0, 9));
    mr_join_destroy(one);
    mr_join_destroy(join);
}

/* Labels push out records up to their share of the store, then one another. */
static void full_of_records(void **state)
{
    struct mr_join *const join = make(16, 1);
    char key[16];
    double y = 0;
    float x = 0;
    (void)state;
    for (int i = 0; i < 16; i++) {
        snprintf(key, sizeof key, "record %d", i);
        record(join, key, i, 1, &y);
    }
    for (int i = 0; i < 5; i++) {
        snprintf(key, sizeof key, "label %d", i);
        assert_int_equal(label(join, key, i, 1, &x), MR_JOIN_WAITS);
    }
    counts_are(join, COUNTS(0, 14, 2, 0, 0, 2, 3));
    assert_int_equal(label(join, "record 1", 20, 1, &x), MR_JOIN_WAITS); /* was pushed out */
    assert_int_equal(label(join, "record 2", 20, 1, &x), MR_JOIN_MATCHED);
    mr_join_destroy(join);
}

static void keys(void **state)
{
    struct mr_join *const join = make(16, 1);
    char key[3][80];
    double y = 0;
    float x = 0;
    (void)state;
    for (int i = 0; i < 3; i++) memset(key[i], 'k', sizeof key[i]);
    key[0][MR_JOIN_KEY_BYTES] = key[1][MR_JOIN_KEY_BYTES + 1] = key[2][MR_JOIN_KEY_BYTES + 2] = '\0';
    for (int i = 0; i < 3; i++) assert_int_equal(record(join, key[i], 0, (float)i, &y), MR_JOIN_WAITS);
    assert_int_equal(record(join, "", 0, 3, &y), MR_JOIN_WAITS);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(label(join, key[i], 0, 1, &x), MR_JOIN_MATCHED);
        assert_true(x == (float)i);
    }
    const struct mr_span zero = {"\0", 1}; /* not the empty one */
    const float *payload;
    assert_int_equal(mr_join_label(join, &zero, 0, 1, &payload), MR_JOIN_WAITS);
    assert_int_equal(label(join, "", 0, 1, &x), MR_JOIN_MATCHED);
    mr_join_destroy(join);
}

/* ---- many, against a list ---- */

enum { KEYS = 40, CAP = 25, STEPS = 200000 };

struct plain {
    int key, state; /* 0 record, 1 label, 2 matched */
    int64_t time_ms, order;
    double value; /* the record's payload, or the label */
};
static struct plain list[CAP];
static size_t list_count;
static uint64_t want[9];

static void plain_drop(size_t at, int counter)
{
    if (list[at].state < 2 && counter) want[counter + list[at].state]++;
    memmove(&list[at], &list[at + 1], (--list_count - at) * sizeof *list);
}

/* The oldest of a state, list_count: none. */
static size_t plain_oldest(int state)
{
    size_t best = list_count;
    for (size_t i = 0; i < list_count; i++) {
        if (list[i].state == state && (best == list_count || list[i].order < list[best].order)) best = i;
    }
    return best;
}

static int plain_arrive(int side, int key, int64_t time_ms, int64_t order, double value, double *other)
{
    size_t at = 0;
    while (at < list_count && list[at].key != key) at++;
    if (at < list_count && time_ms - list[at].time_ms > WAIT_MS) {
        plain_drop(at, 3);
    } else if (at < list_count && list[at].state == 1 - side && list[at].time_ms - time_ms <= WAIT_MS) {
        *other = list[at].value;
        list[at].state = 2;
        list[at].order = order;
        want[0]++;
        return MR_JOIN_MATCHED;
    } else if (at < list_count) {
        want[(list[at].state == 1 - side ? 3 : 7) + side]++;
        return MR_JOIN_REFUSED;
    }
    if (list_count == CAP) {
        const size_t r = plain_oldest(0), l = plain_oldest(1);
        size_t labels = 0, out = plain_oldest(2);
        for (size_t i = 0; i < list_count; i++) labels += list[i].state == 1;
        if (out == CAP && side == 1) out = labels < CAP / 8 ? r : l;
        if (out == CAP) out = r == CAP || (l < CAP && list[l].time_ms < list[r].time_ms) ? l : r;
        plain_drop(out, 5);
    }
    list[list_count++] = (struct plain){key, side, time_ms, order, value};
    return MR_JOIN_WAITS;
}

static void plain_expire(int state, int64_t clock_ms)
{
    for (size_t at; (at = plain_oldest(state)) < list_count && list[at].time_ms < clock_ms - WAIT_MS;)
        plain_drop(at, 3);
}

static void many(void **state)
{
    struct mr_join *const join = make(CAP, 1);
    unsigned seed = 1;
    int64_t now = 0;
    (void)state;
    for (int64_t step = 0; step < STEPS; step++) {
        char key[16];
        const int number = rand_r(&seed) % KEYS, side = rand_r(&seed) % 2;
        const int64_t time_ms = now - rand_r(&seed) % 60;
        double other = -1, got = -1;
        float payload = -1;
        now += rand_r(&seed) % 3 ? 1 : rand_r(&seed) % 20;
        snprintf(key, sizeof key, "key %d", number);
        const int verdict = plain_arrive(side, number, time_ms, step, (double)step, &other);
        if (side == 0) {
            assert_int_equal(record(join, key, time_ms, (float)step, &got), verdict);
        } else {
            assert_int_equal(label(join, key, time_ms, (double)step, &payload), verdict);
            got = (double)payload;
        }
        if (verdict == MR_JOIN_MATCHED) assert_true(got == other);
        if (step % 7 == 0) {
            const int64_t clock_ms[] = {now - 70, now - rand_r(&seed) % 50};
            mr_join_expire(join, clock_ms);
            plain_expire(0, clock_ms[1]);
            plain_expire(1, clock_ms[0]);
            plain_expire(2, clock_ms[0] < clock_ms[1] ? clock_ms[0] : clock_ms[1]);
        }
        want[1] = want[2] = 0;
        for (size_t i = 0; i < list_count; i++) want[1] += list[i].state == 0, want[2] += list[i].state == 1;
        counts_are(join, want);
    }
    for (size_t i = 0; i < 9; i++) assert_true(want[i] > 0 || i == 1 || i == 2); /* all of it was met */
    mr_join_destroy(join);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_and_early), cmocka_unit_test(out_of_time), cmocka_unit_test(duplicates),
        cmocka_unit_test(clocks),         cmocka_unit_test(full),        cmocka_unit_test(full_of_records),
        cmocka_unit_test(keys),           cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
