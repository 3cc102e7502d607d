/* mlp_bf16 with AVX512-BF16: vdpbf16ps multiplies and adds two pairs a lane. */
#include "kernels/kernels.h"
#include "kernels/simd.h"

#define MR_IN_WORD MR_BF16_IN_WORD
typedef __m512 mr_words_sum;
typedef __m512bh mr_words_in __attribute__((may_alias));
#include "kernels/dense_words.h"

mr_score_fn MR_KERNEL_NAME(mr_mlp_bf16);

MR_INLINE mr_words_in mr_words_set(uint32_t word)
{
    return (mr_words_in)_mm512_set1_epi32((int)word);
}

MR_INLINE mr_words_sum mr_words_dot(mr_words_sum sum, mr_words_in x, mr_words_in w)
{
    return _mm512_dpbf16_ps(sum, x, w);
}

MR_INLINE mr_vec mr_words_value(const struct mr_dense *layer, size_t o, const struct mr_words *x, size_t row,
                                mr_words_sum sum)
{
    (void)x;
    (void)row;
    return (mr_vec)sum * mr_set(layer->factor[o]) + mr_set(layer->b[o]);
}

/* Words of the inputs c and c + 1; the last one of an odd count has none beside it. */
static __attribute__((noinline)) struct mr_words mr_words_pack(const float *x, size_t in,
                                                               const struct mr_words_scratch *to, size_t vecs)
{
    /* The instruction puts one vector behind the other; in a word they stand side by side. */
    static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i side_by_side = _mm512_loadu_si512(order);
    uint32_t *word = to->word;
    for (size_t c = 0; c < in; c += 2, x += (size_t)2 * MR_TILE_ROWS, word += MR_TILE_ROWS) {
        for (size_t v = 0; v < vecs; v++) {
            __builtin_prefetch(x + 16 * MR_TILE_ROWS + v * MR_LANES);
            __builtin_prefetch(x + 17 * MR_TILE_ROWS + v * MR_LANES);
            const mr_vec first = mr_load(x + v * MR_LANES);
            const mr_vec second = c + 1 < in ? mr_load(x + MR_TILE_ROWS + v * MR_LANES) : (mr_vec){0};
            const __m512bh both = _mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
            _mm512_store_si512(word + v * MR_LANES, _mm512_permutexvar_epi16(side_by_side, (__m512i)both));
        }
    }
    return (struct mr_words){.word = to->word};
}

void MR_KERNEL_NAME(mr_mlp_bf16)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                 void *scratch, size_t rows)
{
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    mr_words_score(x, model, y, class_index, scratch, rows);
}
