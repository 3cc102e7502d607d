/* A state topic, record by record: the newest state, how to come to earlier ones, and everything that can be broken in
 * it (each with the record that is to be named). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "state/header.h"
#include "state/log.h"
#include "state_fixture.h"

#define TOPIC_MAX   256
#define MODEL_BYTES 2000 /* three chunks of 1 KiB */

/* One record; what is not NULL is the topic's. */
struct record {
    char key[MR_STATE_KEY_BYTES];
    char *value; /* NULL: a tombstone */
    size_t bytes;
    bool is_gone; /* compacted away */
};

struct topic {
    struct record record[TOPIC_MAX];
    size_t count;
};

static void put(struct topic *topic, const char *key, const struct mr_blob *value)
{
    struct record *const record = &topic->record[topic->count++];
    assert_true(topic->count <= TOPIC_MAX);
    *record = (struct record){.bytes = value ? value->bytes : 0};
    snprintf(record->key, sizeof record->key, "%s", key);
    if (!value) return;
    record->value = malloc(value->bytes + 1);
    memcpy(record->value, value->data, value->bytes);
}

static bool manifest_first; /* the manifest of a snapshot stands before its chunks, not behind them */

static void put_commit(struct topic *topic, const struct state_fixture *f)
{
    char key[MR_STATE_KEY_BYTES];
    struct mr_blob blob = {0};
    struct mr_err err;
    for (int step = 0; step < 2; step++) {
        if ((step == 0) == manifest_first) {
            if (mr_state_commit_encode(&f->commit, &blob, &err)) fail_msg("%s", err.text);
            mr_state_key_print(key, f->commit.model, f->commit.snapshot, MR_STATE_MANIFEST, f->commit.index);
            put(topic, key, &blob);
            continue;
        }
        if (f->commit.index) continue;
        char *const model = fixture_model(f->commit.version_after, MODEL_BYTES);
        for (uint32_t i = 0; i < mr_state_chunk_count(MODEL_BYTES, 1024); i++) {
            if (mr_state_chunk_encode(&f->commit, model, 1024, i, &blob, &err)) fail_msg("%s", err.text);
            mr_state_key_print(key, f->commit.model, f->commit.snapshot, MR_STATE_CHUNK, i);
            put(topic, key, &blob);
        }
        free(model);
    }
    mr_blob_deinit(&blob);
}

/* Commits 1 to count, every third of them with a snapshot of three chunks. */
static void topic_fill(struct topic *topic, uint64_t count)
{
    memset(topic, 0, sizeof *topic);
    for (uint64_t seq = 1; seq <= count; seq++) {
        struct state_fixture f;
        fixture_commit(&f, seq, 1 + (seq - 1) / 3, (uint32_t)((seq - 1) % 3));
        if (!f.commit.index) {
            char *const model = fixture_model(f.commit.version_after, MODEL_BYTES);
            fixture_snapshot(&f, model, MODEL_BYTES);
            free(model);
        }
        put_commit(topic, &f);
    }
}

static void topic_free(struct topic *topic)
{
    for (size_t i = 0; i < topic->count; i++) free(topic->record[i].value);
}

/* Only the last record of each key, as a cleaner that is done leaves it. */
static void topic_compact(struct topic *topic)
{
    for (size_t i = 0; i < topic->count; i++) {
        for (size_t j = i + 1; j < topic->count; j++)
            topic->record[i].is_gone |= !strcmp(topic->record[i].key, topic->record[j].key);
    }
}

static size_t find(const struct topic *topic, const char *key)
{
    size_t found = topic->count;
    for (size_t i = 0; i < topic->count; i++) {
        if (!strcmp(topic->record[i].key, key)) found = i;
    }
    assert_true(found < topic->count);
    return found;
}

static const struct mr_state_log_open usual = {
    .topic = "m.state", .model = "m/1", .type = "linear", .schema_hash = FIXTURE_SCHEMA};

static mr_status read_as(const struct mr_state_log_open *open, const struct topic *topic, struct mr_state_log **log_out,
                         struct mr_err *err)
{
    mr_status status = mr_state_log_create(open, log_out, err);
    for (size_t i = 0; i < topic->count && !status; i++) {
        const struct record *const record = &topic->record[i];
        if (record->is_gone) continue;
        status = mr_state_log_take(*log_out, record->key, strlen(record->key), record->value, record->bytes,
                                   1000 + (int64_t)i, err);
        if (status == MR_EINVARIANT) status = MR_OK; /* as a reader of a topic goes on */
    }
    if (!status) status = mr_state_log_check(*log_out, err);
    if (!status) return MR_OK;
    mr_state_log_destroy(*log_out);
    *log_out = NULL;
    return status;
}

static void read_ok(const struct topic *topic, struct mr_state_log **log_out)
{
    struct mr_err err;
    if (read_as(&usual, topic, log_out, &err)) fail_msg("%s", err.text);
}

static void refused(const struct topic *topic, mr_status status, size_t record, const char *reason)
{
    struct mr_state_log *log;
    struct mr_err err = {0};
    char offset[32];
    const mr_status found = read_as(&usual, topic, &log, &err);
    snprintf(offset, sizeof offset, "offset %zu", 1000 + record);
    if (found != status || !strstr(err.text, reason) || !strstr(err.text, offset) || !strstr(err.text, "m.state"))
        fail_msg("%d \"%s\": not %d, \"%s\" at %s", found, err.text, status, reason, offset);
    mr_state_log_destroy(log);
}

static void model_is(const struct mr_state_log *log, uint64_t seq, uint64_t version)
{
    struct mr_span bytes;
    const struct mr_state_commit *const commit = mr_state_log_model(log, &bytes);
    char *const model = fixture_model(version, MODEL_BYTES);
    assert_non_null(commit);
    assert_int_equal(commit->seq, seq);
    assert_int_equal(bytes.bytes, MODEL_BYTES);
    assert_memory_equal(bytes.data, model, MODEL_BYTES);
    free(model);
}

static void the_newest_state_is_there(void **state)
{
    static struct topic topic;
    (void)state;
    for (uint64_t count = 0; count <= 20; count++) {
        struct mr_state_log *log;
        struct mr_state_point point;
        struct mr_err err;
        topic_fill(&topic, count);
        for (int is_compact = 0; is_compact < 2; is_compact++) {
            if (is_compact) topic_compact(&topic);
            read_ok(&topic, &log);
            if (!count) {
                struct mr_span bytes;
                assert_null(mr_state_log_last(log));
                assert_null(mr_state_log_model(log, &bytes));
                assert_int_equal(
                    mr_state_log_seek(log, &(struct mr_state_target){.by = MR_STATE_AT_LAST}, &point, &err), MR_EINPUT);
            } else {
                assert_int_equal(mr_state_log_last(log)->seq, count);
                const uint64_t snapshot_seq = (count - 1) / 3 * 3 + 1;
                model_is(log, snapshot_seq, snapshot_seq * FIXTURE_UPDATES);
                if (mr_state_log_seek(log, &(struct mr_state_target){.by = MR_STATE_AT_LAST}, &point, &err))
                    fail_msg("%s", err.text);
                assert_int_equal(point.snapshot->commit->seq, snapshot_seq);
                assert_int_equal(point.behind_count, count - snapshot_seq);
                for (size_t i = 0; i < point.behind_count; i++)
                    assert_int_equal(point.behind[i].commit->seq, snapshot_seq + 1 + i);
                if (point.behind_count) assert_int_equal(point.last_update_count, FIXTURE_UPDATES);
            }
            mr_state_log_destroy(log);
        }
        topic_free(&topic);
    }
}

static void earlier_states_are_found(void **state)
{
    static struct topic topic;
    struct mr_state_log *log, *older;
    struct mr_state_point point;
    struct mr_err err;
    size_t count;
    (void)state;
    topic_fill(&topic, 18);
    topic_compact(&topic);
    read_ok(&topic, &log);
    const struct mr_state_entry *const entry = mr_state_log_entries(log, &count);
    assert_int_equal(count, 12); /* four snapshots, of three commits each */
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entry[i].commit->seq, 7 + i);
        assert_true(entry[i].has_snapshot == (i % 3 == 0));
        assert_int_equal(entry[i].offset, 1000 + find(&topic, topic.record[entry[i].offset - 1000].key));
    }
#define SEEK(kind, value) mr_state_log_seek(log, &(struct mr_state_target){.by = kind, .number = value}, &point, &err)
    assert_int_equal(SEEK(MR_STATE_AT_SEQ, 12), MR_OK);
    assert_int_equal(point.snapshot->commit->seq, 10);
    assert_int_equal(point.behind_count, 2);
    assert_int_equal(point.last_update_count, FIXTURE_UPDATES);
    assert_int_equal(SEEK(MR_STATE_AT_SEQ, 10), MR_OK);
    assert_int_equal(point.behind_count, 0);
    /* In the middle of commit 12's updates; in the middle of commit 13's, which wrote a snapshot only after them. */
    assert_int_equal(SEEK(MR_STATE_AT_VERSION, 11 * FIXTURE_UPDATES + 2), MR_OK);
    assert_true(point.snapshot->commit->seq == 10 && point.behind_count == 2 && point.last_update_count == 2);
    assert_int_equal(SEEK(MR_STATE_AT_VERSION, 12 * FIXTURE_UPDATES + 1), MR_OK);
    assert_true(point.snapshot->commit->seq == 10 && point.behind_count == 3 && point.last_update_count == 1);
    assert_int_equal(point.behind[2].commit->seq, 13);
    assert_int_equal(SEEK(MR_STATE_AT_VERSION, 13 * FIXTURE_UPDATES), MR_OK);
    assert_true(point.snapshot->commit->seq == 13 && !point.behind_count);
    /* Where a snapshot is another than the one that is kept, its bytes come from reading once more. */
    assert_int_equal(SEEK(MR_STATE_AT_SEQ, 8), MR_OK);
    struct mr_state_log_open open = usual;
    open.snapshot = point.snapshot->commit->snapshot;
    if (read_as(&open, &topic, &older, &err)) fail_msg("%s", err.text);
    model_is(older, 7, 21);
    mr_state_log_destroy(older);
    open.snapshot = 0, open.is_listing = true;
    if (read_as(&open, &topic, &older, &err)) fail_msg("%s", err.text);
    struct mr_span bytes;
    assert_null(mr_state_log_model(older, &bytes));
    mr_state_log_destroy(older);
    /* By offsets, in any order; those of no commit. */
    struct mr_state_position at[3];
    struct state_fixture f;
    fixture_commit(&f, 14, 1, 1);
    for (int i = 0; i < 3; i++) at[i] = f.position[2 - i];
    struct mr_state_target target = {.by = MR_STATE_AT_OFFSETS, .position = at, .position_count = 3};
    assert_int_equal(mr_state_log_seek(log, &target, &point, &err), MR_OK);
    assert_true(point.snapshot->commit->seq == 13 && point.behind_count == 1);
    at[1].next_offset++;
    assert_int_equal(mr_state_log_seek(log, &target, &point, &err), MR_EINPUT);
    target.position_count = 2;
    assert_int_equal(mr_state_log_seek(log, &target, &point, &err), MR_EINPUT);
    assert_int_equal(SEEK(MR_STATE_AT_SEQ, 6), MR_EINPUT);
    assert_non_null(strstr(err.text, "commits 7 to 18"));
    assert_int_equal(SEEK(MR_STATE_AT_VERSION, 6 * FIXTURE_UPDATES + 1), MR_EINPUT); /* within the first commit */
    assert_non_null(strstr(err.text, "versions 21 to"));
    assert_int_equal(SEEK(MR_STATE_AT_VERSION, 999), MR_EINPUT);
#undef SEEK
    mr_state_log_destroy(log);
    topic_free(&topic);
}

/* Rolled back to version 9, then two more commits: the later one of two versions 12 counts. */
static void a_roll_back_is_followed(void **state)
{
    static struct topic topic;
    struct mr_state_log *log;
    struct mr_state_point point;
    struct mr_err err;
    struct state_fixture f;
    (void)state;
    topic_fill(&topic, 5);
    fixture_commit(&f, 6, 3, 0);
    f.commit.kind = MR_STATE_ROLLED_BACK;
    f.commit.update_count = f.commit.range_count = 0;
    f.commit.version_after = 9;
    char *const model = fixture_model(9, MODEL_BYTES);
    fixture_snapshot(&f, model, MODEL_BYTES);
    free(model);
    put_commit(&topic, &f);
    fixture_commit(&f, 7, 3, 1);
    f.commit.version_before = 9, f.commit.version_after = 12;
    put_commit(&topic, &f);
    read_ok(&topic, &log);
    model_is(log, 6, 9);
    const struct mr_state_target last = {.by = MR_STATE_AT_VERSION, .number = 12};
    assert_int_equal(mr_state_log_seek(log, &last, &point, &err), MR_OK);
    assert_true(point.snapshot->commit->seq == 6 && point.behind_count == 1 && point.behind[0].commit->seq == 7);
    const struct mr_state_target before = {.by = MR_STATE_AT_VERSION, .number = 14};
    assert_int_equal(mr_state_log_seek(log, &before, &point, &err), MR_OK);
    assert_true(point.snapshot->commit->seq == 4 && point.behind_count == 1 && point.last_update_count == 2);
    mr_state_log_destroy(log);
    topic_free(&topic);
}

/* Each breaks a topic of 8 commits: snapshots with commits 1, 4 and 7. */
static void broken_topics_are_refused(void **state)
{
    static struct topic topic;
    struct state_fixture f;
    struct mr_blob blob = {0};
    struct mr_err err;
    struct record *record;
    size_t at;
    (void)state;
#define BREAK(key)                     (topic_fill(&topic, 8), at = find(&topic, key), record = &topic.record[at])
#define REFUSED(status, where, reason) (refused(&topic, status, where, reason), topic_free(&topic))
    /* Missing: a chunk of the newest snapshot, its manifest, all of it, a commit between. */
    BREAK("m/1/3/c1")->is_gone = true;
    REFUSED(MR_EINVARIANT, at + 1, "chunk 1 of 3");
    BREAK("m/1/3/c0")->is_gone = true;
    REFUSED(MR_EINVARIANT, at + 1, "chunk 0 of 3");
    BREAK("m/1/3/c2")->is_gone = true;
    REFUSED(MR_EINVARIANT, find(&topic, "m/1/3/m1"), "chunk 2 of 3");
    BREAK("m/1/3/m0")->is_gone = true;
    REFUSED(MR_EINVARIANT, at + 1, "snapshot 3");
    BREAK("m/1/3/m0")->is_gone = true;
    topic.record[find(&topic, "m/1/3/c0")].is_gone = topic.record[find(&topic, "m/1/3/c1")].is_gone = true;
    topic.record[find(&topic, "m/1/3/c2")].is_gone = true;
    REFUSED(MR_EINVARIANT, at + 1, "which is not there");
    BREAK("m/1/2/m2")->is_gone = true;
    REFUSED(MR_EINVARIANT, find(&topic, "m/1/3/m0"), "commit 7 follows commit 6");
    /* A tombstone over each of them. */
    BREAK("m/1/3/c1");
    put(&topic, "m/1/3/c1", NULL);
    REFUSED(MR_EINVARIANT, topic.count - 1, "chunk 1 of 3");
    BREAK("m/1/3/m0");
    put(&topic, "m/1/3/m0", NULL);
    REFUSED(MR_EINVARIANT, at + 1, "snapshot 3");
    /* Changed: a wrong checksum, another format, cut off. */
    BREAK("m/1/1/m1")->value[30] ^= 1;
    REFUSED(MR_EINVARIANT, at, "checksum");
    BREAK("m/1/1/c1")->value[4] = 9;
    REFUSED(MR_EINVARIANT, at, "newer");
    BREAK("m/1/1/c1")->value[4] = 0;
    REFUSED(MR_EINVARIANT, at, "older");
    BREAK("m/1/2/c2")->bytes -= 5;
    REFUSED(MR_EINVARIANT, at, "cut off");
    BREAK("m/1/2/c2")->bytes = 3;
    REFUSED(MR_EINVARIANT, at, "no state record");
    /* A chunk of the right form with other bytes: only the model's checksum shows it. */
    BREAK("m/1/3/c1")->value[500] ^= 1;
    blob = (struct mr_blob){record->value, record->bytes, record->bytes};
    mr_state_header_end(&blob);
    REFUSED(MR_EINVARIANT, find(&topic, "m/1/3/m0"), "checksum of the model");
    blob = (struct mr_blob){0};
    /* Strangers: another key, another model under our key, a record under another one's key. */
    BREAK("m/1/3/m1");
    memcpy(record->key, "x/1", 3);
    REFUSED(MR_EINVARIANT, at, "another model's");
    BREAK("m/1/3/m1");
    memcpy(record->key, "hello", 6);
    REFUSED(MR_EINVARIANT, at, "no state record's");
    BREAK("m/1/3/m1");
    memcpy(record->key, "m/1/3/m2", 8);
    REFUSED(MR_EINVARIANT, at, "under another one's key");
    BREAK("m/1/3/c1");
    memcpy(record->key, "m/1/3/c2", 8);
    REFUSED(MR_EINVARIANT, at, "under another one's key");
    /* A commit 9 that is another's: model, type, schema, a snapshot's number that goes back, a second commit 8. */
#define COMMIT(change)                                                                                                 \
    do {                                                                                                               \
        topic_fill(&topic, 8);                                                                                         \
        fixture_commit(&f, 9, 3, 2);                                                                                   \
        change;                                                                                                        \
        if (mr_state_commit_encode(&f.commit, &blob, &err)) fail_msg("%s", err.text);                                  \
        char key[MR_STATE_KEY_BYTES];                                                                                  \
        mr_state_key_print(key, "m/1", f.commit.snapshot, MR_STATE_MANIFEST, f.commit.index);                          \
        put(&topic, key, &blob);                                                                                       \
        at = topic.count - 1;                                                                                          \
    } while (0)
    COMMIT(f.commit.model = "m/2");
    REFUSED(MR_EINVARIANT, at, "of another model");
    COMMIT(f.commit.type = "mlp");
    REFUSED(MR_EDATA, at, "is a mlp there");
    COMMIT(f.commit.schema_hash++);
    REFUSED(MR_EDATA, at, "other features");
    COMMIT((f.commit.snapshot = 2, f.commit.index = 3));
    REFUSED(MR_EINVARIANT, at, "two processes");
    COMMIT((f.commit.seq = 8, f.commit.seq_before = 7));
    REFUSED(MR_EINVARIANT, at, "two processes");
    COMMIT(f.commit.index = 1);
    REFUSED(MR_EINVARIANT, at, "two processes");
    COMMIT(f.commit.seq_before = 7);
    REFUSED(MR_EINVARIANT, at, "commit 9 follows commit 7");
    COMMIT((f.commit.seq = 10, f.commit.seq_before = 9));
    REFUSED(MR_EINVARIANT, at, "commit 10 follows commit 9");
    COMMIT(f.commit.index = 3);
    REFUSED(MR_EINVARIANT, at, "missing");
    COMMIT((f.commit.version_before++, f.commit.version_after++));
    REFUSED(MR_EINVARIANT, at, "goes on from version 25");
    COMMIT((f.commit.range_count = 0, f.commit.update_count = 0, f.commit.version_after = 24,
            f.position[1].next_offset = 1599));
    REFUSED(MR_EINVARIANT, at, "clicks 7 at offset 1599");
    COMMIT((f.commit.range_count = 0, f.commit.update_count = 0, f.commit.version_after = 24,
            f.commit.position_count = 2));
    REFUSED(MR_EINVARIANT, at, "views 0 at offset -1");
    COMMIT((void)0);
    struct mr_state_log *log;
    read_ok(&topic, &log); /* as it is when nothing is wrong */
    mr_state_log_destroy(log);
    topic_free(&topic);
#undef COMMIT
#undef REFUSED
#undef BREAK
    mr_blob_deinit(&blob);
}

/* The commit of a roll-back behind 8 commits, upon snapshot 4: as `millrace model rollback` writes it. */
static void put_back(struct topic *topic, uint64_t seq_before, uint64_t version_before)
{
    struct state_fixture f;
    fixture_commit(&f, 9, 4, 0);
    f.commit.kind = MR_STATE_ROLLED_BACK;
    f.commit.update_count = f.commit.range_count = 0;
    f.commit.seq_before = seq_before;
    f.commit.version_before = version_before;
    f.commit.version_after = 18;
    char *const model = fixture_model(18, MODEL_BYTES);
    fixture_snapshot(&f, model, MODEL_BYTES);
    free(model);
    put_commit(topic, &f);
}

/* Broken, then rolled back: whole again, and so it is with a commit behind it. Broken behind that: refused. */
static void what_stands_before_a_roll_back_may_be_broken(void **state)
{
    static struct topic topic;
    struct mr_state_log *log;
    struct mr_err err;
    struct state_fixture f;
    bool is_there[TOPIC_MAX];
    uint64_t seq, snapshot;
    (void)state;
    static const char *const faults[] = {"chunk", "manifest", "stranger", "bits", "again"};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        topic_fill(&topic, 8);
        const size_t chunk = find(&topic, "m/1/3/c0"), last = find(&topic, "m/1/3/m1");
        const bool is_chunk = !strcmp(faults[i], "chunk");
        uint64_t seq_before = 8, version_before = 24;
        if (is_chunk) put(&topic, "m/1/3/c0", NULL);
        if (!strcmp(faults[i], "manifest")) put(&topic, "m/1/3/m1", NULL), seq_before = 7, version_before = 21;
        if (!strcmp(faults[i], "stranger")) put(&topic, "hello", &(struct mr_blob){topic.record[0].value, 9, 9});
        if (!strcmp(faults[i], "bits")) topic.record[chunk].value[100] ^= 1;
        if (!strcmp(faults[i], "again")) {
            const struct record *const old = &topic.record[find(&topic, "m/1/2/m1")];
            put(&topic, "m/1/2/m1", &(struct mr_blob){old->value, old->bytes, old->bytes});
        }
        put_back(&topic, seq_before, version_before);
        read_ok(&topic, &log);
        model_is(log, 9, 18);
        mr_state_log_numbers(log, &seq, &snapshot);
        assert_true(seq == 9 && snapshot == 4);
        mr_state_log_reach(log, is_there);
        size_t count;
        const struct mr_state_entry *const entry = mr_state_log_entries(log, &count);
        for (size_t at = 0; at < count; at++) {
            struct mr_state_point point;
            const struct mr_state_target to = {.by = MR_STATE_AT_SEQ, .number = entry[at].commit->seq};
            assert_int_equal(is_there[at], !mr_state_log_seek(log, &to, &point, &err));
            if (is_chunk) assert_true(is_there[at]); /* learned again from the snapshot before it */
        }
        mr_state_log_destroy(log);
        fixture_commit(&f, 10, 4, 1);
        f.commit.version_before = 18, f.commit.version_after = 21;
        put_commit(&topic, &f);
        read_ok(&topic, &log);
        model_is(log, 9, 18);
        mr_state_log_destroy(log);
        put(&topic, "hello", &(struct mr_blob){topic.record[last].value, 9, 9});
        refused(&topic, MR_EINVARIANT, topic.count - 1, "no state record's");
        topic_free(&topic);
    }
}

/* Chunks of snapshot 4 came, their manifest did not: a roll-back takes number 5. */
static void a_roll_back_may_leave_a_number_out(void **state)
{
    static struct topic topic;
    struct mr_state_log *log;
    struct mr_err err;
    struct state_fixture f;
    uint64_t seq, snapshot;
    (void)state;
    topic_fill(&topic, 10);
    topic.record[find(&topic, "m/1/0/m0")].is_gone = true;
    assert_int_equal(read_as(&usual, &topic, &log, &err), MR_EINVARIANT);
    fixture_commit(&f, 11, 5, 0);
    f.commit.kind = MR_STATE_ROLLED_BACK;
    f.commit.update_count = f.commit.range_count = 0;
    f.commit.seq_before = 9;
    f.commit.version_before = 27, f.commit.version_after = 18;
    char *const model = fixture_model(18, MODEL_BYTES);
    fixture_snapshot(&f, model, MODEL_BYTES);
    free(model);
    put_commit(&topic, &f);
    read_ok(&topic, &log);
    model_is(log, 11, 18);
    mr_state_log_numbers(log, &seq, &snapshot);
    assert_true(seq == 11 && snapshot == 5);
    /* Versions have gone back: the range that is told is not that from the first to the last commit. */
    const struct mr_state_target none = {.by = MR_STATE_AT_VERSION, .number = 99};
    struct mr_state_point point;
    assert_int_equal(mr_state_log_seek(log, &none, &point, &err), MR_EINPUT);
    assert_non_null(strstr(err.text, "to 27"));
    mr_state_log_destroy(log);
    topic_free(&topic);
}

/* The job calls the model otherwise: that is no broken topic. */
static void a_topic_of_another_model_is_named(void **state)
{
    static struct topic topic;
    struct mr_state_log *log;
    struct mr_err err;
    struct mr_state_log_open other = usual;
    (void)state;
    other.model = "mm";
    topic_fill(&topic, 4);
    assert_int_equal(read_as(&other, &topic, &log, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "is of model \"m/1\", the job calls it \"mm\""));
    for (size_t i = 0; i < topic.count; i++) snprintf(topic.record[i].key, sizeof topic.record[i].key, "k%zu", i);
    assert_int_equal(read_as(&usual, &topic, &log, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "other records"));
    topic_free(&topic);
}

/* Chunks whose manifest did not come, while an older snapshot is whole. */
static void chunks_alone_are_refused(void **state)
{
    static struct topic topic;
    struct mr_state_log *log;
    struct mr_err err;
    (void)state;
    topic_fill(&topic, 7);
    topic.record[find(&topic, "m/1/3/m0")].is_gone = true;
    assert_int_equal(read_as(&usual, &topic, &log, &err), MR_EINVARIANT);
    assert_non_null(strstr(err.text, "chunks of snapshot 3"));
    topic_free(&topic);
}

/* A broken old snapshot does not matter to the newest state; a reader that wants it is told. */
static void what_is_not_needed_may_be_broken(void **state)
{
    static struct topic topic;
    struct mr_state_log *log;
    struct mr_state_point point;
    struct mr_err err;
    (void)state;
    topic_fill(&topic, 8);
    topic.record[find(&topic, "m/1/1/c1")].is_gone = true;
    read_ok(&topic, &log);
    model_is(log, 7, 21);
    assert_int_equal(
        mr_state_log_seek(log, &(struct mr_state_target){.by = MR_STATE_AT_SEQ, .number = 2}, &point, &err),
        MR_EINVARIANT);
    mr_state_log_destroy(log);
    topic_free(&topic);
}

/* A follower sees each snapshot when it is whole, not before, and never loses the one it has to a half one. */
static void a_follower_sees_whole_ones(void **state)
{
    static struct topic topic;
    struct mr_state_log *log;
    struct mr_err err;
    struct mr_span bytes;
    uint64_t seen = 0;
    (void)state;
    topic_fill(&topic, 20);
    assert_int_equal(mr_state_log_create(&usual, &log, &err), MR_OK);
    for (size_t i = 0; i < topic.count; i++) {
        const struct record *const record = &topic.record[i];
        if (mr_state_log_take(log, record->key, strlen(record->key), record->value, record->bytes, (int64_t)i, &err))
            fail_msg("%s", err.text);
        const struct mr_state_commit *const commit = mr_state_log_model(log, &bytes);
        if (!commit) {
            assert_true(i < 4);
            continue;
        }
        if (commit->seq != seen) assert_non_null(strstr(record->key, manifest_first ? "/c2" : "/m0"));
        seen = commit->seq;
        model_is(log, seen, seen * FIXTURE_UPDATES);
    }
    assert_int_equal(seen, 19);
    mr_state_log_destroy(log);
    topic_free(&topic);
}

static int manifests_stand_first(void **state)
{
    (void)state;
    manifest_first = true;
    return 0;
}

static int manifests_stand_last(void **state)
{
    (void)state;
    manifest_first = false;
    return 0;
}

int main(void)
{
#define BOTH_WAYS(test)                                                                                                \
    cmocka_unit_test(test), cmocka_unit_test_setup_teardown(test, manifests_stand_first, manifests_stand_last)
    const struct CMUnitTest tests[] = {
        BOTH_WAYS(the_newest_state_is_there),
        BOTH_WAYS(earlier_states_are_found),
        BOTH_WAYS(a_roll_back_is_followed),
        cmocka_unit_test(broken_topics_are_refused),
        BOTH_WAYS(what_stands_before_a_roll_back_may_be_broken),
        BOTH_WAYS(a_roll_back_may_leave_a_number_out),
        cmocka_unit_test(a_topic_of_another_model_is_named),
        cmocka_unit_test(chunks_alone_are_refused),
        BOTH_WAYS(what_is_not_needed_may_be_broken),
        BOTH_WAYS(a_follower_sees_whole_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
