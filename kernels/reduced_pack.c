/* Packs a perceptron for mlp_bf16 or mlp_int8: the words of wide layers, the others as for mlp_forward. */
#include <stdlib.h>

#include "kernels/pack.h"
#include "kernels/reduced.h"
#include "millrace/batch.h"

static size_t words_of(size_t values, size_t in_word)
{
    return (values + in_word - 1) / in_word;
}

static size_t whole_blocks(size_t outs)
{
    return (outs + MR_BLOCK_OUT - 1) / MR_BLOCK_OUT * MR_BLOCK_OUT;
}

/* Memory for `words` words an output, in whole blocks, and b, factor and offset behind them. */
static bool layer_allocate(struct mr_dense *dense, const struct mr_mlp_layer *layer, size_t words, uint32_t **words_out,
                           float **numbers_out)
{
    const size_t outs = whole_blocks(layer->out);
    size_t count, bytes;
    if (__builtin_mul_overflow(outs, words + 3, &count) || __builtin_mul_overflow(count, sizeof(uint32_t), &bytes) ||
        bytes > SIZE_MAX - MR_ALIGN)
        return false;
    uint32_t *const memory = aligned_alloc(MR_ALIGN, (bytes + MR_ALIGN) / MR_ALIGN * MR_ALIGN);
    if (!memory) return false;
    memset(memory, 0, bytes);
    float *const numbers = (float *)(memory + outs * words);
    *dense = (struct mr_dense){.in = layer->in,
                               .out = layer->out,
                               .w = (const float *)memory,
                               .b = numbers,
                               .activation = layer->activation,
                               .words = memory,
                               .factor = numbers + outs,
                               .offset = numbers + 2 * outs};
    *words_out = memory;
    *numbers_out = numbers;
    return true;
}

/* Where the word of an output stands: blocks of MR_BLOCK_OUT outputs, in each the first words of all, and so on. */
static uint32_t *word_at(uint32_t *words, size_t count, size_t output, size_t word)
{
    return words + (output / MR_BLOCK_OUT * count + word) * MR_BLOCK_OUT + output % MR_BLOCK_OUT;
}

static bool bf16_pack(struct mr_dense *dense, const struct mr_mlp_layer *layer)
{
    const size_t count = words_of(layer->in, MR_BF16_IN_WORD), outs = whole_blocks(layer->out);
    const double fold = mr_fold_factor(layer->activation);
    uint32_t *words;
    float *numbers;
    if (!mr_layer_is_reduced(layer)) return mr_dense_pack(dense, layer);
    if (!layer_allocate(dense, layer, count, &words, &numbers)) return false;
    for (size_t o = 0; o < layer->out; o++) {
        const float *const w = layer->w + o * layer->in;
        for (size_t c = 0; c < layer->in; c++)
            *word_at(words, count, o, c / MR_BF16_IN_WORD) |= (uint32_t)mr_bf16_bits(w[c])
                                                              << 16 * (c % MR_BF16_IN_WORD);
        numbers[o] = (float)(fold * (double)layer->b[o]);
        numbers[outs + o] = (float)fold;
    }
    return true;
}

static bool int8_pack(struct mr_dense *dense, const struct mr_mlp_layer *layer)
{
    const size_t count = words_of(layer->in, MR_INT8_IN_WORD), outs = whole_blocks(layer->out);
    const double fold = mr_fold_factor(layer->activation);
    uint32_t *words;
    float *numbers;
    if (!mr_layer_is_reduced(layer)) return mr_dense_pack(dense, layer);
    int8_t *const q = malloc(layer->in);
    if (!q || !layer_allocate(dense, layer, count, &words, &numbers)) {
        free(q);
        return false;
    }
    for (size_t o = 0; o < layer->out; o++) {
        const double step = (double)mr_int8_weights(layer->w + o * layer->in, layer->in, q);
        int64_t sum = 0;
        for (size_t c = 0; c < layer->in; c++) {
            sum += q[c];
            *word_at(words, count, o, c / MR_INT8_IN_WORD) |= (uint32_t)(uint8_t)q[c] << 8 * (c % MR_INT8_IN_WORD);
        }
        numbers[o] = (float)(fold * (double)layer->b[o]);
        numbers[outs + o] = (float)(fold * step);
        numbers[2 * outs + o] = (float)(fold * step * (double)sum);
    }
    free(q);
    return true;
}

/* As the kernels take it (dense_words.h), or as the reference does, whichever is more. */
static size_t scratch_floats(const struct mr_packed *model, bool has_shift)
{
    const size_t words = words_of(model->width_max, MR_BF16_IN_WORD), row = 3;
    const size_t simd =
        (2 * model->hidden_width_max + model->out + (has_shift ? model->in : 0) + words + row) * MR_TILE_ROWS;
    const size_t reference = 2 * 3 * (model->width_max + 1);
    return simd > reference ? simd : reference;
}

struct mr_packed *mr_reduced_pack(mr_op op, const struct mr_mlp_params *params)
{
    struct mr_packed *const model =
        mr_layers_pack(params->layer, params->layer_count, op == MR_OP_MLP_BF16 ? bf16_pack : int8_pack);
    if (!model) return NULL;
    model->shift = params->shift;
    model->scratch_floats = scratch_floats(model, params->shift != NULL);
    return model;
}
