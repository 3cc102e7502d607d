#include "learn/guard.h"

#include <math.h>

#define EXPLODES_AT 4.0 /* times the loss before the step */
#define FAR         4.0 /* times the usual loss */
#define FAR_AWAY    1e3
#define PATIENCE    3u
#define RATE_UP     (1.0 / 256)
#define RATE_DOWN   (1.0 / 64)

/* In logarithms, so that one batch of outliers moves it little. */
static void level_follow(struct mr_guard *guard, double loss)
{
    const double apart = log(loss) - guard->level, mean = 1 / (double)(guard->batches + 1);
    guard->level += apart * fmax(mean, apart > 0 ? RATE_UP : RATE_DOWN);
    guard->batches++;
}

bool mr_guard_undoes(struct mr_guard *guard, const struct mr_guard_loss *loss)
{
    const double batch = fmax(loss->batch, loss->noise), usual = fmax(exp(guard->level), loss->noise);
    if (!isfinite(loss->after) || !isfinite(loss->batch)) return true;
    const bool explodes =
        loss->after > EXPLODES_AT * loss->before && loss->after > (guard->batches ? usual : loss->noise);
    const bool is_worse = loss->after > loss->before && loss->after > loss->noise;
    if (guard->batches && is_worse && batch > FAR * usual) {
        guard->worse++;
        return guard->worse >= PATIENCE || batch > FAR_AWAY * usual || explodes;
    }
    guard->worse = 0;
    if (batch > 0 && (!is_worse || !guard->batches || log(batch) < guard->level)) level_follow(guard, batch);
    return explodes;
}
