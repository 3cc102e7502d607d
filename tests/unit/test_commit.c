/* The commit protocol against a script of answers: what the simulator (tests/sim) does not reach, and each status once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "pipeline/commit.h"

/* What Kafka answers, and what was asked: i init, b begin, o offsets, c commit, d drop, g go on. */
static struct {
    mr_txn_outcome init, begin, offsets, commit;
    mr_status refusal; /* what init says it is */
    bool is_dirty, goes_on, breaks;
    unsigned again; /* so many times MR_TXN_AGAIN before the answer */
    char asked[64];
    unsigned count;
} script;
static struct mr_commit commit;
static struct mr_err err;
static const struct mr_position position = {.partition = 1, .next_offset = 5};
static const struct mr_commit_batch full = {
    .position = &position, .count = 1, .in = 3, .out = 1, .dead = 1, .filtered = 1, .sent = 2, .acknowledged = 2};
static const struct mr_commit_batch empty;

static void note(char what)
{
    if (script.count + 1 < sizeof script.asked) script.asked[script.count++] = what;
}

static mr_txn_outcome answer(char what, mr_txn_outcome outcome)
{
    note(what);
    if (what != 'b' && script.again) {
        script.again--;
        return MR_TXN_AGAIN;
    }
    return outcome;
}

static mr_txn_outcome script_init(void *kafka, struct mr_err *e)
{
    (void)kafka;
    if (script.refusal) e->status = script.refusal;
    return answer('i', script.init);
}

static mr_txn_outcome script_begin(void *kafka, struct mr_err *e)
{
    (void)kafka, (void)e;
    return answer('b', script.begin);
}

static mr_txn_outcome script_offsets(void *kafka, const struct mr_position *positions, size_t count, struct mr_err *e)
{
    (void)kafka, (void)e;
    assert_ptr_equal(positions, &position);
    assert_int_equal(count, 1);
    return answer('o', script.offsets);
}

static mr_txn_outcome script_commit(void *kafka, struct mr_err *e)
{
    (void)kafka, (void)e;
    return answer('c', script.commit);
}

static bool script_is_dirty(void *kafka)
{
    (void)kafka;
    return script.is_dirty;
}

static void script_drop(void *kafka)
{
    (void)kafka;
    note('d');
}

static bool script_go_on(void *kafka, unsigned tries)
{
    (void)kafka, (void)tries;
    note('g');
    if (script.breaks) mr_commit_break(&commit);
    return script.goes_on;
}

static const struct mr_commit_ops ops = {.init = script_init,
                                         .begin = script_begin,
                                         .offsets = script_offsets,
                                         .commit = script_commit,
                                         .is_dirty = script_is_dirty,
                                         .drop = script_drop,
                                         .go_on = script_go_on};

static int setup(void **state)
{
    (void)state;
    memset(&script, 0, sizeof script);
    memset(&err, 0, sizeof err);
    script.goes_on = true;
    mr_log_level_set(MR_LOG_ERROR);
    mr_commit_init(&commit, &ops, NULL);
    return 0;
}

/* A protocol that is ready, and has asked nothing yet. */
static void opened(void)
{
    assert_int_equal(mr_commit_open(&commit, &err), MR_OK);
    memset(script.asked, 0, sizeof script.asked);
    script.count = 0;
}

static void test_order(void **state)
{
    (void)state;
    assert_int_equal(commit.phase, MR_COMMIT_CLOSED);
    assert_int_equal(mr_commit_open(&commit, &err), MR_OK);
    assert_int_equal(mr_commit_begin(&commit, &err), MR_OK);
    assert_int_equal(mr_commit_begin(&commit, &err), MR_OK); /* once is enough */
    assert_int_equal(mr_commit_end(&commit, &full, &err), MR_OK);
    assert_string_equal(script.asked, "diboc");
    assert_int_equal(commit.committed, 1);
    assert_int_equal(commit.recycled, 0);
    mr_commit_close(&commit);
    assert_string_equal(script.asked, "dibocd");
}

static void test_nothing_to_commit(void **state)
{
    (void)state;
    opened();
    assert_int_equal(mr_commit_end(&commit, &empty, &err), MR_OK);
    assert_int_equal(mr_commit_begin(&commit, &err), MR_OK);
    assert_int_equal(mr_commit_end(&commit, &empty, &err), MR_OK); /* begun, and then nothing was sent */
    assert_string_equal(script.asked, "b");
    assert_int_equal(commit.phase, MR_COMMIT_OPEN);
    assert_int_equal(mr_commit_end(&commit, &full, &err), MR_OK);
    assert_string_equal(script.asked, "boc");
    assert_int_equal(commit.committed, 1);
}

/* All were filtered: nothing was begun, but the offsets are committed. */
static void test_offsets_alone(void **state)
{
    const struct mr_commit_batch batch = {.position = &position, .count = 1, .in = 2, .filtered = 2};
    (void)state;
    opened();
    assert_int_equal(mr_commit_end(&commit, &batch, &err), MR_OK);
    assert_string_equal(script.asked, "boc");
}

/* What is wrong in itself is not asked of Kafka. */
static void test_contradictions(void **state)
{
    static const struct {
        struct mr_commit_batch batch;
        mr_status status;
    } row[] = {
        {{.position = &position, .count = 1, .in = 3, .out = 2}, MR_EINVARIANT},
        {{.in = 3, .out = 3, .sent = 3, .acknowledged = 3}, MR_EINVARIANT},
        {{.sent = 1, .acknowledged = 1}, MR_EINVARIANT},
        {{.in = 1, .filtered = 1}, MR_EINVARIANT},
        {{.position = &position, .count = 1, .sent = 1, .acknowledged = 2}, MR_EINVARIANT},
        {{.position = &position, .count = 1, .sent = 2, .acknowledged = 1}, MR_ERESTART},
    };
    (void)state;
    for (size_t r = 0; r < sizeof row / sizeof row[0]; r++) {
        opened();
        assert_int_equal(mr_commit_end(&commit, &row[r].batch, &err), row[r].status);
        assert_int_equal(err.status, row[r].status);
        assert_string_equal(script.asked, "");
        assert_int_equal(mr_commit_end(&commit, &full, &err), MR_ERESTART); /* nothing of it any more */
        assert_int_equal(mr_commit_begin(&commit, &err), MR_ERESTART);
        assert_string_equal(script.asked, "");
    }
    assert_int_equal(commit.committed, 0);
}

static const struct {
    mr_txn_outcome outcome;
    mr_status status;
} outcomes[] = {{MR_TXN_AGAIN, MR_ERESTART},
                {MR_TXN_ABORT, MR_ERESTART},
                {MR_TXN_FATAL, MR_ERESTART},
                {MR_TXN_FENCED, MR_EFENCED},
                {MR_TXN_REFUSED, MR_EKAFKA}};

/* Each failure of each call: its status, and nothing is asked after it. */
static void test_failures(void **state)
{
    (void)state;
    for (size_t o = 0; o < sizeof outcomes / sizeof outcomes[0]; o++) {
        const char *const go = outcomes[o].outcome == MR_TXN_AGAIN ? "g" : "";
        for (int call = 0; call < 4; call++) {
            static const char *const asked[] = {"di%sd", "b", "bo%s", "boc%s"};
            char want[16];
            setup(NULL);
            script.goes_on = false;
            if (call > 0) opened();
            script.init = call == 0 ? outcomes[o].outcome : MR_TXN_OK;
            script.begin = call == 1 ? outcomes[o].outcome : MR_TXN_OK;
            script.offsets = call == 2 ? outcomes[o].outcome : MR_TXN_OK;
            script.commit = call == 3 ? outcomes[o].outcome : MR_TXN_OK;
            err.status = MR_OK;
            const mr_status status = call ? mr_commit_end(&commit, &full, &err) : mr_commit_open(&commit, &err);
            assert_int_equal(status, outcomes[o].status);
            assert_int_equal(err.status, outcomes[o].status);
            const char *const at = strchr(asked[call], '%');
            const size_t head = at ? (size_t)(at - asked[call]) : strlen(asked[call]);
            memset(want, 0, sizeof want);
            memcpy(want, asked[call], head);
            if (at) strcat(want, go), strcat(want, at + 2);
            assert_string_equal(script.asked, want);
            assert_int_equal(commit.phase, call ? MR_COMMIT_BROKEN : MR_COMMIT_CLOSED);
            assert_int_equal(commit.committed, 0);
        }
    }
    assert_int_equal(mr_commit_open(&commit, NULL), MR_OK); /* err may be NULL */
    script.commit = MR_TXN_ABORT;
    assert_int_equal(mr_commit_end(&commit, &full, NULL), MR_ERESTART);
}

/* A producer that cannot be made of the job's properties is a wrong job file, not a broker's refusal. */
static void test_wrong_job(void **state)
{
    (void)state;
    script.init = MR_TXN_REFUSED;
    script.refusal = MR_ECONFIG;
    assert_int_equal(mr_commit_open(&commit, &err), MR_ECONFIG);
    script.refusal = MR_EKAFKA;
    assert_int_equal(mr_commit_open(&commit, &err), MR_EKAFKA);
}

static void test_again(void **state)
{
    (void)state;
    script.again = 2;
    assert_int_equal(mr_commit_open(&commit, &err), MR_OK);
    assert_string_equal(script.asked, "digigi");
    opened();
    script.again = 2;
    assert_int_equal(mr_commit_end(&commit, &full, &err), MR_OK);
    assert_string_equal(script.asked, "bogogoc");
}

/* Partitions leave while offsets are sent: they are not sent again, whatever the next answer would be. */
static void test_break(void **state)
{
    (void)state;
    mr_commit_break(&commit);
    assert_int_equal(commit.phase, MR_COMMIT_CLOSED);
    assert_int_equal(mr_commit_end(&commit, &empty, &err), MR_ERESTART);
    opened();
    mr_commit_break(&commit);
    assert_int_equal(mr_commit_begin(&commit, &err), MR_ERESTART);
    assert_int_equal(mr_commit_end(&commit, &empty, &err), MR_ERESTART);
    assert_string_equal(script.asked, "");
    opened();
    script.breaks = true;
    script.again = 1;
    assert_int_equal(mr_commit_end(&commit, &full, &err), MR_ERESTART);
    assert_string_equal(script.asked, "bog");
    assert_int_equal(commit.committed, 0);
}

static void test_dirty(void **state)
{
    (void)state;
    opened();
    script.is_dirty = true;
    assert_int_equal(mr_commit_end(&commit, &full, &err), MR_OK);
    assert_string_equal(script.asked, "bocdi");
    assert_int_equal(commit.recycled, 1);
    assert_int_equal(commit.phase, MR_COMMIT_READY);
    script.init = MR_TXN_FENCED; /* committed, but there is no other producer */
    assert_int_equal(mr_commit_end(&commit, &full, &err), MR_EFENCED);
    assert_int_equal(commit.committed, 2);
    script.init = MR_TXN_OK;
    opened();
    commit.keeps_dirty = true;
    assert_int_equal(mr_commit_end(&commit, &full, &err), MR_OK);
    assert_string_equal(script.asked, "boc");
}

/* A trainer is rebuilt: what it knows may be old. */
static void test_dirty_with_state(void **state)
{
    (void)state;
    opened();
    script.is_dirty = true;
    commit.has_state = true;
    assert_int_equal(mr_commit_end(&commit, &full, &err), MR_OK);
    assert_string_equal(script.asked, "boc");
    assert_int_equal(commit.committed, 1);
    assert_int_equal(commit.recycled, 1);
    assert_int_equal(mr_commit_begin(&commit, &err), MR_ERESTART);
    assert_int_equal(mr_commit_end(&commit, &empty, &err), MR_ERESTART);
    assert_string_equal(script.asked, "boc");
}

static void test_due(void **state)
{
    (void)state;
    assert_int_equal(mr_commit_due(0, 5000, 100), 5100);    /* the first, or after a rest */
    assert_int_equal(mr_commit_due(1000, 1010, 100), 1100); /* a commit that took 10 */
    assert_int_equal(mr_commit_due(1000, 1000, 100), 1100);
    assert_int_equal(mr_commit_due(1000, 1080, 100), 1130); /* a slow one */
    assert_int_equal(mr_commit_due(1000, 1100, 100), 1200);
    assert_int_equal(mr_commit_due(1000, 950, 100), 1050); /* made before it was due: the partitions left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, setup),
        cmocka_unit_test_setup(test_nothing_to_commit, setup),
        cmocka_unit_test_setup(test_offsets_alone, setup),
        cmocka_unit_test_setup(test_contradictions, setup),
        cmocka_unit_test_setup(test_failures, setup),
        cmocka_unit_test_setup(test_wrong_job, setup),
        cmocka_unit_test_setup(test_again, setup),
        cmocka_unit_test_setup(test_break, setup),
        cmocka_unit_test_setup(test_dirty, setup),
        cmocka_unit_test_setup(test_dirty_with_state, setup),
        cmocka_unit_test(test_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
