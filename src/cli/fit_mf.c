/* millrace fit mf: factors of users and items from ratings. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "cli/fit.h"
#include "fit/factors.h"

#define DEVIATION 0.1 /* of the first factors; as Surprise has it */

struct recommender {
    struct fit *fit;
    struct mr_ratings ratings;
    size_t train, held_out; /* ratings; those that are held out stand at the end */
    size_t *row_first;      /* [users + 1] */
    struct mr_factors factors;
    bool is_als, is_sequential;
    double reg;
    size_t epochs;
};

static void recommender_deinit(struct recommender *r)
{
    mr_ratings_deinit(&r->ratings);
    mr_factors_deinit(&r->factors);
    free(r->row_first);
}

static mr_status how_read(struct recommender *r, struct mr_err *err)
{
    const struct fit_options *const o = r->fit->options;
    const char *const backend = o->backend;
    if (strncmp(backend, "cpu", 3) != 0 && strcmp(backend, "auto") != 0)
        return mr_fail(err, MR_EUSAGE, "--backend %s: mf is fitted on the CPU", backend);
    if (o->solver && strcmp(o->solver, "sgd") != 0 && strcmp(o->solver, "als") != 0)
        return mr_fail(err, MR_EUSAGE, "--solver \"%s\": expected sgd or als", o->solver);
    r->is_als = o->solver && !strcmp(o->solver, "als");
    r->is_sequential = o->order == FIT_ORDER_SEQUENTIAL;
    if (r->is_als && r->is_sequential) return mr_fail(err, MR_EUSAGE, "--order sequential is of sgd; not of als");
    if (r->is_als && o->step >= 0) return mr_fail(err, MR_EUSAGE, "--step is of sgd; not of als");
    if (o->seed > UINT32_MAX)
        return mr_fail(err, MR_EUSAGE, "--seed %lld: of mf at most %u", (long long)o->seed, UINT32_MAX);
    r->reg = o->l2 >= 0 ? o->l2 : r->is_als ? 0.1 : 0.02;
    if (r->is_als && !(r->reg > 0)) return mr_fail(err, MR_EUSAGE, "--l2 of als must be above 0");
    return MR_OK;
}

static mr_status ratings_take(struct recommender *r, struct mr_err *err)
{
    const struct fit_options *const o = r->fit->options;
    struct mr_table_options data = o->data;
    data.wants_hash = true;
    mr_status status = mr_ratings_read(r->fit->path, &data, &r->ratings, &r->fit->table, err);
    if (status) return status;
    fit_data(r->fit, r->ratings.count);
    status =
        mr_ratings_hold_out(&r->ratings, o->held_out >= 0 ? o->held_out : 0.2, (uint64_t)o->seed, &r->held_out, err);
    r->train = r->ratings.count - r->held_out;
    r->row_first = calloc(r->ratings.user.count + 1, sizeof *r->row_first);
    return status || r->row_first ? status : mr_fail(err, MR_ENOMEM, "out of memory");
}

static double mean_of(const struct mr_rating *rating, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)rating[i].value;
    return sum / (double)count;
}

static void stepped(void *context, size_t epoch, double rmse)
{
    struct fit *const fit = context;
    mr_fit_progress_step(&fit->progress, epoch, rmse);
}

static mr_status factors_fit(struct recommender *r, struct mr_err *err)
{
    struct fit *const fit = r->fit;
    const struct fit_options *const o = fit->options;
    const char *const colon = strchr(o->backend, ':');
    r->factors = (struct mr_factors){.rows = r->ratings.user.count,
                                     .cols = r->ratings.item.count,
                                     .rank = o->factors > 0 ? (size_t)o->factors : 100,
                                     .is_biased = !o->is_unbiased,
                                     .is_double = r->is_sequential,
                                     .mean = o->is_unbiased ? 0 : mean_of(r->ratings.rating, r->train)};
    mr_status status = mr_factors_init(&r->factors, DEVIATION, (uint32_t)o->seed, err);
    if (status) return status;
    const struct mr_factors_fit how = {.rating = r->ratings.rating,
                                       .count = r->train,
                                       .row_first = r->row_first,
                                       .step = o->step >= 0 ? o->step : 0.005,
                                       .reg = r->reg,
                                       .epochs_max = o->iterations > 0 ? (size_t)o->iterations
                                                     : r->is_als       ? 15
                                                                       : 20,
                                       .is_sequential = r->is_sequential,
                                       .seed = (uint64_t)o->seed,
                                       .variant = colon ? colon + 1 : NULL,
                                       .is_stopped = &mr_fit_is_stopped,
                                       .stepped = stepped,
                                       .context = fit};
    fit->progress = (struct mr_fit_progress){
        .what = "mf", .loss_name = "RMSE", .step_max = how.epochs_max, .rows = r->train, .is_quiet = o->quiet};
    mr_fit_progress_begin(&fit->progress);
    status = (r->is_als ? mr_als_fit : mr_sgd_fit)(fit->crew, &how, &r->factors, &r->epochs, err);
    mr_fit_progress_end(&fit->progress);
    return status;
}

static mr_status score_line(struct recommender *r, const char *what, const struct mr_rating *rating, size_t count,
                            struct mr_err *err)
{
    struct mr_factors_score score;
    char name[64];
    const mr_status status = mr_factors_score(r->fit->crew, &r->factors, rating, count, (double)r->ratings.low,
                                              (double)r->ratings.high, &score, err);
    if (status) return status;
    snprintf(name, sizeof name, "%s_rmse", what);
    fit_score(r->fit, name, score.rmse);
    snprintf(name, sizeof name, "%s_mae", what);
    fit_score(r->fit, name, score.mae);
    if (!r->fit->options->json)
        printf("%-10s  %10zu  %10.6f  %10.6f\n", !strcmp(what, "train") ? "fitted" : "held out", count, score.rmse,
               score.mae);
    return MR_OK;
}

static mr_status scores_report(struct recommender *r, struct mr_err *err)
{
    cJSON *const report = r->fit->report;
    cJSON_AddNumberToObject(report, "users", (double)r->factors.rows);
    cJSON_AddNumberToObject(report, "items", (double)r->factors.cols);
    cJSON_AddNumberToObject(report, "factors", (double)r->factors.rank);
    cJSON_AddStringToObject(report, "solver", r->is_als ? "als" : "sgd");
    cJSON_AddStringToObject(report, "order", r->is_sequential ? "sequential" : "parallel");
    cJSON_AddNumberToObject(report, "l2", r->reg);
    cJSON_AddNumberToObject(report, "iterations", (double)r->epochs);
    const char *const ended = fit_ended(r->fit, false, atomic_load(&mr_fit_is_stopped));
    cJSON_AddNumberToObject(report, "held_out_rows", (double)r->held_out);
    if (!r->fit->options->json)
        printf("%zu users, %zu items, %zu factors; %zu iterations of %s (%s); l2 %.3g\n%-10s  %10s  %10s  %10s\n",
               r->factors.rows, r->factors.cols, r->factors.rank, r->epochs, r->is_als ? "als" : "sgd", ended, r->reg,
               "", "ratings", "RMSE", "MAE");
    const mr_status status = score_line(r, "train", r->ratings.rating, r->train, err);
    return status || !r->held_out ? status : score_line(r, "held_out", r->ratings.rating + r->train, r->held_out, err);
}

/* ---- the model file ---- */

/* Rows of factors side by side, without what is behind the rank. */
static void stride_drop(void *factor, size_t rows, const struct mr_factors *factors)
{
    const size_t bytes = factors->is_double ? sizeof(double) : sizeof(float);
    for (size_t i = 1; i < rows; i++)
        memmove((char *)factor + i * factors->rank * bytes, (char *)factor + i * factors->stride * bytes,
                factors->rank * bytes);
}

static int col_compare(const void *a, const void *b)
{
    const uint32_t left = ((const struct mr_rating *)a)->col, right = ((const struct mr_rating *)b)->col;
    return left < right ? -1 : left > right;
}

/* What each user has rated, held out or not, ascending and once: offset [users + 1], item [offset[users]]. */
static mr_status seen_make(struct recommender *r, int64_t **offset_out, int32_t **item_out, struct mr_err *err)
{
    struct mr_rating *const rating = r->ratings.rating;
    const size_t users = r->factors.rows;
    int64_t *const offset = malloc((users + 1) * sizeof *offset);
    int32_t *const item = malloc((r->ratings.count + 1) * sizeof *item);
    size_t count = 0;
    *offset_out = offset;
    *item_out = item;
    if (!offset || !item) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_ratings_by_row(rating, r->ratings.count, users, r->row_first);
    for (size_t user = 0; user < users; user++) {
        const size_t first = r->row_first[user], end = r->row_first[user + 1];
        offset[user] = (int64_t)count;
        qsort(rating + first, end - first, sizeof *rating, col_compare);
        for (size_t i = first; i < end; i++)
            if (i == first || rating[i].col != rating[i - 1].col) item[count++] = (int32_t)rating[i].col;
    }
    offset[users] = (int64_t)count;
    return MR_OK;
}

/* The whole number that a text is the shortest form of. */
static bool integer_read(const char *text, size_t bytes, int64_t *value_out)
{
    char copy[MR_NUMBER_BYTES + 1], again[MR_NUMBER_BYTES];
    if (!bytes || bytes > 20) return false;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    const long long value = strtoll(copy, NULL, 10);
    *value_out = value;
    return mr_print_i64(value, again) == bytes && !memcmp(again, text, bytes);
}

/* Ids as tensors: numbers where all are, else text and offsets. number [count + 1] is freed by the caller. */
static mr_status ids_put(const struct mr_intern *ids, const char *const *name, struct mr_tensor_out *tensors,
                         size_t *count, int64_t **number_out, struct mr_err *err)
{
    int64_t *const number = malloc((ids->count + 1) * sizeof *number);
    bool are_numbers = true;
    *number_out = number;
    if (!number) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < ids->count && are_numbers; i++)
        are_numbers = integer_read(ids->text + ids->first[i], ids->first[i + 1] - ids->first[i], &number[i]);
    if (are_numbers) {
        tensors[(*count)++] = (struct mr_tensor_out){.name = name[0], .rank = 1, .shape = {ids->count}, .i64 = number};
        return MR_OK;
    }
    for (size_t i = 0; i <= ids->count; i++) number[i] = (int64_t)ids->first[i];
    tensors[(*count)++] = (struct mr_tensor_out){
        .name = name[1], .rank = 1, .shape = {ids->first[ids->count]}, .u8 = (const unsigned char *)ids->text};
    tensors[(*count)++] = (struct mr_tensor_out){.name = name[2], .rank = 1, .shape = {ids->count + 1}, .i64 = number};
    return MR_OK;
}

static struct mr_tensor_out numbers_put(const struct mr_factors *factors, const char *name, const void *values,
                                        size_t rows, size_t cols)
{
    struct mr_tensor_out tensor = {.name = name, .rank = cols ? 2 : 1, .shape = {rows, cols}};
    if (factors->is_double)
        tensor.f64 = values;
    else
        tensor.f32 = values;
    return tensor;
}

static mr_status model_save(struct recommender *r, struct mr_err *err)
{
    static const char *const user_names[] = {"user_ids", "user_ids.text", "user_ids.offsets"};
    static const char *const item_names[] = {"item_ids", "item_ids.text", "item_ids.offsets"};
    struct mr_factors *const f = &r->factors;
    struct mr_tensor_out tensors[10];
    char mean[32], low[32], high[32], reg[32];
    int64_t *offset = NULL, *user_number = NULL, *item_number = NULL;
    int32_t *item = NULL;
    size_t count = 0;
    stride_drop(f->row_factor, f->rows, f);
    stride_drop(f->col_factor, f->cols, f);
    tensors[count++] = numbers_put(f, "user_factors", f->row_factor, f->rows, f->rank);
    tensors[count++] = numbers_put(f, "item_factors", f->col_factor, f->cols, f->rank);
    if (f->is_biased) {
        tensors[count++] = numbers_put(f, "user_bias", f->row_bias, f->rows, 0);
        tensors[count++] = numbers_put(f, "item_bias", f->col_bias, f->cols, 0);
    }
    snprintf(mean, sizeof mean, "%.17g", mean_of(r->ratings.rating, r->train));
    snprintf(low, sizeof low, "%.9g", (double)r->ratings.low);
    snprintf(high, sizeof high, "%.9g", (double)r->ratings.high);
    snprintf(reg, sizeof reg, "%.17g", r->reg > 0 ? r->reg : 0.02);
    mr_status status = seen_make(r, &offset, &item, err);
    if (!status) status = ids_put(&r->ratings.user, user_names, tensors, &count, &user_number, err);
    if (!status) status = ids_put(&r->ratings.item, item_names, tensors, &count, &item_number, err);
    if (!status) {
        const uint64_t seen = (uint64_t)offset[f->rows];
        tensors[count++] =
            (struct mr_tensor_out){.name = "seen.offsets", .rank = 1, .shape = {f->rows + 1}, .i64 = offset};
        tensors[count++] = (struct mr_tensor_out){.name = "seen.items", .rank = 1, .shape = {seen}, .i32 = item};
        const struct mr_metadata_out metadata[] = {{"millrace.mean", mean},
                                                   {"millrace.scale_min", low},
                                                   {"millrace.scale_max", high},
                                                   {"millrace.regularisation", reg}};
        const struct fit_model model = {.type = "mf",
                                        .tensor = tensors,
                                        .tensor_count = count,
                                        .metadata = metadata,
                                        .metadata_count = sizeof metadata / sizeof *metadata};
        status = fit_save(r->fit, &model, err);
    }
    free(offset);
    free(item);
    free(user_number);
    free(item_number);
    return status;
}

static mr_status recommender_run(struct fit *fit, struct mr_err *err)
{
    struct recommender r = {.fit = fit};
    mr_status status = how_read(&r, err);
    if (!status) status = ratings_take(&r, err);
    if (!status) status = factors_fit(&r, err);
    if (!status) status = scores_report(&r, err);
    if (!status) status = model_save(&r, err);
    recommender_deinit(&r);
    return status;
}

const struct fit_kind fit_mf = {
    .name = "mf", .label = MR_LABEL_NUMBER, .streams = true, .opens = true, .run = recommender_run};
