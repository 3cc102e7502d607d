#include "cli/fit_labels.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/json_text.h"
#include "base/number.h"
#include "kernels/kmeans_assign/kmeans_assign.h"

struct assignment {
    const struct fit *fit;
    const struct mr_plan *plan;
    int32_t *cluster; /* [rows] */
};

static mr_status chunk_assign(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                              struct mr_err *err)
{
    const struct assignment *const assignment = context;
    const struct mr_matrix *const matrix = &assignment->fit->matrix;
    const float *y;
    const int32_t *cluster;
    (void)sums;
    const mr_status status = mr_hand_score(hand, assignment->plan, matrix->x + chunk->first * matrix->cols, chunk->rows,
                                           1, &y, &cluster, err);
    if (!status) memcpy(assignment->cluster + chunk->first, cluster, chunk->rows * sizeof *cluster);
    return status;
}

static mr_status rows_assign(struct fit *fit, const double *center, size_t k, int32_t *cluster, struct mr_err *err)
{
    const size_t cols = fit->matrix.cols;
    float *const rounded = malloc(k * cols * sizeof *rounded);
    struct mr_plan *plan = NULL;
    if (!rounded) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < k * cols; i++) rounded[i] = (float)center[i];
    const struct mr_kmeans_params params = {cols, k, rounded};
    mr_status status =
        mr_crew_plan_create(fit->crew, MR_OP_KMEANS_ASSIGN, &params, cols, MR_WANT_CLASS | MR_WANT_Y, &plan, err);
    struct assignment assignment = {fit, plan, cluster};
    if (!status) status = mr_crew_walk(fit->crew, fit->matrix.rows, cols, 0, chunk_assign, &assignment, NULL, err);
    mr_crew_plan_destroy(fit->crew, plan);
    free(rounded);
    return status;
}

static void number_put(FILE *file, float value)
{
    char text[MR_NUMBER_BYTES];
    fwrite(text, 1, mr_print_f32(value, text), file);
}

/* In quotes where CSV needs them. */
static void csv_name_put(FILE *file, const char *name)
{
    if (!strpbrk(name, ",\"\r\n")) {
        fputs(name, file);
        return;
    }
    fputc('"', file);
    for (; *name; name++) fprintf(file, *name == '"' ? "\"%c" : "%c", *name);
    fputc('"', file);
}

static void json_name_put(FILE *file, const char *name)
{
    char text[MR_JSON_ESCAPE_MAX * 512 + MR_JSON_QUOTES];
    const size_t bytes = strlen(name);
    fwrite(text, 1, mr_json_quote(name, bytes < 512 ? bytes : 512, text), file);
}

/* Of the column of clusters: one that no feature has. */
static const char *label_name(const struct fit *fit)
{
    static const char *const names[] = {"label", "cluster", "millrace_cluster"};
    size_t taken = 0;
    for (size_t c = 0; fit->feature && c < fit->matrix.cols; c++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (!strcmp(fit->feature[c], names[i])) taken |= (size_t)1 << i;
    return names[!(taken & 1) ? 0 : !(taken & 2) ? 1 : 2];
}

static void rows_write(FILE *file, const struct fit *fit, const int32_t *cluster, bool is_json)
{
    const struct mr_matrix *const matrix = &fit->matrix;
    const char *const label = label_name(fit);
    char name[32];
    for (size_t row = 0; row <= matrix->rows && !ferror(file); row++) { /* row 0 is the header */
        if (is_json && row == 0) continue;
        if (is_json) fputc('{', file);
        for (size_t c = 0; c < matrix->cols; c++) {
            snprintf(name, sizeof name, "x%zu", c);
            const char *const feature = fit->feature ? fit->feature[c] : name;
            if (is_json) json_name_put(file, feature);
            if (is_json) fputc(':', file);
            if (row == 0)
                csv_name_put(file, feature);
            else
                number_put(file, matrix->x[mr_tile_at(row - 1, c, matrix->cols)]);
            fputc(',', file);
        }
        if (row == 0)
            fprintf(file, "%s\n", label);
        else if (is_json)
            fprintf(file, "\"%s\":%d}\n", label, cluster[row - 1]);
        else
            fprintf(file, "%d\n", cluster[row - 1]);
    }
}

static bool ends_in(const char *text, const char *end)
{
    const size_t bytes = strlen(text), more = strlen(end);
    return bytes >= more && !strcmp(text + bytes - more, end);
}

mr_status fit_labels_write(struct fit *fit, const double *center, size_t k, const char *path, struct mr_err *err)
{
    int32_t *const cluster = malloc((fit->matrix.rows + 1) * sizeof *cluster);
    const size_t bytes = strlen(path) + sizeof ".tmp";
    char *const new_path = malloc(bytes);
    mr_status status = cluster && new_path ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = rows_assign(fit, center, k, cluster, err);
    if (!status) {
        snprintf(new_path, bytes, "%s.tmp", path);
        FILE *const file = fopen(new_path, "w");
        if (file) rows_write(file, fit, cluster, ends_in(path, ".json") || ends_in(path, ".jsonl"));
        bool is_whole = file && !ferror(file) && !fflush(file) && !fsync(fileno(file));
        int reason = errno;
        if (file && fclose(file) && is_whole) is_whole = false, reason = errno;
        if (is_whole && rename(new_path, path)) is_whole = false, reason = errno;
        if (!is_whole) {
            unlink(new_path);
            status = mr_fail(err, MR_EIO, "--labels %s: %s", path, strerror(reason));
        } else {
            mr_durable_folder(path);
        }
    }
    free(cluster);
    free(new_path);
    return status;
}
