/* millrace compare: two models, two backends, or a model and what it should give, on the same rows. */
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "cli/command.h"
#include "cli/data_flags.h"
#include "cli/data_model.h"
#include "cli/differences_print.h"
#include "evaluate/expected.h"
#include "scoring/scorer.h"

struct compare_options {
    struct mr_table_options data;
    struct mr_strings backends;
    char *expect;
    struct mr_strings expect_fields;
    double tolerance;
    int64_t worst;
    bool json;
};

/* One of the two that score: what it is called, and where its features stand among the columns of the rows. */
struct side {
    struct mr_scorer scorer;
    char name[256];
    size_t *from;
    struct mr_table *ratings; /* of a recommender: the rows as it reads them, by its own ids */
};

struct compare {
    const struct compare_options *options;
    const char *model[2], *data;
    struct side side[2];
    size_t side_count; /* 1: the other is the file */
    struct mr_strings features;
    struct mr_table *table; /* of numbers; of recommenders the first side's */
    struct mr_expected expected;
    struct mr_differences differences;
};

/* What is compared, by the words and flags. */
static mr_status words_read(struct compare *compare, const struct mr_words *words, struct mr_err *err)
{
    const struct compare_options *const options = compare->options;
    const bool is_one = options->expect || (options->backends.count == 2 && words->count < 3);
    const size_t models = is_one ? 1 : 2;
    if (options->backends.count > 2) return mr_fail(err, MR_EUSAGE, "--backend: one or two, such as cpu,cuda");
    if (options->expect && options->backends.count > 1)
        return mr_fail(err, MR_EUSAGE, "--expect: one model on one backend is held against the file");
    if (options->expect && options->data.bad_rows == MR_BAD_SKIP)
        return mr_fail(err, MR_EUSAGE, "--bad-rows skip: with --expect each row needs its own in the file");
    if (words->count < models)
        return mr_fail(err, MR_EUSAGE, "compare with what? Say a second model, --backend A,B or --expect FILE");
    if (words->count > models + 1)
        return mr_fail(err, MR_EUSAGE, "unexpected argument \"%s\"", words->item[models + 1]);
    compare->model[0] = words->item[0];
    compare->model[1] = words->item[models - 1];
    compare->data = words->count > models ? words->item[models] : NULL;
    compare->side_count = options->expect ? 1 : 2;
    return MR_OK;
}

static mr_status side_open(struct compare *compare, size_t index, struct mr_err *err)
{
    const struct mr_strings *const backends = &compare->options->backends;
    struct side *const side = &compare->side[index];
    const char *const backend = !backends->count ? "cpu" : backends->item[backends->count == 2 ? index : 0];
    const char *const path = compare->model[index];
    const mr_status status = mr_data_scorer_open(&side->scorer, path, backend, err);
    if (status) return status;
    if (compare->model[0] == compare->model[1])
        snprintf(side->name, sizeof side->name, "%s", side->scorer.backend_ops->describe(side->scorer.backend));
    else
        snprintf(side->name, sizeof side->name, "%s", path);
    return MR_OK;
}

/* Outputs can be held against each other where they mean the same. */
static mr_status sides_check(const struct compare *compare, struct mr_err *err)
{
    const struct mr_model_info *const a = compare->side[0].scorer.info, *const b = compare->side[1].scorer.info;
    if ((a->column_count > 0) != (b->column_count > 0))
        return mr_fail(err, MR_EUSAGE, "%s is a %s, %s a %s: one reads ids, the other numbers", compare->model[0],
                       a->type, compare->model[1], b->type);
    if (a->width != b->width || a->class_count != b->class_count || a->has_no_probability != b->has_no_probability)
        return mr_fail(err, MR_EUSAGE, "%s gives %zu outputs for %zu classes, %s %zu for %zu: nothing to compare",
                       compare->model[0], a->width, a->class_count, compare->model[1], b->width, b->class_count);
    for (size_t i = 0; a->label && b->label && i < a->class_count; i++) {
        if (strcmp(a->label[i], b->label[i]) != 0)
            return mr_fail(err, MR_EUSAGE, "class %zu is \"%.60s\" in %s and \"%.60s\" in %s", i, a->label[i],
                           compare->model[0], b->label[i], compare->model[1]);
    }
    if ((!a->feature || !b->feature || compare->options->data.features.count) && a->feature_count != b->feature_count)
        return mr_fail(err, MR_EUSAGE, "%s reads %zu features, %s %zu: without names they cannot be told apart",
                       compare->model[0], a->feature_count, compare->model[1], b->feature_count);
    return MR_OK;
}

static size_t feature_find(const struct mr_strings *features, const char *name)
{
    size_t at = 0;
    while (at < features->count && strcmp(features->item[at], name) != 0) at++;
    return at;
}

/* The columns that are read: by place where a model names none or flags say which, else by name, those of both. */
static mr_status columns_find(struct compare *compare, struct mr_model_info *both, struct mr_err *err)
{
    const struct mr_model_info *const a = compare->side[0].scorer.info, *const b =
                                                                            compare->side[compare->side_count - 1]
                                                                                .scorer.info;
    *both = a->feature ? *a : *b;
    if (!a->feature || !b->feature || compare->options->data.features.count) return MR_OK;
    for (size_t side = 0; side < compare->side_count; side++) {
        const struct mr_model_info *const info = compare->side[side].scorer.info;
        size_t *const from = compare->side[side].from = calloc(info->feature_count + 1, sizeof *from);
        if (!from) return mr_fail(err, MR_ENOMEM, "out of memory");
        for (size_t i = 0; i < info->feature_count; i++) {
            from[i] = feature_find(&compare->features, info->feature[i]);
            if (from[i] == compare->features.count && !mr_strings_add(&compare->features, info->feature[i]))
                return mr_fail(err, MR_ENOMEM, "out of memory");
        }
    }
    both->feature = (const char *const *)compare->features.item;
    both->feature_count = compare->features.count;
    return MR_OK;
}

/* The rows, once for both; of recommenders once for each, which know their ids by numbers of their own. */
static mr_status rows_open(struct compare *compare, const struct mr_model_info *both, struct mr_err *err)
{
    struct mr_table_options data = compare->options->data;
    if (!both->column_count) return mr_data_open(compare->data, &data, MR_LABEL_NONE, both, &compare->table, err);
    if (compare->side_count == 2 && (!compare->data || !strcmp(compare->data, "-") || data.topic))
        return mr_fail(err, MR_EUSAGE, "recommenders are compared on a file: each reads the ids in it by itself");
    mr_status status = MR_OK;
    for (size_t i = 0; i < compare->side_count && !status; i++) {
        struct side *const side = &compare->side[i];
        data.reader_ops = side->scorer.ops;
        data.reader = side->scorer.model;
        status = mr_data_open(compare->data, &data, MR_LABEL_NONE, side->scorer.info, &side->ratings, err);
    }
    compare->table = compare->side[0].ratings;
    return status;
}

static mr_status compare_open(struct compare *compare, const struct mr_words *words, struct mr_err *err)
{
    const struct compare_options *const options = compare->options;
    struct mr_model_info both;
    mr_status status = words_read(compare, words, err);
    for (size_t i = 0; i < compare->side_count && !status; i++) status = side_open(compare, i, err);
    if (!status && compare->side_count == 2) status = sides_check(compare, err);
    if (!status) status = columns_find(compare, &both, err);
    if (!status) status = rows_open(compare, &both, err);
    const struct mr_model_info *const info = compare->side[0].scorer.info;
    if (!status && options->expect)
        status =
            mr_expected_open(&compare->expected, options->expect, &options->expect_fields, info, MR_TABLE_ROW_CAP, err);
    if (!status)
        status = mr_differences_init(&compare->differences, info, options->tolerance, (size_t)options->worst, err);
    return status;
}

/* The block at hand as a side reads it. */
static mr_status side_score(struct compare *compare, size_t index, const struct mr_block *block, struct mr_err *err)
{
    struct side *const side = &compare->side[index];
    struct mr_block own = *block;
    size_t cols;
    mr_table_feature(compare->table, &cols);
    if (index && side->ratings) {
        const mr_status status = mr_table_next(side->ratings, &own, err);
        if (status == MR_END || (!status && own.rows != block->rows))
            return mr_fail(err, MR_EDATA, "%s: the two models do not read the same rows of it",
                           mr_table_path(compare->table));
        if (status) return status;
    }
    return mr_scorer_run(&side->scorer, own.x, side->ratings ? side->scorer.cols : cols, side->from, block->rows, err);
}

static mr_status block_take(struct compare *compare, const struct mr_block *block, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < compare->side_count && !status; i++) status = side_score(compare, i, block, err);
    if (!status && compare->side_count == 1) status = mr_expected_next(&compare->expected, block->rows, err);
    if (status) return status;
    mr_differences_add(&compare->differences, &compare->side[0].scorer.scores,
                       compare->side_count == 2 ? &compare->side[1].scorer.scores : &compare->expected.scores,
                       block->rows);
    return MR_OK;
}

static mr_status json_print(const struct compare *compare, const char *a, const char *b, struct mr_err *err)
{
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "a", a);
    cJSON_AddStringToObject(root, "b", b);
    cJSON_AddStringToObject(root, "data", mr_table_path(compare->table));
    cJSON_AddNumberToObject(root, "bad", (double)mr_table_skipped(compare->table));
    mr_differences_add_json(root, &compare->differences, compare->side[0].scorer.info);
    char *const text = cJSON_PrintUnformatted(root);
    if (text) puts(text);
    free(text);
    cJSON_Delete(root);
    return text ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static mr_status compare_all(struct compare *compare, const struct mr_words *words, struct mr_err *err)
{
    struct mr_block block;
    char what[600];
    mr_status status = compare_open(compare, words, err);
    while (!status && !(status = mr_table_next(compare->table, &block, err))) status = block_take(compare, &block, err);
    if (status == MR_END) status = compare->side_count == 1 ? mr_expected_end(&compare->expected, err) : MR_OK;
    if (status) return status;
    if (!compare->differences.rows)
        return mr_fail(err, MR_EDATA, "%s: no rows to compare on", mr_table_path(compare->table));
    const char *const a = compare->side_count == 1 ? compare->model[0] : compare->side[0].name;
    const char *const b = compare->side_count == 1 ? compare->options->expect : compare->side[1].name;
    snprintf(what, sizeof what, "%s and %s", a, b);
    if (compare->options->json) {
        status = json_print(compare, a, b, err);
    } else {
        mr_differences_print(stdout, &compare->differences, compare->side[0].scorer.info, a, b);
        mr_data_skipped_print(compare->table);
    }
    return status ? status : mr_differences_judge(&compare->differences, what, err);
}

static mr_status compare_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    struct compare compare = {.options = options};
    const mr_status status = compare_all(&compare, words, err);
    mr_differences_deinit(&compare.differences);
    mr_expected_close(&compare.expected);
    if (compare.table != compare.side[0].ratings) mr_table_close(compare.table);
    mr_strings_deinit(&compare.features);
    for (size_t i = 0; i < 2; i++) {
        mr_table_close(compare.side[i].ratings);
        free(compare.side[i].from);
        mr_scorer_close(&compare.side[i].scorer);
    }
    return status;
}

#define AT(field) offsetof(struct compare_options, field)
static const struct mr_flag compare_flags[] = {
    MR_FLAGS_DATA(AT(data)),
    {.argument = "NAME",
     .row = {.key = "backend",
             .type = MR_OPT_STRINGS,
             .offset = AT(backends),
             .doc = "Where to compute, or two of them to compare: cpu:avx2,cuda. Without it cpu."}},
    MR_FLAG_EXPECT(AT(expect)),
    MR_FLAG_EXPECT_FIELDS(AT(expect_fields)),
    MR_FLAG_TOLERANCE(AT(tolerance)),
    {.argument = "N",
     .row = {.key = "worst",
             .type = MR_OPT_INT,
             .offset = AT(worst),
             .fallback = "5",
             .min = 0,
             .max = MR_WORST_MAX,
             .doc = "How many of the worst rows are shown."}},
    {.row = {.key = "json", .type = MR_OPT_BOOL, .offset = AT(json), .doc = "One JSON object on stdout."}},
    {0},
};
#undef AT

const struct mr_command mr_command_compare = {
    .name = "compare",
    .summary = "Hold two models, two backends, or a model and expected outputs against each other",
    .usage = "A [B] [DATA] [flags]",
    .examples = "millrace compare old.safetensors new.safetensors rows.csv   # exit code 1 past the tolerance\n"
                "millrace compare m.safetensors rows.csv --backend cpu,cuda --tolerance 1e-5\n"
                "millrace compare m.safetensors rows.csv --expect probabilities.csv   # of a notebook",
    .notes =
        "The error of an output is how far the two are apart; relative, that by the largest output of the row. The\n"
        "error of a row is its outputs' largest. Rows whose classes differ count as undecided where the two best\n"
        "outputs are nearer than the tolerance. Exit codes: 0 all is within it, 1 something is not.\n"
        "Features are matched by name where both models name theirs. Rows are numbered from 1, bad ones left out.\n"
        "Recommenders are compared by the ratings that they estimate: --features USER,ITEM, ids as each knows them.",
    .flags = compare_flags,
    .options_size = sizeof(struct compare_options),
    .word_min = 1,
    .word_max = 3,
    .completes_files = true,
    .run = compare_run,
};
