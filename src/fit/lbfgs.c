#include "fit/lbfgs.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ARMIJO     1e-4
#define CURVATURE  0.9
#define TRIALS_MAX 30 /* of one line search */

/* One point of a line: its loss and gradient, and the slope along the direction. */
struct point {
    double step, loss, slope;
};

struct search {
    const struct mr_lbfgs *lbfgs;
    size_t evaluations;
    double *w, *gradient; /* where it stands */
    double *direction;
    double *w_new, *gradient_new; /* the point that was looked at last */
    double *s, *y, *rho, *alpha;  /* the pairs: [memory][count], [memory] */
    size_t pairs, next;           /* how many there are, and where the next one goes */
    double *all;
};

static double dot(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

static bool search_init(struct search *search, double *w)
{
    const size_t count = search->lbfgs->count, memory = search->lbfgs->memory;
    search->all = malloc(((4 + 2 * memory) * count + 2 * memory + 1) * sizeof *search->all);
    if (!search->all) return false;
    double *at = search->all;
    search->w = w;
    search->gradient = at, at += count;
    search->direction = at, at += count;
    search->w_new = at, at += count;
    search->gradient_new = at, at += count;
    search->s = at, at += memory * count;
    search->y = at, at += memory * count;
    search->rho = at, at += memory;
    search->alpha = at;
    return true;
}

/* The direction: minus the gradient, times what the pairs know of the inverse Hessian (algorithm 7.4). */
static void direction_find(struct search *search)
{
    const size_t count = search->lbfgs->count, memory = search->lbfgs->memory;
    double *const d = search->direction;
    for (size_t i = 0; i < count; i++) d[i] = -search->gradient[i];
    for (size_t back = 0; back < search->pairs; back++) {
        const size_t at = (search->next + memory - 1 - back) % memory;
        search->alpha[at] = search->rho[at] * dot(search->s + at * count, d, count);
        for (size_t i = 0; i < count; i++) d[i] -= search->alpha[at] * search->y[at * count + i];
    }
    if (search->pairs) {
        const size_t last = (search->next + memory - 1) % memory;
        const double *const y = search->y + last * count;
        const double scale = 1 / (search->rho[last] * dot(y, y, count));
        for (size_t i = 0; i < count; i++) d[i] *= scale;
    }
    for (size_t back = search->pairs; back-- > 0;) {
        const size_t at = (search->next + memory - 1 - back) % memory;
        const double beta = search->rho[at] * dot(search->y + at * count, d, count);
        for (size_t i = 0; i < count; i++) d[i] += (search->alpha[at] - beta) * search->s[at * count + i];
    }
}

static mr_status look(struct search *search, double step, struct point *point_out, struct mr_err *err)
{
    const size_t count = search->lbfgs->count;
    for (size_t i = 0; i < count; i++) search->w_new[i] = search->w[i] + step * search->direction[i];
    point_out->step = step;
    const mr_status status =
        search->lbfgs->evaluate(search->lbfgs->context, search->w_new, &point_out->loss, search->gradient_new, err);
    search->evaluations++;
    point_out->slope = dot(search->gradient_new, search->direction, count);
    if (!isfinite(point_out->loss) || !isfinite(point_out->slope)) point_out->loss = INFINITY;
    return status;
}

/* Where a cubic through both points is lowest, kept away from the ends; the middle where there is none (equation 3.59).
 */
static double between(const struct point *a, const struct point *b)
{
    const double low = fmin(a->step, b->step), high = fmax(a->step, b->step), margin = 0.1 * (high - low);
    const double middle = 0.5 * (low + high);
    if (!isfinite(a->loss) || !isfinite(b->loss)) return middle;
    const double d1 = a->slope + b->slope - 3 * (a->loss - b->loss) / (a->step - b->step);
    const double square = d1 * d1 - a->slope * b->slope;
    if (!(square >= 0)) return middle;
    const double d2 = copysign(sqrt(square), b->step - a->step);
    const double step = b->step - (b->step - a->step) * (b->slope + d2 - d1) / (b->slope - a->slope + 2 * d2);
    return isfinite(step) ? fmin(fmax(step, low + margin), high - margin) : middle;
}

/* A step with less loss and less slope; *is_found_out false: none was found (algorithms 3.5 and 3.6). */
static mr_status line_search(struct search *search, double loss, double step, struct point *found_out,
                             bool *is_found_out, struct mr_err *err)
{
    const struct point start = {0, loss, dot(search->gradient, search->direction, search->lbfgs->count)};
    struct point low = start, high = {0}, now;
    const double slack = search->lbfgs->noise * fabs(loss);
    bool is_closed = false; /* a good step lies between low and high */
    *is_found_out = false;
    for (int trial = 0; trial < TRIALS_MAX; trial++) {
        const mr_status status = look(search, is_closed ? between(&low, &high) : step, &now, err);
        if (status) return status;
        if (now.loss > loss + slack + ARMIJO * now.step * start.slope ||
            (low.step > 0 && now.loss >= low.loss + slack)) {
            if (!is_closed || now.step != low.step) high = now;
            is_closed = true;
        } else {
            if (fabs(now.slope) <= -CURVATURE * start.slope) {
                *found_out = now;
                *is_found_out = true;
                return MR_OK;
            }
            if (is_closed ? now.slope * (high.step - low.step) >= 0 : now.slope >= 0) high = low, is_closed = true;
            low = now;
            step = 2 * now.step;
        }
        if (is_closed && fabs(high.step - low.step) < 1e-12 * fabs(low.step) + 1e-300) break;
    }
    if (low.step == 0) return MR_OK;
    const mr_status status = look(search, low.step, found_out, err); /* lower at least, though as steep */
    *is_found_out = !status && found_out->loss < loss + slack;
    return status;
}

/* Takes the point that was looked at last, and what the step to it tells. */
static void step_take(struct search *search)
{
    const size_t count = search->lbfgs->count, at = search->next;
    double *const s = search->s + at * count, *const y = search->y + at * count;
    for (size_t i = 0; i < count; i++) {
        s[i] = search->w_new[i] - search->w[i];
        y[i] = search->gradient_new[i] - search->gradient[i];
    }
    const double curvature = dot(s, y, count);
    memcpy(search->w, search->w_new, count * sizeof *search->w);
    memcpy(search->gradient, search->gradient_new, count * sizeof *search->gradient);
    if (!(curvature > 1e-12 * dot(y, y, count))) return; /* rounding: it would make the direction go up */
    search->rho[at] = 1 / curvature;
    search->next = (at + 1) % search->lbfgs->memory;
    if (search->pairs < search->lbfgs->memory) search->pairs++;
}

static double largest(const double *values, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++) most = fmax(most, fabs(values[i]));
    return most;
}

static mr_status iterate(struct search *search, struct mr_lbfgs_end *end, struct mr_err *err)
{
    const struct mr_lbfgs *const lbfgs = search->lbfgs;
    int small = 0; /* steps in a row that brought little */
    end->why = MR_LBFGS_ITERATIONS;
    while (end->iterations < lbfgs->iterations_max) {
        const double steepest = largest(search->gradient, lbfgs->count);
        struct point found;
        bool is_found;
        if (steepest <= lbfgs->gradient_tolerance) {
            end->why = MR_LBFGS_CONVERGED;
            break;
        }
        direction_find(search);
        /* The first step has no scale yet: no entry moves by more than 1. */
        const double step = search->pairs ? 1 : fmin(1, 1 / steepest);
        mr_status status = line_search(search, end->loss, step, &found, &is_found, err);
        if (status) return status;
        if (!is_found && search->pairs) { /* what the pairs know is wrong here: once more without them */
            search->pairs = 0;
            continue;
        }
        end->why = MR_LBFGS_STUCK;
        if (!is_found) break;
        const double before = end->loss;
        step_take(search);
        end->loss = found.loss;
        end->iterations++;
        end->why = MR_LBFGS_STOPPED;
        if (lbfgs->iterated && !lbfgs->iterated(lbfgs->context, end->iterations, search->w, end->loss)) break;
        end->why = MR_LBFGS_CONVERGED;
        small = before - end->loss <= lbfgs->loss_tolerance * fmax(fabs(before), fabs(end->loss)) ? small + 1 : 0;
        if (small == 3) break;
        end->why = MR_LBFGS_ITERATIONS;
    }
    return MR_OK;
}

mr_status mr_lbfgs_run(const struct mr_lbfgs *lbfgs, double *w, struct mr_lbfgs_end *end_out, struct mr_err *err)
{
    struct search search = {.lbfgs = lbfgs};
    *end_out = (struct mr_lbfgs_end){0};
    if (!search_init(&search, w)) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_status status = lbfgs->evaluate(lbfgs->context, w, &end_out->loss, search.gradient, err);
    search.evaluations++;
    if (!status && !isfinite(end_out->loss))
        status = mr_fail(err, MR_EDATA, "the loss is not finite where the search begins: scale the features");
    if (!status) status = iterate(&search, end_out, err);
    end_out->evaluations = search.evaluations;
    free(search.all);
    return status;
}
