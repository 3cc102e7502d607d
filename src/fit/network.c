#include "fit/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "fit/lbfgs.h"
#include "learn/optimizer.h"

#define LBFGS_MEMORY 10

/* Layers point into the rounded weights. */
static void layers_place(struct mr_network *network)
{
    const float *w = network->rounded, *b = network->rounded + network->weights;
    for (size_t i = 0; i < network->params.mlp.layer_count; i++) {
        struct mr_mlp_layer *const layer = &network->layer[i];
        layer->w = w;
        layer->b = b;
        w += layer->in * layer->out;
        b += layer->out;
    }
}

static void weights_round(struct mr_network *network, const double *w)
{
    for (size_t i = 0; i < network->count; i++) network->rounded[i] = (float)w[i];
}

static void weights_start(struct mr_network *network, uint64_t seed)
{
    double *w = network->w, *b = network->w + network->weights;
    if (network->params.mlp.layer_count == 1) return;
    for (size_t i = 0; i < network->params.mlp.layer_count; i++) {
        const struct mr_mlp_layer *const layer = &network->layer[i];
        const double most = sqrt((layer->activation == MR_ACT_SIGMOID ? 2.0 : 6.0) / (double)(layer->in + layer->out));
        for (size_t k = 0; k < layer->in * layer->out; k++) *w++ = most * (2 * mr_random_unit(&seed) - 1);
        for (size_t k = 0; k < layer->out; k++) *b++ = most * (2 * mr_random_unit(&seed) - 1);
    }
}

mr_status mr_network_init(struct mr_network *network, const size_t *sizes, size_t layer_count, mr_activation hidden,
                          mr_loss loss, uint64_t seed, struct mr_err *err)
{
    *network = (struct mr_network){.params = {.mlp = {network->layer, layer_count, NULL}, .loss = loss, .delta = 1}};
    for (size_t i = 0; i < layer_count; i++) {
        const mr_activation last = loss == MR_LOSS_SQUARED   ? MR_ACT_IDENTITY
                                   : sizes[layer_count] == 1 ? MR_ACT_SIGMOID
                                                             : MR_ACT_SOFTMAX;
        network->layer[i] = (struct mr_mlp_layer){
            .in = sizes[i], .out = sizes[i + 1], .activation = i + 1 == layer_count ? last : hidden};
    }
    network->weights = mr_mlp_weight_count(&network->params.mlp);
    network->count = network->weights + mr_mlp_bias_count(&network->params.mlp);
    network->w = calloc(network->count, sizeof *network->w);
    network->rounded = calloc(network->count, sizeof *network->rounded);
    if (!network->w || !network->rounded)
        return mr_fail(err, MR_ENOMEM, "out of memory for %zu weights", network->count);
    layers_place(network);
    weights_start(network, seed);
    weights_round(network, network->w);
    return MR_OK;
}

void mr_network_deinit(struct mr_network *network)
{
    free(network->w);
    free(network->rounded);
    *network = (struct mr_network){0};
}

size_t mr_network_class_count(const struct mr_network *network)
{
    const size_t out = network->layer[network->params.mlp.layer_count - 1].out;
    return network->params.loss != MR_LOSS_LOG ? 0 : out == 1 ? 2 : out;
}

/* A fit under way. */
struct work {
    struct mr_crew *crew;
    struct mr_network *network;
    const struct mr_network_fit *fit;
    struct mr_network_end *end;
    struct mr_plan *forward, *gradient;
    double *sums;       /* [mr_mlp_gradient_count] */
    double *best;       /* [count] weights of the lowest validation loss */
    size_t idle;        /* epochs without gain */
    double gained_loss; /* the loss that the last gain was counted from */
};

static void work_deinit(struct work *work)
{
    mr_crew_plan_destroy(work->crew, work->forward);
    mr_crew_plan_destroy(work->crew, work->gradient);
    free(work->sums);
    free(work->best);
}

static mr_status work_init(struct work *work, struct mr_err *err)
{
    const struct mr_mlp_gradient_params *const params = &work->network->params;
    const size_t cols = work->fit->train->cols;
    work->sums = malloc(mr_mlp_gradient_count(params) * sizeof *work->sums);
    work->best = malloc(work->network->count * sizeof *work->best);
    work->gained_loss = INFINITY;
    if (!work->sums || !work->best) return mr_fail(err, MR_ENOMEM, "out of memory");
    const mr_status status = mr_crew_plan_create(work->crew, MR_OP_MLP_FORWARD, &params->mlp, cols,
                                                 MR_WANT_Y | MR_WANT_CLASS, &work->forward, err);
    return status ? status : mr_crew_plan_create(work->crew, MR_OP_MLP_GRADIENT, params, cols, 0, &work->gradient, err);
}

/* The kernels read these weights from now on. */
static mr_status weights_set(struct work *work, const double *w, struct mr_err *err)
{
    weights_round(work->network, w);
    const mr_status status = mr_crew_plan_update(work->crew, work->forward, err);
    return status ? status : mr_crew_plan_update(work->crew, work->gradient, err);
}

/* Sums over rows [first, first + rows) of the matrix; first is a multiple of a tile. */
static mr_status rows_sum(struct work *work, const struct mr_matrix *matrix, size_t first, size_t rows,
                          struct mr_err *err)
{
    const struct mr_mlp_layer *const last = &work->network->layer[work->network->params.mlp.layer_count - 1];
    const struct mr_pass pass = {.x = matrix->x + first * matrix->cols,
                                 .label = matrix->label + first,
                                 .rows = rows,
                                 .cols = matrix->cols,
                                 .score = work->forward,
                                 .width = last->out,
                                 .sum = work->gradient,
                                 .sum_count = mr_mlp_gradient_count(&work->network->params)};
    return mr_crew_pass(work->crew, &pass, work->sums, err);
}

/* The mean loss of the rows that were summed, with what l2 adds; gradient may be the sums themselves. */
static double loss_finish(const struct work *work, const double *w, double *gradient)
{
    const size_t count = work->network->count;
    const double rows = work->sums[count + 1], l2 = work->fit->l2;
    double squares = 0;
    for (size_t i = 0; i < count; i++) gradient[i] = work->sums[i] / rows;
    for (size_t i = 0; i < work->network->weights; i++) {
        gradient[i] += l2 * w[i];
        squares += w[i] * w[i];
    }
    return work->sums[count] / rows + 0.5 * l2 * squares;
}

/* After an epoch: whether to go on. Keeps the best weights. */
static mr_status epoch_end(struct work *work, const double *w, double loss, bool *goes_on_out, struct mr_err *err)
{
    const struct mr_network_fit *const fit = work->fit;
    struct mr_network_end *const end = work->end;
    double judged = loss, validation = NAN;
    *goes_on_out = false;
    if (!isfinite(loss))
        return mr_fail(err, MR_EDATA, "the loss is not finite any more after epoch %zu: take a smaller --step",
                       end->epochs + 1);
    end->epochs++;
    if (fit->validation && fit->validation->rows) {
        mr_status status = weights_set(work, w, err);
        if (!status) status = rows_sum(work, fit->validation, 0, fit->validation->rows, err);
        if (status) return status;
        judged = validation = work->sums[work->network->count] / work->sums[work->network->count + 1];
    }
    const bool is_best = isnan(validation) || end->best_epoch == 0 || validation < end->validation_loss;
    if (is_best) {
        memcpy(work->best, w, work->network->count * sizeof *w);
        end->best_epoch = end->epochs;
        end->loss = loss;
        end->validation_loss = validation;
    }
    const bool is_gain =
        judged < work->gained_loss - fit->tolerance * fabs(work->gained_loss) || isinf(work->gained_loss);
    if (is_gain) work->gained_loss = judged;
    work->idle = is_gain ? 0 : work->idle + 1;
    if (fit->stepped) fit->stepped(fit->context, end->epochs, loss, validation);
    if (fit->is_stopped && atomic_load(fit->is_stopped))
        end->why = MR_FIT_STOPPED;
    else if (fit->patience && work->idle >= fit->patience)
        end->why = MR_FIT_CONVERGED;
    else if (end->epochs >= fit->epochs_max)
        end->why = MR_FIT_EPOCHS;
    else
        *goes_on_out = true;
    return MR_OK;
}

/* One step of Adam from each batch, in an order of their own in each epoch. Batches are runs of whole tiles; where they
 * begin changes from epoch to epoch. */
static mr_status epoch_adam(struct work *work, struct mr_optimizer *optimizer, size_t *order, uint64_t *random,
                            double *loss_out, struct mr_err *err)
{
    const struct mr_matrix *const train = work->fit->train;
    const size_t tiles = mr_tile_count(train->rows), wanted = work->fit->batch_rows / MR_TILE_ROWS;
    const size_t batch = wanted < 1 ? 1 : wanted < tiles ? wanted : tiles, count = (tiles + batch - 1) / batch;
    const size_t offset = mr_random_below(random, batch);
    double total = 0, rows = 0;
    for (size_t i = 0; i <= count; i++) order[i] = i;
    for (size_t left = count + 1; left > 1; left--) {
        const size_t other = mr_random_below(random, left), kept = order[left - 1];
        order[left - 1] = order[other];
        order[other] = kept;
    }
    for (size_t i = 0; i <= count; i++) {
        const size_t end_tile = order[i] * batch + offset,
                     end = end_tile < tiles ? end_tile * MR_TILE_ROWS : train->rows;
        const size_t first = end_tile < batch ? 0 : (end_tile - batch) * MR_TILE_ROWS;
        if (end <= first) continue;
        mr_status status = rows_sum(work, train, first, end - first, err);
        if (status) return status;
        const double loss = loss_finish(work, work->network->w, work->sums);
        total += loss * (double)(end - first);
        rows += (double)(end - first);
        mr_optimizer_step(optimizer, work->network->w, work->sums);
        status = weights_set(work, work->network->w, err);
        if (status) return status;
        if (work->fit->is_stopped && atomic_load(work->fit->is_stopped)) break;
    }
    *loss_out = total / rows;
    return MR_OK;
}

static mr_status adam_run(struct work *work, struct mr_err *err)
{
    const struct mr_optimizer_options options = {.kind = MR_STEP_ADAM, .step = work->fit->step};
    struct mr_optimizer optimizer;
    uint64_t random = work->fit->seed;
    bool goes_on = work->fit->epochs_max > 0;
    size_t *const order = malloc((mr_tile_count(work->fit->train->rows) + 2) * sizeof *order);
    mr_status status = mr_optimizer_init(&optimizer, &options, work->network->count, work->network->weights) && order
                           ? MR_OK
                           : mr_fail(err, MR_ENOMEM, "out of memory");
    while (goes_on && !status) {
        double loss;
        status = epoch_adam(work, &optimizer, order, &random, &loss, err);
        if (!status) status = epoch_end(work, work->network->w, loss, &goes_on, err);
        if (!status && goes_on) status = weights_set(work, work->network->w, err);
    }
    mr_optimizer_deinit(&optimizer);
    free(order);
    return status;
}

struct lbfgs_context {
    struct work *work;
    mr_status status;
    struct mr_err *err;
};

static mr_status lbfgs_evaluate(void *context, const double *w, double *loss_out, double *gradient, struct mr_err *err)
{
    const struct lbfgs_context *const own = context;
    struct work *const work = own->work;
    mr_status status = weights_set(work, w, err);
    if (!status) status = rows_sum(work, work->fit->train, 0, work->fit->train->rows, err);
    if (!status) *loss_out = loss_finish(work, w, gradient);
    return status;
}

static int lbfgs_iterated(void *context, size_t iteration, const double *w, double loss)
{
    struct lbfgs_context *const own = context;
    bool goes_on = false;
    (void)iteration;
    own->status = epoch_end(own->work, w, loss, &goes_on, own->err);
    return goes_on;
}

static mr_status lbfgs_run(struct work *work, struct mr_err *err)
{
    struct lbfgs_context own = {work, MR_OK, err};
    struct mr_lbfgs_end end;
    const struct mr_lbfgs lbfgs = {.count = work->network->count,
                                   .memory = LBFGS_MEMORY,
                                   .iterations_max = work->fit->epochs_max,
                                   .gradient_tolerance = 1e-7,
                                   .loss_tolerance = 1e-9,
                                   .noise = 1e-6,
                                   .evaluate = lbfgs_evaluate,
                                   .iterated = lbfgs_iterated,
                                   .context = &own};
    work->end->loss = NAN;
    const mr_status status = mr_lbfgs_run(&lbfgs, work->network->w, &end, err);
    if (status || own.status) return status ? status : own.status;
    if (!work->end->best_epoch) { /* it began where it had to end */
        memcpy(work->best, work->network->w, work->network->count * sizeof *work->best);
        work->end->loss = end.loss;
        work->end->validation_loss = NAN;
    }
    if (end.why == MR_LBFGS_CONVERGED || end.why == MR_LBFGS_STUCK) work->end->why = MR_FIT_CONVERGED;
    return MR_OK;
}

mr_status mr_network_fit(struct mr_crew *crew, struct mr_network *network, const struct mr_network_fit *fit,
                         struct mr_network_end *end_out, struct mr_err *err)
{
    struct work work = {.crew = crew, .network = network, .fit = fit, .end = end_out};
    *end_out = (struct mr_network_end){.why = MR_FIT_EPOCHS, .loss = NAN, .validation_loss = NAN};
    mr_status status = work_init(&work, err);
    if (!status) status = fit->solver == MR_SOLVER_ADAM ? adam_run(&work, err) : lbfgs_run(&work, err);
    if (!status) {
        memcpy(network->w, work.best, network->count * sizeof *network->w);
        weights_round(network, network->w);
    }
    work_deinit(&work);
    return status;
}

struct scoring {
    const struct mr_network *network;
    const struct mr_matrix *rows;
    const struct mr_plan *forward;
    size_t out, classes;
    bool has_confusion;
};

/* sums: loss, rows, right, sum of labels, sum of their squares, confusion. */
enum { SUM_LOSS, SUM_ROWS, SUM_RIGHT, SUM_LABEL, SUM_SQUARES, SUM_COUNT };

static mr_status chunk_score(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                             struct mr_err *err)
{
    const struct scoring *const scoring = context;
    const struct mr_matrix *const rows = scoring->rows;
    const float *y;
    const int32_t *class_index;
    const mr_status status = mr_hand_score(hand, scoring->forward, rows->x + chunk->first * rows->cols, chunk->rows,
                                           scoring->out, &y, &class_index, err);
    const size_t classes = scoring->classes, pairs = scoring->has_confusion ? classes * classes : 0;
    for (size_t i = 0; i < SUM_COUNT + pairs; i++) sums[i] = 0;
    for (size_t i = 0; i < chunk->rows && !status; i++) {
        const double label = rows->label[chunk->first + i];
        sums[SUM_ROWS]++;
        sums[SUM_LABEL] += label;
        sums[SUM_SQUARES] += label * label;
        if (!classes) {
            const double off = (double)y[mr_tile_at(i, 0, 1)] - label;
            sums[SUM_LOSS] += off * off / 2;
            continue;
        }
        const size_t wanted = (size_t)label, given = (size_t)class_index[i];
        const double p = (double)y[mr_tile_at(i, scoring->out == 1 ? 0 : wanted, scoring->out)];
        sums[SUM_LOSS] -= log(fmax(scoring->out == 1 && !wanted ? 1 - p : p, MR_PROBABILITY_MIN));
        sums[SUM_RIGHT] += wanted == given;
        if (pairs) sums[SUM_COUNT + wanted * classes + given]++;
    }
    return status;
}

mr_status mr_network_score(struct mr_crew *crew, const struct mr_network *network, const struct mr_matrix *rows,
                           double *confusion, struct mr_network_score *score_out, struct mr_err *err)
{
    const size_t classes = mr_network_class_count(network), count = SUM_COUNT + (confusion ? classes * classes : 0);
    struct scoring scoring = {.network = network,
                              .rows = rows,
                              .out = network->layer[network->params.mlp.layer_count - 1].out,
                              .classes = classes,
                              .has_confusion = confusion != NULL};
    double *const sums = malloc(count * sizeof *sums);
    struct mr_plan *forward = NULL;
    *score_out = (struct mr_network_score){.loss = NAN};
    mr_status status = sums ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status)
        status = mr_crew_plan_create(crew, MR_OP_MLP_FORWARD, &network->params.mlp, rows->cols,
                                     MR_WANT_Y | MR_WANT_CLASS, &forward, err);
    scoring.forward = forward;
    if (!status) status = mr_crew_walk(crew, rows->rows, rows->cols, count, chunk_score, &scoring, sums, err);
    if (!status) {
        *score_out = (struct mr_network_score){.loss = sums[SUM_LOSS] / sums[SUM_ROWS],
                                               .rows = sums[SUM_ROWS],
                                               .right = sums[SUM_RIGHT],
                                               .confusion = confusion,
                                               .label_sum = sums[SUM_LABEL],
                                               .label_squares = sums[SUM_SQUARES]};
        if (confusion) memcpy(confusion, sums + SUM_COUNT, classes * classes * sizeof *confusion);
    }
    mr_crew_plan_destroy(crew, forward);
    free(sums);
    return status;
}
