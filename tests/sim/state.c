/* The state topic of a model: a manifest for each commit, a snapshot of two chunks now and then; see the keys in
 * fake_kafka.c, compact(). */
#include <string.h>

#include "sim/fake_kafka.h"
#include "sim/instance.h"

#define CHUNKS 2

void sim_state_write(struct sim_instance *instance)
{
    struct sim_model *const model = &instance->model;
    const struct sim_flight *const flight = &instance->flight;
    const bool is_due = !model->seq || model->index + 1 >= instance->world->plan.snapshot_every;
    model->snapshot += is_due;
    model->index = is_due ? 0 : model->index + 1;
    model->seq++;
    struct sim_record record = {.kind = SIM_CHUNK,
                                .version = model->version,
                                .seq = model->seq,
                                .predecessor = model->seq - 1,
                                .snapshot = model->snapshot,
                                .hash = model->hash,
                                .range_count = flight->range_count};
    memcpy(record.next, model->next, sizeof record.next);
    memcpy(record.range, flight->range, sizeof record.range);
    for (record.index = 0; is_due && record.index < CHUNKS; record.index++)
        sim_instance_send(instance, SIM_LOG_STATE, &record);
    record.kind = SIM_MANIFEST;
    record.index = model->index;
    sim_instance_send(instance, SIM_LOG_STATE, &record);
}

static const struct sim_record *record_find(const struct sim_log *log, int until, sim_record_kind kind,
                                            uint32_t snapshot, uint32_t index)
{
    for (int e = until - 1; e >= 0; e--) {
        const struct sim_entry *const entry = &log->entry[e];
        if (entry->is_marker || entry->is_gone || entry->decision != SIM_COMMITTED) continue;
        if (entry->record.kind == kind && entry->record.snapshot == snapshot && entry->record.index == index)
            return &entry->record;
    }
    return NULL;
}

/* The newest snapshot that is complete; 0: none. */
static uint32_t snapshot_find(const struct sim_log *log, int until)
{
    uint32_t newest = 0;
    for (int e = 0; e < until; e++) {
        const struct sim_entry *const entry = &log->entry[e];
        if (entry->is_marker || entry->is_gone || entry->decision != SIM_COMMITTED) continue;
        const uint32_t snapshot = entry->record.snapshot;
        if (snapshot > newest && record_find(log, until, SIM_CHUNK, snapshot, 0) &&
            record_find(log, until, SIM_CHUNK, snapshot, 1) && record_find(log, until, SIM_MANIFEST, snapshot, 0))
            newest = snapshot;
    }
    return newest;
}

/* Learns again what a manifest says was learned, and compares. */
static mr_status manifest_apply(struct sim_model *model, const struct sim_record *manifest, struct mr_err *err)
{
    if (manifest->predecessor != model->seq)
        return mr_fail(err, MR_EINVARIANT, "commit %u follows commit %u, not %u", manifest->seq, manifest->predecessor,
                       model->seq);
    for (unsigned r = 0; r < manifest->range_count; r++) {
        const struct sim_range *const range = &manifest->range[r];
        if (model->next[range->partition] != range->from)
            return mr_fail(err, MR_EINVARIANT, "commit %u learned partition %d from %d on, after %d", manifest->seq,
                           range->partition, range->from, model->next[range->partition]);
        for (int o = range->from; o < range->to; o++) model->hash = sim_learn(model->hash, range->partition, o);
        model->next[range->partition] = range->to;
        model->version++;
    }
    if (model->hash != manifest->hash || model->version != manifest->version ||
        memcmp(model->next, manifest->next, sizeof model->next) != 0)
        return mr_fail(err, MR_EINVARIANT, "what commit %u learned does not give its model", manifest->seq);
    model->seq = manifest->seq;
    model->index = manifest->index;
    return MR_OK;
}

mr_status sim_state_read(struct sim_world *world, int until, struct sim_model *model_out, struct mr_err *err)
{
    const struct sim_log *const log = &world->kafka->log[SIM_LOG_STATE];
    const uint32_t snapshot = snapshot_find(log, until);
    *model_out = (struct sim_model){0};
    if (!snapshot) return MR_OK;
    const struct sim_record *record = record_find(log, until, SIM_CHUNK, snapshot, 0);
    *model_out =
        (struct sim_model){.hash = record->hash, .version = record->version, .seq = record->seq, .snapshot = snapshot};
    memcpy(model_out->next, record->next, sizeof record->next);
    while ((record = record_find(log, until, SIM_MANIFEST, snapshot, model_out->index + 1))) {
        const mr_status status = manifest_apply(model_out, record, err);
        if (status) return status;
    }
    return MR_OK;
}

mr_status sim_state_restore(struct sim_instance *instance)
{
    struct sim_world *const world = instance->world;
    struct sim_kafka *const kafka = world->kafka;
    const int64_t give_up_ms = world->now_ms + 30000;
    int until = kafka->log[SIM_LOG_STATE].count; /* the high watermark */
    if (world->planted.restores_to_lso) until = sim_kafka_stable(kafka, SIM_LOG_STATE);
    sim_say(world, "i%d  restores: reads the state up to %d", instance->index, until);
    do {
        sim_instance_wait(world, instance->index, world->now_ms + sim_between(world, 1, 5));
        if (sim_kafka_stable(kafka, SIM_LOG_STATE) >= until) break;
        sim_instance_wait(world, instance->index, world->now_ms + 50);
        if (instance->client.leave != SIM_STAYS || instance->client.is_fenced) return MR_AGAIN;
    } while (world->now_ms < give_up_ms);
    if (sim_kafka_stable(kafka, SIM_LOG_STATE) < until)
        return mr_fail(&instance->err, MR_ERESTART, "the end of the state is not decided");
    const mr_status status = sim_state_read(world, until, &instance->model, &instance->err);
    sim_say(world, "i%d  has the state of commit %u, version %u, next %d %d %d", instance->index, instance->model.seq,
            instance->model.version, instance->model.next[0], instance->model.next[1], instance->model.next[2]);
    return status;
}
