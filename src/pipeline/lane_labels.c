#include "pipeline/lane_labels.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

_Static_assert(sizeof(int32_t) == sizeof(float), "a class is kept in the place of a float");

static size_t payload_floats(const struct mr_run *run)
{
    size_t count = run->layout->schema.feature_count;
    for (size_t i = 0; i < run->models.count; i++)
        count += run->models.item[i].judged == MR_JUDGED_NOT ? 0 : run->models.info[i]->width + 1;
    return count;
}

size_t mr_lane_labels_bytes(const struct mr_run *run)
{
    const struct mr_job *const job = run->job;
    return mr_join_bytes((size_t)job->labels.records_max, payload_floats(run)) + mr_label_topic_bytes(job) +
           mr_scores_bytes(run, (size_t)job->batch.records_max);
}

mr_status mr_lane_labels_create(struct mr_lane *lane, size_t memory_bytes, struct mr_lane_labels **labels_out,
                                struct mr_err *err)
{
    struct mr_run *const run = lane->run;
    const struct mr_job *const job = run->job;
    struct mr_lane_labels *const labels = calloc(1, sizeof *labels);
    unsigned partitions = 0;
    *labels_out = NULL;
    if (!labels) return mr_fail(err, MR_ENOMEM, "out of memory");
    labels->payload_floats = payload_floats(run);
    labels->scratch = calloc(labels->payload_floats + 1, sizeof *labels->scratch);
    mr_status status = labels->scratch ? mr_scores_init(&labels->predicted, run, lane->block.rows.row_cap) : MR_ENOMEM;
    if (status) mr_fail(err, status, "no memory for the predictions that wait for labels: lower batch.records_max");
    if (!status)
        status = mr_join_create((size_t)job->labels.records_max, labels->payload_floats, job->labels.wait_max / 1000,
                                &labels->join, err);
    if (!status && job->source->lane_count_max)
        status = job->source->lane_count_max(job->source_options, &partitions, err);
    labels->clock.partitions = partitions;
    if (!status) status = mr_label_topic_create(run, memory_bytes, mr_lane_idle, lane, &labels->topic, err);
    if (status)
        mr_lane_labels_destroy(labels, run);
    else
        *labels_out = labels;
    return status;
}

void mr_lane_labels_destroy(struct mr_lane_labels *labels, const struct mr_run *run)
{
    if (!labels) return;
    mr_label_topic_destroy(labels->topic);
    mr_join_destroy(labels->join);
    mr_topic_clock_deinit(&labels->clock);
    mr_scores_deinit(labels->predicted, run);
    free(labels->scratch);
    free(labels);
}

/* ---- a row as it waits ---- */

static void payload_fill(const struct mr_run *run, const struct mr_slot *slot, size_t row, float *to)
{
    const struct mr_rows *const rows = &slot->rows;
    for (size_t col = 0; col < rows->feature_count; col++) *to++ = rows->x[mr_tile_at(row, col, rows->feature_count)];
    for (size_t i = 0; i < run->models.count; i++) {
        const struct mr_scores *const scores = &slot->scores[i];
        if (run->models.item[i].judged == MR_JUDGED_NOT) continue;
        for (size_t col = 0; col < scores->width; col++) *to++ = scores->y[mr_tile_at(row, col, scores->width)];
        if (scores->class_index) memcpy(to, &scores->class_index[row], sizeof *to);
        to++;
    }
}

/* Judges the pairs by the predictions that went out, and learns from them. */
static mr_status pairs_learn(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_models *const models = &lane->run->models;
    struct mr_block *const block = &lane->block;
    mr_models_judge(models, &block->rows, lane->labels->predicted);
    if (lane->run->tap) mr_tap_pairs(lane->run->tap, models, &block->rows, lane->labels->predicted);
    return mr_block_learn(block, models, &lane->slot[0].queues, MR_LEARN_LABELLED, err);
}

static mr_status pair_add(struct mr_lane *lane, const float *from, double label, struct mr_err *err)
{
    const struct mr_run *const run = lane->run;
    struct mr_rows *const rows = &lane->block.rows;
    const size_t row = rows->row_count++;
    if (!row) lane->labels->learn_due_ns = mr_clock_ns() + run->job->batch.wait_max * 1000;
    rows->label[row] = label;
    for (size_t col = 0; col < rows->feature_count; col++) rows->x[mr_tile_at(row, col, rows->feature_count)] = *from++;
    for (size_t i = 0; i < run->models.count; i++) {
        struct mr_scores *const scores = &lane->labels->predicted[i];
        if (run->models.item[i].judged == MR_JUDGED_NOT) continue;
        for (size_t col = 0; col < scores->width; col++) scores->y[mr_tile_at(row, col, scores->width)] = *from++;
        if (scores->class_index) memcpy(&scores->class_index[row], from, sizeof *from);
        from++;
    }
    return rows->row_count < rows->row_cap ? MR_OK : pairs_learn(lane, err);
}

/* ---- records and labels come ---- */

static struct mr_span key_of(const struct mr_layout *layout, const struct mr_rows *rows, size_t row,
                             const struct mr_message *message)
{
    if (layout->join_key_is_part) return (struct mr_span){message->key, message->key_bytes};
    return mr_join_key(rows->capture[layout->join_key_column * rows->row_cap + row]);
}

static void clocks_apply(struct mr_lane_labels *labels)
{
    const int64_t clock_ms[MR_JOIN_SIDES] = {[MR_JOIN_RECORD] = mr_topic_clock_ms(&labels->clock),
                                             [MR_JOIN_LABEL] = mr_topic_clock_ms(&labels->topic->clock)};
    mr_join_expire(labels->join, clock_ms);
}

mr_status mr_lane_labels_take(struct mr_lane *lane, struct mr_slot *slot, struct mr_err *err)
{
    struct mr_lane_labels *const labels = lane->labels;
    const struct mr_source_ops *const ops = lane->run->job->source;
    mr_status status = MR_OK;
    for (size_t row = 0; row < slot->rows.row_count && !status; row++) {
        const struct mr_message *const message = &slot->raw->message[slot->rows.message[row]];
        const struct mr_span key = key_of(lane->run->layout, &slot->rows, row, message);
        const int64_t time_ms = mr_join_time_ms(ops, lane->source, message);
        float *payload;
        double label;
        if (!mr_topic_clock_see(&labels->clock, message->topic, message->partition, time_ms))
            return mr_fail(err, MR_ENOMEM, "no memory for the partitions of records that wait for labels");
        if (!key.data) {
            mr_stats_add(&labels->records_no_key, 1);
            continue;
        }
        const mr_join_verdict verdict = mr_join_record(labels->join, &key, time_ms, &payload, &label);
        if (verdict == MR_JOIN_WAITS) payload_fill(lane->run, slot, row, payload);
        if (verdict != MR_JOIN_MATCHED) continue;
        payload_fill(lane->run, slot, row, labels->scratch);
        status = pair_add(lane, labels->scratch, label, err);
    }
    clocks_apply(labels);
    return status;
}

static mr_status label_take(void *context, const struct mr_span *key, int64_t time_ms, double label, struct mr_err *err)
{
    struct mr_lane *const lane = context;
    const float *payload;
    const mr_join_verdict verdict = mr_join_label(lane->labels->join, key, time_ms, label, &payload);
    return verdict == MR_JOIN_MATCHED ? pair_add(lane, payload, label, err) : MR_OK;
}

mr_status mr_lane_labels_turn(struct mr_lane *lane, bool is_idle, struct mr_err *err)
{
    struct mr_lane_labels *const labels = lane->labels;
    struct mr_label_topic *const topic = labels->topic;
    mr_status status = MR_OK;
    /* While there are records, labels that are ahead of them would only fill the store. */
    const bool is_ahead = topic->clock.count && labels->clock.count && !is_idle &&
                          topic->clock.newest_all_ms > labels->clock.newest_all_ms;
    if (is_ahead) {
        mr_label_topic_serve(topic);
    } else {
        status = mr_label_topic_poll(topic, label_take, lane, err);
        clocks_apply(labels);
    }
    if (!status && lane->block.rows.row_count && mr_clock_ns() >= labels->learn_due_ns) status = pairs_learn(lane, err);
    return status ? status : mr_label_topic_settle(topic, err);
}

mr_status mr_lane_labels_finish(struct mr_lane *lane, int64_t deadline_ns, struct mr_err *err)
{
    const mr_status status = pairs_learn(lane, err);
    return status ? status : mr_label_topic_finish(lane->labels->topic, deadline_ns, err);
}
