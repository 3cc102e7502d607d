/** What stands at the other end of stdout and stderr: a terminal or not, its colours and its width. */
#ifndef MR_BASE_TERM_H
#define MR_BASE_TERM_H

#include <stdbool.h>

typedef enum {
    MR_STYLE_PLAIN, /* ends any other style */
    MR_STYLE_BOLD,
    MR_STYLE_DIM,
    MR_STYLE_RED,
    MR_STYLE_GREEN,
    MR_STYLE_YELLOW,
    MR_STYLE_BLUE,
} mr_style;

/** True when a moving line makes sense there: fd is a terminal, and TERM is neither "dumb" nor empty. */
bool mr_term_is_live(int fd);

/** True when fd takes colours: it is live, NO_COLOR is unset or empty, and --no-color was not given. */
bool mr_term_has_color(int fd);

/** --no-color. Call it before any thread starts. */
void mr_term_color_forbid(void);

/** Escape sequence of a style, or "" when fd takes no colours. Never NULL. */
const char *mr_term_style(int fd, mr_style style);

/** Columns of the terminal at fd, 20 or more; 80 when it is none or says nothing. */
unsigned mr_term_width(int fd);

#endif
