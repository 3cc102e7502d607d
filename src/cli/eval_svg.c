/* Pictures of what `millrace eval` found about a classifier. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/eval.h"
#include "plot/svg.h"

#define SIDE       420.0 /* of a square plot */
#define LEFT       70.0
#define TOP        60.0
#define CURVE_CAP  400
#define CURVES_MAX 8  /* classes whose ROC curves are drawn */
#define CELLS_MAX  40 /* classes of a matrix that is drawn */

static const char *const colours[CURVES_MAX] = {MR_SVG_BLUE, "#d9722b", "#2f9e5b", "#b23a48",
                                                "#7a5bb5",   "#8c6d31", "#d264a6", "#3aa6b9"};

static struct mr_plot square(struct mr_svg *svg)
{
    return (struct mr_plot){
        .svg = svg, .left = LEFT, .top = TOP, .width = SIDE, .height = SIDE, .x_max = 1, .y_max = 1};
}

/* Names longer than a margin are cut. */
static void name_draw(struct mr_svg *svg, double x, double y, mr_svg_anchor anchor, const char *name)
{
    char shown[16];
    snprintf(shown, sizeof shown, "%s", name);
    mr_svg_text(svg, x, y, anchor, 11, shown);
}

static mr_status matrix_draw(const struct eval_result *result, const char *path, struct mr_err *err)
{
    const size_t count = result->info->class_count;
    const double left = LEFT + 40, cell = fmax(26, SIDE / (double)count), side = cell * (double)count;
    char text[EVAL_NAME_BYTES];
    struct mr_svg svg;
    const mr_status status =
        mr_svg_begin(&svg, path, left + side + 30, TOP + side + 60, "rows by label and prediction", err);
    if (status) return status;
    for (size_t k = 0; k < count; k++) {
        const double at = cell * ((double)k + 0.5);
        const uint64_t *const row = result->classes.confusion + k * count;
        const char *const name = mr_eval_class_name(result->info, k, text);
        name_draw(&svg, left - 6, TOP + at + 4, MR_SVG_RIGHT, name);
        name_draw(&svg, left + at, TOP + side + 16, MR_SVG_MIDDLE, name);
        for (size_t other = 0; other < count; other++) {
            const double x = left + cell * (double)other, y = TOP + cell * (double)k;
            const double share = row[other] ? (double)row[other] / (double)result->class_metric[k].rows : 0;
            mr_svg_rect(&svg, x, y, cell - 1, cell - 1, other == k ? MR_SVG_BLUE : "#c0392b", 0.04 + 0.76 * share);
            snprintf(text, sizeof text, "%llu", (unsigned long long)row[other]);
            mr_svg_text(&svg, x + cell / 2, y + cell / 2 + 4, MR_SVG_MIDDLE, count > 12 ? 9 : 12, text);
        }
    }
    mr_svg_text(&svg, left + side / 2, TOP + side + 38, MR_SVG_MIDDLE, 12, "prediction");
    mr_svg_text(&svg, left, TOP - 8, MR_SVG_LEFT, 12, "label");
    return mr_svg_end(&svg, err);
}

static mr_status calibration_draw(const struct eval_result *result, const char *path, struct mr_err *err)
{
    static const double diagonal[] = {0, 1};
    double x[MR_BIN_COUNT], y[MR_BIN_COUNT];
    size_t count = 0;
    struct mr_svg svg;
    const mr_status status = mr_svg_begin(&svg, path, LEFT + SIDE + 30, TOP + SIDE + 60, "calibration", err);
    if (status) return status;
    const struct mr_plot plot = square(&svg);
    mr_plot_axes(&plot,
                 result->info->class_count == 2 ? "probability of the second class"
                                                : "probability of the predicted class",
                 "share of the rows where it is so");
    for (size_t bin = 0; bin < MR_BIN_COUNT; bin++) {
        const struct mr_bin *const at = &result->classes.bin[bin];
        if (!at->rows) continue;
        x[count] = at->probability / (double)at->rows;
        y[count++] = (double)at->hits / (double)at->rows;
        const double share = (double)at->rows / (double)result->rows; /* how many rows there are, from the bottom */
        mr_svg_rect(&svg, mr_plot_x(&plot, (double)bin / MR_BIN_COUNT) + 1, mr_plot_y(&plot, share),
                    SIDE / MR_BIN_COUNT - 2, mr_plot_y(&plot, 0) - mr_plot_y(&plot, share), MR_SVG_GREY, 0.25);
    }
    mr_plot_line(&plot, diagonal, diagonal, 2, MR_SVG_GREY, 0);
    mr_plot_line(&plot, x, y, count, MR_SVG_BLUE, 1);
    return mr_svg_end(&svg, err);
}

static void curve_draw(const struct mr_plot *plot, const struct eval_result *result, size_t k, size_t *drawn)
{
    struct mr_roc_point point[CURVE_CAP];
    double x[CURVE_CAP], y[CURVE_CAP];
    char text[EVAL_NAME_BYTES], line[64];
    const size_t count = mr_class_sums_curve(&result->classes, k, point, CURVE_CAP);
    for (size_t i = 0; i < count; i++) {
        x[i] = point[i].false_rate;
        y[i] = point[i].true_rate;
    }
    if (!count) return;
    mr_plot_line(plot, x, y, count, colours[*drawn], 0);
    const double at = mr_plot_y(plot, 0.04 + 0.05 * (double)*drawn);
    mr_svg_line(plot->svg, mr_plot_x(plot, 0.5), at - 4, mr_plot_x(plot, 0.55), at - 4, colours[*drawn], 2);
    snprintf(line, sizeof line, "%.20s: AUC %.4f", mr_eval_class_name(result->info, k, text),
             result->class_metric[k].auc);
    mr_svg_text(plot->svg, mr_plot_x(plot, 0.57), at, MR_SVG_LEFT, 11, line);
    ++*drawn;
}

static mr_status roc_draw(const struct eval_result *result, const char *path, struct mr_err *err)
{
    static const double diagonal[] = {0, 1};
    struct mr_svg svg;
    size_t drawn = 0;
    const mr_status status =
        mr_svg_begin(&svg, path, LEFT + SIDE + 30, TOP + SIDE + 60, "receiver operating characteristic", err);
    if (status) return status;
    const struct mr_plot plot = square(&svg);
    mr_plot_axes(&plot, "false positives, share of the others", "true positives, share of the class");
    mr_plot_line(&plot, diagonal, diagonal, 2, MR_SVG_GREY, 0);
    for (size_t k = result->info->class_count == 2; k < result->info->class_count && drawn < CURVES_MAX; k++)
        curve_draw(&plot, result, k, &drawn);
    return mr_svg_end(&svg, err);
}

mr_status mr_eval_draw(const struct eval_result *result, const char *folder, struct mr_err *err)
{
    char path[4096];
    const struct {
        const char *name;
        bool is_wanted;
        mr_status (*draw)(const struct eval_result *result, const char *path, struct mr_err *err);
    } pictures[] = {{"confusion.svg", result->info->class_count <= CELLS_MAX, matrix_draw},
                    {"calibration.svg", result->classes.has_probability, calibration_draw},
                    {"roc.svg", result->classes.kept != NULL, roc_draw}};
    mr_status status = MR_OK;
    if (result->kind != EVAL_CLASSES) return mr_fail(err, MR_EUSAGE, "--svg: there are pictures of classifiers only");
    if (mkdir(folder, 0777) && errno != EEXIST) return mr_fail(err, MR_EIO, "%s: %s", folder, strerror(errno));
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures && !status; i++) {
        const int bytes = snprintf(path, sizeof path, "%s/%s", folder, pictures[i].name);
        if (bytes >= (int)sizeof path) return mr_fail(err, MR_EUSAGE, "--svg: the folder's name is too long");
        if (pictures[i].is_wanted) status = pictures[i].draw(result, path, err);
    }
    return status;
}
