/* Operators of ai.onnx.ml: what scikit-learn's models become. */
#include <math.h>
#include <string.h>

#include "modelfile/onnx/ops.h"

/* A list of the node; MR_EDATA where it is not of this type. NULL: absent, or empty. */
static mr_status list_of(struct mr_onnx_call *call, const char *name, mr_onnx_type type,
                         const struct mr_onnx_tensor **list_out)
{
    struct mr_onnx_tensor *list;
    const mr_status status = mr_onnx_attribute_list(call->model, call->node, name, call->arena, &list, call->err);
    *list_out = list && list->count ? list : NULL;
    if (status || !*list_out || list->type == type) return status;
    return mr_onnx_refuse(call, "its attribute %s is no list of %s", name, mr_onnx_type_name(type));
}

/* Rows and columns: the last dimension is the columns. */
static size_t cols_of(const struct mr_onnx_tensor *in)
{
    return in->rank ? (size_t)in->dim[in->rank - 1] : 1;
}

mr_status mr_onnx_scale(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *offset, *scale;
    const size_t cols = cols_of(in);
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = list_of(call, "offset", MR_ONNX_FLOAT, &offset);
    if (!status) status = list_of(call, "scale", MR_ONNX_FLOAT, &scale);
    if (status) return status;
    if ((offset && offset->count != 1 && offset->count != cols) || (scale && scale->count != 1 && scale->count != cols))
        return mr_onnx_refuse(call, "its offset or scale has another length than its %zu columns", cols);
    status = mr_onnx_out(call, 0, MR_ONNX_FLOAT, in->rank, in->dim, &out);
    for (size_t i = 0; !status && i < in->count; i++) {
        const double off = offset ? mr_onnx_get(offset, offset->count == 1 ? 0 : i % cols) : 0;
        mr_onnx_put(out, i,
                    (mr_onnx_get(in, i) - off) * (scale ? mr_onnx_get(scale, scale->count == 1 ? 0 : i % cols) : 1));
    }
    return status;
}

mr_status mr_onnx_normalize(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const struct mr_onnx_span norm = mr_onnx_attribute_text(call->node, "norm", "MAX");
    const bool is_max = mr_onnx_span_is(norm, "MAX"), is_square = mr_onnx_span_is(norm, "L2");
    const size_t cols = cols_of(in);
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = mr_onnx_out(call, 0, MR_ONNX_FLOAT, in->rank, in->dim, &out);
    for (size_t row = 0; !status && cols && row < in->count / cols; row++) {
        double size = is_max ? -INFINITY : 0;
        for (size_t c = 0; c < cols; c++) {
            const double value = mr_onnx_get(in, row * cols + c);
            size = is_max ? fmax(size, value) : size + (is_square ? value * value : fabs(value));
        }
        if (is_square) size = sqrt(size);
        for (size_t c = 0; c < cols; c++)
            mr_onnx_put(out, row * cols + c, mr_onnx_get(in, row * cols + c) / (size != 0 ? size : 1));
    }
    return status;
}

mr_status mr_onnx_binarize(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const double threshold = (double)mr_onnx_attribute_float(call->node, "threshold", 0);
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = mr_onnx_out(call, 0, in->type, in->rank, in->dim, &out);
    for (size_t i = 0; !status && i < in->count; i++) mr_onnx_put(out, i, mr_onnx_get(in, i) > threshold);
    return status;
}

mr_status mr_onnx_impute(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *value;
    const bool is_real = mr_onnx_is_float(in->type);
    const size_t cols = cols_of(in);
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status && is_real) status = list_of(call, "imputed_value_floats", MR_ONNX_FLOAT, &value);
    if (!status && !is_real) status = list_of(call, "imputed_value_int64s", MR_ONNX_INT64, &value);
    if (status) return status;
    if (!value || (value->count != 1 && value->count != cols))
        return mr_onnx_refuse(call, "it has no value for each of its %zu columns", cols);
    const double gap = is_real ? (double)mr_onnx_attribute_float(call->node, "replaced_value_float", 0)
                               : (double)mr_onnx_attribute_int(call->node, "replaced_value_int64", 0);
    status = mr_onnx_out(call, 0, in->type, in->rank, in->dim, &out);
    for (size_t i = 0; !status && i < in->count; i++) {
        const double at = mr_onnx_get(in, i);
        const bool is_gap = isnan(gap) ? isnan(at) : at == gap;
        mr_onnx_put(out, i, is_gap ? mr_onnx_get(value, value->count == 1 ? 0 : i % cols) : at);
    }
    return status;
}

mr_status mr_onnx_extract(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *index;
    const size_t bytes = mr_onnx_type_bytes(in->type), cols = cols_of(in);
    struct mr_onnx_tensor *out;
    int64_t dim[MR_ONNX_RANK_MAX] = {1};
    mr_status status = mr_onnx_ints(call, 1, NULL, &index);
    if (status) return status;
    const size_t rank = in->rank > 1 ? in->rank : 2;
    for (size_t i = 0; in->rank > 1 && i < rank; i++) dim[i] = in->dim[i];
    dim[rank - 1] = (int64_t)index->count;
    status = mr_onnx_out(call, 0, in->type, rank, dim, &out);
    for (size_t i = 0; !status && i < out->count; i++) {
        const int64_t at = mr_onnx_get_int(index, i % index->count);
        if (at < 0 || (size_t)at >= cols) return mr_onnx_refuse(call, "index %lld of %zu columns", (long long)at, cols);
        memcpy((char *)out->data + i * bytes, (const char *)in->data + (i / index->count * cols + (size_t)at) * bytes,
               bytes);
    }
    return status;
}

mr_status mr_onnx_vectorize(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const first = call->input[0];
    const size_t rows = first->rank > 1 ? (size_t)first->dim[0] : 1;
    size_t cols = 0, done = 0;
    struct mr_onnx_tensor *out;
    for (size_t k = 0; k < call->input_count; k++) {
        const struct mr_onnx_tensor *const in = call->input[k];
        if (!in || in->type == MR_ONNX_STRING || in->rank > 2 || in->count != rows * cols_of(in))
            return mr_onnx_refuse(call, "its inputs are not columns of as many rows");
        cols += cols_of(in);
    }
    const mr_status status =
        mr_onnx_out(call, 0, MR_ONNX_FLOAT, 2, (const int64_t[]){(int64_t)rows, (int64_t)cols}, &out);
    for (size_t k = 0; k < call->input_count && !status; k++) {
        const size_t width = cols_of(call->input[k]);
        for (size_t i = 0; i < rows * width; i++)
            mr_onnx_put(out, i / width * cols + done + i % width, mr_onnx_get(call->input[k], i));
        done += width;
    }
    return status;
}

/* The transform behind a linear model, over one row in double. */
static mr_status row_transform(struct mr_onnx_call *call, struct mr_onnx_span how, double *row, size_t count)
{
    double largest = -INFINITY, sum = 0;
    if (mr_onnx_span_is(how, "NONE")) return MR_OK;
    if (mr_onnx_span_is(how, "LOGISTIC")) {
        for (size_t i = 0; i < count; i++) row[i] = 1 / (1 + exp(-row[i]));
        return MR_OK;
    }
    const bool is_zero = mr_onnx_span_is(how, "SOFTMAX_ZERO");
    if (!is_zero && !mr_onnx_span_is(how, "SOFTMAX"))
        return mr_onnx_refuse(call, "post_transform %.*s is not computed: use SOFTMAX or LOGISTIC", MR_ONNX_TEXT(how));
    for (size_t i = 0; i < count; i++) largest = fmax(largest, row[i]);
    for (size_t i = 0; i < count; i++) {
        if (is_zero && fabs(row[i]) <= 1e-7) continue; /* a score of 0 stays one, and weighs nothing */
        row[i] = exp(row[i] - largest);
        sum += row[i];
    }
    for (size_t i = 0; i < count; i++) row[i] /= sum;
    return MR_OK;
}

/* Weighted sums of one row: coefficient [out][cols], intercept [out] or NULL. */
static void row_score(const struct mr_onnx_tensor *in, size_t row, const struct mr_onnx_tensor *coefficient,
                      const struct mr_onnx_tensor *intercept, size_t outs, double *score)
{
    const size_t cols = cols_of(in);
    for (size_t o = 0; o < outs; o++) {
        score[o] = intercept ? mr_onnx_get(intercept, o) : 0;
        for (size_t c = 0; c < cols; c++)
            score[o] += mr_onnx_get(in, row * cols + c) * mr_onnx_get(coefficient, o * cols + c);
    }
}

/* Coefficients that are outs rows of as many columns as the input has. */
static mr_status weights_of(struct mr_onnx_call *call, size_t outs, const struct mr_onnx_tensor **coefficient,
                            const struct mr_onnx_tensor **intercept)
{
    const size_t cols = cols_of(call->input[0]);
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = list_of(call, "coefficients", MR_ONNX_FLOAT, coefficient);
    if (!status) status = list_of(call, "intercepts", MR_ONNX_FLOAT, intercept);
    if (status) return status;
    if (!outs && *coefficient && cols) outs = (*coefficient)->count / cols;
    if (!*coefficient || !outs || (*coefficient)->count != outs * cols || (*intercept && (*intercept)->count != outs))
        return mr_onnx_refuse(call, "its coefficients or intercepts do not fit its %zu columns", cols);
    return MR_OK;
}

mr_status mr_onnx_regress(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *coefficient, *intercept;
    const int64_t targets = mr_onnx_attribute_int(call->node, "targets", 1);
    const struct mr_onnx_span how = mr_onnx_attribute_text(call->node, "post_transform", "NONE");
    struct mr_onnx_tensor *out;
    if (targets < 1 || targets > INT32_MAX) return mr_onnx_refuse(call, "it has %lld targets", (long long)targets);
    mr_status status = weights_of(call, (size_t)targets, &coefficient, &intercept);
    if (status) return status;
    const size_t rows = in->count / cols_of(in), outs = (size_t)targets;
    double *const score = mr_onnx_take(call->arena, outs, sizeof *score);
    if (!score) return mr_onnx_node_fail(call->model, call->node, call->err, MR_ENOMEM, "out of memory");
    status = mr_onnx_out(call, 0, MR_ONNX_FLOAT, 2, (const int64_t[]){(int64_t)rows, targets}, &out);
    for (size_t row = 0; row < rows && !status; row++) {
        row_score(in, row, coefficient, intercept, outs, score);
        status = row_transform(call, how, score, outs);
        for (size_t o = 0; o < outs; o++) mr_onnx_put(out, row * outs + o, score[o]);
    }
    return status;
}

/* The class of a row: the largest score; with one score the second label when it is positive. */
static size_t class_of(const double *score, size_t outs)
{
    size_t best = 0;
    if (outs == 1) return score[0] > 0;
    for (size_t o = 1; o < outs; o++) {
        if (score[o] > score[best]) best = o;
    }
    return best;
}

mr_status mr_onnx_classify(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *coefficient, *intercept, *label, *text;
    const struct mr_onnx_span how = mr_onnx_attribute_text(call->node, "post_transform", "NONE");
    struct mr_onnx_tensor *labels, *scores;
    mr_status status = weights_of(call, 0, &coefficient, &intercept);
    if (!status) status = list_of(call, "classlabels_ints", MR_ONNX_INT64, &label);
    if (!status) status = list_of(call, "classlabels_strings", MR_ONNX_STRING, &text);
    if (status) return status;
    if (text) label = text;
    const size_t cols = cols_of(in), rows = in->count / cols, outs = coefficient->count / cols;
    const size_t width = outs == 1 && label && label->count == 2 ? 2 : outs;
    if (!label || label->count < width) return mr_onnx_refuse(call, "it has fewer labels than classes");
    double *const score = mr_onnx_take(call->arena, width, sizeof *score);
    if (!score) return mr_onnx_node_fail(call->model, call->node, call->err, MR_ENOMEM, "out of memory");
    status = mr_onnx_out(call, 0, label->type, 1, (const int64_t[]){(int64_t)rows}, &labels);
    if (!status)
        status = mr_onnx_out(call, 1, MR_ONNX_FLOAT, 2, (const int64_t[]){(int64_t)rows, (int64_t)width}, &scores);
    for (size_t row = 0; row < rows && !status; row++) {
        row_score(in, row, coefficient, intercept, outs, score);
        const size_t best = class_of(score, outs);
        if (best >= label->count) return mr_onnx_refuse(call, "it has fewer labels than classes");
        if (text)
            labels->text[row] = text->text[best];
        else
            labels->i64[row] = label->i64[best];
        status = row_transform(call, how, score, outs);
        if (width > outs) {
            score[1] = score[0];
            score[0] = 1 - score[1];
        }
        for (size_t o = 0; o < width; o++) mr_onnx_put(scores, row * width + o, score[o]);
    }
    return status;
}
