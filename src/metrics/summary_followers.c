#include "metrics/summary_followers.h"

#include "metrics/summary_scoring.h"
#include "pipeline/follower.h"

void mr_followers_print(FILE *out, const struct mr_run *run)
{
    char text[32];
    for (size_t i = 0; i < run->follower_count; i++) {
        const struct mr_follower *const follower = run->follower[i];
        const uint64_t refused = mr_stats_get(&follower->records_refused);
        const int64_t lag = atomic_load(&follower->lag);
        fprintf(out, "  %-9s %12s records from topic \"%s\"", follower->sink.ops->name,
                mr_grouped(mr_stats_get(&follower->stats.records_out), text), follower->topic);
        if (refused) fprintf(out, ", %s refused", mr_grouped(refused, text));
        if (lag > 0) fprintf(out, "; %s offsets are left for the next run", mr_grouped((uint64_t)lag, text));
        fprintf(out, "%s\n", lag < 0 ? "; how many are left is not known" : "");
    }
}

void mr_followers_add(cJSON *root, const struct mr_run *run)
{
    cJSON *const list = run->follower_count ? cJSON_AddArrayToObject(root, "followers") : NULL;
    for (size_t i = 0; i < run->follower_count; i++) {
        const struct mr_follower *const follower = run->follower[i];
        const int64_t lag = atomic_load(&follower->lag);
        cJSON *const item = cJSON_CreateObject();
        cJSON_AddItemToArray(list, item);
        cJSON_AddNumberToObject(item, "sink", (double)follower->index);
        cJSON_AddStringToObject(item, "type", follower->sink.ops->name);
        cJSON_AddStringToObject(item, "topic", follower->topic);
        cJSON_AddStringToObject(item, "group", follower->group);
        cJSON_AddBoolToObject(item, "is_open", atomic_load(&follower->is_open));
        cJSON_AddNumberToObject(item, "messages_in", (double)mr_stats_get(&follower->stats.messages_in));
        cJSON_AddNumberToObject(item, "records_in", (double)mr_stats_get(&follower->stats.records_in));
        cJSON_AddNumberToObject(item, "records_out", (double)mr_stats_get(&follower->stats.records_out));
        cJSON_AddNumberToObject(item, "records_refused", (double)mr_stats_get(&follower->records_refused));
        cJSON_AddNumberToObject(item, "commits", (double)mr_stats_get(&follower->stats.commits));
        cJSON_AddNumberToObject(item, "commit_failures", (double)mr_stats_get(&follower->stats.commit_failures));
        if (lag >= 0)
            cJSON_AddNumberToObject(item, "lag", (double)lag);
        else
            cJSON_AddNullToObject(item, "lag");
    }
}

int64_t mr_followers_lag(const struct mr_run *run)
{
    int64_t most = -1;
    for (size_t i = 0; i < run->follower_count; i++) {
        const int64_t lag = atomic_load(&run->follower[i]->lag);
        if (lag > most) most = lag;
    }
    return most;
}
