#include "base/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 20 };

static bool is_color_forbidden;

bool mr_term_is_live(int fd)
{
    const char *const term = getenv("TERM");
    return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

bool mr_term_has_color(int fd)
{
    const char *const no_color = getenv("NO_COLOR");
    return !is_color_forbidden && !(no_color && *no_color) && mr_term_is_live(fd);
}

void mr_term_color_forbid(void)
{
    is_color_forbidden = true;
}

const char *mr_term_style(int fd, mr_style style)
{
    static const char *const sequences[] = {
        [MR_STYLE_PLAIN] = "\033[0m", [MR_STYLE_BOLD] = "\033[1m",   [MR_STYLE_DIM] = "\033[2m",
        [MR_STYLE_RED] = "\033[31m",  [MR_STYLE_GREEN] = "\033[32m", [MR_STYLE_YELLOW] = "\033[33m",
        [MR_STYLE_BLUE] = "\033[34m",
    };
    return mr_term_has_color(fd) ? sequences[style] : "";
}

unsigned mr_term_width(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) || !size.ws_col) return WIDTH_DEFAULT;
    return size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
}
