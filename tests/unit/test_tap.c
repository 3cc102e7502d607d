/* What lanes let be seen: rows with where they come from, how wrong models were, ids, pairs whose labels came later. */
#include "metrics/tap.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "millrace/source.h"
#include "pipeline/layout.h"

#define POINTS_PER_S 4000000000u /* every batch is looked at */

/* A batch of four rows: feature 10, 11, 12, 13; two models, of which one is judged and says the feature. */
struct rig {
    struct mr_tap *tap;
    struct mr_job job;
    struct mr_model_at_work model[2];
    struct mr_models models;
    float x[MR_TILE_ROWS], y[MR_TILE_ROWS];
    double label[4];
    uint32_t message_of[4];
    struct mr_span capture[4];
    struct mr_message message[4];
    struct mr_rows rows;
    struct mr_scores scores[2];
    struct mr_text_field id;
    struct mr_source_ops source;
};

static const char *topic_name(const struct mr_source *source, uint32_t topic)
{
    static const char *const names[] = {"train", "test", "c", "d", "e", "f"};
    (void)source;
    return names[topic];
}

static void rig_init(struct rig *rig)
{
    struct mr_err err;
    *rig = (struct rig){.source = {.topic_name = topic_name}};
    assert_int_equal(mr_tap_create(POINTS_PER_S, &rig->tap, &err), MR_OK);
    rig->job.record.label = (char[]){"y"};
    rig->model[0] = (struct mr_model_at_work){.want = MR_WANT_Y, .judged = MR_JUDGED_NUMBER};
    rig->model[1] = (struct mr_model_at_work){.want = MR_WANT_Y};
    rig->models = (struct mr_models){.job = &rig->job, .item = rig->model, .count = 2};
    for (uint32_t i = 0; i < 4; i++) {
        rig->x[i] = rig->y[i] = (float)(10 + i);
        rig->label[i] = 8;
        rig->message_of[i] = i;
        rig->message[i] = (struct mr_message){.offset = 100 + i, .partition = 3, .topic = i % 2};
    }
    rig->rows = (struct mr_rows){.x = rig->x,
                                 .label = rig->label,
                                 .capture = rig->capture,
                                 .message = rig->message_of,
                                 .feature_count = 1,
                                 .capture_count = 1,
                                 .row_count = 4,
                                 .row_cap = 4};
    rig->scores[0] = rig->scores[1] = (struct mr_scores){.y = rig->y, .width = 1, .row_cap = MR_TILE_ROWS};
}

static void rig_show(struct rig *rig, bool has_id)
{
    const struct mr_tap_batch batch = {.models = &rig->models,
                                       .rows = &rig->rows,
                                       .scores = rig->scores,
                                       .message = rig->message,
                                       .source_ops = &rig->source,
                                       .id = has_id ? &rig->id : NULL};
    mr_tap_rows(rig->tap, &batch);
}

static void test_rows(void **state)
{
    struct rig rig;
    struct mr_tap_point point[8];
    struct mr_tap_errors errors;
    char topic[MR_TAP_TOPICS][MR_TAP_TEXT];
    uint64_t next = 0;
    (void)state;
    rig_init(&rig);
    rig.label[3] = NAN;
    assert_int_equal(mr_tap_offset(rig.tap), -1);
    rig_show(&rig, false);
    assert_int_equal(mr_tap_points(rig.tap, &next, point, 8), 4);
    assert_int_equal(mr_tap_topics(rig.tap, topic), 2);
    assert_string_equal(topic[0], "train");
    assert_string_equal(topic[1], "test");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(point[i].offset, 100 + i);
        assert_int_equal(point[i].partition, 3);
        assert_int_equal(point[i].topic, i % 2);
        assert_true(point[i].feature[0] == (float)(10 + i) && point[i].answer[0].y == (float)(10 + i));
    }
    assert_int_equal(mr_tap_offset(rig.tap), 103);
    mr_tap_errors(rig.tap, 0, &errors);
    assert_int_equal(errors.topic[0].rows, 2);
    assert_true(errors.topic[0].sum == 4 + 16); /* 10 and 12 instead of 8 */
    assert_int_equal(errors.topic[1].rows, 1);
    assert_true(errors.topic[1].sum == 9);
    mr_tap_errors(rig.tap, 1, &errors); /* nobody judges it */
    assert_int_equal(errors.topic[0].rows, 0);
    for (uint32_t i = 0; i < 4; i++) rig.message[i].topic = 2 + i;
    rig_show(&rig, false);
    assert_int_equal(mr_tap_points(rig.tap, &next, point, 8), 4);
    assert_int_equal(mr_tap_topics(rig.tap, topic), MR_TAP_TOPICS);
    assert_int_equal(point[1].topic, 3);
    assert_int_equal(point[2].topic, -1); /* one too many */
    mr_tap_destroy(rig.tap);
}

/* A class that is wrong counts 1. */
static void test_classes(void **state)
{
    struct rig rig;
    struct mr_tap_errors errors;
    int32_t class[MR_TILE_ROWS] = {8, 1, 8, 8};
    (void)state;
    rig_init(&rig);
    rig.model[0].judged = MR_JUDGED_CLASSES;
    rig.model[0].want = MR_WANT_CLASS;
    rig.scores[0].class_index = class;
    rig_show(&rig, false);
    mr_tap_errors(rig.tap, 0, &errors);
    assert_true(errors.topic[0].sum == 0 && errors.topic[0].rows == 2);
    assert_true(errors.topic[1].sum == 1 && errors.topic[1].rows == 2);
    mr_tap_destroy(rig.tap);
}

/* Labels of their own topics: records have none, pairs have; who is not judged was not kept. */
static void test_pairs(void **state)
{
    struct rig rig;
    struct mr_tap_point point[8];
    struct mr_tap_errors errors;
    uint64_t next = 0;
    (void)state;
    rig_init(&rig);
    rig.job.record.label = NULL;
    rig_show(&rig, false);
    mr_tap_pairs(rig.tap, &rig.models, &rig.rows, rig.scores);
    assert_int_equal(mr_tap_points(rig.tap, &next, point, 8), 8);
    assert_true(isnan(point[0].label) && !isnan(point[0].answer[1].y));
    assert_true(point[4].label == 8 && point[4].answer[0].y == 10 && isnan(point[4].answer[1].y));
    assert_int_equal(point[4].offset, -1);
    assert_int_equal(point[4].topic, -1);
    mr_tap_errors(rig.tap, 0, &errors);
    assert_int_equal(errors.topic[0].rows, 0);
    mr_tap_destroy(rig.tap);
}

/* Ids as a person would type them, each once, the newest first. */
static void test_ids(void **state)
{
    static char longest[MR_TAP_ID + 2];
    static const char *const text[] = {"196", "\"a b\"", "\"with \\\" escape\"", "196"};
    struct rig rig;
    char id[MR_TAP_IDS][MR_TAP_ID];
    (void)state;
    rig_init(&rig);
    for (size_t i = 0; i < 4; i++) rig.capture[i] = (struct mr_span){text[i], strlen(text[i])};
    rig_show(&rig, true);
    assert_int_equal(mr_tap_ids(rig.tap, id), 2);
    assert_string_equal(id[0], "196");
    assert_string_equal(id[1], "a b");
    memset(longest, 'x', MR_TAP_ID);
    rig.id.is_part = true;
    rig.id.part = MR_PART_KEY;
    rig.message[0].key = longest;
    rig.message[0].key_bytes = MR_TAP_ID;
    rig.message[1].key = longest;
    rig.message[1].key_bytes = MR_TAP_ID - 1;
    rig_show(&rig, true);
    assert_int_equal(mr_tap_ids(rig.tap, id), 3);
    assert_int_equal(strlen(id[0]), MR_TAP_ID - 1);
    mr_tap_destroy(rig.tap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
