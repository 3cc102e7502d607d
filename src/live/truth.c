#include "live/truth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mr_truths_take(struct mr_truths *truths, const struct mr_job *job, int64_t offset)
{
    const struct mr_map *const stated = &job->http.truth;
    truths->count = 0;
    for (size_t i = 0; i < stated->count && truths->count < MR_TRUTH_MAX; i++) {
        struct mr_truth *const truth = &truths->item[truths->count++];
        snprintf(truth->name, sizeof truth->name, "%s", stated->item[i].key);
        truth->value = strtod(stated->item[i].value, NULL);
    }
    if (!job->source->truth) return;
    const size_t room = MR_TRUTH_MAX - truths->count;
    const size_t count = job->source->truth(job->source_options, offset, truths->item + truths->count, room);
    truths->count += count < room ? count : room;
}

double mr_truths_find(const struct mr_truths *truths, const char *name)
{
    for (size_t i = 0; i < truths->count; i++) {
        if (!strcmp(truths->item[i].name, name)) return truths->item[i].value;
    }
    return NAN;
}
