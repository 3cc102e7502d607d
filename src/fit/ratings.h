/** Ratings in memory: who gave what how many, by numbers; and their orders. */
#ifndef MR_FIT_RATINGS_H
#define MR_FIT_RATINGS_H

#include "base/intern.h"
#include "kernels/mf_sgd/mf_sgd.h"
#include "table/table.h"

/** Rows are users, columns items, both numbered in the order in which DATA names them. */
struct mr_ratings {
    struct mr_rating *rating; /* [count] */
    size_t count, cap_bytes;
    struct mr_intern user, item;
    float low, high; /* the least and the greatest value */
};

/**
 * Reads all ratings of DATA: path and options as mr_table_open takes them, with two features, user and item, and the
 * rating as label. What an id is: model/mf/id_text.h. *table_out stays open, to be asked about DATA. Errors as
 * mr_table_open and mr_table_next; MR_EUSAGE: not two features; MR_EDATA: no ratings, or more users or items than a
 * model can have. Deinit ratings and close the table whatever the outcome.
 */
mr_status mr_ratings_read(const char *path, const struct mr_table_options *options, struct mr_ratings *ratings,
                          struct mr_table **table_out, struct mr_err *err);

/** Accepts zeroed ones. */
void mr_ratings_deinit(struct mr_ratings *ratings);

/**
 * Moves round(share * count) ratings, chosen by the seed, to the end; the others keep their order, and so do they. A
 * rating that is the last of its user or of its item stays, so there may be fewer: *held_out. MR_ENOMEM.
 */
mr_status mr_ratings_hold_out(struct mr_ratings *ratings, double share, uint64_t seed, size_t *held_out,
                              struct mr_err *err);

/**
 * Sorts by row, in place; ratings of a row keep their order. first_out: [rows + 1]: row r has the ratings from
 * first_out[r] up to first_out[r + 1]. count below 2^32.
 */
void mr_ratings_by_row(struct mr_rating *rating, size_t count, size_t rows, size_t *first_out);

/** Makes rows of columns, and columns of rows. */
void mr_ratings_transpose(struct mr_rating *rating, size_t count);

/**
 * The ratings cut into sides x sides blocks: block (a, b) has those of the a-th part of the rows with the b-th part of
 * the columns. Blocks (a, b) and (c, d) with a != c and b != d have no row and no column in common.
 */
#define MR_RATING_SIDES_MAX 32
struct mr_rating_grid {
    size_t sides;  /* at most MR_RATING_SIDES_MAX */
    size_t *first; /* [sides * sides + 1]: block (a, b) begins at first[a * sides + b] */
};

/**
 * Sorts ratings that mr_ratings_by_row has sorted (row_first: its bounds; count at least 1) into blocks with about as
 * many ratings in each row of blocks, and in each column; within a block they keep their order. As many sides as there
 * are ratings for: it depends on counts alone. MR_ENOMEM; deinit whatever the outcome.
 */
mr_status mr_rating_grid_make(struct mr_rating *rating, size_t count, const size_t *row_first, size_t rows, size_t cols,
                              struct mr_rating_grid *grid, struct mr_err *err);
void mr_rating_grid_deinit(struct mr_rating_grid *grid);

#endif
