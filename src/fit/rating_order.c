/*
 * Orders of ratings. Each is made in place: first every rating's place is counted out and noted where its row stood,
 * then ratings are swapped until each is at its place, then rows are written again from the bounds. So sorting takes no
 * second copy, and ratings that belong together keep their order.
 */
#include <stdlib.h>
#include <string.h>

#include "fit/ratings.h"

/* Each rating's row is its place: brings all to theirs. */
static void places_take(struct mr_rating *rating, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        while (rating[i].row != i) {
            struct mr_rating *const other = &rating[rating[i].row];
            const struct mr_rating kept = *other;
            *other = rating[i];
            rating[i] = kept;
        }
    }
}

/* Counts of groups to where each begins; returns their sum, which becomes the bound behind the last. */
static void counts_sum(size_t *first, size_t groups)
{
    size_t at = 0;
    for (size_t i = 0; i < groups; i++) {
        const size_t count = first[i];
        first[i] = at;
        at += count;
    }
    first[groups] = at;
}

/* Places were given out, so each bound has moved to its group's end: back to the beginnings. */
static void bounds_restore(size_t *first, size_t groups)
{
    memmove(first + 1, first, groups * sizeof *first);
    first[0] = 0;
}

void mr_ratings_by_row(struct mr_rating *rating, size_t count, size_t rows, size_t *first_out)
{
    memset(first_out, 0, (rows + 1) * sizeof *first_out);
    for (size_t i = 0; i < count; i++) first_out[rating[i].row]++;
    counts_sum(first_out, rows);
    for (size_t i = 0; i < count; i++) rating[i].row = (uint32_t)first_out[rating[i].row]++;
    bounds_restore(first_out, rows);
    places_take(rating, count);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = first_out[row]; i < first_out[row + 1]; i++) rating[i].row = (uint32_t)row;
}

void mr_ratings_transpose(struct mr_rating *rating, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t row = rating[i].row;
        rating[i].row = rating[i].col;
        rating[i].col = row;
    }
}

/* ---- blocks ---- */

static size_t sides_choose(size_t count, size_t rows, size_t cols)
{
    size_t sides = count < (1u << 12) ? 1 : count < (1u << 20) ? 8 : count < (1u << 24) ? 16 : 32;
    while (sides > 1 && (sides > rows || sides > cols)) sides /= 2;
    return sides;
}

/* The part of a thing whose ratings are those from first up to end of total: parts have about as many ratings. */
static size_t part_of(size_t first, size_t end, size_t total, size_t sides)
{
    const size_t part = total ? (first + end) / 2 * sides / total : 0;
    return part < sides ? part : sides - 1;
}

/* Part of each column. False: no memory. */
static bool cols_part(const struct mr_rating *rating, size_t count, size_t cols, size_t sides, uint8_t *part)
{
    size_t *const first = calloc(cols + 1, sizeof *first);
    if (!first) return false;
    for (size_t i = 0; i < count; i++) first[rating[i].col]++;
    counts_sum(first, cols);
    for (size_t i = 0; i < cols; i++) part[i] = (uint8_t)part_of(first[i], first[i + 1], count, sides);
    free(first);
    return true;
}

/* Sorts one row of blocks; first: [sides + 1] of them, of which the first is set. False: no memory. */
static bool blocks_sort(struct mr_rating *rating, size_t count, size_t sides, const uint8_t *part, size_t *first)
{
    struct mr_rating *const copy = malloc((count + 1) * sizeof *copy);
    size_t at[MR_RATING_SIDES_MAX + 1] = {0};
    if (!copy) return false;
    memcpy(copy, rating, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) at[part[copy[i].col]]++;
    counts_sum(at, sides);
    for (size_t i = 0; i < sides; i++) first[i + 1] = first[0] + at[i + 1];
    for (size_t i = 0; i < count; i++) rating[at[part[copy[i].col]]++] = copy[i];
    free(copy);
    return true;
}

mr_status mr_rating_grid_make(struct mr_rating *rating, size_t count, const size_t *row_first, size_t rows, size_t cols,
                              struct mr_rating_grid *grid, struct mr_err *err)
{
    const size_t sides = sides_choose(count, rows, cols);
    uint8_t *const part = malloc(cols + 1);
    *grid = (struct mr_rating_grid){.sides = sides, .first = calloc(sides * sides + 1, sizeof *grid->first)};
    bool is_whole = part && grid->first && cols_part(rating, count, cols, sides, part);
    size_t row = 0;
    for (size_t a = 0; a < sides && is_whole; a++) {
        const size_t begin = row_first[row];
        while (row < rows && part_of(row_first[row], row_first[row + 1], count, sides) == a) row++;
        is_whole = blocks_sort(rating + begin, row_first[row] - begin, sides, part, grid->first + a * sides);
    }
    free(part);
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

void mr_rating_grid_deinit(struct mr_rating_grid *grid)
{
    free(grid->first);
    *grid = (struct mr_rating_grid){0};
}
