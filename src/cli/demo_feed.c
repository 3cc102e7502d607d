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

/* Adds the feed of one line of words. */
static mr_status feed_add(struct mr_demo_feeds *feeds, const char *work, const char *line, struct mr_err *err)
{
    char file[WORD_BYTES], to[WORD_BYTES], rest[2];
    double rate = 0;
    long long lines = 1;
    const int words = sscanf(line, "%255s %255s %lf %lld %1s", file, to, &rate, &lines, rest);
    const bool is_folder = words >= 2 && END_IS(to, "/");
    if (words != (is_folder ? 4 : 3) || !(rate > 0 && rate <= RATE_MAX) || lines < 1 || lines > LINES_MAX ||
        strchr(file, '/'))
        return mr_fail(err, MR_EDATA,
                       "expected FILE TOPIC RATE or FILE FOLDER/ RATE LINES, rates up to %.0f lines a second",
                       RATE_MAX);
    if (feeds->count == MR_RUN_FEEDS_MAX) return mr_fail(err, MR_EDATA, "more than %d feeds", MR_RUN_FEEDS_MAX);
    if (END_IS(file, ".gz")) file[strlen(file) - 3] = '\0';
    char *path = NULL, *where = NULL;
    if (asprintf(&path, "%s/%s", work, file) < 0) return mr_fail(err, MR_ENOMEM, "out of memory");
    struct mr_run_feed_from *const feed = &feeds->item[feeds->count++];
    *feed = (struct mr_run_feed_from){.path = path,
                                      .records_per_s = rate,
                                      .lines = lines,
                                      .repeat = INT64_MAX,
                                      .has_keys = !is_folder && END_IS(file, ".tsv")};
    if (asprintf(&where, is_folder ? "%s/%s" : "%.0s%s", work, to) < 0) return mr_fail(err, MR_ENOMEM, "out of memory");
    *(is_folder ? &feed->folder : &feed->topic) = where;
    if (!is_folder) return MR_OK;
    where[strlen(where) - 1] = '\0';
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
