/**
 * The models of a job at work: opened, chained, made ready for the units, scored in their order, and learning from what
 * they have scored.
 */
#ifndef MR_SCORING_MODELS_H
#define MR_SCORING_MODELS_H

#include <pthread.h>

#include "config/job.h"
#include "scoring/losses.h"
#include "scoring/units.h"

#define MR_NO_MODEL SIZE_MAX

/** What a learning model has learned from: written by its lane, read by any thread. */
struct mr_learn_stats {
    _Atomic uint64_t rows, batches, undone;
    _Atomic double loss;       /* sum over rows: divided by rows, the mean prequential loss of the whole run */
    _Atomic double loss_batch; /* mean of the last batch that had rows */
};

/** What a model says that it has found, as of its last update: for reports, while the model goes on. */
struct mr_found {
    pthread_mutex_t lock;
    char *text;     /* [MR_FOUND_BYTES] */
    double *values; /* [info->width]; NULL: the model has nothing to say */
};

/** What fewer bits cost a model, as far as it was compared with float32. */
struct mr_precision_stats {
    _Atomic uint64_t rows, classes; /* compared; of those with another class */
    _Atomic double error_max;       /* as mr_precision_error */
    _Atomic bool is_refused;        /* it goes on in float32 */
};

/** What a model is scored and learned with, one of each a unit. */
struct mr_plans {
    struct mr_plan *score[MR_UNIT_MAX];
    struct mr_plan *sum[MR_UNIT_MAX];     /* NULL: its update needs no sums */
    struct mr_plan *reduced[MR_UNIT_MAX]; /* NULL: of float32, and of the reference */
};

/** A model file in memory; name stands for it in messages. */
struct mr_model_bytes {
    const char *name;
    const void *data;
    size_t count;
    uint64_t version; /* updates that it has seen */
};

/** One model. */
struct mr_model_at_work {
    const struct mr_job_model *job;
    struct mr_model *model;           /* at work now */
    struct mr_model *first;           /* it was opened with: kept, because its info is used everywhere */
    const struct mr_model_info *info; /* of the first; others are the same but for their version */
    size_t input;                     /* index of the model whose scores it reads; MR_NO_MODEL: the job's features */
    unsigned want;
    const struct mr_learn_ops *learn; /* NULL: it does not */
    struct mr_plans plans;
    struct mr_reduced reduced; /* name NULL: float32 is what the job asks for */
    struct mr_precision_stats precision;
    unsigned stale; /* units, as bits, whose plans are of before the last update; only of a model that learns */
    double *sums;
    bool must_begin;          /* only of a model that learns: several lanes read it of others */
    _Atomic uint64_t version; /* updates that it has seen since it began, in earlier runs, too, where they are known */
    _Atomic uint64_t swaps;   /* versions that were put in its place while it scored */
    struct mr_learn_stats stats;
    struct mr_found found;
    mr_judged judged; /* by the labels of the job */
    struct mr_losses losses;
};

struct mr_models {
    const struct mr_job *job;
    struct mr_model_at_work *item;     /* [count], in the job's order: inputs before those that read them */
    const struct mr_model_info **info; /* [count] */
    size_t count;
    bool learns;    /* one of them does: one lane, batches in order */
    bool is_judged; /* one of them is */
    /* What a model takes from its first rows, it takes from the first ones that are learned from, not the first that
     * are scored. Set before the first score, cleared before those rows are scored. */
    bool begins_late;
    /* Lanes hold it while they have a batch under way, who replaces a model has it alone. */
    pthread_rwlock_t lock;
    bool has_lock;
    _Atomic unsigned waiting; /* who wants to replace a model: lanes finish what they have begun */
    struct mr_units *units;
    /* Called after each update of a model, on the thread that learns; NULL: nobody asks. */
    void (*learned)(void *context, const struct mr_model_at_work *model);
    void *learned_context;
    _Atomic unsigned refused; /* precisions that were: a batch started before must be scored again */
};

/** Whether a model is scored with fewer bits now. Any thread. */
static inline bool mr_model_is_reduced(const struct mr_model_at_work *model)
{
    return model->reduced.name && !atomic_load_explicit(&model->precision.is_refused, memory_order_relaxed);
}

/**
 * Opens model i of a job, whose earlier ones have the facts info[0 .. i - 1]. *input_out: the one that it reads, or
 * MR_NO_MODEL. bytes: what it is made of instead of its file; NULL: as the job says. Errors as mr_models_open; then
 * *model_out is NULL.
 */
mr_status mr_job_model_open(const struct mr_job *job, size_t i, const struct mr_model_info *const *info,
                            const struct mr_model_bytes *bytes, struct mr_model **model_out, size_t *input_out,
                            struct mr_err *err);

/**
 * Opens the models of a job. MR_ECONFIG or MR_EDATA names the model: an input that no earlier model is, a model that
 * learns without record.label, a file that is none. On error the models are as after mr_models_close.
 */
mr_status mr_models_open(const struct mr_job *job, struct mr_models *models, struct mr_err *err);

/** As mr_models_open; first: [model_count] what models are made of instead of their files, where data is not NULL.
 * NULL: as mr_models_open. */
mr_status mr_models_open_from(const struct mr_job *job, const struct mr_model_bytes *first, struct mr_models *models,
                              struct mr_err *err);

/** A lane begins its first batch, and has finished its last: nothing is replaced in between. Lanes share. */
void mr_models_hold(struct mr_models *models);
bool mr_models_try_hold(struct mr_models *models); /* false: one is being replaced */
void mr_models_leave(struct mr_models *models);

/** Around mr_models_replace, where lanes are at work: waits until none of them has a batch under way. */
void mr_models_lock(struct mr_models *models);
void mr_models_unlock(struct mr_models *models);

/** Whether somebody waits for that. */
static inline bool mr_models_are_wanted(const struct mr_models *models)
{
    return atomic_load_explicit(&models->waiting, memory_order_relaxed);
}

/**
 * Makes plans on every unit, which must outlive the models. want: [count] what is emitted of each; what other models
 * read of it, and what it learns from, is added, and with a reference unit all that can be compared. A unit without
 * memory for a plan is left; MR_EBACKEND, MR_ENOMEM: none can have one. MR_ECONFIG: a unit lacks the precision that a
 * model asks for.
 */
mr_status mr_models_plan(struct mr_models *models, struct mr_units *units, const unsigned *want, struct mr_err *err);

/**
 * Starts scoring rows with all models that anybody wants something of, on the unit that mr_unit_pick names; a unit that
 * fails is left for the next. scores: [count], untouched until mr_models_wait.
 */
mr_status mr_models_score(struct mr_models *models, struct mr_queues *queues, const struct mr_rows *rows,
                          struct mr_scores *scores, struct mr_err *err);

/**
 * Scores one row with model i alone on the CPU, for a person who asks: on any thread that holds the models, of a model
 * that does not learn and reads the job's features. x: one tile. scores: room for a tile of what the job wants of it.
 */
mr_status mr_model_score_row(struct mr_models *models, size_t i, const float *x, struct mr_scores *scores,
                             struct mr_err *err);

/** Waits until the scores of the rows are there; those of a unit that failed are made again on the next. */
mr_status mr_models_wait(struct mr_models *models, struct mr_queues *queues, const struct mr_rows *rows,
                         struct mr_scores *scores, struct mr_err *err);

/** Holds the labels of rows against their scores, which are there and not yet learned from: for the losses of all
 * models. Any number of lanes. */
void mr_models_judge(struct mr_models *models, const struct mr_rows *rows, const struct mr_scores *scores);

/** Scores rows on one unit and waits for it, whatever becomes of it: for comparisons. */
mr_status mr_models_score_on(struct mr_models *models, struct mr_queues *queues, size_t unit,
                             const struct mr_rows *rows, struct mr_scores *scores, struct mr_err *err);

/** Scores the first `count` rows with model i in float32, on the unit that has scored the batch, and waits for it.
 * scores: of the batch, for a model that reads another one's. */
mr_status mr_model_score_exact(struct mr_models *models, struct mr_queues *queues, size_t i, const struct mr_rows *rows,
                               size_t count, const struct mr_scores *scores, struct mr_scores *exact_out,
                               struct mr_err *err);

/** Which models learn: those that need labels, and those that do not. */
#define MR_LEARN_LABELLED   1u
#define MR_LEARN_UNLABELLED 2u
#define MR_LEARN_ALL        3u

/** Lets models that learn (`which`) learn from rows whose scores are there: predict first, then learn. Nothing else may
 * score meanwhile. Does nothing when no model learns. */
mr_status mr_models_learn(struct mr_models *models, struct mr_queues *queues, const struct mr_rows *rows,
                          struct mr_scores *scores, unsigned which, struct mr_err *err);

/** Writes the models that learn and name a file to save to, unless they have learned from nothing. The first error is
 * returned, all are tried. */
mr_status mr_models_save(const struct mr_models *models, struct mr_err *err);

/**
 * Puts another state of model i in its place: made of bytes, or (NULL) as the job opens it. Nothing may be scored or
 * learned meanwhile. MR_EDATA: it does not fit what it is to replace, or is no model; then the model is as before.
 */
mr_status mr_models_replace(struct mr_models *models, size_t i, const struct mr_model_bytes *bytes, struct mr_err *err);

/** Memory for what a model finds, and the first of it; none where it never says anything. MR_ENOMEM. */
mr_status mr_found_make(struct mr_model_at_work *model, struct mr_err *err);

/** Takes down what the model has found by now. On the thread that learns. */
void mr_found_take(struct mr_model_at_work *model);
void mr_found_free(struct mr_found *found);

/** Copies what model i has found: text [MR_FOUND_BYTES], values [info->width]. False: it never says anything. Any
 * thread. */
bool mr_model_found(struct mr_model_at_work *model, char *text, double *values);

/** Frees all, before the units are closed. A zeroed struct is accepted. */
void mr_models_close(struct mr_models *models);

#endif
