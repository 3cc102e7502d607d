#include "gpu_models.h"

#include <stdio.h>
#include <stdlib.h>

#include "millrace/batch.h"

enum { USERS = 10000, SEEN = 50, TOP = 10 };

const struct gpu_shape gpu_shapes[] = {
    {"linear 16-1", MR_OP_LINEAR_SCORE, MR_OP_COUNT, {16, 1}, false},
    {"mlp 1-6-8-6", MR_OP_MLP_FORWARD, MR_OP_COUNT, {1, 6, 8, 6}, false},
    {"mlp 16-32-8", MR_OP_MLP_FORWARD, MR_OP_COUNT, {16, 32, 8}, false},
    {"mlp 128-256-256-10", MR_OP_MLP_FORWARD, MR_OP_COUNT, {128, 256, 256, 10}, false},
    {"mlp 784-512-512-10", MR_OP_MLP_FORWARD, MR_OP_COUNT, {784, 512, 512, 10}, true},
    {"kmeans 16-6", MR_OP_KMEANS_ASSIGN, MR_OP_COUNT, {16, 6}, false},
    {"kmeans 256-1024", MR_OP_KMEANS_ASSIGN, MR_OP_COUNT, {256, 1024}, true},
    {"top-10 of 1682, rank 100", MR_OP_MF_TOPN, MR_OP_COUNT, {100, 1682}, false},
    {"top-10 of 27000, rank 100", MR_OP_MF_TOPN, MR_OP_COUNT, {100, 27000}, true},
    {"top-10 of 1000000, rank 100", MR_OP_MF_TOPN, MR_OP_COUNT, {100, 1000000}, true},
    {"rating, rank 100", MR_OP_MF_ESTIMATE, MR_OP_COUNT, {100, 27000}, false},
    {"learn linear 16-1", MR_OP_LINEAR_SCORE, MR_OP_LINEAR_SUM, {16, 1}, false},
    {"learn kmeans 16-6", MR_OP_KMEANS_ASSIGN, MR_OP_KMEANS_SUM, {16, 6}, false},
    {"learn kmeans 256-1024", MR_OP_KMEANS_ASSIGN, MR_OP_KMEANS_SUM, {256, 1024}, true},
    {"learn mlp 16-32-8", MR_OP_MLP_FORWARD, MR_OP_MLP_GRADIENT, {16, 32, 8}, false},
    {"learn mlp 784-512-512-10", MR_OP_MLP_FORWARD, MR_OP_MLP_GRADIENT, {784, 512, 512, 10}, true},
    {0},
};

static unsigned long long next(void) /* the same every time */
{
    static unsigned long long seed = 1;
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return seed;
}

static float number_next(void) /* [-1, 1) */
{
    return (float)(long long)next() / 9.3e18f;
}

static void *memory_take(struct gpu_model *model, unsigned which, size_t count, size_t size)
{
    model->memory[which] = calloc(count + 1, size);
    if (model->memory[which]) return model->memory[which];
    fputs("bench_gpu: out of memory\n", stderr);
    exit(1);
}

static float *numbers_take(struct gpu_model *model, unsigned which, size_t count)
{
    float *const numbers = memory_take(model, which, count, sizeof *numbers);
    for (size_t i = 0; i < count; i++) numbers[i] = number_next() / 8;
    return numbers;
}

static void recommender_make(struct gpu_model *model)
{
    const size_t rank = model->shape->width[0], items = model->shape->width[1];
    uint64_t *const first = memory_take(model, 4, USERS + 1, sizeof *first);
    int32_t *const seen = memory_take(model, 5, (size_t)USERS * SEEN, sizeof *seen);
    for (size_t user = 0; user < USERS; user++) {
        first[user + 1] = (user + 1) * SEEN;
        for (size_t i = 0; i < SEEN; i++) seen[user * SEEN + i] = (int32_t)(i * (items / SEEN) + user % (items / SEEN));
    }
    model->mf = (struct mr_mf_params){.users = USERS,
                                      .items = items,
                                      .rank = rank,
                                      .top = TOP,
                                      .user_factor = numbers_take(model, 0, USERS * rank),
                                      .item_factor = numbers_take(model, 1, items * rank),
                                      .user_bias = numbers_take(model, 2, USERS),
                                      .item_bias = numbers_take(model, 3, items),
                                      .mean = 3,
                                      .scale_min = 1,
                                      .scale_max = 5,
                                      .seen_first = first,
                                      .seen = seen};
    const bool is_topn = model->shape->op == MR_OP_MF_TOPN;
    model->params = &model->mf;
    model->in = is_topn ? 1 : 2;
    model->out = is_topn ? TOP : 1;
    model->item_count = is_topn ? items : 0;
    model->flops = 2 * (double)rank * (is_topn ? (double)items : 1);
}

static void layers_make(struct gpu_model *model)
{
    const struct gpu_shape *const shape = model->shape;
    size_t layers = 0, count = 0;
    while (layers < 4 && shape->width[layers + 1]) layers++;
    for (size_t i = 0; i < layers; i++) count += (shape->width[i] + 1) * shape->width[i + 1];
    float *at = numbers_take(model, 0, count);
    for (size_t i = 0; i < layers; i++) {
        const size_t in = shape->width[i], out = shape->width[i + 1];
        const mr_activation activation = i + 1 < layers ? MR_ACT_RELU : MR_ACT_SOFTMAX;
        model->layer[i] =
            (struct mr_mlp_layer){.in = in, .out = out, .w = at, .b = at + in * out, .activation = activation};
        at += (in + 1) * out;
        model->flops += 2 * (double)in * (double)out;
    }
    model->in = shape->width[0];
    model->out = shape->op == MR_OP_KMEANS_ASSIGN ? 1 : shape->width[layers];
    model->mlp = (struct mr_mlp_gradient_params){.mlp = {model->layer, layers, NULL}, .loss = MR_LOSS_LOG};
    model->linear = (struct mr_linear_params){
        .cols = model->in, .out = 1, .w = model->layer[0].w, .b = model->layer[0].b, .activation = MR_ACT_SIGMOID};
    model->linear_sum = (struct mr_linear_sum_params){.cols = model->in, .out = 1, .loss = MR_LOSS_LOG};
    model->kmeans = (struct mr_kmeans_params){model->in, shape->width[1], model->layer[0].w};
    model->params = shape->op == MR_OP_LINEAR_SCORE    ? (const void *)&model->linear
                    : shape->op == MR_OP_KMEANS_ASSIGN ? (const void *)&model->kmeans
                                                       : (const void *)&model->mlp.mlp;
    model->sum_params = shape->sum == MR_OP_LINEAR_SUM   ? (const void *)&model->linear_sum
                        : shape->sum == MR_OP_KMEANS_SUM ? (const void *)&model->kmeans
                                                         : (const void *)&model->mlp;
    /* What a sum must do at least: additions to one centre; a product a weight; forward, back and the products. */
    if (shape->sum == MR_OP_KMEANS_SUM) model->flops += (double)model->in;
    if (shape->sum == MR_OP_LINEAR_SUM) model->flops *= 2;
    if (shape->sum == MR_OP_MLP_GRADIENT) model->flops *= 4;
}

void gpu_model_make(struct gpu_model *model, const struct gpu_shape *shape)
{
    *model = (struct gpu_model){.shape = shape};
    if (shape->op == MR_OP_MF_TOPN || shape->op == MR_OP_MF_ESTIMATE)
        recommender_make(model);
    else
        layers_make(model);
}

void gpu_model_free(struct gpu_model *model)
{
    for (size_t i = 0; i < sizeof model->memory / sizeof *model->memory; i++) free(model->memory[i]);
}

void gpu_rows_fill(const struct gpu_model *model, float *x, size_t rows)
{
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < model->in; c++) {
            float value = number_next();
            if (model->mf.users) value = (float)((next() >> 33) % (c ? model->mf.items : model->mf.users));
            x[mr_tile_at(row, c, model->in)] = value;
        }
    }
}

void gpu_labels_fill(const struct gpu_model *model, double *label, size_t rows)
{
    for (size_t row = 0; row < rows; row++) label[row] = (double)((next() >> 33) % (model->out > 1 ? model->out : 2));
}
