#include "live/columns.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS_MAX 24 /* of a model that are drawn over time */
#define FOUND_MAX   40 /* likewise, of what it has found: five arms */
#define WIDTH_MAX   256
#define CENTRE_COLS 2 /* of a centre: its place in a picture */

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

/* The model before this one, if that is a scaler of the job's features: what it does can be taken back. */
static const struct mr_model_at_work *scaler_of(const struct mr_run *run, const struct mr_model_at_work *model,
                                                size_t *at_out)
{
    const size_t at = *at_out = model->input;
    const struct mr_model_at_work *const input = at == MR_NO_MODEL ? NULL : &run->models.item[at];
    return input && input->input == MR_NO_MODEL && !strcmp(input->info->type, "scaler") ? input : NULL;
}

static const char *feature_name(const struct mr_run *run, const struct mr_column_model *place,
                                const struct mr_model_at_work *model, size_t i, char out[24])
{
    if (place->has_raw && i < run->layout->feature_name_count) return run->layout->feature_name[i];
    if (model->info->feature) return model->info->feature[i];
    snprintf(out, 24, "%zu", i + 1);
    return out;
}

/* What is known to be true of a column, if anything is. */
static void truth_add(struct mr_columns *columns, struct mr_column_model *place, const struct mr_truths *truths,
                      size_t of, const char *key, const char *name)
{
    if (isnan(mr_truths_find(truths, name))) return;
    column_add(columns, "", key, "true %.60s", of ? columns->item[of].label : name);
    struct mr_column *const column = &columns->item[columns->count - 1];
    snprintf(column->truth, sizeof column->truth, "%s", name);
    column->of = of;
    place->truth.count++;
}

static void weights_add(struct mr_columns *columns, const struct mr_run *run, size_t m, const struct mr_truths *truths)
{
    struct mr_column_model *const place = &columns->model[m];
    const struct mr_model_at_work *const model = &run->models.item[m];
    const size_t cols = model->info->feature_count, shown = cols < NUMBERS_MAX - 1 ? cols : NUMBERS_MAX - 1;
    char key[MR_COLUMN_NAME], number[24];
    if (model->info->width != 1) return;
    for (size_t i = 0; i < shown; i++) {
        snprintf(key, sizeof key, "model.%zu.w%zu", m, i);
        column_add(columns, "", key, "weight of %.40s", feature_name(run, place, model, i, number));
    }
    snprintf(key, sizeof key, "model.%zu.b", m);
    column_add(columns, "", key, "intercept");
    place->numbers.count = shown + 1;
    place->numbers.all = cols + 1;
    place->truth.at = columns->count;
    for (size_t i = 0; i <= shown && place->has_raw; i++) {
        const char *const name = i < shown ? feature_name(run, place, model, i, number) : "intercept";
        snprintf(key, sizeof key, "model.%zu.true%zu", m, i);
        truth_add(columns, place, truths, place->numbers.at + i, key, name);
    }
}

/* Of each centre its place on the first two axes, and likewise of each true one: which of them is which nobody knows.
 */
static void centres_add(struct mr_columns *columns, const struct mr_run *run, size_t m, const struct mr_truths *truths)
{
    struct mr_column_model *const place = &columns->model[m];
    const struct mr_model_at_work *const model = &run->models.item[m];
    const size_t cols = model->info->feature_count, centres = model->info->class_count;
    const size_t shown = cols < CENTRE_COLS ? cols : CENTRE_COLS;
    char key[MR_COLUMN_NAME], name[MR_COLUMN_NAME], number[24];
    for (size_t i = 0; shown && i < centres * shown && i < NUMBERS_MAX; i++) {
        snprintf(key, sizeof key, "model.%zu.c%zu.%zu", m, i / shown, i % shown);
        column_add(columns, "", key, "centre %zu, %.40s", i / shown,
                   feature_name(run, place, model, i % shown, number));
    }
    place->numbers.count = columns->count - place->numbers.at;
    place->numbers.all = centres * shown;
    place->truth.at = columns->count;
    for (size_t i = 0; shown && place->has_raw && i < NUMBERS_MAX; i++) {
        snprintf(key, sizeof key, "model.%zu.true%zu.%zu", m, i / shown, i % shown);
        snprintf(name, sizeof name, "centre[%zu].%.60s", i / shown, feature_name(run, place, model, i % shown, number));
        truth_add(columns, place, truths, 0, key, name);
    }
}

/* Of what a model has found, what is drawn; the rest stands in the report. */
static bool is_drawn(const char *output)
{
    static const char *const left[] = {"statistic", "df", "p_single"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        const size_t bytes = strlen(left[i]);
        if (!strncmp(output, left[i], bytes) && (!output[bytes] || output[bytes] == '.')) return false;
    }
    return true;
}

/* The name by which the truth about an arm is known: its own, or its number; false: nobody knows it. */
static bool arm_truth(const struct mr_truths *truths, const struct mr_model_info *info, size_t arm,
                      char name[MR_COLUMN_NAME])
{
    static const char count[] = "count.";
    size_t at = 0;
    for (size_t i = 0; i < info->width; i++) {
        if (strncmp(info->output[i], count, sizeof count - 1) || at++ != arm) continue;
        snprintf(name, MR_COLUMN_NAME, "arm[%.60s]", info->output[i] + sizeof count - 1);
        if (!isnan(mr_truths_find(truths, name))) return true;
    }
    snprintf(name, MR_COLUMN_NAME, "arm[%zu]", arm);
    return at && !isnan(mr_truths_find(truths, name));
}

/* What the differences from the control should be. */
static void differences_add(struct mr_columns *columns, const struct mr_run *run, size_t m,
                            const struct mr_truths *truths)
{
    static const char difference[] = "difference";
    struct mr_column_model *const place = &columns->model[m];
    char control[MR_COLUMN_NAME], name[MR_COLUMN_NAME], key[MR_COLUMN_NAME];
    size_t arm = 0;
    place->truth.at = columns->count;
    for (size_t i = 0; i < place->found.count; i++) {
        const size_t of = place->found.at + i;
        if (strncmp(columns->item[of].label, difference, sizeof difference - 1) != 0) continue;
        arm++;
        if (!arm_truth(truths, run->models.item[m].info, 0, control) ||
            !arm_truth(truths, run->models.item[m].info, arm, name))
            continue;
        snprintf(key, sizeof key, "model.%zu.true%zu", m, arm);
        truth_add(columns, place, truths, of, key, name);
        snprintf(columns->item[columns->count - 1].less, MR_COLUMN_NAME, "%s", control);
    }
}

/* What the model has found, by the names that it gives. */
static void found_add(struct mr_columns *columns, const struct mr_run *run, size_t m, const struct mr_truths *truths)
{
    struct mr_column_model *const place = &columns->model[m];
    const struct mr_model_info *const info = run->models.item[m].info;
    char key[MR_COLUMN_NAME];
    place->found.at = columns->count;
    if (!info->output || info->width > WIDTH_MAX || !run->models.item[m].found.values) return;
    for (size_t i = 0; i < info->width; i++) {
        if (!is_drawn(info->output[i])) continue;
        place->found.all++;
        if (place->found.count == FOUND_MAX) continue;
        snprintf(key, sizeof key, "model.%zu.found.%.60s", m, info->output[i]);
        column_add(columns, "", key, "%.60s", info->output[i]);
        place->found.count++;
    }
    differences_add(columns, run, m, truths);
}

/* What of a model is drawn over time: weights and bias of one output, or where the centres are. */
static void numbers_add(struct mr_columns *columns, const struct mr_run *run, size_t m, const struct mr_truths *truths)
{
    const struct mr_model_at_work *const model = &run->models.item[m];
    struct mr_column_model *const place = &columns->model[m];
    const char *const type = model->info->type;
    size_t scaler;
    place->numbers.at = columns->count;
    place->has_raw =
        model->input == MR_NO_MODEL || (scaler_of(run, model, &scaler) && model->info->feature_count <= MR_TAP_NUMBERS);
    if (!strcmp(type, "linear") || !strcmp(type, "logistic"))
        weights_add(columns, run, m, truths);
    else if (!strcmp(type, "kmeans"))
        centres_add(columns, run, m, truths);
    else
        found_add(columns, run, m, truths);
}

static void model_add(struct mr_columns *columns, const struct mr_run *run, size_t m, const struct mr_truths *truths)
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
    numbers_add(columns, run, m, truths);
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
    struct mr_truths truths;
    mr_truths_take(&truths, run->job, 0);
    for (size_t i = 0; i < columns->model_count; i++) model_add(columns, run, i, &truths);
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

/* Weights by the features as they come: of w (x - shift) scale + b, w scale and b - sum of w scale shift. */
static void weights_take(const struct mr_columns *columns, size_t m, const struct mr_tap_numbers *own,
                         const struct mr_tap_numbers *scaler, double *to)
{
    const size_t shown = columns->model[m].numbers.count - 1;
    double bias = (double)own->bias[0];
    for (size_t i = 0; i < own->cols; i++) {
        const double weight = (double)own->value[i] * (scaler ? (double)scaler->value[i] : 1);
        if (scaler) bias -= weight * (double)scaler->bias[i];
        if (i < shown) to[i] = weight;
    }
    to[shown] = bias;
}

static void centres_take(const struct mr_columns *columns, size_t m, const struct mr_tap_numbers *own,
                         const struct mr_tap_numbers *scaler, double *to)
{
    const size_t shown = own->cols < CENTRE_COLS ? own->cols : CENTRE_COLS;
    for (size_t i = 0; i < columns->model[m].numbers.count && i / shown < own->rows; i++) {
        const size_t col = i % shown;
        const double at = (double)own->value[i / shown * own->cols + col];
        to[i] = scaler ? at / (double)scaler->value[col] + (double)scaler->bias[col] : at;
    }
}

static void numbers_take(struct mr_columns *columns, const struct mr_run *run, size_t m,
                         const struct mr_tap_numbers *numbers)
{
    const struct mr_column_range *const range = &columns->model[m].numbers;
    const struct mr_model_at_work *const model = &run->models.item[m];
    double *const to = columns->value + range->at;
    size_t at;
    const struct mr_tap_numbers *const scaler =
        columns->model[m].has_raw && scaler_of(run, model, &at) ? &numbers[at] : NULL;
    for (size_t i = 0; i < range->count; i++) to[i] = NAN;
    if (!range->count || !numbers[m].rows || (scaler && !scaler->rows)) return;
    if (!strcmp(model->info->type, "kmeans"))
        centres_take(columns, m, &numbers[m], scaler, to);
    else
        weights_take(columns, m, &numbers[m], scaler, to);
}

static void found_take(struct mr_columns *columns, struct mr_model_at_work *model, size_t m)
{
    const struct mr_column_range *const range = &columns->model[m].found;
    double values[WIDTH_MAX];
    char text[MR_FOUND_BYTES];
    size_t taken = 0;
    if (!range->count || !mr_model_found(model, text, values)) return;
    for (size_t i = 0; taken < range->count; i++) {
        if (is_drawn(model->info->output[i])) columns->value[range->at + taken++] = values[i];
    }
}

/* What is true now, which may move with the records. */
static void truths_take(struct mr_columns *columns, const struct mr_run *run, int64_t offset)
{
    struct mr_truths truths = {.count = 0};
    for (size_t i = 0; i < columns->count; i++) {
        const struct mr_column *const column = &columns->item[i];
        if (!*column->truth) continue;
        if (!truths.count) mr_truths_take(&truths, run->job, offset < 0 ? 0 : offset);
        columns->value[i] =
            mr_truths_find(&truths, column->truth) - (*column->less ? mr_truths_find(&truths, column->less) : 0);
    }
}

static void model_take(struct mr_columns *columns, const struct mr_run *run, size_t m,
                       const struct mr_tap_numbers *numbers)
{
    const struct mr_model_at_work *const model = &run->models.item[m];
    double *const to = columns->value + columns->model_at[m];
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
    numbers_take(columns, run, m, numbers);
    found_take(columns, &run->models.item[m], m);
}

void mr_columns_take(struct mr_columns *columns, const struct mr_run *run, const struct mr_columns_now *at)
{
    const struct mr_summary *const before = at->before, *const now = at->now;
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
    to[LAG] = at->lag;
    to[BATCH] = batches ? (double)(now->records_in - before->records_in) / (double)batches : NAN;
    to[CPU] = (double)(now->cpu_ns - before->cpu_ns) / 1e9 / seconds;
    for (int i = 0; i < MR_STAGE_COUNT; i++)
        to[STAGE + i] = (double)(now->stage_ns[i] - before->stage_ns[i]) / 1e6 / seconds;
    for (size_t i = 0; i < columns->model_count; i++) model_take(columns, run, i, at->numbers);
    truths_take(columns, run, at->offset);
}
