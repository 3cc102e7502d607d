/* millrace eval: how good a model is on rows whose answers are known. */
#include "cli/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "cli/command.h"
#include "cli/data_flags.h"
#include "cli/data_model.h"

struct eval_options {
    struct mr_table_options data;
    char *backend, *svg;
    int64_t top;
    double relevant;
    bool json;
};

struct eval {
    const struct eval_options *options;
    struct mr_scorer scorer;
    struct mr_table *table;
    int32_t *class_of; /* [class_known] which class of the model each class of the data is; -1: none */
    size_t class_known;
    int32_t *label; /* of a block, as the model counts; rows that it does not know are left out */
    struct eval_result result;
};

_Static_assert(MR_SCORER_ROW_CAP >= MR_TABLE_ROW_CAP, "a block is scored at once");

const char *mr_eval_class_name(const struct mr_model_info *info, size_t k, char text[EVAL_NAME_BYTES])
{
    if (info->label) return info->label[k];
    snprintf(text, EVAL_NAME_BYTES, "%zu", k);
    return text;
}

static mr_status kind_find(struct eval *eval, const char *model, mr_label_kind *label_out, struct mr_err *err)
{
    const struct mr_model_info *const info = eval->scorer.info;
    eval->result.kind = info->is_distance ? EVAL_CLUSTERS : info->is_classifier ? EVAL_CLASSES : EVAL_NUMBERS;
    if (info->column_count) eval->result.kind = EVAL_RATINGS;
    *label_out =
        eval->result.kind == EVAL_NUMBERS || eval->result.kind == EVAL_RATINGS ? MR_LABEL_NUMBER : MR_LABEL_CLASS;
    if (eval->result.kind == EVAL_CLUSTERS && !eval->options->data.label) *label_out = MR_LABEL_NONE;
    if (info->is_transform)
        return mr_fail(err, MR_EUSAGE, "%s: a model of type %s predicts nothing that could be judged", model,
                       info->type);
    if (eval->result.kind == EVAL_NUMBERS && info->width != 1)
        return mr_fail(err, MR_EUSAGE, "%s gives %zu numbers a row: one label can not judge them", model, info->width);
    return MR_OK;
}

static mr_status eval_open(struct eval *eval, const struct mr_words *words, struct mr_err *err)
{
    const struct eval_options *const options = eval->options;
    const char *const model = words->item[0], *const data = words->count > 1 ? words->item[1] : NULL;
    struct eval_result *const result = &eval->result;
    mr_label_kind label = MR_LABEL_NONE;
    mr_status status = mr_data_scorer_open(&eval->scorer, model, options->backend, err);
    if (status) return status;
    result->info = eval->scorer.info;
    status = kind_find(eval, model, &label, err);
    struct mr_table_options rows = options->data;
    if (result->kind == EVAL_RATINGS) {
        rows.reader_ops = eval->scorer.ops;
        rows.reader = eval->scorer.model;
    }
    if (!status) status = mr_data_open(data, &rows, label, result->info, &eval->table, err);
    if (status) return status;
    result->top = (size_t)options->top;
    result->relevant = options->relevant;
    const size_t classes = result->info->class_count;
    result->model = model;
    result->data = mr_table_path(eval->table);
    result->backend = eval->scorer.backend_ops->describe(eval->scorer.backend);
    result->class_metric = calloc(classes + 1, sizeof *result->class_metric);
    result->cluster_rows = calloc(classes + 1, sizeof *result->cluster_rows);
    eval->label = malloc(MR_TABLE_ROW_CAP * sizeof *eval->label);
    if (!result->class_metric || !result->cluster_rows || !eval->label) return mr_fail(err, MR_ENOMEM, "out of memory");
    return result->kind == EVAL_CLASSES ? mr_class_sums_init(&result->classes, result->info, err) : MR_OK;
}

/* ---- labels ---- */

static bool is_same_class(const char *a, const char *b)
{
    double left, right;
    const char *const a_end = a + strlen(a), *const b_end = b + strlen(b);
    if (!strcmp(a, b)) return true;
    return mr_parse_f64(a, a_end, &left) == a_end && mr_parse_f64(b, b_end, &right) == b_end && left == right;
}

static int32_t class_find(const struct mr_model_info *info, const char *name)
{
    char text[EVAL_NAME_BYTES];
    for (size_t k = 0; k < info->class_count; k++) {
        if (is_same_class(mr_eval_class_name(info, k, text), name)) return (int32_t)k;
    }
    return -1;
}

/* A class of DATA that the model does not have, where that ends the work. */
static mr_status class_refuse(const struct eval *eval, const struct mr_block *block, size_t index, const char *name,
                              struct mr_err *err)
{
    const struct mr_model_info *const info = eval->scorer.info;
    char text[EVAL_NAME_BYTES];
    size_t row = 0;
    while (row < block->rows && (size_t)block->label[row] != index) row++;
    return mr_fail(
        err, MR_EDATA,
        "%s: row %llu: label \"%s\": the model has no class \"%.60s\" (it has %zu: \"%.40s\", ...); --bad-rows "
        "skip leaves such rows out",
        mr_table_path(eval->table), (unsigned long long)(eval->result.classes.rows + row + 1),
        eval->options->data.label, name, info->class_count, mr_eval_class_name(info, 0, text));
}

/* Classes that have come up in the data since the last block. */
static mr_status classes_learn(struct eval *eval, const struct mr_block *block, struct mr_err *err)
{
    size_t count;
    const struct mr_model_info *const info = eval->scorer.info;
    const char *const *const name = mr_table_class(eval->table, &count);
    if (count == eval->class_known) return MR_OK;
    int32_t *const class_of = realloc(eval->class_of, count * sizeof *class_of);
    if (!class_of) return mr_fail(err, MR_ENOMEM, "out of memory");
    eval->class_of = class_of;
    for (size_t i = eval->class_known; i < count; i++) {
        class_of[i] = class_find(info, name[i]);
        if (class_of[i] < 0 && eval->options->data.bad_rows == MR_BAD_STOP)
            return class_refuse(eval, block, i, name[i], err);
    }
    eval->class_known = count;
    return MR_OK;
}

/* Moves a row of the scores to the place of one that is left out. */
static void row_move(struct mr_scores *scores, size_t from, size_t to)
{
    if (from == to) return;
    for (size_t col = 0; col < scores->width; col++)
        scores->y[mr_tile_at(to, col, scores->width)] = scores->y[mr_tile_at(from, col, scores->width)];
    scores->class_index[to] = scores->class_index[from];
}

static mr_status classes_take(struct eval *eval, const struct mr_block *block, struct mr_err *err)
{
    struct mr_scores *const scores = &eval->scorer.scores;
    size_t rows = 0;
    mr_status status = classes_learn(eval, block, err);
    if (status) return status;
    for (size_t row = 0; row < block->rows; row++) {
        const int32_t k = eval->class_of[(size_t)block->label[row]];
        if (k < 0) {
            eval->result.unknown++;
            continue;
        }
        row_move(scores, row, rows);
        eval->label[rows++] = k;
    }
    return mr_class_sums_add(&eval->result.classes, scores, eval->label, rows, err);
}

/* ---- the other kinds ---- */

static void clusters_take(struct eval *eval, size_t rows)
{
    const struct mr_scores *const scores = &eval->scorer.scores;
    for (size_t row = 0; row < rows; row++) {
        if (!isfinite(scores->y[row])) {
            eval->result.unfit++;
            continue;
        }
        eval->result.inertia += (double)scores->y[row];
        eval->result.cluster_rows[scores->class_index[row]]++;
        eval->result.rows++;
    }
}

static mr_status ratings_take(struct eval *eval, const struct mr_block *block, struct mr_err *err)
{
    const float *const y = eval->scorer.scores.y;
    mr_number_sums_add(&eval->result.numbers, y, block->label, block->rows);
    for (size_t row = 0; row < block->rows; row++) {
        const float user = block->x[mr_tile_at(row, 0, eval->scorer.cols)]; /* its index, or below 0 */
        if (user < 0)
            eval->result.strangers++;
        else if (!mr_rank_sums_add(&eval->result.ranks, (uint32_t)user, y[row], (float)block->label[row]))
            return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    return MR_OK;
}

static mr_status block_take(struct eval *eval, const struct mr_block *block, struct mr_err *err)
{
    const mr_status status = mr_scorer_run(&eval->scorer, block->x, eval->scorer.cols, NULL, block->rows, err);
    if (status) return status;
    if (eval->result.kind == EVAL_CLASSES) return classes_take(eval, block, err);
    if (eval->result.kind == EVAL_RATINGS) return ratings_take(eval, block, err);
    if (eval->result.kind == EVAL_NUMBERS)
        mr_number_sums_add(&eval->result.numbers, eval->scorer.scores.y, block->label, block->rows);
    else
        clusters_take(eval, block->rows);
    return MR_OK;
}

static mr_status result_take(struct eval *eval, struct mr_err *err)
{
    struct eval_result *const result = &eval->result;
    mr_status status = MR_OK;
    result->skipped = mr_table_skipped(eval->table);
    if (result->kind == EVAL_CLASSES) {
        result->rows = result->classes.rows;
        result->unfit = result->classes.unfit;
        status = mr_class_sums_end(&result->classes, &result->class_metrics, result->class_metric, err);
    } else if (result->kind == EVAL_NUMBERS || result->kind == EVAL_RATINGS) {
        result->rows = result->numbers.rows;
        result->unfit = result->numbers.unfit;
        mr_number_sums_end(&result->numbers, &result->number_metrics);
        mr_rank_sums_end(&result->ranks, result->top, result->relevant, &result->rank_metrics);
    }
    if (status || result->rows) return status;
    return mr_fail(err, MR_EDATA, "%s: no row to judge the model by (%llu bad, %llu with labels that it does not know)",
                   result->data, (unsigned long long)result->skipped, (unsigned long long)result->unknown);
}

static mr_status eval_all(struct eval *eval, const struct mr_words *words, struct mr_err *err)
{
    struct mr_block block;
    const int64_t start_ns = mr_clock_ns();
    mr_status status = eval_open(eval, words, err);
    while (!status && !(status = mr_table_next(eval->table, &block, err))) status = block_take(eval, &block, err);
    if (status != MR_END) return status;
    eval->result.seconds = (double)(mr_clock_ns() - start_ns) / 1e9;
    status = result_take(eval, err);
    if (!status && eval->options->svg) status = mr_eval_draw(&eval->result, eval->options->svg, err);
    if (status) return status;
    if (eval->options->json) return mr_eval_print_json(&eval->result, err);
    mr_eval_print(&eval->result);
    return MR_OK;
}

static mr_status eval_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    struct eval eval = {.options = options};
    const mr_status status = eval_all(&eval, words, err);
    mr_class_sums_deinit(&eval.result.classes);
    mr_rank_sums_deinit(&eval.result.ranks);
    free(eval.result.class_metric);
    free(eval.result.cluster_rows);
    free(eval.class_of);
    free(eval.label);
    mr_table_close(eval.table);
    mr_scorer_close(&eval.scorer);
    return status;
}

#define AT(field) offsetof(struct eval_options, field)
static const struct mr_flag eval_flags[] = {
    MR_FLAG_LABEL(AT(data)),
    MR_FLAGS_DATA(AT(data)),
    {.argument = "NAME",
     .row = {.key = "backend",
             .type = MR_OPT_STRING,
             .offset = AT(backend),
             .fallback = "cpu",
             .doc = "Where to compute: cpu, cpu:avx2, cuda ..."}},
    {.argument = "N",
     .row = {.key = "top",
             .type = MR_OPT_INT,
             .offset = AT(top),
             .fallback = "10",
             .min = 1,
             .max = 1e6,
             .doc = "Recommenders: how many items a list has, for precision and recall."}},
    {.argument = "RATING",
     .row = {.key = "relevant",
             .type = MR_OPT_DOUBLE,
             .offset = AT(relevant),
             .fallback = "3.5",
             .min = -1e6,
             .max = 1e6,
             .doc = "Recommenders: the rating from which on an item is one that the user likes."}},
    {.argument = "DIR",
     .row = {.key = "svg",
             .type = MR_OPT_STRING,
             .offset = AT(svg),
             .doc = "A folder for pictures of a classifier: confusion.svg, calibration.svg, roc.svg."}},
    {.row = {.key = "json", .type = MR_OPT_BOOL, .offset = AT(json), .doc = "One JSON object on stdout."}},
    {0},
};
#undef AT

const struct mr_command mr_command_eval = {
    .name = "eval",
    .summary = "Say how good a model is on rows whose answers are known",
    .usage = "MODEL [DATA] [flags]",
    .examples =
        "millrace eval regime.safetensors held_out.csv --label regime\n"
        "millrace eval m.safetensors rows.jsonl -l y --json | jq .metrics.auc\n"
        "millrace eval m.safetensors rows.csv -l y --svg pictures   # confusion matrix, calibration, ROC curve\n"
        "millrace eval centres.safetensors readings.csv -F Temperature   # k-means: inertia and sizes\n"
        "millrace eval ratings.safetensors held_out.csv -F user,item -l rating --top 10",
    .notes =
        "A classifier: accuracy, balanced accuracy, log loss, AUC (of more than two classes the mean of each\n"
        "against the rest), calibration, confusion matrix, precision and recall of each class. A model of a\n"
        "number: MSE, RMSE, MAE, R2. k-means: inertia and sizes. All as scikit-learn has them. A recommender: the\n"
        "errors of its estimates; precision and recall at N, as Surprise has them, of the users that it knows.\n"
        "Labels are matched with the names of the model's classes, or their indices where it names none; one\n"
        "that it does not have is a bad row. Rows are read in the order of the file and not kept.",
    .flags = eval_flags,
    .options_size = sizeof(struct eval_options),
    .word_min = 1,
    .word_max = 2,
    .completes_files = true,
    .run = eval_run,
};
