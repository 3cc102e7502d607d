/* The state file of learning without transactions: what was written comes back; cut at every byte, changed in every
 * bit, or of another job it is refused, never a wrong state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "state/snapshot_file.h"
#include "state_fixture.h"

static char path[] = "/tmp/millrace-state-XXXXXX";

static int path_make(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int path_remove(void **state)
{
    (void)state;
    return unlink(path);
}

/* Two models of one commit, the second without any update. */
struct models {
    struct state_fixture f[2];
    struct mr_state_model model[2];
    char *bytes[2];
};

static void models_make(struct models *m, uint64_t seq)
{
    static const size_t sizes[] = {300, 77};
    for (unsigned i = 0; i < 2; i++) {
        fixture_commit(&m->f[i], seq, 1, 0);
        m->bytes[i] = fixture_model(seq + i, sizes[i]);
        fixture_snapshot(&m->f[i], m->bytes[i], sizes[i]);
        m->model[i] = (struct mr_state_model){&m->f[i].commit, m->bytes[i]};
    }
    m->f[1].commit.model = "other";
    m->f[1].commit.update_count = m->f[1].commit.range_count = 0;
    m->f[1].commit.version_after = m->f[1].commit.version_before;
}

static void models_free(struct models *m)
{
    free(m->bytes[0]);
    free(m->bytes[1]);
}

static void write_ok(const struct models *m, struct mr_blob *scratch)
{
    struct mr_err err;
    if (mr_state_file_write(path, "job", m->model, 2, scratch, &err)) fail_msg("%s", err.text);
}

static void models_are(uint64_t seq)
{
    struct models want;
    struct mr_state_file *file;
    const struct mr_state_model *model;
    struct mr_err err;
    size_t count;
    models_make(&want, seq);
    if (mr_state_file_read(path, "job", NULL, &file, &err)) fail_msg("%s", err.text);
    mr_state_file_models(file, &count);
    assert_int_equal(count, 2);
    for (unsigned i = 0; i < 2; i++) {
        const struct mr_state_commit *const commit = &want.f[i].commit;
        if (mr_state_file_find(file, commit->model, "linear", FIXTURE_SCHEMA, &model, &err)) fail_msg("%s", err.text);
        assert_true(model->commit->seq == seq && model->commit->version_after == commit->version_after);
        assert_int_equal(model->commit->model_bytes, commit->model_bytes);
        assert_memory_equal(model->bytes, want.bytes[i], commit->model_bytes);
        assert_int_equal(model->commit->position_count, 3);
        assert_true(model->commit->position[2].next_offset == want.f[i].position[2].next_offset);
        assert_int_equal(mr_state_pending_count(model->commit), i ? 0 : 1);
    }
    assert_int_equal(mr_state_file_find(file, "m/1", "mlp", 0, &model, &err), MR_EDATA);
    assert_int_equal(mr_state_file_find(file, "m/1", "linear", 1, &model, &err), MR_EDATA);
    assert_int_equal(mr_state_file_find(file, "m/2", "linear", 0, &model, &err), MR_EDATA);
    mr_state_file_close(file);
    models_free(&want);
}

static void what_was_written_comes_back(void **state)
{
    struct mr_blob scratch = {0};
    (void)state;
    for (uint64_t seq = 1; seq < 4; seq++) {
        struct models m;
        models_make(&m, seq);
        write_ok(&m, &scratch);
        models_are(seq);
        models_free(&m);
    }
    mr_blob_deinit(&scratch);
    mr_state_file_close(NULL);
}

static char *file_load(size_t *bytes)
{
    FILE *const file = fopen(path, "rbe");
    char *const data = calloc(1, 10000);
    *bytes = fread(data, 1, 10000, file);
    fclose(file);
    return data;
}

static void file_store(const char *data, size_t bytes)
{
    FILE *const file = fopen(path, "wbe");
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

static void is_refused(const char *job, const char *reason)
{
    struct mr_state_file *file;
    struct mr_err err;
    bool is_missing = true;
    assert_int_equal(mr_state_file_read(path, job, &is_missing, &file, &err), MR_EDATA);
    assert_null(file);
    assert_false(is_missing);
    if (!strstr(err.text, path) || (reason && !strstr(err.text, reason)))
        fail_msg("\"%s\" does not name the file and \"%s\"", err.text, reason);
}

static void a_broken_file_is_refused(void **state)
{
    struct mr_blob scratch = {0};
    struct models m;
    size_t bytes;
    (void)state;
    models_make(&m, 5);
    write_ok(&m, &scratch);
    char *const data = file_load(&bytes);
    for (size_t at = 0; at < bytes; at++) {
        file_store(data, at);
        is_refused("job", at < 24 ? "no state file" : "cut off");
        for (int bit = 0; bit < 8; bit++) {
            data[at] ^= (char)(1 << bit);
            file_store(data, bytes);
            is_refused("job", at == 4 && bit == 2 ? "newer" : NULL);
            data[at] ^= (char)(1 << bit);
        }
    }
    file_store(data, bytes + 1); /* calloc's zero */
    is_refused("job", "behind it");
    file_store(data, bytes);
    models_are(5);
    is_refused("job2", "is of job \"job\"");
    is_refused("jo", "is of job \"job\"");
    free(data);
    models_free(&m);
    mr_blob_deinit(&scratch);
}

static void a_missing_file_is_told_apart(void **state)
{
    struct mr_state_file *file;
    struct mr_err err;
    bool is_missing = false;
    (void)state;
    assert_int_equal(mr_state_file_read("/nonexistent/state", "job", &is_missing, &file, &err), MR_EINPUT);
    assert_true(is_missing);
    assert_int_equal(mr_state_file_read("/tmp", "job", &is_missing, &file, &err), MR_EINPUT);
    assert_false(is_missing);
}

static void what_does_not_fit_is_not_written(void **state)
{
    struct mr_blob scratch = {0};
    struct models m;
    struct mr_err err;
    (void)state;
    models_make(&m, 6);
    write_ok(&m, &scratch);
    m.f[1].position[0].next_offset++;
    assert_int_equal(mr_state_file_write(path, "job", m.model, 2, &scratch, &err), MR_EINVARIANT);
    assert_non_null(strstr(err.text, "other positions"));
    m.f[1].position[0].next_offset--;
    m.f[1].commit.index = 1;
    assert_int_equal(mr_state_file_write(path, "job", m.model, 2, &scratch, &err), MR_EINVARIANT);
    m.f[1].commit.index = 0;
    assert_int_equal(mr_state_file_write(path, "job", m.model, 0, &scratch, &err), MR_EINVARIANT);
    assert_int_equal(mr_state_file_write("/nonexistent/state", "job", m.model, 2, &scratch, &err), MR_EIO);
    models_are(6); /* the old file stands */
    models_free(&m);
    mr_blob_deinit(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_comes_back), cmocka_unit_test(a_broken_file_is_refused),
        cmocka_unit_test(a_missing_file_is_told_apart), cmocka_unit_test(what_does_not_fit_is_not_written)};
    return cmocka_run_group_tests(tests, path_make, path_remove);
}
