/* DATA whole in memory. */
#include <stdlib.h>
#include <string.h>

#include "table/inside.h"

/* Room for one more block. */
static mr_status matrix_grow(struct mr_matrix *matrix, bool has_label, struct mr_err *err)
{
    const size_t rows = matrix->rows + MR_TABLE_ROW_CAP;
    mr_status status = mr_mapping_grow(
        &matrix->x_map, mr_tile_count(rows) * MR_TILE_ROWS * matrix->cols * sizeof(float), matrix->spill, err);
    if (!status && has_label) status = mr_mapping_grow(&matrix->label_map, rows * sizeof(double), matrix->spill, err);
    matrix->x = matrix->x_map.at;
    matrix->label = matrix->label_map.at;
    return status;
}

static int name_compare(const void *a, const void *b)
{
    return mr_class_compare(*(char *const *)a, *(char *const *)b);
}

/* Class names in their order, and labels as indices into it. */
static mr_status classes_sort(const struct mr_table *table, struct mr_matrix *matrix, struct mr_err *err)
{
    const struct mr_classes *const classes = &table->classes;
    double *const index = malloc((classes->count + 1) * sizeof *index);
    matrix->class_name = calloc(classes->count + 1, sizeof *matrix->class_name);
    bool is_whole = index && matrix->class_name;
    for (; is_whole && matrix->class_count < classes->count; matrix->class_count += is_whole)
        is_whole = (matrix->class_name[matrix->class_count] = strdup(classes->name[matrix->class_count])) != NULL;
    if (is_whole) {
        qsort(matrix->class_name, matrix->class_count, sizeof *matrix->class_name, name_compare);
        for (size_t i = 0; i < classes->count; i++) {
            char **const found = bsearch(&classes->name[i], matrix->class_name, matrix->class_count,
                                         sizeof *matrix->class_name, name_compare);
            index[i] = (double)(found - matrix->class_name);
        }
        for (size_t row = 0; matrix->label && row < matrix->rows; row++)
            matrix->label[row] = index[(size_t)matrix->label[row]];
    }
    free(index);
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

mr_status mr_matrix_read(struct mr_table *table, const char *spill, struct mr_matrix *matrix, struct mr_err *err)
{
    mr_status status = MR_OK;
    *matrix = (struct mr_matrix){.cols = table->cols, .spill = spill};
    while (!status) {
        size_t rows;
        status = matrix_grow(matrix, table->kind != MR_LABEL_NONE, err);
        if (status == MR_ENOMEM)
            mr_fail(err, status, "%s: out of memory behind %zu rows of %zu features: --spill DIR keeps them on a disk",
                    table->input.path, matrix->rows, matrix->cols);
        if (status) break;
        status = mr_table_fill(table, matrix->x + mr_tile_at(matrix->rows, 0, matrix->cols),
                               matrix->label ? matrix->label + matrix->rows : NULL, &rows, err);
        matrix->rows += rows;
    }
    if (status == MR_END) status = table->kind == MR_LABEL_CLASS ? classes_sort(table, matrix, err) : MR_OK;
    if (status) mr_matrix_deinit(matrix);
    return status;
}

void mr_matrix_deinit(struct mr_matrix *matrix)
{
    mr_mapping_free(&matrix->x_map);
    mr_mapping_free(&matrix->label_map);
    for (size_t i = 0; i < matrix->class_count; i++) free(matrix->class_name[i]);
    free(matrix->class_name);
    *matrix = (struct mr_matrix){0};
}
