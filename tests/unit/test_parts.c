/* Features and labels from message parts: values, defaults, rejects, and rows that move up. */
#include "pipeline/parts.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout_fixture.h"

#define ROW_CAP 200

static int64_t timestamp_ms(const struct mr_source *source, const struct mr_message *message)
{
    (void)source;
    return message->offset * 1000;
}

static bool header(const struct mr_source *source, const struct mr_message *message, const char *name,
                   struct mr_span *value_out)
{
    (void)source;
    if (!message->handle || strcmp(name, "load")) return false;
    *value_out = (struct mr_span){message->handle, strlen(message->handle)};
    return true;
}

static const struct mr_source_ops source_ops = {.name = "test", .timestamp_ms = timestamp_ms, .header = header};
static const struct mr_model_info wide = {.feature_count = 4, .width = 1};

static struct mr_message message[ROW_CAP];
static float x[256 * 4];
static double label[ROW_CAP];
static struct mr_span capture[ROW_CAP];
static uint32_t row_message[ROW_CAP];
static struct mr_reject reject[ROW_CAP];

/* 200 rows of: a field, @partition, @header.load, @timestamp; label @key; one captured field. Row r has the number r in
 * its field. */
static struct mr_rows rows_of(void)
{
    for (size_t row = 0; row < ROW_CAP; row++) {
        message[row] = (struct mr_message){.value = "{}",
                                           .value_bytes = 2,
                                           .key = "-1.5",
                                           .key_bytes = 4,
                                           .offset = (int64_t)row,
                                           .partition = 7,
                                           .handle = fixture_text("2.5")};
        row_message[row] = (uint32_t)row;
        x[mr_tile_at(row, 0, 4)] = (float)row;
        capture[row] = (struct mr_span){"c", row};
    }
    return (struct mr_rows){.x = x,
                            .label = label,
                            .capture = capture,
                            .message = row_message,
                            .reject = reject,
                            .feature_count = 4,
                            .capture_count = 1,
                            .row_count = ROW_CAP,
                            .row_cap = ROW_CAP,
                            .reject_cap = ROW_CAP};
}

static struct mr_layout *layout_of(struct fixture *f, bool has_default)
{
    struct mr_layout *layout;
    struct mr_err err;
    fixture_init(f, &fixture_json);
    fixture_feature(f, "a");
    fixture_feature(f, "@partition");
    fixture_feature(f, "@header.load");
    fixture_feature(f, "@timestamp");
    f->job.record.label = fixture_text("@key");
    fixture_model(f, "m", &wide);
    fixture_emit(f, "s", "m");
    fixture_emit(f, "c", "c");
    if (has_default) fixture_default(f, "@header.load", "9");
    if (mr_layout_create(&f->job, f->info, &layout, &err)) fail_msg("%s", err.text);
    return layout;
}

static void test_values(void **state)
{
    (void)state;
    struct fixture f;
    struct mr_layout *layout = layout_of(&f, false);
    struct mr_rows rows = rows_of();
    mr_parts_fill(layout, &(struct mr_parts_input){.messages = message, .source_ops = &source_ops}, &rows);
    assert_int_equal(rows.row_count, ROW_CAP);
    for (size_t row = 0; row < ROW_CAP; row++) {
        assert_true(x[mr_tile_at(row, 0, 4)] == (float)row);
        assert_true(x[mr_tile_at(row, 1, 4)] == 7);
        assert_true(x[mr_tile_at(row, 2, 4)] == 2.5f);
        assert_true(x[mr_tile_at(row, 3, 4)] == (float)row * 1000);
        assert_true(label[row] == -1.5);
    }
    mr_layout_destroy(layout);
}

static void test_rejects(void **state)
{
    (void)state;
    struct fixture f;
    struct mr_layout *layout = layout_of(&f, false);
    struct mr_rows rows = rows_of();
    message[0].handle = NULL;                /* no header */
    message[1].key = NULL;                   /* no key: a row without a label */
    message[5].handle = fixture_text("2,5"); /* not a number */
    message[64].handle = fixture_text("1e39");
    message[65].handle = fixture_text("");
    message[66].key_bytes = 3; /* "-1." */
    message[199].key = "1e999";
    message[199].key_bytes = 5;
    mr_parts_fill(layout, &(struct mr_parts_input){.messages = message, .source_ops = &source_ops}, &rows);
    static const struct {
        uint32_t message;
        mr_reason reason;
    } want[] = {{0, MR_REASON_MISSING}, {5, MR_REASON_TYPE},  {64, MR_REASON_RANGE},
                {65, MR_REASON_TYPE},   {66, MR_REASON_TYPE}, {199, MR_REASON_RANGE}};
    assert_int_equal(rows.reject_count, 6);
    assert_int_equal(rows.row_count, ROW_CAP - 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(reject[i].message, want[i].message);
        assert_int_equal(reject[i].reason, want[i].reason);
        assert_int_equal(reject[i].bytes, 2);
    }
    for (size_t row = 0; row < rows.row_count; row++) { /* what belongs together stayed together */
        const uint32_t from = row_message[row];
        assert_true(row == 0 || from > row_message[row - 1]);
        assert_true(x[mr_tile_at(row, 0, 4)] == (float)from);
        assert_true(x[mr_tile_at(row, 3, 4)] == (float)from * 1000);
        assert_true(capture[row].bytes == from);
        assert_true(from != 1 ? label[row] == -1.5 : isnan(label[row]));
    }
    mr_layout_destroy(layout);
}

static void test_default(void **state)
{
    (void)state;
    struct fixture f;
    struct mr_layout *layout = layout_of(&f, true);
    struct mr_rows rows = rows_of();
    message[3].handle = NULL;
    message[4].handle = fixture_text("x"); /* there, but wrong: no default for that */
    mr_parts_fill(layout, &(struct mr_parts_input){.messages = message, .source_ops = &source_ops}, &rows);
    assert_int_equal(rows.reject_count, 1);
    assert_int_equal(reject[0].message, 4);
    assert_true(x[mr_tile_at(3, 2, 4)] == 9);
    mr_layout_destroy(layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_rejects),
                                       cmocka_unit_test(test_default)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
