#include "plot/svg.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define TICKS      5
#define TITLE_SIZE 15
#define TEXT_SIZE  11

/* Text as SVG has it: no character of markup, and none that no XML may have. */
static void text_escape(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc((unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text, out);
        }
    }
}

mr_status mr_svg_begin(struct mr_svg *svg, const char *path, double width, double height, const char *title,
                       struct mr_err *err)
{
    *svg = (struct mr_svg){.out = fopen(path, "we"), .path = path};
    if (!svg->out) return mr_fail(err, MR_EIO, "%s: %s", path, strerror(errno));
    fprintf(svg->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g %g\" "
            "font-family=\"sans-serif\" fill=\"#222\">\n",
            width, height, width, height);
    fputs("<title>", svg->out);
    text_escape(svg->out, title);
    fputs("</title>\n", svg->out);
    mr_svg_rect(svg, 0, 0, width, height, "#fff", 1);
    mr_svg_text(svg, width / 2, TITLE_SIZE + 7, MR_SVG_MIDDLE, TITLE_SIZE, title);
    return MR_OK;
}

void mr_svg_rect(struct mr_svg *svg, double x, double y, double width, double height, const char *fill, double opacity)
{
    fprintf(svg->out,
            "<rect x=\"%.6g\" y=\"%.6g\" width=\"%.6g\" height=\"%.6g\" fill=\"%s\" fill-opacity=\"%.4g\"/>\n", x, y,
            width, height, fill, opacity);
}

void mr_svg_line(struct mr_svg *svg, double x1, double y1, double x2, double y2, const char *colour, double width)
{
    fprintf(svg->out, "<line x1=\"%.6g\" y1=\"%.6g\" x2=\"%.6g\" y2=\"%.6g\" stroke=\"%s\" stroke-width=\"%g\"/>\n", x1,
            y1, x2, y2, colour, width);
}

void mr_svg_text(struct mr_svg *svg, double x, double y, mr_svg_anchor anchor, double size, const char *text)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    fprintf(svg->out, "<text x=\"%.6g\" y=\"%.6g\" text-anchor=\"%s\" font-size=\"%g\">", x, y, anchors[anchor], size);
    text_escape(svg->out, text);
    fputs("</text>\n", svg->out);
}

mr_status mr_svg_end(struct mr_svg *svg, struct mr_err *err)
{
    fputs("</svg>\n", svg->out);
    const int has_failed = ferror(svg->out);
    if (!fclose(svg->out) && !has_failed) return MR_OK;
    const int reason = errno;
    unlink(svg->path);
    return mr_fail(err, MR_EIO, "%s: %s", svg->path, strerror(reason));
}

double mr_plot_x(const struct mr_plot *plot, double x)
{
    return plot->left + (x - plot->x_min) / (plot->x_max - plot->x_min) * plot->width;
}

double mr_plot_y(const struct mr_plot *plot, double y)
{
    return plot->top + (plot->y_max - y) / (plot->y_max - plot->y_min) * plot->height;
}

void mr_plot_axes(const struct mr_plot *plot, const char *x_name, const char *y_name)
{
    struct mr_svg *const svg = plot->svg;
    const double bottom = plot->top + plot->height, right = plot->left + plot->width;
    char text[32];
    for (int i = 0; i <= TICKS; i++) {
        const double x = plot->x_min + (plot->x_max - plot->x_min) * i / TICKS,
                     y = plot->y_min + (plot->y_max - plot->y_min) * i / TICKS;
        mr_svg_line(svg, mr_plot_x(plot, x), plot->top, mr_plot_x(plot, x), bottom, "#e4e6ea", 1);
        mr_svg_line(svg, plot->left, mr_plot_y(plot, y), right, mr_plot_y(plot, y), "#e4e6ea", 1);
        snprintf(text, sizeof text, "%.4g", x);
        mr_svg_text(svg, mr_plot_x(plot, x), bottom + 16, MR_SVG_MIDDLE, TEXT_SIZE, text);
        snprintf(text, sizeof text, "%.4g", y);
        mr_svg_text(svg, plot->left - 6, mr_plot_y(plot, y) + 4, MR_SVG_RIGHT, TEXT_SIZE, text);
    }
    mr_svg_text(svg, plot->left + plot->width / 2, bottom + 36, MR_SVG_MIDDLE, TEXT_SIZE + 1, x_name);
    mr_svg_text(svg, plot->left, plot->top - 8, MR_SVG_LEFT, TEXT_SIZE + 1, y_name);
}

void mr_plot_line(const struct mr_plot *plot, const double *x, const double *y, size_t count, const char *colour,
                  int has_dots)
{
    FILE *const out = plot->svg->out;
    fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" points=\"", colour);
    for (size_t i = 0; i < count; i++) fprintf(out, "%.5g,%.5g ", mr_plot_x(plot, x[i]), mr_plot_y(plot, y[i]));
    fputs("\"/>\n", out);
    for (size_t i = 0; has_dots && i < count; i++)
        fprintf(out, "<circle cx=\"%.5g\" cy=\"%.5g\" r=\"3.2\" fill=\"%s\"/>\n", mr_plot_x(plot, x[i]),
                mr_plot_y(plot, y[i]), colour);
}
