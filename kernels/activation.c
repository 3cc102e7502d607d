#include <string.h>

#include "kernels/mlp_forward/mlp_forward.h"

static const char *const names[] = {"identity", "sigmoid", "tanh", "relu", "gelu", "softmax"};

const char *mr_activation_name(mr_activation activation)
{
    return (unsigned)activation < sizeof names / sizeof *names ? names[activation] : "unknown";
}

bool mr_activation_find(const char *name, mr_activation *activation_out)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *activation_out = (mr_activation)i;
        return true;
    }
    return false;
}
