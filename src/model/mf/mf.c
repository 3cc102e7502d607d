/* mf: matrix factorisation. The best items for a user, or what a user would rate an item. */
#include "model/mf/mf.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const outputs[] = {"items", "rating", NULL};

#define AT(field) offsetof(struct mf_options, field)
static const struct mr_option options_table[] = {
    {.key = "output",
     .type = MR_OPT_ENUM,
     .offset = AT(output),
     .fallback = "items",
     .choices = outputs,
     .doc = "items: the best for a user; record.features is the user's id, and, if wanted, a list of ratings of a user "
            "who "
            "is new. rating: what a user would give an item; record.features is both ids."},
    {.key = "top",
     .type = MR_OPT_INT,
     .offset = AT(top),
     .fallback = "10",
     .min = 1,
     .max = 1000,
     .doc = "How many items, best first."},
    {.key = "ratings_max",
     .type = MR_OPT_INT,
     .offset = AT(ratings_max),
     .fallback = "100",
     .min = 1,
     .max = 4096,
     .doc = "Items in a list of ratings; a longer one makes a bad record. Memory is taken for as many in every row."},
    {.key = "regularisation",
     .type = MR_OPT_DOUBLE,
     .offset = AT(regularisation),
     .min = 0,
     .max = 1e6,
     .doc = "Of a new user's factors; 0: the model file's millrace.regularisation, or 0.02."},
    {0},
};
#undef AT

static void mf_close(struct mr_model *model)
{
    if (!model) return;
    mr_model_meta_deinit(&model->meta);
    mr_ids_deinit(&model->users);
    mr_ids_deinit(&model->items);
    free(model->user_factor);
    free(model->item_factor);
    free(model->user_bias);
    free(model->item_bias);
    free(model->seen_first);
    free(model->seen);
    free(model);
}

/* A tensor as float32; shape[1] 0: one dimension. *largest_out: the largest magnitude. */
static mr_status floats_read(const struct mr_safetensors *file, const char *name, size_t rank, uint64_t length,
                             float **values_out, double *largest_out, const struct mr_tensor **tensor_out,
                             struct mr_err *err)
{
    const mr_status status = mr_model_tensor(file, name, rank, length, tensor_out, err);
    if (status) return status;
    float *const values = malloc((size_t)(*tensor_out)->count * sizeof *values + 1);
    *values_out = values;
    *largest_out = 0;
    if (!values) return mr_fail(err, MR_ENOMEM, "model \"%s\": no memory for \"%s\"", mr_safetensors_name(file), name);
    for (uint64_t i = 0; i < (*tensor_out)->count; i++) {
        const double value = mr_tensor_value(*tensor_out, i);
        values[i] = (float)value;
        if (fabs(value) > *largest_out) *largest_out = fabs(value);
    }
    return MR_OK;
}

static mr_status factors_read(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err)
{
    const char *const path = mr_safetensors_name(file);
    const struct mr_tensor *user, *item, *bias;
    double user_size, item_size, user_bias_size = 0, item_bias_size = 0;
    mr_status status = floats_read(file, "user_factors", 2, 0, &model->user_factor, &user_size, &user, err);
    if (!status) status = floats_read(file, "item_factors", 2, 0, &model->item_factor, &item_size, &item, err);
    if (status) return status;
    const uint64_t users = user->shape[0], items = item->shape[0], rank = user->shape[1];
    if (!users || !items || !rank || rank != item->shape[1] || users > MR_MF_COUNT_MAX || items > MR_MF_COUNT_MAX)
        return mr_fail(
            err, MR_EDATA,
            "model \"%s\": user_factors [%llu, %llu] and item_factors [%llu, %llu]: both need the same rank, "
            "and 1 to %zu rows",
            path, (unsigned long long)users, (unsigned long long)rank, (unsigned long long)items,
            (unsigned long long)item->shape[1], MR_MF_COUNT_MAX);
    if (mr_safetensors_find(file, "user_bias") || mr_safetensors_find(file, "item_bias")) {
        status = floats_read(file, "user_bias", 1, users, &model->user_bias, &user_bias_size, &bias, err);
        if (!status) status = floats_read(file, "item_bias", 1, items, &model->item_bias, &item_bias_size, &bias, err);
    }
    /* A list of ratings can make factors of up to 1e9 (read.c). */
    const double largest_user = user_size > 1e9 ? user_size : 1e9;
    if (!status && (double)rank * largest_user * item_size + user_bias_size + item_bias_size > (double)FLT_MAX / 4)
        status = mr_fail(err, MR_EDATA, "model \"%s\": factors so large that scores are beyond float32", path);
    model->params.users = (size_t)users;
    model->params.items = (size_t)items;
    model->params.rank = (size_t)rank;
    model->params.user_factor = model->user_factor;
    model->params.item_factor = model->item_factor;
    model->params.user_bias = model->user_bias;
    model->params.item_bias = model->item_bias;
    return status;
}

static mr_status seen_read(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err)
{
    const char *const path = mr_safetensors_name(file);
    const struct mr_tensor *const offset = mr_safetensors_find(file, "seen.offsets"), *const item = mr_safetensors_find(
                                                                                          file, "seen.items");
    const size_t users = model->params.users;
    if (!offset && !item) return MR_OK;
    if (!offset || !item || offset->dtype != MR_DTYPE_I64 || offset->count != users + 1 ||
        (item->dtype != MR_DTYPE_I32 && item->dtype != MR_DTYPE_I64))
        return mr_fail(err, MR_EDATA,
                       "model \"%s\": seen.offsets must be I64 with %zu positions in seen.items, I32 or I64", path,
                       users + 1);
    model->seen_first = malloc((users + 1) * sizeof *model->seen_first);
    model->seen = malloc((size_t)item->count * sizeof *model->seen + 1);
    if (!model->seen_first || !model->seen) return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", path);
    for (size_t user = 0; user <= users; user++) {
        const int64_t at = mr_tensor_integer(offset, user);
        if (at < 0 || at > (int64_t)item->count || (user ? (uint64_t)at < model->seen_first[user - 1] : at != 0))
            return mr_fail(err, MR_EDATA, "model \"%s\": seen.offsets: value %zu does not ascend within seen.items",
                           path, user);
        model->seen_first[user] = (uint64_t)at;
    }
    for (size_t user = 0; user < users; user++) {
        for (uint64_t i = model->seen_first[user]; i < model->seen_first[user + 1]; i++) {
            const int64_t at = mr_tensor_integer(item, i);
            if (at < 0 || at >= (int64_t)model->params.items ||
                (i > model->seen_first[user] && at <= model->seen[i - 1]))
                return mr_fail(
                    err, MR_EDATA,
                    "model \"%s\": seen.items: value %llu: a user's items must be indices in ascending order", path,
                    (unsigned long long)i);
            model->seen[i] = (int32_t)at;
        }
    }
    model->params.seen_first = model->seen_first;
    model->params.seen = model->seen;
    return MR_OK;
}

/* A number in the metadata; absent: `otherwise`. */
static mr_status number_read(const struct mr_safetensors *file, const char *key, double otherwise, double *value_out,
                             struct mr_err *err)
{
    const char *const text = mr_safetensors_metadata(file, key);
    char *end;
    *value_out = otherwise;
    if (!text) return MR_OK;
    *value_out = strtod(text, &end);
    if (end != text && !*end && fabs(*value_out) <= (double)FLT_MAX) return MR_OK;
    return mr_fail(err, MR_EDATA, "model \"%s\": metadata %s: \"%.40s\" is no number", mr_safetensors_name(file), key,
                   text);
}

static mr_status numbers_read(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err)
{
    double mean, low, high;
    mr_status status = number_read(file, "millrace.mean", 0, &mean, err);
    if (!status) status = number_read(file, "millrace.scale_min", -(double)FLT_MAX, &low, err);
    if (!status) status = number_read(file, "millrace.scale_max", (double)FLT_MAX, &high, err);
    if (!status) status = number_read(file, "millrace.regularisation", 0.02, &model->regularisation, err);
    if (status) return status;
    if (model->options.regularisation > 0) model->regularisation = model->options.regularisation;
    if (!(model->regularisation > 0) || low > high)
        return mr_fail(err, MR_EDATA,
                       "model \"%s\": metadata: millrace.regularisation must be above 0, millrace.scale_min not above "
                       "millrace.scale_max",
                       mr_safetensors_name(file));
    model->params.mean = (float)mean;
    model->params.scale_min = (float)low;
    model->params.scale_max = (float)high;
    return MR_OK;
}

static mr_status shape_set(struct mr_model *model, size_t feature_count, struct mr_err *err)
{
    struct mr_mf_params *const params = &model->params;
    const bool is_rating = model->options.output == MR_MF_RATING;
    const size_t features = is_rating ? 2 : feature_count ? feature_count : 1;
    if (feature_count > 2 || (is_rating && feature_count == 1))
        return mr_fail(err, MR_ECONFIG, "a mf model reads the user's id%s: record.features names %zu",
                       is_rating ? " and the item's" : ", and a list of ratings if wanted", feature_count);
    params->top = (size_t)model->options.top;
    if (params->top > params->items) params->top = params->items;
    if (!is_rating && features == 2) params->own_listed_max = (size_t)model->options.ratings_max;
    model->info = (struct mr_model_info){
        .type = "mf",
        .version = model->meta.version,
        .feature_count = features,
        .width = is_rating ? 1 : params->top,
        .item_count = is_rating ? 0 : params->items,
        .item = model->items.json,
        .item_bytes_max = model->items.json_bytes_max,
        .column_count = is_rating ? 2 : mr_mf_topn_cols(params),
        .parameter_count = (params->users + params->items) * (params->rank + (params->user_bias != NULL)),
        .flops_per_row = 2.0 * (double)params->rank * (is_rating ? 1 : (double)params->items)};
    model->info.read_scratch_bytes = mr_mf_read_bytes(model);
    return MR_OK;
}

static mr_status mf_open(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_model *const model = calloc(1, sizeof *model);
    struct mr_safetensors *file = NULL;
    mr_status status = MR_OK;
    *model_out = NULL;
    if (!model) return mr_fail(err, MR_ENOMEM, "model mf: out of memory");
    if (open->options)
        model->options = *(const struct mf_options *)open->options;
    else
        status = mr_options_init(options_table, &model->options, err);
    if (!status && !open->file) status = mr_fail(err, MR_ECONFIG, "a mf model needs a file");
    if (!status) status = mr_model_file_open(open, "mf", &file, err);
    if (!status) status = mr_model_meta_read(file, &model->meta, err);
    if (!status) status = numbers_read(model, file, err);
    if (!status) status = factors_read(model, file, err);
    if (!status) status = seen_read(model, file, err);
    if (!status) status = mr_ids_read(file, "user_ids", model->params.users, &model->users, err);
    if (!status) status = mr_ids_read(file, "item_ids", model->params.items, &model->items, err);
    if (!status) status = shape_set(model, open->feature_count, err);
    mr_safetensors_close(file);
    if (status)
        mf_close(model);
    else
        *model_out = model;
    return status;
}

static const struct mr_model_info *mf_info(const struct mr_model *model)
{
    return &model->info;
}

static mr_op mf_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->params;
    return model->options.output == MR_MF_RATING ? MR_OP_MF_ESTIMATE : MR_OP_MF_TOPN;
}

extern const struct mr_model_ops mr_model_mf;
const struct mr_model_ops mr_model_mf = {
    .name = "mf",
    .summary = "matrix factorisation: the best unseen items for a user, or the rating of an item",
    .options = options_table,
    .options_size = sizeof(struct mf_options),
    .open = mf_open,
    .info = mf_info,
    .op = mf_op,
    .read = mr_mf_read,
    .close = mf_close,
};
