/* What the operations of a graph are called, and what the pointwise ones mean. */
#include "kernels/graph_forward/graph_forward.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    mr_graph_kind kind;
} ops[] = {
#define MR_GRAPH_OP(name, NAME, kind, formula) {#name, MR_GRAPH_##kind},
#include "kernels/graph_forward/graph_ops.def"
#undef MR_GRAPH_OP
};

mr_graph_kind mr_graph_kind_of(mr_graph_op op)
{
    return ops[op].kind;
}

const char *mr_graph_op_name(mr_graph_op op)
{
    return ops[op].name;
}

bool mr_graph_op_find(const char *name, mr_graph_op *op_out)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(ops[i].name, name) != 0) continue;
        *op_out = (mr_graph_op)i;
        return true;
    }
    return false;
}

double mr_graph_value(mr_graph_op op, double x, double z, double a, double b)
{
    if (ops[op].kind != MR_GRAPH_unary && ops[op].kind != MR_GRAPH_binary) return NAN;
    switch (op) {
#define MR_GRAPH_OP(name, NAME, kind, formula)                                                                         \
    case MR_GRAPH_##NAME:                                                                                              \
        return formula;
#include "kernels/graph_forward/graph_ops.def"
#undef MR_GRAPH_OP
    case MR_GRAPH_OP_COUNT:
        break;
    }
    return NAN;
}
