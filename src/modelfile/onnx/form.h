/**
 * What a value of a graph is as a function of one row: layers that are complete, and behind them weighted sums that the
 * next activation, or the end, makes a layer of. Constants fold into these sums in double. Forms are in the arena and
 * immutable.
 */
#ifndef MR_ONNX_FORM_H
#define MR_ONNX_FORM_H

#include "kernels/graph_forward/graph_forward.h"
#include "kernels/mlp_forward/mlp_forward.h"
#include "modelfile/onnx/tensor.h"

/** What an operation of a graph makes of one or two values. */
struct mr_onnx_made {
    mr_graph_op op;                   /* MR_GRAPH_OP_COUNT: nothing: the sums of x as they are, settled */
    const struct mr_onnx_form *x, *z; /* z NULL: of one */
    double a, b;                      /* the operation's numbers */
};

/** Layers up to here, the input at the end of the list. */
struct mr_onnx_chain {
    const struct mr_onnx_chain *before; /* NULL: this is the input, or made */
    const struct mr_onnx_chain *older;  /* the chain that was made before this one, of all */
    size_t width;
    const struct mr_onnx_made *made; /* what no layer computes, a step of a graph; NULL: it is none */
    /* Of a standardised input, (x - mean) / scale, which only the input can be before; w is NULL then. */
    const double *mean, *scale; /* [width] */
    /* Of a layer: [width][before->width]; w32 where the weights are those of the file, unchanged. */
    const double *w;
    const float *w32;
    const double *b; /* [width] */
    mr_activation activation;
    bool is_erf; /* in the place of the activation: part of a GELU that is written out */
};

typedef enum {
    MR_FORM_ROWS,  /* numbers: a row of the value is one of the batch */
    MR_FORM_CLASS, /* one label a row: which of the columns of `of` is the largest, or least */
} mr_form_kind;

struct mr_onnx_form {
    mr_form_kind kind;
    size_t width;
    size_t rank; /* 1: [rows], 2: [rows, width], more: the width is divided into further dimensions */
    /* MR_FORM_ROWS: sums over the outputs of the chain. Each output either takes one of them (source), or all (w). */
    const struct mr_onnx_chain *chain;
    const size_t *source;    /* [width]; NULL: dense */
    const double *scale, *b; /* [width]: y = scale * chain[source] + b; dense: b alone */
    /* [width] each, or NULL: the same said as (chain[source] + offset) / divisor, whose digits scale and b have not. */
    const double *offset, *divisor;
    const double *w;  /* [width][chain->width] */
    const float *w32; /* instead of w */
    double squares;   /* times the sum of squares of the chain's outputs, added to each */
    bool is_root;     /* the square root of all that */
    /* MR_FORM_CLASS */
    const struct mr_onnx_form *of;
    const struct mr_onnx_tensor *label; /* [of->width]: what each column is called */
    bool is_least;
};

/** Where forms are made. */
struct mr_onnx_forms {
    struct mr_onnx_arena *arena;
    const struct mr_onnx_chain *newest; /* of all chains, linked by older */
    bool is_out_of_memory;
};

/** The columns of the input itself, from `first` on. NULL from here on: no memory, and is_out_of_memory says so. */
const struct mr_onnx_form *mr_form_input(struct mr_onnx_forms *forms, const struct mr_onnx_chain *input, size_t first,
                                         size_t width, size_t rank);

/** The same form with another rank. */
const struct mr_onnx_form *mr_form_shape(struct mr_onnx_forms *forms, const struct mr_onnx_form *from, size_t rank);

/** Some of the columns. */
const struct mr_onnx_form *mr_form_pick(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                        const size_t *column, size_t count);

/** Each column times `by`, plus `plus`; either may be NULL. The sums of squares need one `by` for all columns. */
const struct mr_onnx_form *mr_form_scale(struct mr_onnx_forms *forms, const struct mr_onnx_form *from, const double *by,
                                         const double *plus);

/** Each column divided by a number; divisor is in the arena. */
const struct mr_onnx_form *mr_form_divide(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                          const double *divisor);

/** Weighted sums of the columns: weight [out][from->width], scaled by alpha. w32 instead of weight where the numbers
 * are float32. */
const struct mr_onnx_form *mr_form_dense(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                         const double *weight, const float *w32, size_t out);

/** Columns of several forms side by side; they have one chain, and no squares. */
const struct mr_onnx_form *mr_form_stack(struct mr_onnx_forms *forms, const struct mr_onnx_form *const *part,
                                         size_t count);

/** a + sign * b, of one chain; one of them may have a single column. */
const struct mr_onnx_form *mr_form_sum(struct mr_onnx_forms *forms, const struct mr_onnx_form *a,
                                       const struct mr_onnx_form *b, double sign);

/** What is pending becomes a layer with this activation (identity: a layer, too). */
const struct mr_onnx_form *mr_form_activate(struct mr_onnx_forms *forms, const struct mr_onnx_form *from,
                                            mr_activation activation, bool is_erf);

/** What an operation of a graph gives: `width` columns of a chain of its own. z may be NULL. */
const struct mr_onnx_form *mr_form_make(struct mr_onnx_forms *forms, const struct mr_onnx_made *made, size_t width,
                                        size_t rank);

/** A chain of the input's columns. */
const struct mr_onnx_chain *mr_chain_input(struct mr_onnx_forms *forms, size_t width);

/** Whether the form is the chain's outputs as they are. */
bool mr_form_is_plain(const struct mr_onnx_form *form);

/** Whether these are two probabilities that add up to 1: p and 1 - p behind a sigmoid, or sigmoids of z and -z. */
bool mr_form_is_pair(const struct mr_onnx_form *form);

/** Weight of a dense form, as a double. */
double mr_form_weight(const struct mr_onnx_form *form, size_t out, size_t in);

#endif
