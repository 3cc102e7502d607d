#include "kernels/reference.h"

#include <math.h>

static double activate(mr_activation activation, double z)
{
    switch (activation) {
    case MR_ACT_SIGMOID:
        return 1 / (1 + exp(-z));
    case MR_ACT_TANH:
        return tanh(z);
    case MR_ACT_RELU:
        return z < 0 ? 0 : z;
    case MR_ACT_GELU:
        return z * 0.5 * erfc(-z * M_SQRT1_2);
    case MR_ACT_IDENTITY:
    case MR_ACT_SOFTMAX:
        break;
    }
    return z;
}

static void softmax(double *z, size_t count)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) max = z[i] > max ? z[i] : max;
    for (size_t i = 0; i < count; i++) {
        z[i] = exp(z[i] - max);
        sum += z[i];
    }
    for (size_t i = 0; i < count; i++) z[i] /= sum;
}

void mr_reference_activate(mr_activation activation, double *z, size_t count)
{
    if (activation == MR_ACT_SOFTMAX) {
        softmax(z, count);
    } else {
        for (size_t i = 0; i < count; i++) z[i] = activate(activation, z[i]);
    }
}

int32_t mr_reference_class(const double *z, size_t count)
{
    double best = -INFINITY;
    int32_t index = 0;
    if (count == 1) return z[0] > 0;
    for (size_t i = 0; i < count; i++) {
        if (z[i] > best) {
            best = z[i];
            index = (int32_t)i;
        }
    }
    return index;
}
