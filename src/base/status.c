#include "millrace/status.h"

#include <stdarg.h>
#include <stdio.h>

/* Exit codes are sysexits numbers (README.md, "Exit codes"). */
static const struct {
    const char *name;
    int exit_code;
} statuses[] = {
    [MR_OK] = {"ok", 0},           [MR_AGAIN] = {"again", 75},          [MR_END] = {"end", 0},
    [MR_EUSAGE] = {"usage", 64},   [MR_ECONFIG] = {"config", 78},       [MR_EDATA] = {"data", 65},
    [MR_EINPUT] = {"input", 66},   [MR_EKAFKA] = {"kafka", 69},         [MR_ESINK] = {"sink", 69},
    [MR_EIO] = {"io", 74},         [MR_ENOMEM] = {"memory", 71},        [MR_EBACKEND] = {"backend", 69},
    [MR_EFENCED] = {"fenced", 73}, [MR_EINVARIANT] = {"invariant", 70}, [MR_ERETRY] = {"retry", 75},
    [MR_EDIFFER] = {"differ", 1},  [MR_ERESTART] = {"restart", 75},
};

mr_status(mr_fail)(struct mr_err *err, mr_status status, const char *format, ...)
{
    if (err) {
        va_list arguments;
        err->status = status;
        va_start(arguments, format);
        vsnprintf(err->text, sizeof err->text, format, arguments);
        va_end(arguments);
    }
    return status;
}

const char *mr_status_name(mr_status status)
{
    return (size_t)status < sizeof statuses / sizeof *statuses ? statuses[status].name : "unknown";
}

int mr_status_exit(mr_status status)
{
    return (size_t)status < sizeof statuses / sizeof *statuses ? statuses[status].exit_code : 70;
}
