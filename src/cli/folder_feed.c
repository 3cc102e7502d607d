#include "cli/folder_feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pace.h"

#define STEP_US 50000 /* between two looks at feed->stop */

struct filling {
    struct mr_feed *feed;
    const char *name; /* of the file that is sent, without its folder */
    struct mr_pace pace;
    FILE *out; /* NULL: none is begun */
    int64_t lines;
    unsigned long long files;
    char *hidden;
    const char *folder;
};

/* Waits until the rate allows the next line, or the feed is stopped. */
static void pace(const struct filling *filling)
{
    const struct mr_feed *const feed = filling->feed;
    const int64_t index = (int64_t)feed->sent;
    while (!feed->stop && mr_pace_due(&filling->pace) <= index) mr_pace_wait(&filling->pace, index, STEP_US);
}

static mr_status failed(const struct filling *filling, struct mr_err *err)
{
    return mr_fail(err, MR_EIO, "a file for %s could not be written: %s", filling->folder, strerror(errno));
}

/* The file is whole: it gets its name. */
static mr_status file_hand_over(struct filling *filling, struct mr_err *err)
{
    const char *const dot = strrchr(filling->name, '.');
    const int stem_bytes = dot ? (int)(dot - filling->name) : (int)strlen(filling->name);
    char *path = NULL;
    if (!filling->out) return MR_OK;
    const bool is_closed = !fclose(filling->out);
    filling->out = NULL;
    if (!is_closed) return failed(filling, err);
    if (asprintf(&path, "%s/%.*s-%06llu%s", filling->folder, stem_bytes, filling->name, ++filling->files,
                 dot ? dot : "") < 0)
        return mr_fail(err, MR_ENOMEM, "out of memory");
    const mr_status status = rename(filling->hidden, path) ? failed(filling, err) : MR_OK;
    free(path);
    return status;
}

static mr_status line_put(struct filling *filling, const char *line, size_t bytes, struct mr_err *err)
{
    if (!filling->out) {
        pace(filling);
        if (filling->feed->stop) return MR_OK;
        filling->lines = 0;
        if (!(filling->out = fopen(filling->hidden, "we"))) return failed(filling, err);
    }
    if (fwrite(line, 1, bytes, filling->out) != bytes || putc('\n', filling->out) == EOF) return failed(filling, err);
    filling->feed->sent++;
    return ++filling->lines == filling->feed->lines_per_message ? file_hand_over(filling, err) : MR_OK;
}

/* The file once. */
static mr_status file_send(struct filling *filling, struct mr_err *err)
{
    const struct mr_feed *const feed = filling->feed;
    FILE *const in = fopen(feed->path, "re");
    mr_status status = in ? MR_OK : mr_fail(err, MR_EINPUT, "%s: %s", feed->path, strerror(errno));
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t taken; !status && !feed->stop && (taken = getline(&line, &cap, in)) >= 0;) {
        while (taken > 0 && (line[taken - 1] == '\n' || line[taken - 1] == '\r')) taken--;
        if (taken > 0) status = line_put(filling, line, (size_t)taken, err);
    }
    free(line);
    if (in) fclose(in);
    return status;
}

mr_status mr_folder_feed_run(struct mr_feed *feed, const char *folder, struct mr_err *err)
{
    const char *const slash = strrchr(feed->path, '/');
    struct filling filling = {.feed = feed, .name = slash ? slash + 1 : feed->path, .folder = folder};
    mr_status status = MR_OK;
    if (asprintf(&filling.hidden, "%s/.next", folder) < 0) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_pace_begin(&filling.pace, feed->records_per_s);
    for (int64_t i = 0; i < feed->repeat && !status && !feed->stop; i++) {
        const uint64_t before = feed->sent;
        status = file_send(&filling, err);
        if (!status && feed->sent == before && !feed->stop)
            status = mr_fail(err, MR_EINPUT, "%s: there is no line in it", feed->path);
    }
    if (!status && !feed->stop) status = file_hand_over(&filling, err);
    if (filling.out) fclose(filling.out);
    if (filling.out) remove(filling.hidden);
    free(filling.hidden);
    return status;
}
