/** Pictures as SVG files: shapes and text in pixels, and a frame with axes in which points stand by their values. */
#ifndef MR_PLOT_SVG_H
#define MR_PLOT_SVG_H

#include <stdio.h>

#include "millrace/status.h"

#define MR_SVG_BLUE "#1f6fb2"
#define MR_SVG_GREY "#8a8f98"

struct mr_svg {
    FILE *out;
    const char *path;
};

typedef enum { MR_SVG_LEFT, MR_SVG_MIDDLE, MR_SVG_RIGHT } mr_svg_anchor;

/** Creates the file, with a white ground and the title at the top. MR_EIO. path is used until end. */
mr_status mr_svg_begin(struct mr_svg *svg, const char *path, double width, double height, const char *title,
                       struct mr_err *err);
void mr_svg_rect(struct mr_svg *svg, double x, double y, double width, double height, const char *fill, double opacity);
void mr_svg_line(struct mr_svg *svg, double x1, double y1, double x2, double y2, const char *colour, double width);
void mr_svg_text(struct mr_svg *svg, double x, double y, mr_svg_anchor anchor, double size, const char *text);
/** Ends the file. MR_EIO: not all of it could be written; then it is removed. */
mr_status mr_svg_end(struct mr_svg *svg, struct mr_err *err);

/** A frame within a picture, and what its edges stand for. */
struct mr_plot {
    struct mr_svg *svg;
    double left, top, width, height;
    double x_min, x_max, y_min, y_max; /* max larger than min */
};

/** Frame, ticks with their values, and what the axes are called. */
void mr_plot_axes(const struct mr_plot *plot, const char *x_name, const char *y_name);
/** Pixels of a value. */
double mr_plot_x(const struct mr_plot *plot, double x);
double mr_plot_y(const struct mr_plot *plot, double y);
/** A line through points; has_dots: each of them is marked. */
void mr_plot_line(const struct mr_plot *plot, const double *x, const double *y, size_t count, const char *colour,
                  int has_dots);

#endif
