/* What must hold at the end, from the committed records alone: each record of the input was handled once, in order; the
 * model is what the input makes of it; what the state says is what the group says. */
#include <string.h>

#include "sim/fake_kafka.h"
#include "sim/instance.h"
#include "sim/schedule.h"

struct audit {
    uint8_t outputs[SIM_PARTITIONS_MAX][SIM_RECORDS_MAX], dead[SIM_PARTITIONS_MAX][SIM_RECORDS_MAX];
    uint32_t version[SIM_PARTITIONS_MAX][SIM_RECORDS_MAX]; /* that the output names */
};

static void log_audit(struct sim_world *world, struct audit *audit, int log)
{
    int last[SIM_PARTITIONS_MAX] = {-1, -1, -1};
    for (int e = 0; e < world->kafka->log[log].count; e++) {
        const struct sim_entry *const entry = &world->kafka->log[log].entry[e];
        const struct sim_record *const record = &entry->record;
        if (entry->is_marker || entry->decision != SIM_COMMITTED) continue;
        const int p = record->partition, o = record->offset;
        uint8_t *const seen = log == SIM_LOG_DEAD ? &audit->dead[p][o] : &audit->outputs[p][o];
        ++*seen;
        audit->version[p][o] = record->version;
        if (o <= last[p])
            sim_violate(world, "%s of partition %d: %d comes after %d",
                        log == SIM_LOG_DEAD ? "dead letters" : "outputs", p, o, last[p]);
        last[p] = o;
    }
}

static void input_audit(struct sim_world *world, const struct audit *audit)
{
    for (int p = 0; p < world->plan.partitions; p++)
        for (int o = 0; o < world->plan.records[p]; o++) {
            const sim_fate fate = sim_fate_of(p, o);
            if (audit->outputs[p][o] != (fate == SIM_IS_OUTPUT) || audit->dead[p][o] != (fate == SIM_IS_DEAD))
                sim_violate(world, "record %d of partition %d has %u outputs and %u dead letters", o, p,
                            audit->outputs[p][o], audit->dead[p][o]);
        }
}

/* The chain of manifests, as it was committed, compaction or not. */
static void chain_audit(struct sim_world *world, const struct audit *audit)
{
    const struct sim_log *const log = &world->kafka->log[SIM_LOG_STATE];
    struct sim_model model = {0}, read;
    struct mr_err err;
    for (int e = 0; e < log->count; e++) {
        const struct sim_record *const record = &log->entry[e].record;
        if (log->entry[e].is_marker || log->entry[e].decision != SIM_COMMITTED || record->kind != SIM_MANIFEST)
            continue;
        if (record->seq != model.seq + 1 || record->predecessor != model.seq)
            sim_violate(world, "commit %u of the state follows commit %u", record->seq, model.seq);
        model.seq = record->seq;
        for (unsigned r = 0; r < record->range_count; r++) {
            const struct sim_range *const range = &record->range[r];
            const int p = range->partition;
            if (range->from != model.next[p])
                sim_violate(world, "commit %u learned partition %d from %d on, after %d", record->seq, p, range->from,
                            model.next[p]);
            for (int o = range->from; o < range->to; o++) {
                model.hash = sim_learn(model.hash, p, o);
                if (sim_fate_of(p, o) != SIM_IS_FILTERED && audit->version[p][o] != model.version)
                    sim_violate(world, "record %d of partition %d was scored by version %u, not %u", o, p,
                                audit->version[p][o], model.version);
            }
            model.next[p] = range->to;
            model.version++;
        }
        if (record->hash != model.hash || record->version != model.version)
            sim_violate(world, "commit %u: the model is not what its input makes of it", record->seq);
    }
    for (int p = 0; p < world->plan.partitions; p++)
        if (model.next[p] != world->kafka->committed[p])
            sim_violate(world, "partition %d: the state stands at %d, the group at %d", p, model.next[p],
                        world->kafka->committed[p]);
    if (sim_state_read(world, log->count, &read, &err))
        sim_violate(world, "the state cannot be read: %s", err.text);
    else if (read.hash != model.hash || read.seq != model.seq)
        sim_violate(world, "the state that is read is of commit %u, not %u", read.seq, model.seq);
}

void sim_oracle(struct sim_world *world)
{
    struct audit audit = {0};
    const bool has_stopped = world->planted.meddles; /* with exit code 70: what is there must be right, not all is */
    for (int l = 0; l <= SIM_LOG_DEAD; l++) log_audit(world, &audit, l);
    if (has_stopped) return;
    input_audit(world, &audit);
    if (world->plan.learns) chain_audit(world, &audit);
}
