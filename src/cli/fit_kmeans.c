/* millrace fit kmeans: centres for one k, or for a range of them with the curve that shows which. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/fit.h"
#include "cli/fit_labels.h"
#include "fit/kmeans.h"
#include "fit/knee.h"
#include "fit/silhouette.h"
#include "modelfile/model_file.h"
#include "plot/svg.h"

#define K_MAX     65536
#define BAR_WIDTH 32

/* What came of one k. */
struct outcome {
    size_t k;
    struct mr_kmeans_fitted fitted;
    double silhouette;
};

struct range {
    size_t first, last;
    mr_kmeans_start_kind start;
    struct mr_kmeans_fitted given; /* center: of a file that --start names */
};

static mr_status range_read(const char *text, struct range *range, struct mr_err *err)
{
    char *end;
    const unsigned long first = strtoul(text, &end, 10);
    unsigned long last = first;
    if (end != text && !strncmp(end, "..", 2)) {
        const char *const more = end + 2;
        last = strtoul(more, &end, 10);
        if (end == more) last = 0;
    }
    if (*end || first < 1 || last < first || last > K_MAX)
        return mr_fail(err, MR_EUSAGE,
                       "--k \"%s\": expected a number of clusters such as 6, or a range such as 2..20, up to %d", text,
                       K_MAX);
    range->first = first;
    range->last = last;
    return MR_OK;
}

/* Centres are of features in an order. */
static mr_status start_names_check(const struct fit *fit, const struct mr_safetensors *file, const char *path,
                                   struct mr_err *err)
{
    struct mr_model_meta meta = {0};
    mr_status status = mr_model_meta_read(file, &meta, err);
    for (size_t c = 0; !status && fit->feature && c < meta.features.count && c < fit->matrix.cols; c++)
        if (strcmp(meta.features.item[c], fit->feature[c]) != 0)
            status = mr_fail(err, MR_EUSAGE, "--start %s: its feature %zu is \"%.60s\", here it is \"%.60s\"", path,
                             c + 1, meta.features.item[c], fit->feature[c]);
    mr_model_meta_deinit(&meta);
    return status;
}

/* The centres of a model file: for one k, its own. */
static mr_status start_file_read(const struct fit *fit, const char *path, struct range *range, struct mr_err *err)
{
    struct mr_safetensors *file;
    mr_status status = mr_safetensors_open(path, &file, err);
    if (status) return status;
    const struct mr_tensor *const centers = mr_safetensors_find(file, "centers");
    range->start = MR_START_GIVEN;
    if (!centers || centers->rank != 2 || centers->shape[1] != fit->matrix.cols || !centers->count)
        status = mr_fail(err, MR_EDATA, "--start %s: expected a model with centers [k, %zu]", path, fit->matrix.cols);
    else if (fit->options->k && (range->first != range->last || centers->shape[0] != range->first))
        status = mr_fail(err, MR_EUSAGE, "--start %s has %llu centers: leave out --k, or say the same", path,
                         (unsigned long long)centers->shape[0]);
    if (!status) status = start_names_check(fit, file, path, err);
    if (!status) {
        range->first = range->last = (size_t)centers->shape[0];
        range->given.center = malloc(centers->count * sizeof *range->given.center);
        if (!range->given.center) status = mr_fail(err, MR_ENOMEM, "out of memory");
        for (uint64_t i = 0; i < centers->count && !status; i++) range->given.center[i] = mr_tensor_value(centers, i);
    }
    mr_safetensors_close(file);
    return status;
}

static mr_status start_read(const struct fit *fit, const char *text, struct range *range, struct mr_err *err)
{
    static const char *const names[] = {"kmeans++", "kmeans||", "random"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        range->start = (mr_kmeans_start_kind)i;
        return MR_OK;
    }
    if (access(text, R_OK))
        return mr_fail(err, MR_EUSAGE, "--start \"%s\": expected kmeans++, kmeans||, random, or a model file", text);
    return start_file_read(fit, text, range, err);
}

static void iterated(void *context, size_t iteration, double inertia, double moved)
{
    struct fit *const fit = context;
    (void)moved;
    mr_fit_progress_step(&fit->progress, iteration, inertia);
}

/* The best of --restarts runs. */
static mr_status k_fit(struct fit *fit, const struct range *range, struct outcome *outcome, struct mr_err *err)
{
    const struct fit_options *const options = fit->options;
    const int64_t restarts = options->restarts > 0 ? options->restarts : 1;
    char what[32];
    struct mr_kmeans_fit work = {.x = fit->matrix.x,
                                 .rows = fit->matrix.rows,
                                 .cols = fit->matrix.cols,
                                 .k = outcome->k,
                                 .start = range->start,
                                 .given = range->given.center,
                                 .iterations_max = options->iterations > 0 ? (size_t)options->iterations : 300,
                                 .tolerance = options->tolerance >= 0 ? options->tolerance : 1e-4,
                                 .is_stopped = &mr_fit_is_stopped,
                                 .iterated = iterated,
                                 .context = fit};
    snprintf(what, sizeof what, "kmeans k=%zu", outcome->k);
    fit->progress = (struct mr_fit_progress){.what = what,
                                             .loss_name = "inertia",
                                             .step_max = work.iterations_max,
                                             .rows = work.rows,
                                             .is_quiet = options->quiet};
    mr_status status = MR_OK;
    for (int64_t run = 0; run < restarts && !status; run++) {
        struct mr_kmeans_fitted fitted;
        work.seed = (uint64_t)options->seed + (uint64_t)run;
        mr_fit_progress_begin(&fit->progress);
        status = mr_kmeans_fit(fit->crew, &work, &fitted, err);
        mr_fit_progress_end(&fit->progress);
        if (!status && !isfinite(fitted.inertia)) {
            mr_kmeans_fitted_deinit(&fitted);
            return mr_fail(
                err, MR_EDATA,
                "%s: squared distances are beyond what float32 holds: scale the features down, as a scaler in "
                "front of the model does",
                mr_table_path(fit->table));
        }
        if (!status && (!outcome->fitted.center || fitted.inertia < outcome->fitted.inertia)) {
            mr_kmeans_fitted_deinit(&outcome->fitted);
            outcome->fitted = fitted;
        } else {
            mr_kmeans_fitted_deinit(&fitted);
        }
        if (atomic_load(&mr_fit_is_stopped)) break;
    }
    return status;
}

static mr_status silhouette_take(struct fit *fit, struct outcome *outcome, struct mr_err *err)
{
    const size_t count = outcome->k * fit->matrix.cols;
    const int64_t sample = fit->options->silhouette >= 0 ? fit->options->silhouette : 2000;
    outcome->silhouette = NAN;
    if (outcome->k < 2 || !sample) return MR_OK;
    float *const center = malloc(count * sizeof *center);
    if (!center) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) center[i] = (float)outcome->fitted.center[i];
    const mr_status status =
        mr_silhouette(fit->crew, fit->matrix.x, fit->matrix.rows, fit->matrix.cols, center, outcome->k, (size_t)sample,
                      (uint64_t)fit->options->seed, &outcome->silhouette, err);
    free(center);
    return status;
}

struct centers {
    const double *center; /* [k][cols] */
    size_t cols;
};

static int center_compare(const void *a, const void *b, void *context)
{
    const struct centers *const centers = context;
    const double *const left = centers->center + *(const size_t *)a * centers->cols;
    const double *const right = centers->center + *(const size_t *)b * centers->cols;
    for (size_t c = 0; c < centers->cols; c++)
        if (left[c] != right[c]) return left[c] < right[c] ? -1 : 1;
    return 0;
}

/* Centres in ascending order, by the first feature first: so a cluster's number says something, and seeds give the same
 * numbers where they give the same centres. */
static mr_status centers_sort(struct outcome *outcome, size_t cols, struct mr_err *err)
{
    struct mr_kmeans_fitted *const fitted = &outcome->fitted;
    size_t *const order = malloc(outcome->k * sizeof *order);
    double *const center = malloc(outcome->k * cols * sizeof *center), *const count =
                                                                           malloc(outcome->k * sizeof *count);
    const bool is_whole = order && center && count;
    for (size_t i = 0; i < outcome->k && is_whole; i++) order[i] = i;
    if (is_whole) qsort_r(order, outcome->k, sizeof *order, center_compare, &(struct centers){fitted->center, cols});
    for (size_t i = 0; i < outcome->k && is_whole; i++) {
        memcpy(center + i * cols, fitted->center + order[i] * cols, cols * sizeof *center);
        count[i] = fitted->count[order[i]];
    }
    if (is_whole) memcpy(fitted->center, center, outcome->k * cols * sizeof *center);
    if (is_whole) memcpy(fitted->count, count, outcome->k * sizeof *count);
    free(order);
    free(center);
    free(count);
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static void curve_print(const struct outcome *outcomes, size_t count, size_t knee, bool is_cut)
{
    double most = 0;
    for (size_t i = 0; i < count; i++) most = fmax(most, outcomes[i].fitted.inertia);
    printf("%5s  %12s  %10s  %10s\n", "k", "inertia", "silhouette", "iterations");
    for (size_t i = 0; i < count; i++) {
        const struct outcome *const at = &outcomes[i];
        const int bar = most > 0 ? (int)(BAR_WIDTH * at->fitted.inertia / most + 0.5) : 0;
        printf("%5zu  %12.6g  %10.4f  %10zu  %.*s%s\n", at->k, at->fitted.inertia, at->silhouette,
               at->fitted.iterations, bar, "################################",
               i != knee || count == 1 ? ""
               : is_cut                ? "  <- knee of these"
                                       : "  <- knee");
    }
}

static void centers_print(const struct fit *fit, const struct outcome *outcome)
{
    const size_t shown = fit->matrix.cols < 8 ? fit->matrix.cols : 8;
    printf("\n%7s  %10s", "cluster", "rows");
    for (size_t c = 0; c < shown; c++) printf("  %12.12s", fit->feature ? fit->feature[c] : "");
    printf("%s\n", shown < fit->matrix.cols ? "  ..." : "");
    for (size_t i = 0; i < outcome->k; i++) {
        printf("%7zu  %10.0f", i, outcome->fitted.count[i]);
        for (size_t c = 0; c < shown; c++) printf("  %12.6g", outcome->fitted.center[i * fit->matrix.cols + c]);
        printf("%s\n", shown < fit->matrix.cols ? "  ..." : "");
    }
}

/* Inertia by number of clusters. */
struct curve {
    double *k, *inertia; /* [count] each, in one piece */
    size_t count, knee;
    bool is_cut; /* stopped before the range was through */
};

static mr_status curve_make(const struct outcome *outcomes, size_t count, bool is_cut, struct curve *curve,
                            struct mr_err *err)
{
    double *const k = malloc(2 * count * sizeof *k);
    if (!k) return mr_fail(err, MR_ENOMEM, "out of memory");
    *curve = (struct curve){.k = k, .inertia = k + count, .count = count, .is_cut = is_cut};
    for (size_t i = 0; i < count; i++) {
        curve->k[i] = (double)outcomes[i].k;
        curve->inertia[i] = outcomes[i].fitted.inertia;
    }
    curve->knee = mr_knee(curve->k, curve->inertia, count);
    return MR_OK;
}

/* The curve as a picture, its knee marked. */
static mr_status curve_draw(const struct curve *curve, const char *path, struct mr_err *err)
{
    const double *const k = curve->k, *const inertia = curve->inertia;
    const size_t count = curve->count, knee = curve->knee;
    char title[96];
    struct mr_svg svg;
    struct mr_plot plot = {.svg = &svg, .left = 90, .top = 60, .width = 560, .height = 340};
    for (size_t i = 0; i < count; i++) plot.y_max = fmax(plot.y_max, 1.05 * inertia[i]);
    plot.x_min = k[0] - 1;
    plot.x_max = k[count - 1] + 1;
    if (!(plot.y_max > 0)) plot.y_max = 1;
    snprintf(title, sizeof title,
             count == 1      ? "inertia of %zu clusters"
             : curve->is_cut ? "inertia by number of clusters, stopped: the knee of these is at %zu"
                             : "inertia by number of clusters: the knee is at %zu",
             (size_t)k[knee]);
    mr_status status = mr_svg_begin(&svg, path, 680, 460, title, err);
    if (!status) {
        mr_plot_axes(&plot, "clusters", "inertia");
        mr_plot_line(&plot, k, inertia, count, MR_SVG_BLUE, true);
        const double x = mr_plot_x(&plot, k[knee]), bottom = plot.top + plot.height;
        mr_svg_line(&svg, x, mr_plot_y(&plot, inertia[knee]), x, bottom, MR_SVG_GREY, 1.5);
        status = mr_svg_end(&svg, err);
    }
    return status;
}

static void curve_report(struct fit *fit, const struct outcome *outcomes, size_t count, const struct outcome *best)
{
    cJSON *const curve = cJSON_AddArrayToObject(fit->report, "curve");
    for (size_t i = 0; i < count && count > 1; i++) {
        cJSON *const entry = cJSON_CreateObject();
        cJSON_AddNumberToObject(entry, "k", (double)outcomes[i].k);
        cJSON_AddNumberToObject(entry, "inertia", outcomes[i].fitted.inertia);
        if (isfinite(outcomes[i].silhouette)) cJSON_AddNumberToObject(entry, "silhouette", outcomes[i].silhouette);
        cJSON_AddItemToArray(curve, entry);
    }
    cJSON_AddNumberToObject(fit->report, "k", (double)best->k);
    cJSON_AddNumberToObject(fit->report, "iterations", (double)best->fitted.iterations);
    fit_ended(fit, best->fitted.is_converged, atomic_load(&mr_fit_is_stopped));
    fit_score(fit, "inertia", best->fitted.inertia);
    fit_score(fit, "silhouette", best->silhouette);
}

static mr_status best_save(struct fit *fit, struct outcome *best, struct mr_err *err)
{
    const struct mr_tensor_out tensors[] = {
        {.name = "centers", .rank = 2, .shape = {best->k, fit->matrix.cols}, .f64 = best->fitted.center},
        {.name = "weights", .rank = 1, .shape = {best->k}, .f64 = best->fitted.count}};
    const struct fit_model model = {.type = "kmeans", .tensor = tensors, .tensor_count = 2};
    mr_status status = fit_save(fit, &model, err);
    if (!status && fit->options->labels)
        status = fit_labels_write(fit, best->fitted.center, best->k, fit->options->labels, err);
    return status;
}

static mr_status range_fit(struct fit *fit, const struct range *range, struct outcome *outcomes, size_t *count_out,
                           struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t k = range->first; k <= range->last && !status; k++) {
        struct outcome *const outcome = &outcomes[*count_out];
        outcome->k = k;
        status = k_fit(fit, range, outcome, err);
        if (!status) status = silhouette_take(fit, outcome, err);
        const bool is_cut = atomic_load(&mr_fit_is_stopped) && !outcome->fitted.is_converged && *count_out;
        if (!status && is_cut)
            mr_kmeans_fitted_deinit(&outcome->fitted); /* others have been fitted to their end */
        else if (!status)
            ++*count_out;
        if (atomic_load(&mr_fit_is_stopped)) break;
    }
    return status;
}

/* Says and saves what came of the range: the model is that of the knee, of what there is when it was stopped. */
static mr_status range_report(struct fit *fit, const struct range *range, struct outcome *outcomes, size_t count,
                              struct mr_err *err)
{
    struct curve curve = {0};
    mr_status status = curve_make(outcomes, count, outcomes[count - 1].k < range->last, &curve, err);
    if (status) return status;
    struct outcome *const best = &outcomes[curve.knee];
    status = centers_sort(best, fit->matrix.cols, err);
    if (!fit->options->json) {
        curve_print(outcomes, count, curve.knee, curve.is_cut);
        if (!status) centers_print(fit, best);
    }
    curve_report(fit, outcomes, count, best);
    if (!status && fit->options->svg) status = curve_draw(&curve, fit->options->svg, err);
    if (!status) status = best_save(fit, best, err);
    free(curve.k);
    return status;
}

static mr_status range_run(struct fit *fit, const struct range *range, struct mr_err *err)
{
    struct outcome *const outcomes = calloc(range->last - range->first + 1, sizeof *outcomes);
    size_t count = 0;
    if (!outcomes) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_status status = range_fit(fit, range, outcomes, &count, err);
    if (!status && count) status = range_report(fit, range, outcomes, count, err);
    for (size_t i = 0; i <= range->last - range->first; i++) mr_kmeans_fitted_deinit(&outcomes[i].fitted);
    free(outcomes);
    return status;
}

static mr_status kmeans_run(struct fit *fit, struct mr_err *err)
{
    struct range range = {0};
    mr_status status = fit->options->k ? range_read(fit->options->k, &range, err) : MR_OK;
    if (!status && fit->options->start) status = start_read(fit, fit->options->start, &range, err);
    if (!status && !range.first)
        status = mr_fail(err, MR_EUSAGE, "how many clusters? --k 6, or a range such as --k 2..20 to see which");
    if (!status) status = range_run(fit, &range, err);
    mr_kmeans_fitted_deinit(&range.given);
    return status;
}

const struct fit_kind fit_kmeans = {.name = "kmeans", .label = MR_LABEL_NONE, .run = kmeans_run};
