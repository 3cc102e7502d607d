#include "metrics/summary_labels.h"

#include "metrics/summary_scoring.h"
#include "pipeline/lane_labels.h"

static const struct mr_lane_labels *labels_of(const struct mr_run *run)
{
    return run->lane && run->lane[0] ? run->lane[0]->labels : NULL;
}

static uint64_t of(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void mr_labels_print(FILE *out, const struct mr_run *run)
{
    static const char *const sides[] = {"records", "labels"};
    const struct mr_lane_labels *const labels = labels_of(run);
    char text[4][32];
    if (!labels) return;
    const struct mr_stats *const stats = &labels->topic->stats;
    const struct mr_join_counts *const counts = mr_join_counts(labels->join);
    fprintf(out, "  labels    %12s in: %s taken", mr_grouped(of(&stats->records_in), text[0]),
            mr_grouped(of(&stats->records_out), text[1]));
    if (of(&stats->records_dead)) fprintf(out, ", %s dead", mr_grouped(of(&stats->records_dead), text[0]));
    if (of(&stats->records_filtered)) fprintf(out, ", %s filtered", mr_grouped(of(&stats->records_filtered), text[0]));
    for (int i = 0; i < MR_REASON_COUNT; i++) {
        if (of(&stats->reasons[i]))
            fprintf(out, "  %s: %s", mr_reason_name((mr_reason)i), mr_grouped(of(&stats->reasons[i]), text[0]));
    }
    fprintf(out, "\n  matched   %12s records with their labels\n", mr_grouped(of(&counts->matched), text[0]));
    for (int side = 0; side < MR_JOIN_SIDES; side++)
        fprintf(out, "  unmatched %12s %s wait, %s expired, %s evicted, %s duplicates\n",
                mr_grouped(of(&counts->waiting[side]), text[0]), sides[side],
                mr_grouped(of(&counts->expired[side]), text[1]), mr_grouped(of(&counts->evicted[side]), text[2]),
                mr_grouped(of(&counts->duplicate[side]), text[3]));
    if (of(&labels->records_no_key))
        fprintf(out, "  no key    %12s records, which no label can find\n",
                mr_grouped(of(&labels->records_no_key), text[0]));
}

void mr_labels_add(cJSON *root, const struct mr_run *run)
{
    const struct mr_lane_labels *const labels = labels_of(run);
    if (!labels) return;
    const struct mr_stats *const stats = &labels->topic->stats;
    const struct mr_join_counts *const counts = mr_join_counts(labels->join);
    const struct {
        const char *name;
        const _Atomic uint64_t *value;
    } rows[] = {
        {"labels_in", &stats->records_in},
        {"labels_taken", &stats->records_out},
        {"labels_dead", &stats->records_dead},
        {"labels_filtered", &stats->records_filtered},
        {"matched", &counts->matched},
        {"records_waiting", &counts->waiting[MR_JOIN_RECORD]},
        {"records_expired", &counts->expired[MR_JOIN_RECORD]},
        {"records_evicted", &counts->evicted[MR_JOIN_RECORD]},
        {"records_duplicate", &counts->duplicate[MR_JOIN_RECORD]},
        {"records_no_key", &labels->records_no_key},
        {"labels_waiting", &counts->waiting[MR_JOIN_LABEL]},
        {"labels_expired", &counts->expired[MR_JOIN_LABEL]},
        {"labels_evicted", &counts->evicted[MR_JOIN_LABEL]},
        {"labels_duplicate", &counts->duplicate[MR_JOIN_LABEL]},
    };
    cJSON *const item = cJSON_AddObjectToObject(root, "labels");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cJSON_AddNumberToObject(item, rows[i].name, (double)of(rows[i].value));
}
