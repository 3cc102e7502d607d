#include "live/columns.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS_MAX 24 /* of a model that are drawn over time */
#define CENTRE_COLS 2  /* of a centre: its place in a picture */

/* The first ones, in their order. */
enum { TIME, RECORDS, IN, OUT, DEAD, P50, P99, P999, LAG, BATCH, CPU, STAGE };

static void column_add(struct mr_columns *columns, const char *unit, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void column_add(struct mr_columns *columns, const char *unit, const char *key, const char *format, ...)
{
    struct mr_column *const column = &columns->item[columns->count++];
    va_list values;
    va_start(values, format);
    vsnprintf(column->label, sizeof column->label, format, values);
    va_end(values);
    snprintf(column->key, sizeof column->key, "%s", key);
    column->unit = unit;
}

static const char *feature_name(const struct mr_run *run, const struct mr_model_at_work *model, size_t i, char out[24])
{
    if (model->info->feature) return model->info->feature[i];
    if (model->input == MR_NO_MODEL && i < run->layout->feature_name_count) return run->layout->feature_name[i];
    snprintf(out, 24, "%zu", i + 1);
    return out;
}

/* What of a model is drawn over time: weights and bias of one output, or where the centres are. */
static size_t numbers_add(struct mr_columns *columns, const struct mr_run *run, size_t m)
{
    const struct mr_model_at_work *const model = &run->models.item[m];
    const char *const type = model->info->type;
    const size_t cols = model->info->feature_count, first = columns->count;
    char key[MR_COLUMN_NAME], number[24];
    if (!strcmp(type, "linear") || !strcmp(type, "logistic")) {
        for (size_t i = 0; i < cols && i < NUMBERS_MAX - 1 && model->info->width == 1; i++) {
            snprintf(key, sizeof key, "model.%zu.w%zu", m, i);
            column_add(columns, "", key, "weight of %.40s", feature_name(run, model, i, number));
        }
        snprintf(key, sizeof key, "model.%zu.b", m);
        if (model->info->width == 1) column_add(columns, "", key, "intercept");
    } else if (!strcmp(type, "kmeans")) {
        const size_t shown = cols < CENTRE_COLS ? cols : CENTRE_COLS, centres = model->info->class_count;
        for (size_t i = 0; shown && i < centres * shown && i < NUMBERS_MAX; i++) {
            snprintf(key, sizeof key, "model.%zu.c%zu.%zu", m, i / shown, i % shown);
            column_add(columns, "", key, "centre %zu, %.40s", i / shown, feature_name(run, model, i % shown, number));
        }
    }
    return columns->count - first;
}

static void model_add(struct mr_columns *columns, const struct mr_run *run, size_t m)
{
    const struct mr_model_at_work *const model = &run->models.item[m];
    const bool is_number = model->judged == MR_JUDGED_NUMBER;
    char key[MR_COLUMN_NAME];
    columns->model_at[m] = columns->count;
    snprintf(key, sizeof key, "model.%zu.loss", m);
    column_add(columns, "", key, "%.30s, %s", model->job->name,
               is_number                                ? "mean squared error"
               : model->judged == MR_JUDGED_CLASSES     ? "log loss"
               : model->learn && model->learn->has_loss ? "loss before learning"
                                                        : "loss");
    snprintf(key, sizeof key, "model.%zu.right", m);
    column_add(columns, "%", key, "%.30s, right", model->job->name);
    snprintf(key, sizeof key, "model.%zu.version", m);
    column_add(columns, "updates", key, "%.30s, version", model->job->name);
    columns->numbers_at[m] = columns->count;
    columns->number_count[m] = numbers_add(columns, run, m);
}

void mr_columns_init(struct mr_columns *columns, const struct mr_run *run)
{
    *columns = (struct mr_columns){0};
    for (size_t i = 0; i < MR_COLUMN_MAX; i++) columns->value[i] = NAN;
    column_add(columns, "ms", "time", "time");
    column_add(columns, "records", "records", "records taken in");
    column_add(columns, "records/s", "in", "in");
    column_add(columns, "records/s", "out", "out");
    column_add(columns, "records/s", "dead", "dead letters");
    column_add(columns, "ms", "p50", "p50");
    column_add(columns, "ms", "p99", "p99");
    column_add(columns, "ms", "p999", "p99.9");
    column_add(columns, "records", "lag", "lag");
    column_add(columns, "records", "batch", "records a batch");
    column_add(columns, "cores", "cpu", "CPU");
    for (int i = 0; i < MR_STAGE_COUNT; i++) {
        char key[MR_COLUMN_NAME];
        snprintf(key, sizeof key, "stage.%s", mr_stage_name((mr_stage)i));
        column_add(columns, "ms/s", key, "%s", mr_stage_name((mr_stage)i));
    }
    columns->model_count = run->models.count < MR_TAP_MODELS ? run->models.count : MR_TAP_MODELS;
    for (size_t i = 0; i < columns->model_count; i++) model_add(columns, run, i);
}

/* Of what came in between. */
static double quantile_ms(const struct mr_histogram *before, const struct mr_histogram *now, double share)
{
    static _Thread_local struct mr_histogram between;
    between.count = now->count - before->count;
    between.max = now->max;
    for (size_t i = 0; i < MR_HISTOGRAM_BUCKETS; i++) between.bucket[i] = now->bucket[i] - before->bucket[i];
    return between.count ? (double)mr_histogram_quantile(&between, share) / 1e6 : NAN;
}

static void model_take(struct mr_columns *columns, const struct mr_run *run, size_t m,
                       const struct mr_tap_numbers *numbers)
{
    const struct mr_model_at_work *const model = &run->models.item[m];
    double *const to = columns->value + columns->model_at[m], *const number = columns->value + columns->numbers_at[m];
    const uint64_t rows = atomic_load(&model->losses.rows), right = atomic_load(&model->losses.right);
    const uint64_t learned = atomic_load(&model->stats.rows);
    const double loss = atomic_load(&model->losses.loss), loss_learned = atomic_load(&model->stats.loss);
    const uint64_t judged = rows - columns->before[m].rows, taught = learned - columns->before[m].learned;
    to[0] = judged ? (loss - columns->before[m].loss) / (double)judged
            : taught && model->learn && model->learn->has_loss
                ? (loss_learned - columns->before[m].loss_learned) / (double)taught
                : NAN;
    to[1] = judged && model->judged == MR_JUDGED_CLASSES
                ? 100 * (double)(right - columns->before[m].right) / (double)judged
                : NAN;
    to[2] = (double)atomic_load(&model->version);
    columns->before[m].rows = rows;
    columns->before[m].right = right;
    columns->before[m].loss = loss;
    columns->before[m].learned = learned;
    columns->before[m].loss_learned = loss_learned;
    const bool is_kmeans = !strcmp(model->info->type, "kmeans");
    const size_t shown = !is_kmeans || numbers->cols < CENTRE_COLS ? numbers->cols : CENTRE_COLS;
    for (size_t i = 0; i < columns->number_count[m]; i++) {
        const size_t row = shown ? i / shown : 0, col = shown ? i % shown : 0;
        const bool is_bias = !is_kmeans && i + 1 == columns->number_count[m];
        number[i] = !numbers->rows                                ? NAN
                    : is_bias                                     ? (double)numbers->bias[0]
                    : row < numbers->rows || (!is_kmeans && !row) ? (double)numbers->value[row * numbers->cols + col]
                                                                  : NAN;
    }
}

void mr_columns_take(struct mr_columns *columns, const struct mr_run *run, const struct mr_summary *before,
                     const struct mr_summary *now, const struct mr_tap_numbers *numbers, double lag)
{
    double *const to = columns->value;
    const double seconds = now->seconds - before->seconds;
    const uint64_t batches = now->batches - before->batches;
    to[RECORDS] = (double)now->records_in;
    to[IN] = (double)(now->records_in - before->records_in) / seconds;
    to[OUT] = (double)(now->records_out - before->records_out) / seconds;
    to[DEAD] = (double)(now->records_dead - before->records_dead) / seconds;
    to[P50] = quantile_ms(&before->process_ns, &now->process_ns, 0.5);
    to[P99] = quantile_ms(&before->process_ns, &now->process_ns, 0.99);
    to[P999] = quantile_ms(&before->process_ns, &now->process_ns, 0.999);
    to[LAG] = lag;
    to[BATCH] = batches ? (double)(now->records_in - before->records_in) / (double)batches : NAN;
    to[CPU] = (double)(now->cpu_ns - before->cpu_ns) / 1e9 / seconds;
    for (int i = 0; i < MR_STAGE_COUNT; i++)
        to[STAGE + i] = (double)(now->stage_ns[i] - before->stage_ns[i]) / 1e6 / seconds;
    for (size_t i = 0; i < columns->model_count; i++) model_take(columns, run, i, &numbers[i]);
}
