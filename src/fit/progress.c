#include "fit/progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/term.h"

#define LIVE_NS   100000000  /* between two looks of the line */
#define LOG_NS    2000000000 /* between two log lines */
#define BAR_WIDTH 24

_Atomic bool mr_fit_is_stopped;

static void stop(int signal_number)
{
    atomic_store(&mr_fit_is_stopped, true);
    signal(signal_number, SIG_DFL);
}

void mr_fit_stop_on_signals(void)
{
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void line_clear(void)
{
    if (write(STDERR_FILENO, "\r\033[K", 4) < 0) return;
}

void mr_fit_progress_begin(struct mr_fit_progress *progress)
{
    progress->begun_ns = progress->shown_ns = mr_clock_ns();
    progress->step = 0;
    progress->has_shown = false;
}

/* "1.2 M rows/s, 3 s left at most" */
static void rate_text(const struct mr_fit_progress *progress, int64_t now_ns, char *text, size_t bytes)
{
    const double seconds = (double)(now_ns - progress->begun_ns) / 1e9;
    const double rate = (double)progress->rows * (double)progress->step / (seconds > 0 ? seconds : 1e-9);
    const double left = seconds / (double)progress->step * (double)(progress->step_max - progress->step);
    const char *const unit = rate >= 1e9 ? "G" : rate >= 1e6 ? "M" : rate >= 1e3 ? "k" : "";
    const double scale = rate >= 1e9 ? 1e9 : rate >= 1e6 ? 1e6 : rate >= 1e3 ? 1e3 : 1;
    snprintf(text, bytes, "%.3g %s rows/s, at most %.*f s left", rate / scale, unit, left < 10 ? 1 : 0, left);
}

static void live_show(struct mr_fit_progress *progress, double loss, const char *rate)
{
    char line[512], bar[BAR_WIDTH + 1];
    const size_t full = progress->step_max ? BAR_WIDTH * progress->step / progress->step_max : 0;
    memset(bar, '-', BAR_WIDTH);
    memset(bar, '=', full < BAR_WIDTH ? full : BAR_WIDTH);
    bar[BAR_WIDTH] = '\0';
    int bytes = snprintf(line, sizeof line, "%s [%s] %zu/%zu  %s %.6g  %s", progress->what, bar, progress->step,
                         progress->step_max, progress->loss_name, loss, rate);
    const unsigned width = mr_term_width(STDERR_FILENO);
    if (bytes > (int)width - 1) bytes = (int)width - 1;
    line_clear();
    if (write(STDERR_FILENO, line, (size_t)bytes) < 0) progress->is_quiet = true;
    progress->has_shown = true;
    mr_log_clear_line_set(line_clear);
}

void mr_fit_progress_step(struct mr_fit_progress *progress, size_t step, double loss)
{
    const int64_t now_ns = mr_clock_ns();
    const bool is_live = mr_term_is_live(STDERR_FILENO);
    char rate[96];
    progress->step = step;
    if (progress->is_quiet || now_ns - progress->shown_ns < (is_live ? LIVE_NS : LOG_NS)) return;
    progress->shown_ns = now_ns;
    rate_text(progress, now_ns, rate, sizeof rate);
    if (is_live)
        live_show(progress, loss, rate);
    else
        mr_log(MR_LOG_INFO, "fit", "%s: step %zu of %zu, %s %.6g, %s", progress->what, step, progress->step_max,
               progress->loss_name, loss, rate);
}

void mr_fit_progress_end(struct mr_fit_progress *progress)
{
    if (!progress->has_shown) return;
    line_clear();
    mr_log_clear_line_set(NULL);
    progress->has_shown = false;
}
