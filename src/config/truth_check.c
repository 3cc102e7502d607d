/* "http": {"truth": {...}}: numbers, each of something that a model of the job learns. */
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "base/options.h"
#include "config/load.h"

static bool has_model(const struct mr_job *job, const char *type)
{
    for (size_t i = 0; i < job->model_count; i++) {
        if (job->model[i].ops && !strcmp(job->model[i].ops->name, type)) return true;
    }
    return false;
}

static bool is_feature(const struct mr_job *job, const char *name)
{
    for (size_t i = 0; i < job->record.features.count; i++) {
        if (!strcmp(job->record.features.item[i], name)) return true;
    }
    return false;
}

/* "centre[0].x", "arm[1]", "arm[new]": what stands behind the bracket; NULL: it is no such name. */
static const char *behind_bracket(const char *name, const char *word, bool is_number)
{
    const size_t bytes = strlen(word);
    if (strncmp(name, word, bytes) || name[bytes] != '[') return NULL;
    const char *const inside = name + bytes + 1, *const end = strchr(inside, ']');
    if (!end || end == inside) return NULL;
    if (is_number && strspn(inside, "0123456789") != (size_t)(end - inside)) return NULL;
    return end + 1;
}

static bool is_known(const struct mr_job *job, const char *name)
{
    const char *const axis = behind_bracket(name, "centre", true), *const rest = behind_bracket(name, "arm", false);
    if (has_model(job, "kmeans") && axis && *axis == '.' && is_feature(job, axis + 1)) return true;
    if (has_model(job, "abtest") && rest && !*rest) return true;
    return (has_model(job, "linear") || has_model(job, "logistic")) &&
           (!strcmp(name, "intercept") || is_feature(job, name));
}

void mr_load_check_truth(struct mr_load *load)
{
    static const struct mr_option number = {.key = "", .type = MR_OPT_DOUBLE};
    const struct mr_job *const job = load->job;
    const uint32_t node = mr_load_find(load, "http", "truth");
    for (size_t i = 0; i < job->http.truth.count; i++) {
        const struct mr_pair *const pair = &job->http.truth.item[i];
        const uint32_t child = mr_node_child(&load->document, node, pair->key);
        char found[MR_QUOTED_BYTES];
        double value;
        if (child == MR_NODE_NONE) continue;
        if (!mr_option_scan(&number, pair->value, &value)) {
            mr_load_error(load, child, "expected a number, found %s", mr_load_found(load, child, false, found));
        } else if (!is_known(job, pair->key)) {
            struct mr_near near;
            mr_near_start(&near, pair->key);
            for (size_t j = 0; j < job->record.features.count; j++) mr_near_offer(&near, job->record.features.item[j]);
            mr_near_offer(&near, "intercept");
            mr_load_error(load, child,
                          "no model of this job learns that: expected a feature or \"intercept\" (linear, logistic), "
                          "\"centre[0].FEATURE\" (kmeans), \"arm[0]\" (abtest)");
            mr_load_suggest(load, mr_near_best(&near));
        }
    }
}
