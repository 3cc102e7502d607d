#include "kernels/mlp_forward/mlp_forward.h"

static const char *const names[] = {"identity", "sigmoid", "tanh", "relu", "gelu", "softmax"};

const char *mr_activation_name(mr_activation activation)
{
    return (unsigned)activation < sizeof names / sizeof *names ? names[activation] : "unknown";
}
