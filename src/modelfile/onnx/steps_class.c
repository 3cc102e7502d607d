/* Steps that end a layer, and what stands behind the last one: probabilities, classes and their labels. */
#include "modelfile/onnx/compile.h"

static const char not_layer[] = "its input is no sum of weighted features";

const char *mr_step_activate(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    static const struct {
        const char *op;
        mr_activation activation;
    } known[] = {{"Relu", MR_ACT_RELU}, {"Sigmoid", MR_ACT_SIGMOID}, {"Tanh", MR_ACT_TANH}, {"Gelu", MR_ACT_GELU}};
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    mr_activation activation = MR_ACT_IDENTITY; /* Erf */
    if (!rows || rows->squares != 0 || rows->is_root || (rows->chain->made && rows->source)) return not_layer;
    if (mr_onnx_span_is(mr_onnx_attribute_text(node, "approximate", "none"), "tanh"))
        return "the tanh approximation of GELU is not ours: export with approximate=\"none\"";
    if (!mr_onnx_span_is(mr_onnx_attribute_text(node, "approximate", "none"), "none"))
        return "its approximate is neither none nor tanh";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (mr_onnx_span_is(node->op, known[i].op)) activation = known[i].activation;
    }
    return mr_step_set(compile, node, 0,
                       mr_form_activate(&compile->forms, rows, activation, activation == MR_ACT_IDENTITY));
}

const char *mr_step_softmax(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    const int64_t axis = mr_onnx_attribute_int(node, "axis", compile->model->opset < 13 ? 1 : -1);
    if (!rows || rows->squares != 0 || rows->is_root || (rows->chain->made && rows->source)) return not_layer;
    if (rows->rank != 2 || (axis != 1 && axis != -1)) return "it is not over the columns of a row: expected axis 1";
    return mr_step_set(compile, node, 0, mr_form_activate(&compile->forms, rows, MR_ACT_SOFTMAX, false));
}

/* ArgMax and ArgMin over the columns. */
const char *mr_step_argmax(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    const int64_t axis = mr_onnx_attribute_int(node, "axis", 0);
    const size_t rank = mr_onnx_attribute_int(node, "keepdims", 1) ? 2 : 1;
    if (!rows || rows->rank != 2 || (axis != 1 && axis != -1)) return "it is not over the columns of a row";
    if (mr_onnx_attribute_int(node, "select_last_index", 0))
        return "of equal columns it takes the last, ours the first: export without select_last_index";
    return mr_step_set(compile, node, 0, mr_step_class(compile, rows, mr_onnx_span_is(node->op, "ArgMin"), NULL, rank));
}

/* What an operator makes of the labels: it is computed with all of them in the place of the classes of rows. */
const char *mr_step_relabel(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_tensor *output[MR_ONNX_OUTPUTS_MAX] = {0}, *input[4] = {0};
    const struct mr_onnx_form *class = NULL;
    if (node->input_count > 4 || node->output_count > MR_ONNX_OUTPUTS_MAX) return "it has too many inputs or outputs";
    for (size_t i = 0; i < node->input_count; i++) {
        const struct mr_onnx_form *const form = mr_step_form(compile, node, i, MR_FORM_CLASS);
        if (form && class) return "it computes with two classes at once";
        if (form) class = form;
        input[i] = form ? form->label : mr_step_constant(compile, node, i);
        if (!input[i]) return "it computes with classes and with what comes from the features";
    }
    if (!class) return "it is known behind the class of a row alone";
    mr_step_eval(compile, node, input, output);
    if (compile->status) return NULL;
    if (output[0]->count != class->of->width) return "it makes more or fewer labels than there are classes";
    return mr_step_set(compile, node, 0, mr_step_class(compile, class->of, class->is_least, output[0], class->rank));
}

const char *mr_step_zipmap(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    const struct mr_onnx_tensor *label = mr_step_list(compile, node, "classlabels_strings");
    if (!label) label = mr_step_list(compile, node, "classlabels_int64s");
    if (!rows || (label && label->count != rows->width)) return "its labels are not as many as its columns";
    compile->zip_label = label;
    return mr_step_set(compile, node, 0, rows);
}

const char *mr_step_normalize(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    if (!rows) return not_layer;
    if (!mr_onnx_span_is(mr_onnx_attribute_text(node, "norm", "MAX"), "L1"))
        return "norms other than L1 behind probabilities are not known";
    if (mr_form_is_pair(rows) || (rows->chain->activation == MR_ACT_SOFTMAX && mr_form_is_plain(rows)))
        return mr_step_set(compile, node, 0, rows); /* they add up to 1 already */
    return "it divides one-against-rest probabilities by their sum, which no model of ours does: train a multinomial "
           "one";
}

/* Coefficients and intercepts of the node over the columns of rows. */
static const char *linear_take(struct mr_onnx_compile *compile, const struct mr_onnx_node *node, size_t outs,
                               const struct mr_onnx_form **form_out)
{
    const struct mr_onnx_form *const rows = mr_step_form(compile, node, 0, MR_FORM_ROWS);
    const struct mr_onnx_tensor *const weight = mr_step_list(compile, node, "coefficients"), *const bias = mr_step_list(
                                                                                                 compile, node,
                                                                                                 "intercepts");
    const double *plus;
    const char *reason = NULL;
    *form_out = NULL;
    if (!rows || rows->rank != 2 || rows->squares != 0 || rows->is_root) return "its input is not rows of columns";
    if (!outs && weight) outs = weight->count / rows->width;
    if (!weight || weight->type != MR_ONNX_FLOAT || !outs || weight->count != outs * rows->width ||
        (bias && bias->count != outs))
        return "its coefficients and intercepts do not fit the columns";
    const struct mr_onnx_form *form = mr_form_dense(&compile->forms, rows, NULL, weight->f32, outs);
    if (form && bias) reason = mr_step_columns(compile, bias, form, &plus);
    if (form && bias && !reason) form = plus ? mr_form_scale(&compile->forms, form, NULL, plus) : NULL;
    if (!form) compile->forms.is_out_of_memory = true;
    *form_out = form;
    return reason;
}

/* What a linear model's post_transform makes of the sums. */
static const char *transform_take(struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                                  const struct mr_onnx_form **form)
{
    const struct mr_onnx_span how = mr_onnx_attribute_text(node, "post_transform", "NONE");
    if (mr_onnx_span_is(how, "NONE")) return NULL;
    const bool is_logistic = mr_onnx_span_is(how, "LOGISTIC");
    if (!is_logistic && !mr_onnx_span_is(how, "SOFTMAX"))
        return "its post_transform is none of NONE, LOGISTIC, SOFTMAX";
    *form = mr_form_activate(&compile->forms, *form, is_logistic ? MR_ACT_SIGMOID : MR_ACT_SOFTMAX, false);
    return NULL;
}

const char *mr_step_regressor(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const int64_t targets = mr_onnx_attribute_int(node, "targets", 1);
    const struct mr_onnx_form *form;
    if (!mr_onnx_span_is(mr_onnx_attribute_text(node, "post_transform", "NONE"), "NONE"))
        return "its post_transform is not NONE: programs differ in whether a regression has one";
    if (targets < 1 || targets > INT32_MAX) return "it has no targets";
    const char *reason = linear_take(compile, node, (size_t)targets, &form);
    return reason ? reason : mr_step_set(compile, node, 0, form);
}

/* One probability as two: of the other class, and of this one. */
static const struct mr_onnx_form *pair_make(struct mr_onnx_forms *forms, const struct mr_onnx_form *one)
{
    static const size_t twice[] = {0, 0};
    static const double by[] = {-1, 1}, plus[] = {1, 0};
    const struct mr_onnx_form *const both = mr_form_pick(forms, one, twice, 2);
    return both ? mr_form_scale(forms, both, by, plus) : NULL;
}

const char *mr_step_classifier(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_tensor *label = mr_step_list(compile, node, "classlabels_strings");
    const struct mr_onnx_form *form;
    if (!label) label = mr_step_list(compile, node, "classlabels_ints");
    const char *reason = linear_take(compile, node, 0, &form);
    if (!reason && form) reason = transform_take(compile, node, &form);
    if (reason || !form) return reason ? reason : mr_step_set(compile, node, 0, NULL);
    if (form->width == 1 && form->chain->activation != MR_ACT_SIGMOID)
        return "it has one score for two classes and no LOGISTIC behind it";
    if (form->width == 1 && label && label->count == 2) form = pair_make(&compile->forms, form);
    if (!form) return mr_step_set(compile, node, 0, NULL);
    if (!label || label->count != form->width) return "its labels are not as many as its classes";
    reason = mr_step_set(compile, node, 0, mr_step_class(compile, form, false, label, 1));
    return reason ? reason : mr_step_set(compile, node, 1, form);
}
