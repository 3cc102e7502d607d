/* What a job means: features, captures, parts, outputs asked of models, and every error with its key and nearest name.
 */
#include "pipeline/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout_fixture.h"

static const char *const names_ab[] = {"speed", "torque"};
static const char *const labels[] = {"idle", "work", "\"fault\""};
static const struct mr_model_info multi = {
    .type = "mlp", .feature_count = 2, .width = 3, .is_classifier = true, .class_count = 3, .label = labels};
static const struct mr_model_info named = {
    .type = "mlp", .feature_count = 2, .feature = names_ab, .width = 3, .is_classifier = true, .class_count = 3};
static const struct mr_model_info binary = {
    .type = "logistic", .feature_count = 2, .width = 1, .is_classifier = true, .class_count = 2};
static const struct mr_model_info two = {
    .type = "mlp", .feature_count = 2, .width = 2, .is_classifier = true, .class_count = 2};
static const struct mr_model_info line = {.type = "linear", .feature_count = 2, .width = 1};

static const struct mr_model_info centres = {.type = "kmeans",
                                             .feature_count = 2,
                                             .width = 1,
                                             .is_classifier = true,
                                             .has_no_probability = true,
                                             .class_count = 4};

static void two_features(struct fixture *f, const struct mr_codec_ops *codec)
{
    fixture_init(f, codec);
    fixture_feature(f, "a");
    fixture_feature(f, "b");
}

static struct mr_layout *layout_of(const struct fixture *f)
{
    struct mr_layout *layout;
    struct mr_err err;
    if (mr_layout_create(&f->job, f->info, &layout, &err)) fail_msg("%s", err.text);
    return layout;
}

/* The layout is refused, and the text holds all of these. */
static void refused(const struct fixture *f, const char *first, const char *second)
{
    struct mr_layout *layout = (struct mr_layout *)(uintptr_t)8;
    struct mr_err err = {0};
    assert_int_equal(mr_layout_create(&f->job, f->info, &layout, &err), MR_ECONFIG);
    assert_null(layout);
    if (!strstr(err.text, first) || !strstr(err.text, second))
        fail_msg("expected \"%s\" and \"%s\" in: %s", first, second, err.text);
}

static void test_features(void **state)
{
    (void)state;
    struct fixture f;
    const struct mr_model_info wide = {.feature_count = 8, .width = 1};
    fixture_init(&f, &fixture_json);
    fixture_feature(&f, "a.b");
    fixture_feature(&f, "x[2..4]");
    fixture_feature(&f, "m[0..1][7..7]");
    fixture_feature(&f, "@partition");
    fixture_feature(&f, "\"q[0..1]\"");
    f.job.record.label = fixture_text("y");
    fixture_model(&f, "m", &wide);
    fixture_emit(&f, "score", "m.score");
    struct mr_layout *layout = layout_of(&f);
    static const char *const want[] = {"a.b",     "x[2]",    "x[3]",       "x[4]",
                                       "m[0][7]", "m[1][7]", "@partition", "\"q[0..1]\""};
    assert_int_equal(layout->schema.feature_count, 8);
    for (size_t i = 0; i < 8; i++) assert_string_equal(layout->feature_name[i], want[i]);
    assert_int_equal(layout->schema.field_count, 8); /* 7 features of the codec and the label */
    assert_int_equal(layout->schema.field[6].column, 7);
    assert_int_equal(layout->schema.field[7].role, MR_FIELD_LABEL);
    assert_int_equal(layout->part_field_count, 1);
    assert_int_equal(layout->part_field[0].part, MR_PART_PARTITION);
    assert_int_equal(layout->part_field[0].column, 6);
    assert_int_equal(layout->schema.depth_max, 32);
    assert_false(layout->reads_headers || layout->reads_timestamps);
    mr_layout_destroy(layout);
}

static void test_feature_errors(void **state)
{
    (void)state;
    static const struct {
        const char *path, *first, *second;
    } rows[] = {
        {"x[5..2]", "record.features[1]", "write [2..5]"},
        {"x[..2]", "record.features[1]", "x[0..15]"},
        {"x[1..18446744073709551615]", "record.features[1]", "expected a range"},
        {"x[0..99999]", "record.features[1]", "more than"},
        {"", "record.features[1]", "empty"},
        {"\"a", "record.features[1]", "quote"},
        {"a", "record.features[1]", "twice"},
        {"@ofset", "record.features[1]", "did you mean @offset"},
        {"@topic", "record.features[1]", "not a number"},
        {"@header.", "record.features[1]", "@header.NAME"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        fixture_init(&f, &fixture_json);
        fixture_feature(&f, "a");
        fixture_feature(&f, rows[i].path);
        fixture_model(&f, "m", &line);
        fixture_emit(&f, "s", "m");
        refused(&f, rows[i].first, rows[i].second);
    }
    struct fixture f;
    fixture_init(&f, &fixture_json);
    refused(&f, "record.features", "no feature");
}

static void test_models(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, &fixture_json);
    fixture_feature(&f, "speed");
    fixture_model(&f, "regime", &multi);
    fixture_emit(&f, "p", "regime");
    refused(&f, "models[0] \"regime\"", "takes 2 features, record.features gives 1");

    fixture_feature(&f, "torqe");
    f.info[0] = &named;
    refused(&f, "feature 1 is \"torque\" in m.safetensors but \"torqe\"", "nearest there: \"torqe\"");
    f.features[1] = fixture_text("sensor.\"torque\""); /* the last key is what counts */
    mr_layout_destroy(layout_of(&f));
    f.features[0] = fixture_text("torque");
    f.features[1] = fixture_text("speed");
    refused(&f, "\"speed\" as feature 0, record.features has it as feature 1", "in the model's order");
    f.features[0] = fixture_text("x[0]"); /* array elements and column numbers carry no names */
    f.features[1] = fixture_text("$2");
    mr_layout_destroy(layout_of(&f));
}

static const char *const output_names[] = {"difference", "count.new arm", "p"};
static const struct mr_model_info outputs = {.type = "abtest", .feature_count = 2, .width = 3, .output = output_names};

static void test_outputs(void **state)
{
    (void)state;
    static const struct {
        const char *expression;
        const struct mr_model_info *info;
        mr_emit_kind kind;
        uint32_t column;
        bool is_complement;
        unsigned want;
    } rows[] = {
        {"m", &multi, MR_EMIT_CLASS, 0, false, MR_WANT_CLASS},
        {"m", &line, MR_EMIT_SCORE, 0, false, MR_WANT_Y},
        {"m.class", &binary, MR_EMIT_CLASS, 0, false, MR_WANT_CLASS},
        {"m.label", &multi, MR_EMIT_LABEL, 0, false, MR_WANT_CLASS},
        {"m.score", &binary, MR_EMIT_SCORE, 0, false, MR_WANT_Y},
        {"m.score", &two, MR_EMIT_SCORE, 1, false, MR_WANT_Y},
        {"m.probability", &multi, MR_EMIT_PROBABILITY, 0, false, MR_WANT_CLASS | MR_WANT_Y},
        {"m.probabilities", &multi, MR_EMIT_PROBABILITIES, 0, false, MR_WANT_Y},
        {"m.probabilities", &binary, MR_EMIT_PROBABILITIES, 0, true, MR_WANT_Y},
        {"m.probabilities[0]", &binary, MR_EMIT_OUTPUT, 0, true, MR_WANT_Y},
        {"m.probabilities[1]", &binary, MR_EMIT_OUTPUT, 0, false, MR_WANT_Y},
        {"m.scores", &binary, MR_EMIT_PROBABILITIES, 0, false, MR_WANT_Y},
        {"m.scores[2]", &multi, MR_EMIT_OUTPUT, 2, false, MR_WANT_Y},
        {"m", &centres, MR_EMIT_CLASS, 0, false, MR_WANT_CLASS},
        {"m.score", &centres, MR_EMIT_SCORE, 0, false, MR_WANT_Y},
        {"m.scores", &centres, MR_EMIT_PROBABILITIES, 0, false, MR_WANT_Y},
        {"m", &outputs, MR_EMIT_OUTPUT, 0, false, MR_WANT_Y},
        {"m.p", &outputs, MR_EMIT_OUTPUT, 2, false, MR_WANT_Y},
        {"m.count.new arm", &outputs, MR_EMIT_OUTPUT, 1, false, MR_WANT_Y},
        {"m.scores[1]", &outputs, MR_EMIT_OUTPUT, 1, false, MR_WANT_Y},
        {"m.scores", &outputs, MR_EMIT_PROBABILITIES, 0, false, MR_WANT_Y},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        two_features(&f, &fixture_json);
        fixture_model(&f, "other", &line);
        fixture_model(&f, "m", rows[i].info);
        fixture_emit(&f, "out", rows[i].expression);
        struct mr_layout *layout = layout_of(&f);
        assert_string_equal(layout->item[0].literal, "{\"out\":");
        assert_int_equal(layout->item[0].kind, rows[i].kind);
        assert_int_equal(layout->item[0].model, 1);
        assert_int_equal(layout->item[0].column, rows[i].column);
        assert_int_equal(layout->item[0].is_complement, rows[i].is_complement);
        assert_int_equal(layout->want[0], 0); /* nothing is asked of the other one */
        assert_int_equal(layout->want[1], rows[i].want);
        mr_layout_destroy(layout);
    }
}

static void test_emit_errors(void **state)
{
    (void)state;
    static const struct {
        const char *expression;
        const struct mr_model_info *info;
        const char *first, *second;
    } rows[] = {
        {"regime.clas", &multi, "emit.fields.p: \"regime.clas\"", "did you mean \"regime.class\""},
        {"regim.class", &multi, "no model \"regim\"", "did you mean \"regime.class\""},
        {"regime.class[1]", &multi, "no output", "regime.class"},
        {"regime.scores[3]", &multi, "emit.fields.p", "outputs 0 to 2"},
        {"regime.scores[-1]", &multi, "emit.fields.p", "no output"},
        {"regime.scores[1", &multi, "emit.fields.p", "no output"},
        {"regime.probabilities[2]", &binary, "emit.fields.p", "outputs 0 to 1"},
        {"regime.score", &multi, "no single score", "regime.probability"},
        {"regime.label", &line, "is a regression", "regime.score"},
        {"regime.probability", &centres, "no probability: use \"regime.class\"", "\"regime.score\""},
        {"regime.probabilities", &centres, "no probabilities", "\"regime.score\""},
        {"regime.probabilities[0]", &centres, "no probabilities", "\"regime.score\""},
        {"regime.diference", &outputs, "did you mean \"regime.difference\"", "Known: difference count.new arm p"},
        {"regim.difference", &outputs, "no model \"regim\"", "did you mean \"regime.difference\""},
        {"regime.p[0]", &outputs, "no output", "Known: difference"},
        {"@tmestamp", &line, "emit.fields.p", "@timestamp"},
        {"", &line, "emit.fields.p", "empty"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        two_features(&f, &fixture_json);
        fixture_model(&f, "regime", rows[i].info);
        fixture_emit(&f, "p", rows[i].expression);
        refused(&f, rows[i].first, rows[i].second);
    }
    struct fixture f;
    two_features(&f, &fixture_json);
    fixture_model(&f, "a", &line);
    refused(&f, "emit.fields", "nothing");
    fixture_emit(&f, "p", "a");
    refused(&f, "both a feature and an output", "in quotes");
    f.fields[0].value = fixture_text("b");
    f.job.emit.floats = fixture_text("fixed:12");
    refused(&f, "emit.floats", "fixed:N");
    f.job.emit.floats = fixture_text("fixed:3");
    struct mr_layout *layout = layout_of(&f);
    assert_int_equal(layout->decimals, 3);
    mr_layout_destroy(layout);
    f.job.record.framing = MR_FRAMING_PACKED;
    refused(&f, "record.framing", "only single, lines, array");
}

static void test_captures_and_parts(void **state)
{
    (void)state;
    struct fixture f;
    two_features(&f, &fixture_json);
    fixture_model(&f, "m", &line);
    fixture_emit(&f, "id \"x\"", "id");
    fixture_emit(&f, "again", "id");
    fixture_emit(&f, "a", "a");
    fixture_emit(&f, "t", "@timestamp");
    fixture_emit(&f, "h", "@header.trace");
    struct mr_layout *layout = layout_of(&f);
    assert_string_equal(layout->item[0].literal, "{\"id \\\"x\\\"\":");
    assert_string_equal(layout->item[1].literal, ",\"again\":");
    assert_int_equal(layout->schema.capture_count, 2);
    assert_int_equal(layout->schema.field_count, 4);
    assert_int_equal(layout->item[0].column, layout->item[1].column);
    assert_int_equal(layout->item[2].column, 1);
    assert_string_equal(layout->schema.field[2].path, "id");
    assert_false(layout->schema.field[2].required);
    assert_int_equal(layout->item[3].part, MR_PART_TIMESTAMP);
    assert_string_equal(layout->item[4].header, "trace");
    assert_true(layout->reads_headers && layout->reads_timestamps);
    mr_layout_destroy(layout);

    two_features(&f, &fixture_f32); /* binary rows: features only */
    fixture_model(&f, "m", &line);
    fixture_emit(&f, "b", "b");
    layout = layout_of(&f);
    assert_int_equal(layout->item[0].kind, MR_EMIT_FEATURE);
    assert_int_equal(layout->item[0].column, 1);
    mr_layout_destroy(layout);
    f.features[1] = fixture_text("Temperature");
    f.fields[0].value = fixture_text("Temprature");
    refused(&f, "\"Temprature\" is no feature", "did you mean \"Temperature\"");
}

static void test_defaults(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, &fixture_json);
    fixture_feature(&f, "x[0..1]");
    fixture_model(&f, "m", &line);
    fixture_emit(&f, "s", "m");
    fixture_default(&f, "x[1]", "-2.5");
    struct mr_layout *layout = layout_of(&f);
    assert_int_equal(layout->schema.field[0].missing, MR_MISSING_DEAD);
    assert_int_equal(layout->schema.field[1].missing, MR_MISSING_DEFAULT);
    assert_true(layout->schema.field[1].default_value == -2.5);
    mr_layout_destroy(layout);
    f.defaults[0].key = fixture_text("x[0..1]"); /* the whole range at once */
    layout = layout_of(&f);
    assert_int_equal(layout->schema.field[0].missing, MR_MISSING_DEFAULT);
    mr_layout_destroy(layout);
    f.defaults[0].key = fixture_text("x[2]");
    refused(&f, "record.defaults.x[2]", "did you mean");
    f.defaults[0] = (struct mr_pair){fixture_text("x[1]"), fixture_text("1e99")};
    refused(&f, "record.defaults.x[1]", "1e99");
    f.job.record.missing = MR_MISSING_DEAD;
    refused(&f, "record.defaults", "\"missing\": \"default\"");
}

/* A model that reads ids as text, and gives items. */
static void test_items(void **state)
{
    (void)state;
    static const struct mr_span ids[] = {{"1", 1}, {"\"two\"", 5}};
    const struct mr_model_info best = {.type = "mf",
                                       .feature_count = 2,
                                       .width = 2,
                                       .item_count = 2,
                                       .item = ids,
                                       .item_bytes_max = 5,
                                       .column_count = 7};
    struct fixture f;
    fixture_init(&f, &fixture_json);
    fixture_feature(&f, "who.id");
    fixture_feature(&f, "@key");
    fixture_model(&f, "m", &best);
    fixture_emit(&f, "who", "who.id");
    fixture_emit(&f, "all", "m");
    fixture_emit(&f, "scores", "m.scores");
    fixture_emit(&f, "second", "m.items[1]");
    struct mr_layout *const layout = layout_of(&f);
    assert_int_equal(layout->schema.feature_count, 7);
    assert_int_equal(layout->schema.capture_count, 1);
    assert_int_equal(layout->schema.field_count, 1);
    assert_int_equal(layout->schema.field[0].role, MR_FIELD_CAPTURE);
    assert_int_equal(layout->text_count, 2);
    assert_true(!layout->text[0].is_part && layout->text[1].is_part && layout->text[1].part == MR_PART_KEY);
    assert_int_equal(layout->item[1].kind, MR_EMIT_ITEMS);
    assert_int_equal(layout->item[2].kind, MR_EMIT_ITEM_SCORES);
    assert_int_equal(layout->item[3].kind, MR_EMIT_ITEM);
    assert_int_equal(layout->item[3].column, 1);
    assert_int_equal(layout->want[0], MR_WANT_Y | MR_WANT_ITEMS);
    mr_layout_destroy(layout);
    f.fields[3].value = fixture_text("m.items[2]");
    refused(&f, "emit.fields.second", "outputs 0 to 1");
    f.fields[3].value = fixture_text("m.items[1]");
    f.features[1] = fixture_text("@offset");
    refused(&f, "record.features[1]", "is no id");
    f.features[1] = fixture_text("b");
    f.job.codec = &fixture_f32;
    refused(&f, "record.features[0]", "float32");
    f.job.codec = &fixture_json;
    fixture_default(&f, "who.id", "0");
    refused(&f, "record.defaults", "ids");
    f.job.record.defaults.count = 0;
    f.job.record.missing = MR_MISSING_DEAD;
    fixture_model(&f, "other", &two);
    refused(&f, "models[0]", "only model");
    f.job.model_count = 1;
    f.info[0] = &two;
    f.fields[1].value = fixture_text("m.items");
    refused(&f, "emit.fields.all", "recommends no items");
}

/* Models that read ids share their columns if they read alike. */
static void test_read_alike(void **state)
{
    (void)state;
    const struct mr_model_info blue = {
        .type = "abtest", .feature_count = 2, .width = 1, .column_count = 2, .reading = "[\"blue\"]"};
    struct mr_model_info other = blue;
    struct fixture f;
    fixture_init(&f, &fixture_json);
    fixture_feature(&f, "arm");
    fixture_feature(&f, "value");
    fixture_model(&f, "m", &blue);
    fixture_model(&f, "n", &other);
    fixture_emit(&f, "m", "m.score");
    fixture_emit(&f, "n", "n.score");
    struct mr_layout *const layout = layout_of(&f);
    assert_int_equal(layout->schema.feature_count, 2);
    assert_int_equal(layout->text_count, 2);
    mr_layout_destroy(layout);
    other.reading = "[\"red\"]";
    refused(&f, "models[0]", "read the same arms");
    other = blue;
    f.job.model[1].input = fixture_text("m");
    refused(&f, "models[0]", "only model");
    f.job.model[1].input = NULL;
    other.reading = NULL;
    refused(&f, "models[0]", "only model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),    cmocka_unit_test(test_feature_errors),
        cmocka_unit_test(test_models),      cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_emit_errors), cmocka_unit_test(test_captures_and_parts),
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_items),
        cmocka_unit_test(test_read_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
