/* DATA whole in memory. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "table/inside.h"

/* Memory that grows where it lies, or is moved by the kernel without a copy; pages that were not written take none. */
static bool mapping_grow(void **mapping, size_t *cap_bytes, size_t bytes)
{
    size_t cap = *cap_bytes ? *cap_bytes : 1u << 20;
    if (bytes <= *cap_bytes) return true;
    while (cap < bytes) cap *= 2;
    void *const grown =
        *mapping ? mremap(*mapping, *cap_bytes, cap, MREMAP_MAYMOVE)
                 : mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (grown == MAP_FAILED) return false;
    *mapping = grown;
    *cap_bytes = cap;
    return true;
}

static bool matrix_grow(struct mr_matrix *matrix, bool has_label)
{
    const size_t rows = matrix->rows + MR_TABLE_ROW_CAP;
    void *x = matrix->x, *label = matrix->label;
    const bool has_grown =
        mapping_grow(&x, &matrix->x_cap_bytes, mr_tile_count(rows) * MR_TILE_ROWS * matrix->cols * sizeof(float)) &&
        (!has_label || mapping_grow(&label, &matrix->label_cap_bytes, rows * sizeof(double)));
    matrix->x = x;
    matrix->label = label;
    return has_grown;
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

mr_status mr_matrix_read(struct mr_table *table, struct mr_matrix *matrix, struct mr_err *err)
{
    mr_status status = MR_OK;
    *matrix = (struct mr_matrix){.cols = table->cols};
    while (!status) {
        size_t rows;
        if (!matrix_grow(matrix, table->kind != MR_LABEL_NONE)) {
            status = mr_fail(err, MR_ENOMEM, "%s: out of memory behind %zu rows of %zu features", table->input.path,
                             matrix->rows, matrix->cols);
            break;
        }
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
    if (matrix->x) munmap(matrix->x, matrix->x_cap_bytes);
    if (matrix->label) munmap(matrix->label, matrix->label_cap_bytes);
    for (size_t i = 0; i < matrix->class_count; i++) free(matrix->class_name[i]);
    free(matrix->class_name);
    *matrix = (struct mr_matrix){0};
}
