/**
 * `millrace fit` in parts: fit.c reads flags and DATA and tells the kind to work, fit_<kind>.c makes the model and says
 * how good it is, fit_save.c writes it with its card.
 */
#ifndef MR_CLI_FIT_H
#define MR_CLI_FIT_H

#include <cjson/cJSON.h>

#include "cli/command.h"
#include "fit/crew.h"
#include "fit/progress.h"
#include "modelfile/safetensors.h"
#include "table/table.h"

/** Flags that not all kinds have are NULL or FIT_UNSET where they are not given. */
#define FIT_UNSET      (-1)
#define FIT_UNSET_TEXT "-1"

enum { FIT_ORDER_PARALLEL, FIT_ORDER_SEQUENTIAL };

struct fit_options {
    struct mr_table_options data;
    char *output, *backend, *version, *spill;
    int64_t threads, seed;
    bool json, quiet;
    char *k, *start, *labels, *svg;        /* kmeans */
    int64_t restarts, silhouette;          /* kmeans */
    int64_t iterations;                    /* all that iterate */
    double tolerance;                      /* likewise */
    double l2, held_out, validation, step; /* linear, logistic, mlp */
    char *layers, *activation, *solver;    /* mlp */
    char *class_weights;                   /* logistic, mlp */
    int64_t batch, patience;               /* mlp */
    bool is_regression;                    /* mlp */
    int64_t factors;                       /* mf */
    int order;                             /* mf: FIT_ORDER_... */
    bool is_unbiased;                      /* mf */
};

struct fit {
    const struct fit_options *options;
    const struct fit_kind *kind;
    mr_label_kind label; /* of this fit: an mlp has either */
    struct mr_crew *crew;
    const char *path; /* of DATA */
    struct mr_table *table;
    struct mr_matrix matrix;
    const char *const *feature; /* [matrix.cols]; NULL: no names */
    cJSON *report;              /* what --json prints; its "scores" go into the card, too */
    struct mr_fit_progress progress;
};

struct fit_kind {
    const char *name;
    mr_label_kind label;
    bool streams; /* reads DATA by itself, block by block: matrix stays empty */
    bool opens;   /* opens it by itself, too: table is its to set */
    /* Makes the model, writes it by fit_save, prints a table of what it has found on stdout unless --json. */
    mr_status (*run)(struct fit *fit, struct mr_err *err);
};

extern const struct fit_kind fit_kmeans, fit_mlp, fit_linear, fit_logistic, fit_scaler, fit_mf;

/** What a model is saved with, beside what fit knows. Strings are borrowed. */
struct fit_model {
    const char *type;
    const char *const *label; /* [label_count] */
    size_t label_count;
    const char *const *activation; /* [activation_count] */
    size_t activation_count;
    const struct mr_tensor_out *tensor;
    size_t tensor_count;
    const struct mr_metadata_out *metadata; /* [metadata_count], beside what all have */
    size_t metadata_count;
};

#define FIT_METADATA_MAX 8 /* of metadata_count */

/** Writes --output; says so. Errors as mr_durable_write. */
mr_status fit_save(struct fit *fit, const struct fit_model *model, struct mr_err *err);

/** Where --output says nothing: "<kind>.safetensors". */
const char *fit_output(const struct fit *fit, char *text, size_t bytes);

/** What the report says of DATA, once all of it was read. */
void fit_data(struct fit *fit, size_t rows);

/** Adds a number to report.scores; what is not finite becomes null. */
void fit_score(struct fit *fit, const char *name, double value);

/** Adds to the report why the iterations ended; returns it as one would say it to a person. */
const char *fit_ended(struct fit *fit, bool is_converged, bool is_stopped);

#endif
