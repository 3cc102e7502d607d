/* State records: what goes in comes out; what was changed, cut off or does not fit together is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "state/header.h"
#include "state_fixture.h"

static void encode(const struct mr_state_commit *commit, struct mr_blob *out)
{
    struct mr_err err;
    if (mr_state_commit_encode(commit, out, &err)) fail_msg("%s", err.text);
}

static void commits_equal(const struct mr_state_commit *a, const struct mr_state_commit *b)
{
    assert_string_equal(a->model, b->model);
    assert_string_equal(a->type, b->type);
    assert_string_equal(a->unit, b->unit);
    assert_true(a->schema_hash == b->schema_hash && a->run_id == b->run_id && a->kind == b->kind);
    assert_true(a->time_ms == b->time_ms && a->seq == b->seq && a->seq_before == b->seq_before);
    assert_true(a->version_before == b->version_before && a->version_after == b->version_after);
    assert_true(a->snapshot == b->snapshot && a->index == b->index);
    assert_true(a->in == b->in && a->out == b->out && a->dead == b->dead && a->filtered == b->filtered);
    assert_true(a->model_bytes == b->model_bytes && a->model_checksum == b->model_checksum);
    assert_int_equal(a->position_count, b->position_count);
    assert_int_equal(a->range_count, b->range_count);
    assert_int_equal(a->update_count, b->update_count);
    for (size_t i = 0; i < a->position_count; i++) {
        assert_string_equal(a->position[i].topic, b->position[i].topic);
        assert_int_equal(a->position[i].partition, b->position[i].partition);
        assert_true(a->position[i].next_offset == b->position[i].next_offset);
    }
    for (size_t i = 0; i < a->range_count; i++) {
        const struct mr_state_range *const x = &a->range[i], *const y = &b->range[i];
        assert_true(x->position == y->position && x->first_offset == y->first_offset && x->end_offset == y->end_offset);
        assert_true(x->first_record == y->first_record && x->end_record == y->end_record);
    }
    for (size_t i = 0; i < a->update_count; i++) {
        assert_int_equal(a->update[i].range_count, b->update[i].range_count);
        assert_int_equal(a->update[i].rows, b->update[i].rows);
    }
}

static void a_commit_comes_back(void **state)
{
    struct state_fixture f;
    struct mr_state_commit *read;
    struct mr_blob blob = {0};
    struct mr_err err;
    (void)state;
    fixture_commit(&f, 12, 3, 4);
    encode(&f.commit, &blob);
    if (mr_state_commit_decode(blob.data, blob.bytes, &read, &err)) fail_msg("%s", err.text);
    commits_equal(&f.commit, read);
    assert_int_equal(mr_state_pending_count(read), 1);
    free(read);
    /* The largest numbers, and none of anything. */
    f.commit = (struct mr_state_commit){.model = "m",
                                        .type = "t",
                                        .unit = "",
                                        .kind = MR_STATE_LEARNED,
                                        .time_ms = INT64_MIN,
                                        .seq = UINT64_MAX,
                                        .snapshot = UINT64_MAX,
                                        .index = UINT32_MAX,
                                        .run_id = UINT64_MAX,
                                        .version_before = UINT64_MAX,
                                        .version_after = UINT64_MAX,
                                        .in = UINT64_MAX};
    encode(&f.commit, &blob);
    if (mr_state_commit_decode(blob.data, blob.bytes, &read, &err)) fail_msg("%s", err.text);
    commits_equal(&f.commit, read);
    free(read);
    mr_blob_deinit(&blob);
}

/* As many updates as a commit of 100 ms has: a few bytes each. */
static void many_updates_are_small(void **state)
{
    enum { UPDATES = 400, PARTITIONS = 4 };
    static struct mr_state_position position[PARTITIONS];
    static struct mr_state_range range[UPDATES * PARTITIONS];
    static struct mr_state_update update[UPDATES];
    struct state_fixture f;
    struct mr_state_commit *read;
    struct mr_blob blob = {0};
    struct mr_err err;
    (void)state;
    fixture_commit(&f, 1, 1, 1);
    for (unsigned p = 0; p < PARTITIONS; p++)
        position[p] = (struct mr_state_position){"events", (int32_t)p, 8000000000 + UPDATES * 64};
    for (unsigned i = 0; i < UPDATES; i++) {
        update[i] = (struct mr_state_update){PARTITIONS, 256};
        for (unsigned p = 0; p < PARTITIONS; p++)
            range[i * PARTITIONS + p] = (struct mr_state_range){
                .position = p, .first_offset = 8000000000 + i * 64, .end_offset = 8000000000 + i * 64 + 64};
    }
    f.commit.position = position, f.commit.position_count = PARTITIONS;
    f.commit.range = range, f.commit.range_count = UPDATES * PARTITIONS;
    f.commit.update = update, f.commit.update_count = UPDATES;
    f.commit.version_after = f.commit.version_before + UPDATES;
    encode(&f.commit, &blob);
    assert_true(blob.bytes < UPDATES * (3 + PARTITIONS * 3) + 200);
    if (mr_state_commit_decode(blob.data, blob.bytes, &read, &err)) fail_msg("%s", err.text);
    commits_equal(&f.commit, read);
    free(read);
    mr_blob_deinit(&blob);
}

/* Bounds hold a whole record: the largest commit that is taken fits. */
static void the_largest_fits(void **state)
{
    struct mr_state_position *const position = calloc(MR_STATE_POSITION_COUNT_MAX + 1, sizeof *position);
    struct mr_state_range *const range = calloc(MR_STATE_RANGE_COUNT_MAX + 1, sizeof *range);
    struct mr_state_update *const update = calloc(MR_STATE_UPDATE_COUNT_MAX + 1, sizeof *update);
    char *const name = calloc(MR_STATE_TOPIC_COUNT_MAX + 1, MR_STATE_TOPIC_BYTES_MAX + 1);
    struct state_fixture f;
    struct mr_state_commit *read;
    struct mr_blob blob = {0};
    struct mr_err err;
    (void)state;
    assert_true(position && range && update && name);
    fixture_commit(&f, 1, 1, 1);
    for (size_t i = 0; i <= MR_STATE_TOPIC_COUNT_MAX; i++) {
        memset(name + i * (MR_STATE_TOPIC_BYTES_MAX + 1), 't', MR_STATE_TOPIC_BYTES_MAX);
        snprintf(name + i * (MR_STATE_TOPIC_BYTES_MAX + 1), 8, "%zu", i);
        name[i * (MR_STATE_TOPIC_BYTES_MAX + 1) + strlen(name + i * (MR_STATE_TOPIC_BYTES_MAX + 1))] = 't';
    }
    for (size_t i = 0; i <= MR_STATE_POSITION_COUNT_MAX; i++)
        position[i] = (struct mr_state_position){name + i % MR_STATE_TOPIC_COUNT_MAX * (MR_STATE_TOPIC_BYTES_MAX + 1),
                                                 INT32_MAX - (int32_t)i, INT64_MAX};
    for (size_t i = 0; i <= MR_STATE_RANGE_COUNT_MAX; i++) {
        range[i] = (struct mr_state_range){.position = (uint32_t)(MR_STATE_POSITION_COUNT_MAX - 1 - i % 2),
                                           .first_record = UINT32_MAX,
                                           .end_record = UINT32_MAX,
                                           .end_offset = INT64_MAX - 1};
        update[i] = (struct mr_state_update){1, UINT32_MAX};
    }
    f.commit.position = position, f.commit.position_count = MR_STATE_POSITION_COUNT_MAX;
    f.commit.range = range, f.commit.range_count = MR_STATE_RANGE_COUNT_MAX;
    f.commit.update = update, f.commit.update_count = MR_STATE_UPDATE_COUNT_MAX;
    f.commit.version_before = UINT64_MAX - MR_STATE_UPDATE_COUNT_MAX, f.commit.version_after = UINT64_MAX;
    encode(&f.commit, &blob);
    assert_true(blob.bytes <= MR_STATE_RECORD_BYTES_MAX);
    assert_true(blob.bytes > MR_STATE_RECORD_BYTES_MAX / 2);
    if (mr_state_commit_decode(blob.data, blob.bytes, &read, &err)) fail_msg("%s", err.text);
    commits_equal(&f.commit, read);
    free(read);
    f.commit.position_count++;
    assert_int_equal(mr_state_commit_encode(&f.commit, &blob, &err), MR_EINVARIANT);
    f.commit.position_count--, f.commit.range_count++;
    assert_int_equal(mr_state_commit_encode(&f.commit, &blob, &err), MR_EINVARIANT);
    f.commit.range_count--;
    position[7].topic = name + MR_STATE_TOPIC_COUNT_MAX * (MR_STATE_TOPIC_BYTES_MAX + 1);
    assert_int_equal(mr_state_commit_encode(&f.commit, &blob, &err), MR_EINVARIANT);
    assert_non_null(strstr(err.text, "too many topics"));
    mr_blob_deinit(&blob);
    free(position), free(range), free(update), free(name);
}

/* Cut off at every byte, and every bit of it changed. */
static void a_changed_record_is_refused(void **state)
{
    struct state_fixture f;
    struct mr_state_commit *read;
    struct mr_state_chunk chunk;
    struct mr_blob blob[2] = {{0}, {0}};
    struct mr_err err;
    char *const model = fixture_model(1, 100);
    (void)state;
    fixture_commit(&f, 1, 1, 0);
    fixture_snapshot(&f, model, 100);
    encode(&f.commit, &blob[0]);
    if (mr_state_chunk_encode(&f.commit, model, 1024, 0, &blob[1], &err)) fail_msg("%s", err.text);
    for (unsigned k = 0; k < 2; k++) {
        for (size_t bytes = 0; bytes < blob[k].bytes; bytes++) {
            char *const part = malloc(bytes + 1); /* of its own, so that a sanitizer sees a read behind it */
            memcpy(part, blob[k].data, bytes);
            assert_int_equal(k ? mr_state_chunk_decode(part, bytes, &chunk, &err)
                               : mr_state_commit_decode(part, bytes, &read, &err),
                             MR_EDATA);
            free(part);
            for (int bit = 0; bit < 8; bit++) {
                blob[k].data[bytes] ^= (char)(1 << bit);
                assert_int_equal(k ? mr_state_chunk_decode(blob[k].data, blob[k].bytes, &chunk, &err)
                                   : mr_state_commit_decode(blob[k].data, blob[k].bytes, &read, &err),
                                 MR_EDATA);
                blob[k].data[bytes] ^= (char)(1 << bit);
            }
        }
        mr_state_record kind;
        blob[k].data[4] = 2;
        assert_int_equal(mr_state_record_check(blob[k].data, blob[k].bytes, &kind, &err), MR_EDATA);
        assert_non_null(strstr(err.text, "newer"));
        blob[k].data[4] = 0;
        assert_int_equal(mr_state_record_check(blob[k].data, blob[k].bytes, &kind, &err), MR_EDATA);
        assert_non_null(strstr(err.text, "older"));
        blob[k].data[4] = 1;
    }
    assert_int_equal(mr_state_chunk_decode(blob[0].data, blob[0].bytes, &chunk, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "manifest where a chunk"));
    free(model);
    mr_blob_deinit(&blob[0]);
    mr_blob_deinit(&blob[1]);
}

/* What does not fit together is neither written nor, from another's hand, read. */
static void faults_are_named(void **state)
{
    struct state_fixture f;
    struct mr_blob blob = {0};
    struct mr_err err;
    (void)state;
#define FAULT(change, reason)                                                                                          \
    do {                                                                                                               \
        fixture_commit(&f, 5, 1, 2);                                                                                   \
        change;                                                                                                        \
        assert_int_equal(mr_state_commit_encode(&f.commit, &blob, &err), MR_EINVARIANT);                               \
        if (!strstr(err.text, reason)) fail_msg("\"%s\" does not say \"%s\"", err.text, reason);                       \
    } while (0)
    static char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    FAULT(f.commit.model = "", "no name");
    FAULT(f.commit.model = long_name, "no name");
    FAULT(f.commit.unit = NULL, "unit");
    FAULT(f.commit.seq = 0, "predecessor");
    FAULT(f.commit.seq_before = 5, "predecessor");
    FAULT(f.commit.kind = (mr_state_kind)0, "kind");
    FAULT(f.commit.snapshot = 0, "snapshot");
    FAULT(f.commit.index = 0, "without a model");
    FAULT(f.commit.model_bytes = MR_STATE_MODEL_BYTES_MAX + 1, "more bytes");
    FAULT(f.commit.version_after++, "versions");
    FAULT(f.commit.version_after = 0, "versions");
    FAULT(f.commit.kind = MR_STATE_ROLLED_BACK, "roll-back");
    FAULT(f.position[1].topic = "", "topic");
    FAULT(f.position[1].topic = long_name, "topic");
    FAULT(f.position[1].partition = -1, "negative");
    FAULT(f.position[1].next_offset = -1, "negative");
    FAULT(f.position[1].partition = 0, "two positions");
    FAULT(f.update[0].range_count = 0, "ranges are not");
    FAULT(f.update[2].range_count = 3, "ranges are not");
    FAULT(f.range[4].position = 3, "without a position");
    FAULT(f.range[0].first_offset = -1, "before it begins");
    FAULT(f.range[0].end_offset = f.range[0].first_offset - 1, "before it begins");
    FAULT(f.range[2].end_record = 2, "before it begins");
    FAULT(f.range[4].end_offset++, "beyond");
    FAULT(f.range[4].end_record = 1, "beyond");
#undef FAULT
    mr_blob_deinit(&blob);
}

/* Right checksums over wrong fields: counts and sizes that promise more than there is. */
static void forged_fields_are_refused(void **state)
{
    struct state_fixture f;
    struct mr_state_commit *read;
    struct mr_blob blob = {0}, copy = {0};
    struct mr_err err;
    size_t refused = 0;
    (void)state;
    fixture_commit(&f, 5, 1, 2);
    encode(&f.commit, &blob);
    for (size_t at = MR_STATE_HEADER_BYTES; at < blob.bytes; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            copy.bytes = 0;
            assert_true(mr_blob_put(&copy, blob.data, blob.bytes));
            copy.data[at] = (char)byte;
            mr_state_header_end(&copy);
            const mr_status status = mr_state_commit_decode(copy.data, copy.bytes, &read, &err);
            assert_true(status == MR_OK || status == MR_EDATA);
            refused += status != MR_OK;
            assert_true((status == MR_OK) == (read != NULL));
            free(read);
        }
    }
    assert_true(refused > 1000);
    copy.bytes = 0;
    assert_true(mr_blob_put(&copy, blob.data, blob.bytes) && mr_blob_put(&copy, "", 1));
    mr_state_header_end(&copy);
    assert_int_equal(mr_state_commit_decode(copy.data, copy.bytes, &read, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "bytes behind"));
    mr_blob_deinit(&blob);
    mr_blob_deinit(&copy);
}

static void chunks_make_the_model(void **state)
{
    static const size_t sizes[] = {1, 600, 690, 691, 692, 5000};
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const size_t bytes = sizes[k];
        char *const model = fixture_model(k, bytes), *const back = calloc(1, bytes);
        struct state_fixture f;
        struct mr_blob blob = {0};
        struct mr_err err;
        size_t at = 0;
        fixture_commit(&f, 9, 2, 0);
        fixture_snapshot(&f, model, bytes);
        const uint32_t count = mr_state_chunk_count(bytes, 1024);
        assert_true(count > 0);
        for (uint32_t i = 0; i < count; i++) {
            struct mr_state_chunk chunk;
            if (mr_state_chunk_encode(&f.commit, model, 1024, i, &blob, &err)) fail_msg("%s", err.text);
            assert_true(blob.bytes <= 1024);
            if (mr_state_chunk_decode(blob.data, blob.bytes, &chunk, &err)) fail_msg("%s", err.text);
            assert_int_equal(chunk.index, i);
            assert_int_equal(chunk.count, count);
            assert_true(chunk.seq == 9 && chunk.snapshot == 2 && chunk.model_checksum == f.commit.model_checksum);
            assert_int_equal(chunk.at, at);
            assert_int_equal(chunk.model.bytes, 3);
            assert_true(at + chunk.data.bytes <= bytes);
            memcpy(back + at, chunk.data.data, chunk.data.bytes);
            at += chunk.data.bytes;
        }
        assert_int_equal(at, bytes);
        assert_memory_equal(back, model, bytes);
        assert_int_equal(mr_state_chunk_encode(&f.commit, model, 1024, count, &blob, &err), MR_EINVARIANT);
        assert_int_equal(mr_state_chunk_encode(&f.commit, model, 1023, 0, &blob, &err), MR_EINVARIANT);
        assert_int_equal(mr_state_chunk_encode(&f.commit, model, MR_STATE_RECORD_BYTES_MAX + 1, 0, &blob, &err),
                         MR_EINVARIANT);
        f.commit.index = 1;
        assert_int_equal(mr_state_chunk_encode(&f.commit, model, 1024, 0, &blob, &err), MR_EINVARIANT);
        mr_blob_deinit(&blob);
        free(model);
        free(back);
    }
    assert_int_equal(mr_state_chunk_count(0, 1024), 0);
    assert_int_equal(mr_state_chunk_count(MR_STATE_MODEL_BYTES_MAX + 1, MR_STATE_RECORD_BYTES_MAX), 0);
}

static void keys_are_read(void **state)
{
    static const char *const wrong[] = {"",       "m",       "c1",      "/0/c1",           "m/4/c1",
                                        "m/0/x1", "m/0/c",   "m/0/c01", "m/0/c4294967296", "m/00c1",
                                        "m.0/c1", "m/0/c-1", "m/0/c1 "};
    char key[MR_STATE_KEY_BYTES];
    struct mr_span model;
    uint32_t generation, index;
    mr_state_record kind;
    (void)state;
    mr_state_key_print(key, "a/b", 7, MR_STATE_CHUNK, 12);
    assert_string_equal(key, "a/b/3/c12");
    assert_true(mr_state_key_read(key, strlen(key), &model, &generation, &kind, &index));
    assert_true(model.bytes == 3 && model.data == key && generation == 3 && kind == MR_STATE_CHUNK && index == 12);
    mr_state_key_print(key, "a", 4, MR_STATE_MANIFEST, UINT32_MAX);
    assert_string_equal(key, "a/0/m4294967295");
    assert_true(mr_state_key_read(key, strlen(key), &model, &generation, &kind, &index));
    assert_true(model.bytes == 1 && generation == 0 && kind == MR_STATE_MANIFEST && index == UINT32_MAX);
    mr_state_key_print(key, "a", 4, MR_STATE_MANIFEST, 0);
    assert_true(mr_state_key_read(key, strlen(key), &model, &generation, &kind, &index));
    assert_int_equal(index, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (mr_state_key_read(wrong[i], strlen(wrong[i]), &model, &generation, &kind, &index))
            fail_msg("\"%s\" was taken for a key", wrong[i]);
    }
    assert_false(mr_state_key_read(NULL, 0, &model, &generation, &kind, &index));
}

static void schemas_differ(void **state)
{
    static const char *const ab[] = {"a", "b"}, *const a_b[] = {"ab", ""};
    const struct mr_model_info base = {.type = "mlp", .feature_count = 2, .feature = ab, .width = 1, .class_count = 2};
    struct mr_model_info other[6];
    (void)state;
    for (size_t i = 0; i < 6; i++) other[i] = base;
    other[0].version = "2", other[0].parameter_count = 3;
    other[1].type = "linear";
    other[2].feature = a_b;
    other[3].feature = NULL;
    other[4].label = ab;
    other[5].width = 2;
    assert_true(mr_state_schema_hash(&base) == mr_state_schema_hash(&other[0]));
    for (size_t i = 1; i < 6; i++) assert_true(mr_state_schema_hash(&base) != mr_state_schema_hash(&other[i]));
    assert_true(mr_state_checksum("", 0) && mr_state_checksum("a", 1) != mr_state_checksum("b", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_comes_back),   cmocka_unit_test(many_updates_are_small),
        cmocka_unit_test(the_largest_fits),      cmocka_unit_test(a_changed_record_is_refused),
        cmocka_unit_test(faults_are_named),      cmocka_unit_test(forged_fields_are_refused),
        cmocka_unit_test(chunks_make_the_model), cmocka_unit_test(keys_are_read),
        cmocka_unit_test(schemas_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
