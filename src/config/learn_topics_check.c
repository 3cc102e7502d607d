/* record.learn_topics: what it names, and what it goes with. */
#include <string.h>

#include "base/near.h"
#include "config/load.h"
#include "config/roles.h"

/* Each is a topic that the source reads; a source that reads a pattern may read any. */
static void names_check(struct mr_load *load, const struct mr_strings *topics)
{
    const struct mr_strings *const wanted = &load->job->record.learn_topics;
    for (size_t i = 0; i < wanted->count; i++) {
        const char *const name = wanted->item[i];
        const uint32_t node = mr_load_find_item(load, "record", "learn_topics", i);
        bool is_known = false;
        struct mr_near near;
        mr_near_start(&near, name);
        for (size_t k = 0; k < topics->count; k++) {
            is_known |= topics->item[k][0] == '^' || !strcmp(topics->item[k], name);
            mr_near_offer(&near, topics->item[k]);
        }
        if (*name == '^') {
            mr_load_error(load, node, "expected the name of a topic");
        } else if (*name && !is_known) {
            mr_load_error(load, node, "no topic of that name in source.topics");
            mr_load_suggest(load, mr_near_best(&near));
        }
    }
}

static bool a_model_learns(const struct mr_job *job)
{
    bool learns = false;
    for (size_t i = 0; i < job->model_count; i++) learns |= !job->model[i].ops || mr_job_model_learns(&job->model[i]);
    return learns;
}

/* What is kept of what was learned tells of all records that came. */
static const char *state_of(const struct mr_job *job)
{
    if (job->delivery == MR_DELIVERY_EXACTLY_ONCE) return "delivery \"exactly-once\"";
    if (job->state.file) return "state.file";
    return NULL;
}

void mr_load_check_learn_topics(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    const uint32_t node = mr_load_find(load, "record", "learn_topics");
    if (!job->record.learn_topics.count || !job->source) return;
    const struct mr_strings *const topics = mr_job_topics(job);
    if (!topics)
        mr_load_error(load, node, "a source of type %s reads no topics", job->source->name);
    else
        names_check(load, topics);
    if (!a_model_learns(job)) mr_load_error(load, node, "has no effect: no model of the job learns");
    if (job->labels.topics.count)
        mr_load_error(load, node, "does not go with labels: models learn from the records whose labels come");
    if (job->batch.by == MR_BATCH_OFFSETS)
        mr_load_error(load, node, "does not go with batch.by \"offsets\", which learns from one topic");
    if (state_of(job))
        mr_load_error(load, node, "does not go with %s yet: expected models[].save alone", state_of(job));
}
