/* Steps that become weighted sums: products with constants, sums, scaling. */
#include <math.h>
#include <string.h>

#include "modelfile/onnx/compile.h"

#define NOT_ROWS    "it computes two values from the features with each other, or has no constant where one must be"
#define BEHIND_ROOT "it computes with distances: export labels and distances of k-means alone"

#define BLOCK 32 /* a side of what is transposed at a time: both sides of it stay in the cache */

/* [in][out] as [out][in]. */
static void transpose(const float *from, size_t in, size_t out, float *to)
{
    for (size_t i = 0; i < in; i += BLOCK) {
        for (size_t o = 0; o < out; o += BLOCK) {
            const size_t rows = in - i < BLOCK ? in - i : BLOCK, cols = out - o < BLOCK ? out - o : BLOCK;
            for (size_t c = 0; c < cols; c++) {
                for (size_t r = 0; r < rows; r++) to[(o + c) * in + i + r] = from[(i + r) * out + o + c];
            }
        }
    }
}

/* Weights [out][in] from a constant that lies so, or the other way round. float32 as it is where alpha is 1. */
static const char *weights_take(struct mr_onnx_compile *compile, const struct mr_onnx_tensor *from, bool is_transposed,
                                double alpha, const double **w_out, const float **w32_out)
{
    const size_t out = (size_t)from->dim[is_transposed ? 0 : 1], in = (size_t)from->dim[is_transposed ? 1 : 0];
    *w_out = NULL;
    *w32_out = NULL;
    if (from->type == MR_ONNX_FLOAT && alpha == 1) {
        float *const w = is_transposed ? from->f32 : mr_onnx_take(compile->forms.arena, out, in * sizeof *w);
        compile->forms.is_out_of_memory |= !w;
        if (w && !is_transposed) transpose(from->f32, in, out, w);
        *w32_out = w;
        return NULL;
    }
    double *const w = mr_onnx_take(compile->forms.arena, out, in * sizeof *w);
    compile->forms.is_out_of_memory |= !w;
    for (size_t o = 0; w && o < out; o++) {
        for (size_t i = 0; i < in; i++)
            w[o * in + i] = alpha * mr_onnx_get(from, is_transposed ? o * in + i : i * out + o);
    }
    *w_out = w;
    return NULL;
}

/* rows times a constant matrix. *form_out NULL without a reason: out of memory. */
static const char *product_take(struct mr_onnx_compile *compile, const struct mr_onnx_form *rows,
                                const struct mr_onnx_tensor *matrix, bool is_transposed, double alpha,
                                const struct mr_onnx_form **form_out)
{
    const double *w;
    const float *w32;
    *form_out = NULL;
    if (!rows || !matrix) return NOT_ROWS;
    if (rows->squares != 0 || rows->is_root) return BEHIND_ROOT;
    const int64_t column[] = {matrix->rank == 1 ? matrix->dim[0] : 0, 1};
    struct mr_onnx_tensor upright;
    if (matrix->rank == 1 && !is_transposed &&
        rows->rank == 2) { /* one column, which the product then has no dimension for */
        upright = *matrix;
        upright.rank = 2;
        memcpy(upright.dim, column, sizeof column);
        const char *const reason = product_take(compile, rows, &upright, false, alpha, form_out);
        if (*form_out) *form_out = mr_form_shape(&compile->forms, *form_out, 1);
        return reason;
    }
    if (matrix->rank != 2 || rows->rank != 2 || matrix->type == MR_ONNX_STRING)
        return "its inputs are not rows and a matrix of numbers: flatten the input to [rows, columns]";
    if ((size_t)matrix->dim[is_transposed ? 1 : 0] != rows->width) return "its matrix does not fit the columns";
    const size_t out = (size_t)matrix->dim[is_transposed ? 0 : 1];
    if (!out || !rows->width) return "its matrix is empty";
    const char *const reason = weights_take(compile, matrix, is_transposed, alpha, &w, &w32);
    if (!reason && !compile->forms.is_out_of_memory) *form_out = mr_form_dense(&compile->forms, rows, w, w32, out);
    return reason;
}

const char *mr_step_matmul(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *form;
    const char *const reason = product_take(compile, mr_step_form(compile, node, 0, MR_FORM_ROWS),
                                            mr_step_constant(compile, node, 1), false, 1, &form);
    return reason ? reason : mr_step_set(compile, node, 0, form);
}

/* A constant added to, taken from or put before rows; sign is that of the constant, by that of the rows. */
static const char *constant_add(struct mr_onnx_compile *compile, const struct mr_onnx_form *rows,
                                const struct mr_onnx_tensor *constant, double by, double sign,
                                const struct mr_onnx_form **form_out)
{
    const double *plus;
    struct mr_onnx_tensor same;
    double *scaled, *factor;
    *form_out = NULL;
    if (rows->is_root) return BEHIND_ROOT;
    if (rows->width == 1 && rows->rank == 2 && constant->rank && constant->count > 1) { /* one column becomes several */
        const size_t width = (size_t)constant->dim[constant->rank - 1];
        size_t *const column = mr_onnx_take(compile->forms.arena, width, sizeof *column);
        if (column && width == constant->count) rows = mr_form_pick(&compile->forms, rows, column, width);
        if (!column || !rows) {
            compile->forms.is_out_of_memory = true;
            return NULL;
        }
    }
    same = *constant;
    const char *const reason = mr_step_columns(compile, &same, rows, &plus);
    if (reason) return reason;
    scaled = mr_onnx_take(compile->forms.arena, rows->width, sizeof *scaled);
    factor = mr_onnx_take(compile->forms.arena, rows->width, sizeof *factor);
    if (!scaled || !factor || !plus) {
        compile->forms.is_out_of_memory = true;
        return NULL;
    }
    for (size_t i = 0; i < rows->width; i++) {
        scaled[i] = sign * plus[i];
        factor[i] = by;
    }
    *form_out = mr_form_scale(&compile->forms, rows, by == 1 ? NULL : factor, scaled);
    return NULL;
}

/* Add and Sub. */
const char *mr_step_sum(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const a = mr_step_form(compile, node, 0, MR_FORM_ROWS), *const b = mr_step_form(
                                                                                           compile, node, 1,
                                                                                           MR_FORM_ROWS);
    const double sign = mr_onnx_span_is(node->op, "Sub") ? -1 : 1;
    const struct mr_onnx_form *form;
    const char *reason;
    if (a && b) {
        if (a->chain != b->chain) return "it adds values from different depths of the network";
        if (a->is_root || b->is_root) return BEHIND_ROOT;
        if ((a->width != b->width && a->width != 1 && b->width != 1) || a->rank != b->rank)
            return "it adds values of different widths";
        return mr_step_set(compile, node, 0, mr_form_sum(&compile->forms, a, b, sign));
    }
    if (a && mr_step_constant(compile, node, 1))
        reason = constant_add(compile, a, mr_step_constant(compile, node, 1), 1, sign, &form);
    else if (b && mr_step_constant(compile, node, 0))
        reason = constant_add(compile, b, mr_step_constant(compile, node, 0), sign, 1, &form);
    else
        return NOT_ROWS;
    return reason ? reason : mr_step_set(compile, node, 0, form);
}

/* Gemm: alpha * rows * matrix + beta * C, where C is a constant or another sum. */
const char *mr_step_gemm(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const double alpha = (double)mr_onnx_attribute_float(node, "alpha", 1),
                 beta = (double)mr_onnx_attribute_float(node, "beta", 1);
    const struct mr_onnx_form *const other = mr_step_form(compile, node, 2, MR_FORM_ROWS), *form;
    const struct mr_onnx_tensor *const constant = mr_step_constant(compile, node, 2);
    if (mr_onnx_attribute_int(node, "transA", 0)) return "transA is set: rows must stay rows";
    const char *reason =
        product_take(compile, mr_step_form(compile, node, 0, MR_FORM_ROWS), mr_step_constant(compile, node, 1),
                     mr_onnx_attribute_int(node, "transB", 0) != 0, alpha, &form);
    if (reason || !form) return reason ? reason : mr_step_set(compile, node, 0, form);
    if (constant) {
        reason = constant_add(compile, form, constant, 1, beta, &form);
    } else if (other) {
        if (other->rank != 2 || (other->width != 1 && other->width != form->width))
            return "its third input has another number of columns";
        form = other->chain != form->chain || other->is_root ? mr_step_add(compile, form, other, beta)
                                                             : mr_form_sum(&compile->forms, form, other, beta);
    }
    return reason ? reason : mr_step_set(compile, node, 0, form);
}

/* The two sides of a GELU that is written out, x and 1 + erf(x / sqrt 2), times what is left of them. */
static const char *gelu_take(struct mr_onnx_compile *compile, const struct mr_onnx_form *x,
                             const struct mr_onnx_form *erf, const struct mr_onnx_form **form_out)
{
    static const char other[] = "it multiplies two values from the features (GELU alone is known in this form)";
    const struct mr_onnx_chain *const u = erf->chain;
    const double root = sqrt(2);
    double ratio = 0;
    if (!u->is_erf || !erf->source || x->squares != 0 || x->is_root || x->chain != u->before || x->width != u->width ||
        erf->width != u->width)
        return other;
    const struct mr_onnx_form inner = {
        .kind = MR_FORM_ROWS, .width = u->width, .chain = u->before, .w = u->w, .w32 = u->w32, .b = u->b};
    for (size_t o = 0; o < x->width; o++) {
        if (erf->source[o] != o || erf->scale[o] != erf->b[o] || erf->scale[o] != erf->scale[0]) return other;
        for (size_t k = 0; k <= x->chain->width; k++) {
            const bool is_bias = k == x->chain->width;
            const double left = is_bias ? x->b[o] : mr_form_weight(x, o, k),
                         right = root * (is_bias ? u->b[o] : mr_form_weight(&inner, o, k));
            if (ratio == 0 && right != 0) ratio = left / right;
            if (fabs(left - ratio * right) > 1e-6 * fabs(left)) return other;
        }
    }
    if (!(fabs(ratio) > 0) || !isfinite(ratio)) return other;
    /* left = ratio * z with z what erf was made of; z * (1 + erf(z / sqrt 2)) = 2 gelu(z) */
    double *const by = mr_onnx_take(compile->forms.arena, x->width, sizeof *by);
    const double *const whole = by;
    for (size_t o = 0; by && o < x->width; o++) by[o] = 1 / ratio;
    const struct mr_onnx_form *z = by ? x : NULL;
    if (z && fabs(ratio - 1) > 1e-6) z = mr_form_scale(&compile->forms, x, whole, NULL);
    if (z) z = mr_form_activate(&compile->forms, z, MR_ACT_GELU, false);
    double *const back = mr_onnx_take(compile->forms.arena, x->width, sizeof *back);
    double factor = 2 * (fabs(ratio - 1) > 1e-6 ? ratio : 1) * erf->scale[0];
    if (fabs(factor - 1) < 1e-6) factor = 1; /* the root of 2 was a float */
    for (size_t o = 0; back && o < x->width; o++) back[o] = factor;
    *form_out = z && back && factor != 1 ? mr_form_scale(&compile->forms, z, back, NULL) : back ? z : NULL;
    return NULL;
}

/* Mul and Div. */
const char *mr_step_product(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const bool is_div = mr_onnx_span_is(node->op, "Div");
    const struct mr_onnx_form *const a = mr_step_form(compile, node, 0, MR_FORM_ROWS),
                                     *const b = mr_step_form(compile, node, 1, MR_FORM_ROWS), *rows = a ? a : b,
                                     *form = NULL;
    const struct mr_onnx_tensor *const constant = mr_step_constant(compile, node, a ? 1 : 0);
    const double *column;
    const char *reason;
    if (a && b && !is_div) {
        reason = a->chain->is_erf ? gelu_take(compile, b, a, &form) : gelu_take(compile, a, b, &form);
        return reason ? reason : mr_step_set(compile, node, 0, form);
    }
    if (!rows || !constant || (is_div && !a))
        return is_div && b ? "it divides by what comes from the features" : NOT_ROWS;
    if (rows->is_root) return BEHIND_ROOT;
    reason = mr_step_columns(compile, constant, rows, &column);
    if (reason || !column) return reason;
    if (rows->squares != 0 && constant->count != 1) return BEHIND_ROOT;
    return mr_step_set(compile, node, 0,
                       is_div ? mr_form_divide(&compile->forms, rows, column)
                              : mr_form_scale(&compile->forms, rows, column, NULL));
}

const char *mr_step_negate(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    if (!rows || rows->is_root) return BEHIND_ROOT;
    double *const by = mr_onnx_take(compile->forms.arena, rows->width, sizeof *by);
    for (size_t i = 0; by && i < rows->width; i++) by[i] = -1;
    return mr_step_set(compile, node, 0, by ? mr_form_scale(&compile->forms, rows, by, NULL) : NULL);
}

const char *mr_step_batchnorm(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    const double epsilon = (double)mr_onnx_attribute_float(node, "epsilon", 1e-5f);
    const struct mr_onnx_tensor *part[4];
    if (!rows || rows->rank != 2 || rows->squares != 0 || rows->is_root) return "its input is not rows of columns";
    if (mr_onnx_attribute_int(node, "training_mode", 0))
        return "it is in training mode: call model.eval() before the export";
    double *const by = mr_onnx_take(compile->forms.arena, rows->width, sizeof *by), *const plus = mr_onnx_take(
                                                                                        compile->forms.arena,
                                                                                        rows->width, sizeof *plus);
    if (!by || !plus) return mr_step_set(compile, node, 0, NULL);
    for (size_t i = 0; i < 4; i++) {
        part[i] = mr_step_constant(compile, node, i + 1);
        if (!part[i] || part[i]->count != rows->width || part[i]->type == MR_ONNX_STRING)
            return "its scale, bias, mean and variance are not constants, one a column";
    }
    for (size_t i = 0; i < rows->width; i++) {
        by[i] = mr_onnx_get(part[0], i) / sqrt(mr_onnx_get(part[3], i) + epsilon);
        plus[i] = mr_onnx_get(part[1], i) - mr_onnx_get(part[2], i) * by[i];
    }
    return mr_step_set(compile, node, 0, mr_form_scale(&compile->forms, rows, by, plus));
}

const char *mr_step_scaler(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    const struct mr_onnx_tensor *const offset = mr_step_list(compile, node, "offset"), *const scale = mr_step_list(
                                                                                           compile, node, "scale");
    const double *off = NULL, *by = NULL;
    const char *reason = NULL;
    if (!rows || rows->squares != 0 || rows->is_root) return "its input is not rows of columns";
    if (offset) reason = mr_step_columns(compile, offset, rows, &off);
    if (scale && !reason) reason = mr_step_columns(compile, scale, rows, &by);
    double *const plus = mr_onnx_take(compile->forms.arena, rows->width, sizeof *plus);
    if (reason || !plus) return reason ? reason : mr_step_set(compile, node, 0, NULL);
    for (size_t i = 0; off && i < rows->width; i++) plus[i] = -off[i] * (by ? by[i] : 1);
    return mr_step_set(compile, node, 0, mr_form_scale(&compile->forms, rows, by, plus));
}

const char *mr_step_squares(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    const struct mr_onnx_tensor *axes = mr_step_constant(compile, node, 1);
    if (!axes) axes = mr_step_list(compile, node, "axes");
    if (!rows || rows->rank != 2 || !mr_form_is_plain(rows) || rows->chain->before)
        return "squares are known of the features as they come (k-means): put what is before it into a model of its "
               "own "
               "(\"input\" in the job)";
    if (!axes || axes->count != 1 || axes->type != MR_ONNX_INT64 || (axes->i64[0] != 1 && axes->i64[0] != -1) ||
        !mr_onnx_attribute_int(node, "keepdims", 1))
        return "it does not sum over the columns of a row";
    struct mr_onnx_form *const form = mr_onnx_take(compile->forms.arena, 1, sizeof *form);
    double *const w = mr_onnx_take(compile->forms.arena, rows->width, sizeof *w), *const b =
                                                                                      mr_onnx_take(compile->forms.arena,
                                                                                                   1, sizeof *b);
    if (form && w && b)
        *form = (struct mr_onnx_form){
            .kind = MR_FORM_ROWS, .width = 1, .rank = 2, .chain = rows->chain, .w = w, .b = b, .squares = 1};
    return mr_step_set(compile, node, 0, w && b ? form : NULL);
}

const char *mr_step_root(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    if (!rows || rows->squares != 1 || rows->is_root) return "a square root is known of distances alone (k-means)";
    struct mr_onnx_form *const form = mr_onnx_take(compile->forms.arena, 1, sizeof *form);
    if (form) {
        *form = *rows;
        form->is_root = true;
    }
    return mr_step_set(compile, node, 0, form);
}
