/* mlp_int8 with AVX512-VNNI: vpdpbusd multiplies and adds four pairs a lane, inputs without sign by weights with one.
 */
#include "kernels/kernels.h"
#include "kernels/simd.h"

#define MR_IN_WORD MR_INT8_IN_WORD
typedef __m512i mr_words_sum;
typedef __m512i mr_words_in;
#include "kernels/dense_words.h"

mr_score_fn MR_KERNEL_NAME(mr_mlp_int8);

MR_INLINE mr_words_in mr_words_set(uint32_t word)
{
    return _mm512_set1_epi32((int)word);
}

MR_INLINE mr_words_sum mr_words_dot(mr_words_sum sum, mr_words_in x, mr_words_in w)
{
    /* Said in assembly: around the intrinsic gcc 12 copies every sum to memory in every step, half the speed. */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}

MR_INLINE mr_vec mr_words_value(const struct mr_dense *layer, size_t o, const struct mr_words *x, size_t row,
                                mr_words_sum sum)
{
    const mr_vec whole = (mr_vec)_mm512_cvtepi32_ps(sum);
    return whole * (mr_load(x->step + row) * mr_set(layer->factor[o])) +
           (mr_load(x->low + row) * mr_set(layer->offset[o]) + mr_set(layer->b[o]));
}

/* How rows are counted: see mr_int8_row. Where an input is not finite, with NaN. */
MR_INLINE void rows_measure(const float *x, size_t in, const struct mr_words_scratch *to, mr_vec *low_half,
                            mr_vec *inverse, const int V)
{
    mr_vec low[MR_TILE_VECS], high[MR_TILE_VECS], nothing[MR_TILE_VECS];
    MR_EACH(v, V) low[v] = high[v] = mr_load(x + v * MR_LANES);
    MR_EACH(v, V) nothing[v] = mr_set(0);
    for (size_t c = 0; c < in; c++, x += MR_TILE_ROWS) {
        MR_EACH(v, V)
        {
            const mr_vec value = mr_load(x + v * MR_LANES);
            __builtin_prefetch(x + (size_t)16 * MR_TILE_ROWS + v * MR_LANES);
            low[v] = mr_min(low[v], value);
            high[v] = mr_max(high[v], value);
            nothing[v] += value * 0.0f;
        }
    }
    MR_EACH(v, V)
    {
        const mr_vec half = high[v] * 0.5f - low[v] * 0.5f + nothing[v];
        inverse[v] = mr_select(mr_greater(half, mr_set(0.5e-30f)), 255.0f / half, mr_set(0));
        mr_store(to->low + v * MR_LANES, low[v]);
        mr_store(to->step + v * MR_LANES, half * (2.0f / 255));
        low_half[v] = low[v] * 0.5f;
    }
}

/* The words of `bytes` inputs each, V vectors of rows. */
MR_INLINE void rows_count(const float *x, const mr_vec *low_half, const mr_vec *inverse, uint32_t *word,
                          const int bytes, const int V)
{
    MR_EACH(v, V)
    {
        __m512i all = _mm512_setzero_si512();
        MR_EACH(c, bytes)
        {
            const mr_vec q = (mr_load(x + c * MR_TILE_ROWS + v * MR_LANES) * 0.5f - low_half[v]) * inverse[v];
            all = _mm512_or_si512(all, _mm512_slli_epi32(_mm512_cvtps_epi32((__m512)q), 8 * (unsigned)c));
        }
        _mm512_store_si512(word + v * MR_LANES, all);
    }
}

MR_INLINE void words_make(const float *x, size_t in, const struct mr_words_scratch *to, const int V)
{
    mr_vec low_half[MR_TILE_VECS], inverse[MR_TILE_VECS];
    uint32_t *word = to->word;
    size_t c = 0;
    rows_measure(x, in, to, low_half, inverse, V);
    for (; c + MR_IN_WORD <= in; c += MR_IN_WORD, x += (size_t)MR_IN_WORD * MR_TILE_ROWS, word += MR_TILE_ROWS)
        rows_count(x, low_half, inverse, word, MR_IN_WORD, V);
    if (in - c == 1) rows_count(x, low_half, inverse, word, 1, V);
    if (in - c == 2) rows_count(x, low_half, inverse, word, 2, V);
    if (in - c == 3) rows_count(x, low_half, inverse, word, 3, V);
}

static __attribute__((noinline)) struct mr_words mr_words_pack(const float *x, size_t in,
                                                               const struct mr_words_scratch *to, size_t vecs)
{
    if (vecs > 2)
        words_make(x, in, to, 4);
    else
        words_make(x, in, to, 2);
    return (struct mr_words){.word = to->word, .step = to->step, .low = to->low};
}

void MR_KERNEL_NAME(mr_mlp_int8)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                 void *scratch, size_t rows)
{
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    mr_words_score(x, model, y, class_index, scratch, rows);
}
