#include "sink/file/holders.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD       "millrace 1"
#define FILE_CHARS 16

/* " FILE:SINCE" at *at, which goes behind it. */
static bool holder_take(const char **at, struct mr_holder *out)
{
    static const char digits[] = "0123456789abcdef";
    char *end;
    if (**at != ' ' || strspn(*at + 1, digits) != FILE_CHARS || (*at)[1 + FILE_CHARS] != ':') return false;
    const char *const number = *at + 1 + FILE_CHARS + 1;
    if (*number < '0' || *number > '9') return false;
    out->file = strtoull(*at + 1, NULL, 16);
    errno = 0;
    out->since = strtoll(number, &end, 10);
    *at = end;
    return !errno;
}

void mr_holders_parse(const char *text, struct mr_holders *holders_out)
{
    struct mr_holders found = {0};
    const char *at = text + strlen(HEAD);
    *holders_out = (struct mr_holders){0};
    if (strncmp(text, HEAD, strlen(HEAD)) != 0) return;
    while (*at) {
        if (found.count == MR_HOLDERS_MAX || !holder_take(&at, &found.holder[found.count])) return;
        if (found.count && found.holder[found.count].since < found.holder[found.count - 1].since) return;
        found.count++;
    }
    *holders_out = found;
}

void mr_holders_print(const struct mr_holders *holders, char text[MR_HOLDERS_TEXT_MAX])
{
    int at = snprintf(text, MR_HOLDERS_TEXT_MAX, HEAD);
    for (size_t i = 0; i < holders->count; i++)
        at += snprintf(text + at, MR_HOLDERS_TEXT_MAX - (size_t)at, " %016" PRIx64 ":%" PRId64, holders->holder[i].file,
                       holders->holder[i].since);
}

void mr_holders_take(struct mr_holders *holders, uint64_t file, int64_t since)
{
    if (holders->count && holders->holder[holders->count - 1].file == file) return;
    /* The group went back: who has held what is behind is told by nobody any more. */
    while (holders->count && holders->holder[holders->count - 1].since > since) holders->count--;
    if (holders->count && holders->holder[holders->count - 1].file == file) return;
    if (holders->count == MR_HOLDERS_MAX)
        memmove(holders->holder, holders->holder + 1, --holders->count * sizeof *holders->holder);
    holders->holder[holders->count++] = (struct mr_holder){file, since};
}

mr_held mr_holders_of(const struct mr_holders *holders, uint64_t file, int64_t offset)
{
    size_t at = holders->count;
    while (at && holders->holder[at - 1].since > offset) at--;
    if (!at) return MR_HELD_UNKNOWN;
    if (holders->holder[at - 1].file != file) return MR_HELD_ELSEWHERE;
    return at == holders->count ? MR_HELD_HERE : MR_HELD_HERE_BEFORE;
}
