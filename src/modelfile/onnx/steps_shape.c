/* Steps that move numbers, or leave them as they are. */
#include "modelfile/onnx/compile.h"

#define NOT_ROWS "its input does not depend on the features in a way that our models know"

const char *mr_step_same(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const form = mr_step_first(compile, node);
    return form ? mr_step_set(compile, node, 0, form) : NOT_ROWS;
}

const char *mr_step_dropout(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_tensor *const training = mr_step_constant(compile, node, 2);
    if (node->input_count > 2 && node->input[2] != MR_ONNX_NO_VALUE &&
        (!training || !training->count || mr_onnx_get_int(training, 0)))
        return "it is in training mode: call model.eval() before the export";
    if (node->output_count > 1 && node->output[1] != MR_ONNX_NO_VALUE) return "its mask is used: export for inference";
    return mr_step_same(compile, node);
}

const char *mr_step_cast(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const mr_onnx_type type = (mr_onnx_type)mr_onnx_attribute_int(node, "to", MR_ONNX_NONE);
    if (mr_step_form(compile, node, 0, MR_FORM_CLASS)) return mr_step_relabel(compile, node);
    if (type != MR_ONNX_FLOAT && type != MR_ONNX_DOUBLE)
        return "it rounds numbers to another type than float or double";
    return mr_step_same(compile, node);
}

/* The dimensions behind the rows are one column, or all of them. */
static const char *reshape_check(const struct mr_onnx_compile *compile, const struct mr_onnx_form *form,
                                 const struct mr_onnx_tensor *shape, bool keeps_zero)
{
    static const char other[] = "its shape mixes rows and columns: expected [-1, columns]";
    const struct mr_onnx_port *const port = compile->model->input;
    const int64_t first = shape->count ? mr_onnx_get_int(shape, 0) : 0;
    int64_t width = 1;
    bool is_open = false;
    if (!shape->count || shape->count > MR_ONNX_RANK_MAX || shape->type != MR_ONNX_INT64) return other;
    if (first != -1 && (first != 0 || keeps_zero) && first != port->dim[0]) return other;
    for (size_t i = 1; i < shape->count; i++) {
        const int64_t dim = mr_onnx_get_int(shape, i);
        if (dim == -1)
            is_open = true;
        else if (dim == 0 && i == 1 && form->rank == 2 && !keeps_zero)
            width *= (int64_t)form->width;
        else if (dim < 1 || __builtin_mul_overflow(width, dim, &width))
            return other;
    }
    if (is_open && first != -1) return NULL;
    return (size_t)width == form->width ? NULL : other;
}

const char *mr_step_reshape(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const form = mr_step_first(compile, node);
    const struct mr_onnx_tensor *shape = mr_step_constant(compile, node, 1);
    if (!shape) shape = mr_step_list(compile, node, "shape");
    if (!form || !shape) return "its shape is computed from the input: export with a fixed number of columns";
    const char *const reason = reshape_check(compile, form, shape, mr_onnx_attribute_int(node, "allowzero", 0) != 0);
    return reason ? reason : mr_step_set(compile, node, 0, mr_form_shape(&compile->forms, form, shape->count));
}

const char *mr_step_flatten(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const form = mr_step_first(compile, node);
    const int64_t axis = mr_onnx_attribute_int(node, "axis", 1);
    if (!form) return NOT_ROWS;
    if (axis != 1 && axis != 1 - (int64_t)form->rank) return "it flattens rows together: expected axis 1";
    return mr_step_set(compile, node, 0, mr_form_shape(&compile->forms, form, 2));
}

/* Squeeze and Unsqueeze, of the column of values that have one. */
const char *mr_step_squeeze(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const form = mr_step_first(compile, node);
    const bool is_squeeze = mr_onnx_span_is(node->op, "Squeeze");
    const struct mr_onnx_tensor *axes = mr_step_constant(compile, node, 1);
    if (!axes) axes = mr_step_list(compile, node, "axes");
    if (!form || !axes || axes->count != 1 || axes->type != MR_ONNX_INT64 || form->width != 1 ||
        (axes->i64[0] != 1 && axes->i64[0] != -1) || form->rank != (is_squeeze ? 2u : 1u))
        return "it adds or drops another dimension than that of a single column";
    return mr_step_set(compile, node, 0, mr_form_shape(&compile->forms, form, is_squeeze ? 1 : 2));
}

/* Concat along the columns, and FeatureVectorizer. */
const char *mr_step_concat(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form **const part =
        mr_onnx_take(compile->forms.arena, node->input_count, sizeof(const struct mr_onnx_form *));
    const int64_t axis = node->is_ml ? 1 : mr_onnx_attribute_int(node, "axis", 1);
    if (!part) return mr_step_set(compile, node, 0, NULL);
    for (size_t i = 0; i < node->input_count; i++) {
        part[i] = mr_step_form(compile, node, i, MR_FORM_ROWS);
        if (!part[i] || part[i]->rank != 2 || part[i]->squares != 0 || part[i]->is_root || (axis != 1 && axis != -1))
            return "it joins other things than columns that come from the features";
        if (part[i]->chain != part[0]->chain)
            return "it joins columns from different depths of the network, or scaled ones with others behind a layer";
    }
    return mr_step_set(compile, node, 0, mr_form_stack(&compile->forms, part, node->input_count));
}

/* Columns by constant index: Gather on axis 1, ArrayFeatureExtractor. From constant labels by class: those labels. */
const char *mr_step_gather(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    const struct mr_onnx_tensor *const index = mr_step_constant(compile, node, 1);
    const int64_t axis = node->is_ml ? 1 : mr_onnx_attribute_int(node, "axis", 0);
    if (mr_step_form(compile, node, 1, MR_FORM_CLASS)) return mr_step_relabel(compile, node);
    if (!rows || !index || rows->rank != 2 || (axis != 1 && axis != -1) || !index->count ||
        index->type == MR_ONNX_STRING || mr_onnx_is_float(index->type) || (!node->is_ml && index->rank > 1))
        return "it picks by something else than the constant numbers of columns";
    size_t *const column = mr_onnx_take(compile->forms.arena, index->count, sizeof *column);
    if (!column) return mr_step_set(compile, node, 0, NULL);
    for (size_t i = 0; i < index->count; i++) {
        int64_t at = mr_onnx_get_int(index, i);
        if (at < 0 && !node->is_ml) at += (int64_t)rows->width;
        if (at < 0 || (size_t)at >= rows->width) return "it picks a column that is not there";
        column[i] = (size_t)at;
    }
    const struct mr_onnx_form *form = mr_form_pick(&compile->forms, rows, column, index->count);
    if (form && !node->is_ml && !index->rank) form = mr_form_shape(&compile->forms, form, 1);
    return mr_step_set(compile, node, 0, form);
}
