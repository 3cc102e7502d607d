/* Operators of two or more values, element by element, broadcast. */
#include <math.h>

#include "modelfile/onnx/ops.h"

static double f_add(double a, double b)
{
    return a + b;
}
static double f_sub(double a, double b)
{
    return a - b;
}
static double f_mul(double a, double b)
{
    return a * b;
}
static double f_div(double a, double b)
{
    return a / b;
}
static double f_max(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}
static double f_min(double a, double b)
{
    return isnan(a) || a < b ? a : b;
}
static double f_prelu(double a, double slope)
{
    return a < 0 ? a * slope : a;
}
static int64_t i_add(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
static int64_t i_sub(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
static int64_t i_mul(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}
static int64_t i_div(int64_t a, int64_t b)
{
    return b == -1 ? i_sub(0, a) : a / b;
}
static int64_t u_div(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a / (uint64_t)b);
}
/* With the sign of the divisor, as Python has it. */
static int64_t i_mod(int64_t a, int64_t b)
{
    const int64_t rest = b == -1 ? 0 : a % b;
    return rest && (rest < 0) != (b < 0) ? rest + b : rest;
}
static int64_t i_fmod(int64_t a, int64_t b)
{
    return b == -1 ? 0 : a % b;
}
static int64_t u_mod(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a % (uint64_t)b);
}
static int64_t i_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static int64_t i_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t u_max(int64_t a, int64_t b)
{
    return (uint64_t)a > (uint64_t)b ? a : b;
}
static int64_t u_min(int64_t a, int64_t b)
{
    return (uint64_t)a < (uint64_t)b ? a : b;
}

static const struct pair_op {
    const char *name;
    double (*real)(double, double);
    int64_t (*whole)(int64_t, int64_t), (*natural)(int64_t, int64_t); /* natural: of uint64 */
    bool divides;
} pair_ops[] = {
    {"Add", f_add, i_add, i_add, false}, {"Sub", f_sub, i_sub, i_sub, false},   {"Mul", f_mul, i_mul, i_mul, false},
    {"Div", f_div, i_div, u_div, true},  {"Mod", fmod, i_mod, u_mod, true},     {"Max", f_max, i_max, u_max, false},
    {"Min", f_min, i_min, u_min, false}, {"PRelu", f_prelu, NULL, NULL, false}, {"Pow", pow, NULL, NULL, false},
    {"Sum", f_add, i_add, i_add, false}, {"Mean", f_add, i_add, i_add, false},
};

static const struct pair_op *pair_find(const struct mr_onnx_call *call)
{
    for (size_t i = 0; i < sizeof pair_ops / sizeof *pair_ops; i++) {
        if (mr_onnx_op_is(call, pair_ops[i].name)) return &pair_ops[i];
    }
    return NULL;
}

/* a and b into output 0, of a's type. */
static mr_status pair_run(struct mr_onnx_call *call, const struct pair_op *op, const struct mr_onnx_tensor *a,
                          const struct mr_onnx_tensor *b)
{
    const struct mr_onnx_tensor *const both[] = {a, b};
    struct mr_onnx_walk walk;
    struct mr_onnx_tensor *out;
    const bool is_real = !op->whole || mr_onnx_is_float(a->type);
    int64_t (*whole)(int64_t, int64_t) = a->type == MR_ONNX_UINT64 ? op->natural : op->whole;
    if (whole == i_mod && mr_onnx_attribute_int(call->node, "fmod", 0)) whole = i_fmod;
    mr_status status = mr_onnx_walk_init(call, &walk, both, 2);
    if (!status) status = mr_onnx_out(call, 0, a->type, walk.rank, walk.dim, &out);
    for (size_t i = 0; i < walk.count && !status; i++, mr_onnx_walk_next(&walk)) {
        if (is_real) {
            mr_onnx_put(out, i, op->real(mr_onnx_get(a, walk.offset[0]), mr_onnx_get(b, walk.offset[1])));
            continue;
        }
        const int64_t left = mr_onnx_get_int(a, walk.offset[0]), right = mr_onnx_get_int(b, walk.offset[1]);
        if (op->divides && !right) return mr_onnx_refuse(call, "a whole number is divided by 0");
        mr_onnx_put_int(out, i, whole(left, right));
    }
    return status;
}

mr_status mr_onnx_binary(struct mr_onnx_call *call)
{
    const struct pair_op *const op = pair_find(call);
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = mr_onnx_numbers(call, 1);
    if (status) return status;
    if (call->input[0]->type != call->input[1]->type && op->real != pow)
        return mr_onnx_refuse(call, "its inputs are %s and %s: they must be of one type",
                              mr_onnx_type_name(call->input[0]->type), mr_onnx_type_name(call->input[1]->type));
    return pair_run(call, op, call->input[0], call->input[1]);
}

/* Max, Min, Sum, Mean of any number of inputs. Sums are rounded once, at the end. */
mr_status mr_onnx_fold(struct mr_onnx_call *call)
{
    const struct pair_op *const op = pair_find(call);
    const bool is_mean = mr_onnx_op_is(call, "Mean"), is_sum = is_mean || mr_onnx_op_is(call, "Sum");
    const mr_onnx_type type = call->input[0]->type;
    const struct mr_onnx_tensor *sum = call->input[0];
    mr_status status = MR_OK;
    for (size_t k = 0; k < call->input_count && !status; k++) {
        if (!call->input[k] || call->input[k]->type != type || type == MR_ONNX_STRING)
            return mr_onnx_refuse(call, "its inputs must be numbers of one type");
        struct mr_onnx_tensor *wide = NULL;
        if (!k && is_sum && mr_onnx_is_float(type)) { /* from here on in double */
            status = mr_onnx_out(call, 0, MR_ONNX_DOUBLE, sum->rank, sum->dim, &wide);
            for (size_t i = 0; i < sum->count && !status; i++) wide->f64[i] = mr_onnx_get(sum, i);
            sum = wide;
        } else if (k) {
            status = pair_run(call, op, sum, call->input[k]);
            sum = call->output[0];
        }
    }
    struct mr_onnx_tensor *out;
    if (!status) status = mr_onnx_out(call, 0, type, sum->rank, sum->dim, &out);
    for (size_t i = 0; !status && i < sum->count; i++) { /* sum is NULL where memory was out */
        if (mr_onnx_is_float(type))
            mr_onnx_put(out, i, mr_onnx_get(sum, i) / (is_mean ? (double)call->input_count : 1));
        else
            mr_onnx_put_int(out, i, mr_onnx_get_int(sum, i) / (is_mean ? (int64_t)call->input_count : 1));
    }
    return status;
}

/* -1, 0, 1, or 2 where one of them is no number. */
static int order_of(const struct mr_onnx_tensor *a, size_t i, const struct mr_onnx_tensor *b, size_t k)
{
    if (a->type == MR_ONNX_STRING) return mr_onnx_span_same(a->text[i], b->text[k]) ? 0 : 2;
    if (mr_onnx_is_float(a->type)) {
        const double left = mr_onnx_get(a, i), right = mr_onnx_get(b, k);
        return isnan(left) || isnan(right) ? 2 : (left > right) - (left < right);
    }
    const int64_t left = mr_onnx_get_int(a, i), right = mr_onnx_get_int(b, k);
    if (a->type == MR_ONNX_UINT64) return ((uint64_t)left > (uint64_t)right) - ((uint64_t)left < (uint64_t)right);
    return (left > right) - (left < right);
}

/* Comparisons, and And, Or, Xor of bool. */
mr_status mr_onnx_compare(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const a = call->input[0], *const b = call->input[1];
    static const struct {
        const char *name;
        bool less, equal, greater, is_logic;
    } kinds[] = {
        {"Less", true, false, false, false},    {"LessOrEqual", true, true, false, false},
        {"Greater", false, false, true, false}, {"GreaterOrEqual", false, true, true, false},
        {"Equal", false, true, false, false},   {"And", false, false, false, true},
        {"Or", false, false, false, true},      {"Xor", false, false, false, true},
    };
    size_t kind = 0;
    struct mr_onnx_walk walk;
    struct mr_onnx_tensor *out;
    while (!mr_onnx_op_is(call, kinds[kind].name)) kind++;
    if (a->type != b->type || (kinds[kind].is_logic && a->type != MR_ONNX_BOOL) ||
        (a->type == MR_ONNX_STRING && *kinds[kind].name != 'E'))
        return mr_onnx_refuse(call, "inputs of type %s and %s are not for it", mr_onnx_type_name(a->type),
                              mr_onnx_type_name(b->type));
    mr_status status = mr_onnx_walk_init(call, &walk, call->input, 2);
    if (!status) status = mr_onnx_out(call, 0, MR_ONNX_BOOL, walk.rank, walk.dim, &out);
    for (size_t i = 0; i < walk.count && !status; i++, mr_onnx_walk_next(&walk)) {
        const int order = order_of(a, walk.offset[0], b, walk.offset[1]);
        bool is_so = order == -1  ? kinds[kind].less
                     : order == 0 ? kinds[kind].equal
                                  : order == 1 && kinds[kind].greater;
        if (kinds[kind].is_logic) {
            const bool left = mr_onnx_get_int(a, walk.offset[0]) != 0, right = mr_onnx_get_int(b, walk.offset[1]) != 0;
            is_so = *kinds[kind].name == 'A' ? left && right : *kinds[kind].name == 'O' ? left || right : left != right;
        }
        mr_onnx_put_int(out, i, is_so);
    }
    return status;
}

mr_status mr_onnx_where(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const condition = call->input[0];
    struct mr_onnx_walk walk;
    struct mr_onnx_tensor *out;
    if (condition->type != MR_ONNX_BOOL || call->input[1]->type != call->input[2]->type)
        return mr_onnx_refuse(call, "it needs a condition of bool and two values of one type");
    mr_status status = mr_onnx_walk_init(call, &walk, call->input, 3);
    if (!status) status = mr_onnx_out(call, 0, call->input[1]->type, walk.rank, walk.dim, &out);
    for (size_t i = 0; i < walk.count && !status; i++, mr_onnx_walk_next(&walk)) {
        const size_t which = mr_onnx_get_int(condition, walk.offset[0]) ? 1 : 2;
        const struct mr_onnx_tensor *const from = call->input[which];
        if (out->type == MR_ONNX_STRING)
            out->text[i] = from->text[walk.offset[which]];
        else if (mr_onnx_is_float(out->type))
            mr_onnx_put(out, i, mr_onnx_get(from, walk.offset[which]));
        else
            mr_onnx_put_int(out, i, mr_onnx_get_int(from, walk.offset[which]));
    }
    return status;
}
