/* Operators of one value, element by element. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfile/onnx/ops.h"

/* Parameters: alpha and beta (or gamma) of the node, or what the operator has without them. */
typedef double unary_fn(double x, double alpha, double beta);

#define UNARY(name, value)                                                                                             \
    static double name(double x, double alpha, double beta)                                                            \
    {                                                                                                                  \
        (void)alpha, (void)beta;                                                                                       \
        return value;                                                                                                  \
    }
UNARY(u_abs, fabs(x))
UNARY(u_ceil, ceil(x))
UNARY(u_celu, x > 0 ? x : alpha * expm1(x / alpha))
UNARY(u_elu, x < 0 ? alpha * expm1(x) : x)
UNARY(u_erf, erf(x))
UNARY(u_exp, exp(x))
UNARY(u_floor, floor(x))
UNARY(u_gelu, x / 2 * (1 + erf(x / sqrt(2))))
UNARY(u_gelu_tanh, x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))))
UNARY(u_hard, fmin(fmax(alpha *x + beta, 0), 1))
UNARY(u_hard_swish, x *fmin(fmax(x / 6 + 0.5, 0), 1))
UNARY(u_leaky, x < 0 ? alpha * x : x)
UNARY(u_log, log(x))
UNARY(u_mish, x *tanh(fmax(x, 0) + log1p(exp(-fabs(x)))))
UNARY(u_neg, -x)
UNARY(u_reciprocal, 1 / x)
UNARY(u_relu, x < 0 ? 0 : x)
UNARY(u_round, rint(x))
UNARY(u_selu, beta *(x > 0 ? x : alpha * expm1(x)))
UNARY(u_sigmoid, 1 / (1 + exp(-x)))
UNARY(u_sign, isnan(x) ? x : (x > 0) - (x < 0))
UNARY(u_softplus, fmax(x, 0) + log1p(exp(-fabs(x))))
UNARY(u_softsign, x / (1 + fabs(x)))
UNARY(u_sqrt, sqrt(x))
UNARY(u_swish, x / (1 + exp(-alpha * x)))
UNARY(u_tanh, tanh(x))
UNARY(u_threshold, x > alpha ? x : 0)

static const struct {
    const char *name;
    unary_fn *run;
    float alpha, beta;
    const char *beta_name;
} unary_ops[] = {
    {"Abs", u_abs, 0, 0, NULL},
    {"Ceil", u_ceil, 0, 0, NULL},
    {"Celu", u_celu, 1, 0, NULL},
    {"Elu", u_elu, 1, 0, NULL},
    {"Erf", u_erf, 0, 0, NULL},
    {"Exp", u_exp, 0, 0, NULL},
    {"Floor", u_floor, 0, 0, NULL},
    {"Gelu", u_gelu, 0, 0, NULL},
    {"HardSigmoid", u_hard, 0.2f, 0.5f, "beta"},
    {"HardSwish", u_hard_swish, 0, 0, NULL},
    {"LeakyRelu", u_leaky, 0.01f, 0, NULL},
    {"Log", u_log, 0, 0, NULL},
    {"Mish", u_mish, 0, 0, NULL},
    {"Neg", u_neg, 0, 0, NULL},
    {"Reciprocal", u_reciprocal, 0, 0, NULL},
    {"Relu", u_relu, 0, 0, NULL},
    {"Round", u_round, 0, 0, NULL},
    {"Selu", u_selu, 1.67326319217681884765625f, 1.05070102214813232421875f, "gamma"},
    {"Sigmoid", u_sigmoid, 0, 0, NULL},
    {"Sign", u_sign, 0, 0, NULL},
    {"Softplus", u_softplus, 0, 0, NULL},
    {"Softsign", u_softsign, 0, 0, NULL},
    {"Sqrt", u_sqrt, 0, 0, NULL},
    {"Swish", u_swish, 1, 0, NULL},
    {"Tanh", u_tanh, 0, 0, NULL},
    {"ThresholdedRelu", u_threshold, 1, 0, NULL},
};

mr_status mr_onnx_unary(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    struct mr_onnx_tensor *out;
    size_t kind = 0;
    while (!mr_onnx_op_is(call, unary_ops[kind].name)) kind++;
    unary_fn *run = unary_ops[kind].run;
    if (run == u_gelu) {
        const struct mr_onnx_span how = mr_onnx_attribute_text(call->node, "approximate", "none");
        if (mr_onnx_span_is(how, "tanh")) run = u_gelu_tanh;
    }
    const double alpha = (double)mr_onnx_attribute_float(call->node, "alpha", unary_ops[kind].alpha);
    double beta = (double)unary_ops[kind].beta;
    if (unary_ops[kind].beta_name)
        beta = (double)mr_onnx_attribute_float(call->node, unary_ops[kind].beta_name, unary_ops[kind].beta);
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = mr_onnx_out(call, 0, in->type, in->rank, in->dim, &out);
    for (size_t i = 0; i < in->count && !status; i++) {
        const int64_t whole = mr_onnx_is_float(in->type) ? 0 : mr_onnx_get_int(in, i);
        if (whole && run == u_neg)
            mr_onnx_put_int(out, i, (int64_t)(0 - (uint64_t)whole));
        else if (whole && (run == u_abs || run == u_relu))
            mr_onnx_put_int(out, i,
                            whole >= 0 || in->type == MR_ONNX_UINT64 ? whole
                            : run == u_relu                          ? 0
                                                                     : -(whole + 1) + 1);
        else
            mr_onnx_put(out, i, run(mr_onnx_get(in, i), alpha, beta));
    }
    return status;
}

mr_status mr_onnx_identity(struct mr_onnx_call *call)
{
    call->output[0] = call->input[0];
    return MR_OK;
}

/* As at inference: what came goes on. */
mr_status mr_onnx_dropout(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *const training = mr_onnx_in(call, 2);
    struct mr_onnx_tensor *mask;
    mr_status status = MR_OK;
    if (training && training->count && mr_onnx_get_int(training, 0))
        return mr_onnx_refuse(call, "it is in training mode: export the model for inference");
    call->output[0] = in;
    if (call->output_count > 1) status = mr_onnx_out(call, 1, MR_ONNX_BOOL, in->rank, in->dim, &mask);
    for (size_t i = 0; call->output_count > 1 && i < in->count && !status; i++) mr_onnx_put_int(mask, i, 1);
    return status;
}

mr_status mr_onnx_not(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    struct mr_onnx_tensor *out;
    if (in->type != MR_ONNX_BOOL) return mr_onnx_refuse(call, "its input is no bool");
    const mr_status status = mr_onnx_out(call, 0, MR_ONNX_BOOL, in->rank, in->dim, &out);
    for (size_t i = 0; i < in->count && !status; i++) mr_onnx_put_int(out, i, !mr_onnx_get_int(in, i));
    return status;
}

mr_status mr_onnx_isnan(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = mr_onnx_out(call, 0, MR_ONNX_BOOL, in->rank, in->dim, &out);
    for (size_t i = 0; i < in->count && !status; i++) mr_onnx_put_int(out, i, isnan(mr_onnx_get(in, i)));
    return status;
}

/* Bounds are attributes before opset 11, inputs since. */
mr_status mr_onnx_clip(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *const least = mr_onnx_in(call, 1),
                                       *const most = mr_onnx_in(call, 2);
    const bool is_old = call->opset && call->opset < 11;
    struct mr_onnx_tensor *out;
    mr_status status = MR_OK;
    for (size_t i = 0; i < 3 && !status; i++) status = mr_onnx_numbers(call, i);
    if ((least && least->count != 1) || (most && most->count != 1))
        return mr_onnx_refuse(call, "its bounds are no single numbers");
    const double from = is_old  ? (double)mr_onnx_attribute_float(call->node, "min", -INFINITY)
                        : least ? mr_onnx_get(least, 0)
                                : -INFINITY;
    const double to = is_old ? (double)mr_onnx_attribute_float(call->node, "max", INFINITY)
                      : most ? mr_onnx_get(most, 0)
                             : INFINITY;
    if (!status) status = mr_onnx_out(call, 0, in->type, in->rank, in->dim, &out);
    for (size_t i = 0; i < in->count && !status; i++) {
        const double value = mr_onnx_get(in, i), low = value < from ? from : value;
        if (mr_onnx_is_float(in->type) || value < from || low > to)
            mr_onnx_put(out, i, low > to ? to : low);
        else
            mr_onnx_put_int(out, i, mr_onnx_get_int(in, i));
    }
    return status;
}

/* A number as text: as Python's str() prints whole numbers, and the shortest that reads back for float. */
static mr_status text_of(struct mr_onnx_call *call, const struct mr_onnx_tensor *in, size_t i,
                         struct mr_onnx_span *text_out)
{
    char text[64];
    if (mr_onnx_is_float(in->type)) {
        const double value = mr_onnx_get(in, i);
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, value);
            const double back = strtod(text, NULL);
            if (in->type == MR_ONNX_DOUBLE ? back == value : (float)back == (float)value) break;
        }
        if (isnan(value)) snprintf(text, sizeof text, "NaN");
        if (isinf(value)) snprintf(text, sizeof text, value > 0 ? "INF" : "-INF");
    } else {
        const long long whole = mr_onnx_get_int(in, i);
        if (in->type == MR_ONNX_UINT64)
            snprintf(text, sizeof text, "%llu", (unsigned long long)whole);
        else
            snprintf(text, sizeof text, "%lld", whole);
    }
    char *const copy = mr_onnx_take(call->arena, strlen(text) + 1, 1);
    if (!copy) return mr_onnx_node_fail(call->model, call->node, call->err, MR_ENOMEM, "out of memory");
    memcpy(copy, text, strlen(text));
    *text_out = (struct mr_onnx_span){(unsigned char *)copy, strlen(text)};
    return MR_OK;
}

static mr_status number_of(struct mr_onnx_call *call, struct mr_onnx_span text, double *value_out)
{
    char copy[128], *end;
    snprintf(copy, sizeof copy, "%.*s", MR_ONNX_TEXT(text));
    *value_out = strtod(copy, &end);
    if (end == copy || *end || text.bytes > 80) return mr_onnx_refuse(call, "the text \"%.40s\" is no number", copy);
    return MR_OK;
}

mr_status mr_onnx_cast(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const mr_onnx_type type = mr_onnx_op_is(call, "CastLike")
                                  ? call->input[1]->type
                                  : (mr_onnx_type)mr_onnx_attribute_int(call->node, "to", MR_ONNX_NONE);
    struct mr_onnx_tensor *out;
    double number;
    if (!mr_onnx_type_bytes(type)) return mr_onnx_refuse(call, "the type %s is not known", mr_onnx_type_name(type));
    mr_status status = mr_onnx_out(call, 0, type, in->rank, in->dim, &out);
    for (size_t i = 0; i < in->count && !status; i++) {
        if (in->type == type) {
            memcpy((char *)out->data + i * mr_onnx_type_bytes(type),
                   (const char *)in->data + i * mr_onnx_type_bytes(type), mr_onnx_type_bytes(type));
        } else if (type == MR_ONNX_STRING) {
            status = text_of(call, in, i, &out->text[i]);
        } else if (in->type == MR_ONNX_STRING) {
            status = number_of(call, in->text[i], &number);
            if (!status) mr_onnx_put(out, i, number);
        } else if (mr_onnx_is_float(in->type) || in->type == MR_ONNX_UINT64) {
            mr_onnx_put(out, i, mr_onnx_get(in, i));
        } else {
            mr_onnx_put_int(out, i, mr_onnx_get_int(in, i));
        }
    }
    return status;
}
