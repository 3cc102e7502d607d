/* The files of the page, as the build has compressed them (cmake/page.cmake). */
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "live/inside.h"

#define EMBED(symbol, name)                                                                                            \
    __asm__(".section .rodata\n.balign 16\n" #symbol "_first:\n.incbin \"" MR_PAGE_FOLDER "/" name ".gz\"\n" #symbol   \
            "_end:\n.previous\n");                                                                                     \
    extern const char symbol##_first[] __asm__(#symbol "_first"), symbol##_end[] __asm__(#symbol "_end")

EMBED(mr_page_index, "index.html");
EMBED(mr_page_style, "style.css");
EMBED(mr_page_main, "main.js");
EMBED(mr_page_data, "data.js");
EMBED(mr_page_draw, "draw.js");
EMBED(mr_page_card, "card.js");
EMBED(mr_page_panels, "panels.js");
EMBED(mr_page_results, "results.js");
EMBED(mr_page_machine, "machine.js");
EMBED(mr_page_icon, "icon.svg");
#ifdef MR_HAS_UPLOT
EMBED(mr_page_uplot, "uPlot.iife.min.js");
EMBED(mr_page_uplot_style, "uPlot.min.css");
EMBED(mr_page_uplot_licence, "LICENSE");
#endif

static const char html[] = "text/html; charset=utf-8", script[] = "text/javascript; charset=utf-8",
                  style[] = "text/css; charset=utf-8", icon[] = "image/svg+xml", text[] = "text/plain; charset=utf-8";

static const struct file {
    const char *first, *end, *type;
    char *etag; /* room for it; made at the first answer, on the server's only thread */
} index_file = {mr_page_index_first, mr_page_index_end, html, (char[24]){""}},
  style_file = {mr_page_style_first, mr_page_style_end, style, (char[24]){""}},
  main_file = {mr_page_main_first, mr_page_main_end, script, (char[24]){""}},
  data_file = {mr_page_data_first, mr_page_data_end, script, (char[24]){""}},
  draw_file = {mr_page_draw_first, mr_page_draw_end, script, (char[24]){""}},
  card_file = {mr_page_card_first, mr_page_card_end, script, (char[24]){""}},
  panels_file = {mr_page_panels_first, mr_page_panels_end, script, (char[24]){""}},
  results_file = {mr_page_results_first, mr_page_results_end, script, (char[24]){""}},
  machine_file = {mr_page_machine_first, mr_page_machine_end, script, (char[24]){""}},
  icon_file = {mr_page_icon_first, mr_page_icon_end, icon, (char[24]){""}};
#ifdef MR_HAS_UPLOT
static const struct file uplot_file = {mr_page_uplot_first, mr_page_uplot_end, script, (char[24]){""}},
                         uplot_style_file = {mr_page_uplot_style_first, mr_page_uplot_style_end, style, (char[24]){""}},
                         uplot_licence_file = {mr_page_uplot_licence_first, mr_page_uplot_licence_end, text,
                                               (char[24]){""}};
#endif

static void file_answer(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    const struct file *const file = context;
    (void)request;
    if (!*file->etag)
        snprintf(file->etag, 24, "\"%016llx\"",
                 (unsigned long long)XXH3_64bits(file->first, (size_t)(file->end - file->first)));
    answer->type = file->type;
    answer->etag = file->etag;
    answer->body = file->first;
    answer->bytes = (size_t)(file->end - file->first);
    answer->is_gzip = true;
}

const struct mr_http_route mr_live_page[] = {
    {.path = "/", .handle = file_answer, .argument = &index_file},
    {.path = "/style.css", .handle = file_answer, .argument = &style_file},
    {.path = "/main.js", .handle = file_answer, .argument = &main_file},
    {.path = "/data.js", .handle = file_answer, .argument = &data_file},
    {.path = "/draw.js", .handle = file_answer, .argument = &draw_file},
    {.path = "/card.js", .handle = file_answer, .argument = &card_file},
    {.path = "/panels.js", .handle = file_answer, .argument = &panels_file},
    {.path = "/results.js", .handle = file_answer, .argument = &results_file},
    {.path = "/machine.js", .handle = file_answer, .argument = &machine_file},
    {.path = "/icon.svg", .handle = file_answer, .argument = &icon_file},
#ifdef MR_HAS_UPLOT
    {.path = "/uplot.js", .handle = file_answer, .argument = &uplot_file},
    {.path = "/uplot.css", .handle = file_answer, .argument = &uplot_style_file},
    {.path = "/licence.txt", .handle = file_answer, .argument = &uplot_licence_file},
#endif
};
const size_t mr_live_page_count = sizeof mr_live_page / sizeof *mr_live_page;
