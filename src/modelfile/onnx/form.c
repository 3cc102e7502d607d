#include "modelfile/onnx/form.h"

#include <math.h>
#include <string.h>

/* A product of two weight matrices is made only up to this many multiplications; larger ones stay two layers. */
#define COMPOSE_MAX ((size_t)1 << 24)

static void *take(struct mr_onnx_forms *forms, size_t count, size_t size)
{
    void *const at = mr_onnx_take(forms->arena, count, size);
    if (!at) forms->is_out_of_memory = true;
    return at;
}

static struct mr_onnx_form *form_new(struct mr_onnx_forms *forms, const struct mr_onnx_chain *chain, size_t width)
{
    struct mr_onnx_form *const form = take(forms, 1, sizeof *form);
    if (form) *form = (struct mr_onnx_form){.kind = MR_FORM_ROWS, .width = width, .rank = 2, .chain = chain};
    return form;
}

/* Every chain is known by the one that was made after it, so that operands come before what is made of them. */
static struct mr_onnx_chain *chain_new(struct mr_onnx_forms *forms, const struct mr_onnx_chain *before, size_t width)
{
    struct mr_onnx_chain *const chain = take(forms, 1, sizeof *chain);
    if (!chain) return NULL;
    *chain = (struct mr_onnx_chain){.before = before, .older = forms->newest, .width = width};
    forms->newest = chain;
    return chain;
}

const struct mr_onnx_chain *mr_chain_input(struct mr_onnx_forms *forms, size_t width)
{
    return chain_new(forms, NULL, width);
}

const struct mr_onnx_form *mr_form_make(struct mr_onnx_forms *forms, const struct mr_onnx_made *made, size_t width,
                                        size_t rank)
{
    struct mr_onnx_chain *const chain = chain_new(forms, NULL, width);
    struct mr_onnx_made *const copy = take(forms, 1, sizeof *copy);
    if (!chain || !copy) return NULL;
    *copy = *made;
    chain->made = copy;
    return mr_form_input(forms, chain, 0, width, rank);
}

const struct mr_onnx_form *mr_form_input(struct mr_onnx_forms *forms, const struct mr_onnx_chain *input, size_t first,
                                         size_t width, size_t rank)
{
    struct mr_onnx_form *const form = form_new(forms, input, width);
    size_t *const source = take(forms, width, sizeof *source);
    double *const scale = take(forms, width, sizeof *scale), *const b = take(forms, width, sizeof *b);
    if (!form || !source || !scale || !b) return NULL;
    for (size_t i = 0; i < width; i++) {
        source[i] = first + i;
        scale[i] = 1;
    }
    form->rank = rank;
    form->source = source;
    form->scale = scale;
    form->b = b;
    return form;
}

const struct mr_onnx_form *mr_form_shape(struct mr_onnx_forms *forms, const struct mr_onnx_form *from, size_t rank)
{
    struct mr_onnx_form *form;
    if (from->rank == rank) return from;
    form = take(forms, 1, sizeof *form);
    if (!form) return NULL;
    *form = *from;
    form->rank = rank;
    return form;
}

bool mr_form_is_plain(const struct mr_onnx_form *form)
{
    if (!form->source || form->width != form->chain->width || form->squares != 0 || form->is_root) return false;
    for (size_t i = 0; i < form->width; i++) {
        if (form->source[i] != i || form->scale[i] != 1 || form->b[i] != 0) return false;
    }
    return true;
}

double mr_form_weight(const struct mr_onnx_form *form, size_t out, size_t in)
{
    if (form->source) return form->source[out] == in ? form->scale[out] : 0;
    return form->w ? form->w[out * form->chain->width + in] : (double)form->w32[out * form->chain->width + in];
}

bool mr_form_is_pair(const struct mr_onnx_form *form)
{
    const struct mr_onnx_chain *const chain = form->chain;
    if (form->width != 2 || !form->source || chain->activation != MR_ACT_SIGMOID || !chain->b) return false;
    if (chain->width == 1)
        return fabs(form->scale[0]) == 1 && form->scale[0] == -form->scale[1] && form->b[0] + form->b[1] == 1 &&
               form->b[0] * form->b[1] == 0 && form->scale[0] == 1 - 2 * form->b[0];
    if (chain->width != 2 || !mr_form_is_plain(form) || chain->b[0] != -chain->b[1]) return false;
    for (size_t k = 0; k < chain->before->width; k++) {
        const size_t other = chain->before->width + k;
        if (chain->w ? chain->w[k] != -chain->w[other] : chain->w32[k] != -chain->w32[other]) return false;
    }
    return true;
}

/* The weights of any form as a matrix of doubles [width][chain->width], to be changed. */
static double *weights_copy(struct mr_onnx_forms *forms, const struct mr_onnx_form *form)
{
    const size_t in = form->chain->width;
    size_t count;
    double *const w = __builtin_mul_overflow(form->width, in, &count) ? NULL : take(forms, count, sizeof *w);
    if (!w) {
        forms->is_out_of_memory = true;
        return NULL;
    }
    if (form->source) {
        for (size_t o = 0; o < form->width; o++) w[o * in + form->source[o]] = form->scale[o];
    } else if (form->w) {
        memcpy(w, form->w, count * sizeof *w);
    } else {
        for (size_t i = 0; i < count; i++) w[i] = (double)form->w32[i];
    }
    return w;
}

static double *b_copy(struct mr_onnx_forms *forms, const struct mr_onnx_form *form)
{
    double *const b = take(forms, form->width, sizeof *b);
    if (b) memcpy(b, form->b, form->width * sizeof *b);
    return b;
}

const struct mr_onnx_form *mr_form_pick(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                        const size_t *column, size_t count)
{
    struct mr_onnx_form *const form = form_new(forms, from->chain, count);
    const size_t in = from->chain->width;
    double *const b = take(forms, count, sizeof *b);
    if (!form || !b) return NULL;
    for (size_t i = 0; i < count; i++) b[i] = from->b[column[i]];
    form->b = b;
    form->squares = from->squares;
    form->is_root = from->is_root;
    if (from->source) {
        size_t *const source = take(forms, count, sizeof *source);
        double *const scale = take(forms, count, sizeof *scale);
        if (!source || !scale) return NULL;
        for (size_t i = 0; i < count; i++) {
            source[i] = from->source[column[i]];
            scale[i] = from->scale[column[i]];
        }
        form->source = source;
        form->scale = scale;
        return form;
    }
    double *const w = take(forms, count, in * sizeof *w);
    if (!w) return NULL;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < in; k++) w[i * in + k] = mr_form_weight(from, column[i], k);
    }
    form->w = w;
    return form;
}

const struct mr_onnx_form *mr_form_scale(struct mr_onnx_forms *forms, const struct mr_onnx_form *from, const double *by,
                                         const double *plus)
{
    struct mr_onnx_form *const form = take(forms, 1, sizeof *form);
    double *const b = b_copy(forms, from);
    if (!form || !b) return NULL;
    *form = *from;
    form->b = b;
    form->offset = form->divisor = NULL;
    for (size_t o = 0; o < from->width; o++) b[o] = b[o] * (by ? by[o] : 1) + (plus ? plus[o] : 0);
    if (!by) return form;
    form->squares = from->squares * by[0];
    if (from->source) {
        double *const scale = take(forms, from->width, sizeof *scale);
        if (!scale) return NULL;
        for (size_t o = 0; o < from->width; o++) scale[o] = from->scale[o] * by[o];
        form->scale = scale;
        return form;
    }
    double *const w = weights_copy(forms, from);
    if (!w) return NULL;
    for (size_t o = 0; o < from->width; o++) {
        for (size_t k = 0; k < from->chain->width; k++) w[o * from->chain->width + k] *= by[o];
    }
    form->w = w;
    form->w32 = NULL;
    return form;
}

const struct mr_onnx_form *mr_form_divide(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                          const double *divisor)
{
    double *const by = take(forms, from->width, sizeof *by);
    struct mr_onnx_form *const form = take(forms, 1, sizeof *form);
    bool is_shift = from->source && from->squares == 0 && !from->is_root;
    if (!by || !form) return NULL;
    for (size_t o = 0; o < from->width; o++) {
        by[o] = 1 / divisor[o];
        is_shift = is_shift && from->scale[o] == 1;
    }
    const struct mr_onnx_form *const scaled = mr_form_scale(forms, from, by, NULL);
    if (!scaled || !is_shift) return scaled;
    *form = *scaled;
    form->offset = from->b;
    form->divisor = divisor;
    return form;
}

/*
 * An input that is standardised before its first layer stays so: (x - mean) / scale is taken off the features, as the
 * native model has it, not folded into a bias, where two large terms would nearly cancel. NULL without an error: it
 * cannot be, because a column is taken twice or times 0.
 */
static const struct mr_onnx_chain *standard_make(struct mr_onnx_forms *forms, const struct mr_onnx_form *from)
{
    const size_t in = from->chain->width;
    double *const mean = take(forms, in, sizeof *mean), *const scale = take(forms, in, sizeof *scale);
    if (!mean || !scale) return NULL;
    for (size_t o = 0; o < from->width; o++) {
        const size_t at = from->source[o];
        if (scale[at] != 0 || from->scale[o] == 0) return NULL;
        mean[at] = from->divisor ? -from->offset[o] : -from->b[o] / from->scale[o];
        scale[at] = from->divisor ? from->divisor[o] : 1 / from->scale[o];
        if (!isfinite(mean[at]) || !isfinite(scale[at]) || scale[at] == 0) return NULL;
    }
    for (size_t i = 0; i < in; i++) {
        if (scale[i] == 0) scale[i] = 1;
    }
    for (const struct mr_onnx_chain *same = forms->newest; same; same = same->older) {
        if (same->mean && same->before == from->chain && !memcmp(same->mean, mean, in * sizeof *mean) &&
            !memcmp(same->scale, scale, in * sizeof *scale))
            return same; /* several layers read it */
    }
    struct mr_onnx_chain *const chain = chain_new(forms, from->chain, in);
    if (!chain) return NULL;
    chain->mean = mean;
    chain->scale = scale;
    return chain;
}

/* Dense sums over a form whose columns each take one output of its chain. */
static const struct mr_onnx_form *dense_over_picks(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                                   const double *weight, const float *w32, size_t out)
{
    const struct mr_onnx_chain *const standard =
        from->chain->before || from->chain->made ? NULL : standard_make(forms, from);
    const size_t in = from->chain->width, width = from->width;
    struct mr_onnx_form *const form = form_new(forms, standard ? standard : from->chain, out);
    double *const b = take(forms, out, sizeof *b), *const w = take(forms, out, in * sizeof *w);
    if (!form || !b || !w) return NULL;
    for (size_t o = 0; o < out; o++) {
        for (size_t i = 0; i < width; i++) {
            const double by = weight ? weight[o * width + i] : (double)w32[o * width + i];
            w[o * in + from->source[i]] += standard ? by : by * from->scale[i];
            if (!standard) b[o] += by * from->b[i];
        }
    }
    form->w = w;
    form->b = b;
    return form;
}

/* Dense sums of dense sums. */
static const struct mr_onnx_form *dense_compose(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                                const double *weight, const float *w32, size_t out)
{
    const size_t in = from->chain->width, width = from->width;
    struct mr_onnx_form *const form = form_new(forms, from->chain, out);
    double *const b = take(forms, out, sizeof *b), *const w = take(forms, out, in * sizeof *w);
    if (!form || !b || !w) return NULL;
    for (size_t o = 0; o < out; o++) {
        for (size_t i = 0; i < width; i++) {
            const double by = weight ? weight[o * width + i] : (double)w32[o * width + i];
            b[o] += by * from->b[i];
            for (size_t k = 0; k < in; k++) w[o * in + k] += by * mr_form_weight(from, i, k);
        }
    }
    form->w = w;
    form->b = b;
    return form;
}

const struct mr_onnx_form *mr_form_dense(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                         const double *weight, const float *w32, size_t out)
{
    size_t cost;
    if (mr_form_is_plain(from)) {
        struct mr_onnx_form *const form = form_new(forms, from->chain, out);
        double *const b = take(forms, out, sizeof *b);
        if (!form || !b) return NULL;
        form->w = weight;
        form->w32 = weight ? NULL : w32;
        form->b = b;
        return form;
    }
    if (from->source) return dense_over_picks(forms, from, weight, w32, out);
    if (__builtin_mul_overflow(from->width, from->chain->width, &cost) || __builtin_mul_overflow(cost, out, &cost) ||
        cost > COMPOSE_MAX) {
        from = mr_form_activate(forms, from, MR_ACT_IDENTITY, false);
        return from ? mr_form_dense(forms, from, weight, w32, out) : NULL;
    }
    return dense_compose(forms, from, weight, w32, out);
}

const struct mr_onnx_form *mr_form_stack(struct mr_onnx_forms *forms, const struct mr_onnx_form *const *part,
                                         size_t count)
{
    const struct mr_onnx_chain *const chain = part[0]->chain;
    const size_t in = chain->width;
    size_t width = 0, done = 0;
    bool is_dense = false;
    for (size_t i = 0; i < count; i++) {
        width += part[i]->width;
        is_dense |= !part[i]->source;
    }
    struct mr_onnx_form *const form = form_new(forms, chain, width);
    size_t *const source = take(forms, is_dense ? 0 : width, sizeof *source);
    double *const scale = take(forms, is_dense ? 0 : width, sizeof *scale), *const b = take(forms, width, sizeof *b);
    double *const w = take(forms, is_dense ? width : 0, in * sizeof *w);
    if (!form || !source || !scale || !b || !w) return NULL;
    for (size_t i = 0; i < count; done += part[i++]->width) {
        for (size_t o = 0; o < part[i]->width; o++) {
            b[done + o] = part[i]->b[o];
            if (!is_dense) source[done + o] = part[i]->source[o];
            if (!is_dense) scale[done + o] = part[i]->scale[o];
            for (size_t k = 0; is_dense && k < in; k++) w[(done + o) * in + k] = mr_form_weight(part[i], o, k);
        }
    }
    form->b = b;
    form->w = is_dense ? w : NULL;
    form->source = is_dense ? NULL : source;
    form->scale = is_dense ? NULL : scale;
    return form;
}

const struct mr_onnx_form *mr_form_sum(struct mr_onnx_forms *forms, const struct mr_onnx_form *a,
                                       const struct mr_onnx_form *b, double sign)
{
    const size_t width = a->width > b->width ? a->width : b->width, in = a->chain->width;
    struct mr_onnx_form *const form = form_new(forms, a->chain, width);
    double *const bias = take(forms, width, sizeof *bias), *const w = take(forms, width, in * sizeof *w);
    if (!form || !bias || !w) return NULL;
    for (size_t o = 0; o < width; o++) {
        const size_t left = a->width == 1 ? 0 : o, right = b->width == 1 ? 0 : o;
        bias[o] = a->b[left] + sign * b->b[right];
        for (size_t k = 0; k < in; k++) w[o * in + k] = mr_form_weight(a, left, k) + sign * mr_form_weight(b, right, k);
    }
    form->w = w;
    form->b = bias;
    form->squares = a->squares + sign * b->squares;
    form->rank = a->rank > b->rank ? a->rank : b->rank;
    return form;
}

const struct mr_onnx_form *mr_form_activate(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                            mr_activation activation, bool is_erf)
{
    const double *const w = from->source ? weights_copy(forms, from) : from->w;
    struct mr_onnx_chain *const chain = w || from->w32 ? chain_new(forms, from->chain, from->width) : NULL;
    if (!chain) return NULL;
    chain->w = w;
    chain->w32 = from->w32;
    chain->b = from->b;
    chain->activation = activation;
    chain->is_erf = is_erf;
    return mr_form_input(forms, chain, 0, chain->width, from->rank);
}
