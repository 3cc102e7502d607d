#include "learn/loss.h"

#include <math.h>

#include "millrace/batch.h"

#define GUESSED     0.7  /* log loss of even chances */
#define SMALL_SHARE 1e-6 /* of the mean squared label, or of 1: a loss below is noise */

bool mr_loss_has_label(mr_loss loss, size_t out, double label)
{
    if (isnan(label)) return false;
    if (loss != MR_LOSS_LOG) return true;
    return out == 1 ? label >= 0 && label <= 1 : label >= 0 && label < (double)out && label == floor(label);
}

/* -log of the probability that logits z[out] give to the label; ln(1 + e^z) without overflow. */
static double log_loss(const double *z, size_t out, double label)
{
    if (out == 1) return fmax(z[0], 0) + log1p(exp(-fabs(z[0]))) - label * z[0];
    double most = z[0], sum = 0;
    for (size_t o = 1; o < out; o++) most = fmax(most, z[o]);
    for (size_t o = 0; o < out; o++) sum += exp(z[o] - most);
    return log(sum) + most - z[(size_t)label];
}

double mr_loss_of_row(mr_loss loss, double delta, const double *z, size_t out, double label)
{
    const double r = fabs(z[0] - label);
    if (loss == MR_LOSS_LOG) return log_loss(z, out, label);
    return loss == MR_LOSS_SQUARED || r <= delta ? r * r / 2 : delta * (r - delta / 2);
}

double mr_loss_small(mr_loss loss, const struct mr_learn_rows *rows)
{
    double square = 0;
    const size_t count = rows->rows < MR_TILE_ROWS ? rows->rows : MR_TILE_ROWS;
    if (loss == MR_LOSS_LOG) return SMALL_SHARE;
    for (size_t row = 0; row < count; row++)
        square += isnan(rows->label[row]) ? 0 : rows->label[row] * rows->label[row];
    return SMALL_SHARE * square / (double)(count ? count : 1);
}

double mr_loss_noise(mr_loss loss, const struct mr_learn_rows *rows)
{
    return loss == MR_LOSS_LOG ? GUESSED : mr_loss_small(loss, rows);
}
