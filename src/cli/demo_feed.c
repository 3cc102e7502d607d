#include "cli/demo_feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WORD_BYTES        256
#define RATE_MAX          1e6
#define LINES_MAX         1000000
#define END_IS(text, end) (strlen(text) > sizeof(end) - 1 && !strcmp((text) + strlen(text) - (sizeof(end) - 1), (end)))

/* A line of words. */
struct words {
    char file[WORD_BYTES], to[WORD_BYTES];
    double rate;
    long long lines;
    bool is_folder; /* to, without its slash */
};

/* False: it is no feed. Names lie in the work folder: there is no way out of it. */
static bool line_read(const char *line, struct words *words)
{
    char rest[2];
    *words = (struct words){.lines = 1};
    const int count =
        sscanf(line, "%255s %255s %lf %lld %1s", words->file, words->to, &words->rate, &words->lines, rest);
    words->is_folder = count >= 2 && END_IS(words->to, "/");
    if (words->is_folder) words->to[strlen(words->to) - 1] = '\0';
    if (END_IS(words->file, ".gz")) words->file[strlen(words->file) - 3] = '\0';
    return count == (words->is_folder ? 4 : 3) && words->rate > 0 && words->rate <= RATE_MAX && words->lines > 0 &&
           words->lines <= LINES_MAX && !strchr(words->file, '/') && !strchr(words->to, '/') && words->to[0] != '.';
}

static mr_status feed_add(struct mr_demo_feeds *feeds, const char *work, const char *line, struct mr_err *err)
{
    struct words words;
    char *path = NULL, *where = NULL;
    if (!line_read(line, &words))
        return mr_fail(err, MR_EDATA,
                       "expected FILE TOPIC RATE or FILE FOLDER/ RATE LINES, rates up to %.0f lines a second",
                       RATE_MAX);
    if (feeds->count == MR_RUN_FEEDS_MAX) return mr_fail(err, MR_EDATA, "more than %d feeds", MR_RUN_FEEDS_MAX);
    if (asprintf(&path, "%s/%s", work, words.file) < 0) return mr_fail(err, MR_ENOMEM, "out of memory");
    struct mr_run_feed_from *const feed = &feeds->item[feeds->count++];
    *feed = (struct mr_run_feed_from){.path = path,
                                      .records_per_s = words.rate,
                                      .lines = words.lines,
                                      .repeat = INT64_MAX,
                                      .has_keys = !words.is_folder && END_IS(words.file, ".tsv")};
    if (!words.is_folder) {
        feed->topic = strdup(words.to);
        return feed->topic ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    }
    if (asprintf(&where, "%s/%s", work, words.to) < 0) return mr_fail(err, MR_ENOMEM, "out of memory");
    feed->folder = where;
    return mkdir(where, 0700) && errno != EEXIST ? mr_fail(err, MR_EIO, "%s: %s", where, strerror(errno)) : MR_OK;
}

mr_status mr_demo_feeds_read(const char *work, struct mr_demo_feeds *feeds, struct mr_err *err)
{
    mr_status status = MR_OK;
    char *path = NULL, *line = NULL;
    size_t cap = 0, number = 0;
    *feeds = (struct mr_demo_feeds){0};
    if (asprintf(&path, "%s/demo.feed", work) < 0) return mr_fail(err, MR_ENOMEM, "out of memory");
    FILE *const file = fopen(path, "re");
    if (!file && errno != ENOENT) status = mr_fail(err, MR_EINPUT, "%s: %s", path, strerror(errno));
    while (file && !status && getline(&line, &cap, file) >= 0) {
        struct mr_err why;
        number++;
        line[strcspn(line, "#\r\n")] = '\0';
        if (!line[strspn(line, " \t")]) continue;
        status = feed_add(feeds, work, line, &why);
        if (status) mr_fail(err, status, "demo.feed:%zu: %.700s", number, why.text);
    }
    if (file) fclose(file);
    free(line);
    free(path);
    return status;
}

void mr_demo_feeds_free(struct mr_demo_feeds *feeds)
{
    for (size_t i = 0; i < feeds->count; i++) {
        free((void *)(uintptr_t)feeds->item[i].path);
        free((void *)(uintptr_t)feeds->item[i].topic);
        free((void *)(uintptr_t)feeds->item[i].folder);
    }
    *feeds = (struct mr_demo_feeds){0};
}

void mr_demo_feeds_pace(struct mr_demo_feeds *feeds, double records_per_s)
{
    double sum = 0;
    for (size_t i = 0; i < feeds->count; i++) sum += feeds->item[i].records_per_s;
    for (size_t i = 0; i < feeds->count; i++) feeds->item[i].records_per_s *= records_per_s / sum;
}
