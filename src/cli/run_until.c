#include "cli/run_until.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kafka/feed.h"

#define UNTIL_US_MAX    (365 * 86400 * 1e6)
#define UNTIL_COUNT_MAX 1e15

mr_status mr_until_parse(const char *text, struct mr_until *until_out, struct mr_err *err)
{
    char *end;
    double value;
    *until_out = (struct mr_until){0};
    if (!text) return MR_OK;
    if (!strcmp(text, "end")) {
        until_out->end = true;
        return MR_OK;
    }
    value = strtod(text, &end);
    const double unit = !strcmp(end, "s")    ? 1e6
                        : !strcmp(end, "ms") ? 1e3
                        : !strcmp(end, "m")  ? 60e6
                        : !strcmp(end, "h")  ? 3600e6
                                             : 0;
    const bool is_decimal =
        isdigit((unsigned char)*text) && !strpbrk(text, "xX"); /* strtod takes inf, nan and 0x10 too */
    if (is_decimal && unit > 0 && value * unit >= 1 && value * unit <= UNTIL_US_MAX)
        until_out->duration_us = (int64_t)(value * unit);
    else if (is_decimal && !*end && value >= 1 && value <= UNTIL_COUNT_MAX && value == (double)(int64_t)value)
        until_out->records = (int64_t)value;
    else
        return mr_fail(err, MR_EUSAGE,
                       "--until \"%s\": give end, a duration (30s, 5m, 1h; at most 8760h) or a whole number of "
                       "messages (at most 1e15)",
                       text);
    return MR_OK;
}

bool mr_until_is_limited(const struct mr_until *until)
{
    return until->end || until->duration_us || until->records;
}

mr_status mr_until_bound(struct mr_until *until, const char *feed, struct mr_err *err)
{
    struct stat info;
    uint64_t count = 0;
    if (!feed || !until->end) return MR_OK;
    if (!strcmp(feed, "-") || (!stat(feed, &info) && !S_ISREG(info.st_mode))) {
        return mr_fail(err, MR_EUSAGE,
                       "--feed %s --until end: the lines of a stream cannot be counted before they are sent: give a "
                       "file, or a duration or a count to --until",
                       feed);
    }
    const mr_status status = mr_feed_count(feed, &count, err);
    if (count) *until = (struct mr_until){.records = (int64_t)count}; /* 0 would be no limit */
    return status;
}

mr_status mr_until_cut(struct mr_err *err)
{
    return mr_fail(err, MR_ERETRY, "stopped before it was where --until ends it: start again to go on");
}
