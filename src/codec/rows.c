#include "codec/rows.h"

#include <string.h>

void mr_rows_move(struct mr_rows *rows, size_t from, size_t to)
{
    for (size_t col = 0; col < rows->feature_count; col++)
        rows->x[mr_tile_at(to, col, rows->feature_count)] = rows->x[mr_tile_at(from, col, rows->feature_count)];
    for (size_t col = 0; col < rows->capture_count; col++)
        rows->capture[col * rows->row_cap + to] = rows->capture[col * rows->row_cap + from];
    if (rows->label) rows->label[to] = rows->label[from];
    if (rows->message) rows->message[to] = rows->message[from];
}

void mr_rows_tail_zero(struct mr_rows *rows)
{
    const size_t tail = rows->row_count % MR_TILE_ROWS;
    if (!tail) return;
    float *tile = rows->x + mr_tile_at(rows->row_count - tail, 0, rows->feature_count);
    for (size_t col = 0; col < rows->feature_count; col++) {
        memset(tile + col * MR_TILE_ROWS + tail, 0, (MR_TILE_ROWS - tail) * sizeof *tile);
    }
}
