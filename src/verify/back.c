#include "verify/back.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "kafka/client.h"
#include "state/write.h"
#include "verify/past.h"

#define TRIES_MAX   30 /* of about a second */
#define QUEUE_BYTES (64u << 20)

/* A model's topic. */
struct topic {
    struct mr_state_writer writer;
    size_t model;
    struct mr_state_log *log;
    struct mr_blob bytes; /* of the model as it was */
};

struct back {
    const struct mr_job *job;
    struct mr_past past;
    struct mr_transaction *transaction;
    struct topic *topic; /* [count] */
    size_t count;
    uint64_t seq, snapshot;             /* the highest of any record in any of the topics */
    const struct mr_state_commit *last; /* with the highest number, of all: what has been read */
    struct mr_err failure;
};

static mr_status outcome_status(mr_txn_outcome outcome)
{
    return outcome == MR_TXN_OK       ? MR_OK
           : outcome == MR_TXN_FENCED ? MR_EFENCED
           : outcome == MR_TXN_AGAIN  ? MR_AGAIN
                                      : MR_EKAFKA;
}

typedef mr_txn_outcome step_fn(struct mr_transaction *transaction, struct mr_err *err);

/* A call that is to be tried again while it says so. */
static mr_status step(struct back *back, step_fn *fn, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    mr_status status = MR_AGAIN;
    for (int tries = 0; tries < TRIES_MAX && status == MR_AGAIN; tries++) {
        if (tries) nanosleep(&pause, NULL);
        status = outcome_status(fn(back->transaction, err));
    }
    return status == MR_AGAIN ? MR_EKAFKA : status;
}

static mr_status trainer_become(struct back *back, struct mr_err *err)
{
    char id[512];
    struct mr_transaction_open open = {.id = id, .memory_bytes = QUEUE_BYTES};
    mr_kafka_trainer(back->job->name, id, sizeof id);
    mr_status status = mr_past_properties(back->job, &open.properties, err);
    if (!status) status = mr_transaction_create(&open, &back->transaction, err);
    return status ? status : step(back, mr_transaction_init, err);
}

/* What is to be written. */
static mr_status models_store(struct back *back, struct mr_err *err)
{
    const struct mr_models *const models = &back->past.run->models;
    mr_status status = MR_OK;
    back->topic = calloc(models->count, sizeof *back->topic);
    if (!back->topic) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < models->count && !status; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        if (!model->learn) continue;
        struct topic *const topic = &back->topic[back->count++];
        topic->model = i;
        status = model->learn->store(model->model, &topic->bytes, err);
    }
    return status;
}

/* Reads the topics again, to which nobody else writes any more: where the new commit is to stand. */
static mr_status topics_open(struct back *back, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < back->count && !status; i++) {
        struct topic *const topic = &back->topic[i];
        const char *const name = back->job->model[topic->model].topic;
        status = mr_past_list(back->job, topic->model, &topic->log, err);
        const struct mr_state_commit *const last = status ? NULL : mr_state_log_last(topic->log);
        if (!status && !last) status = mr_fail(err, MR_EINPUT, "state topic \"%s\" holds no commit any more", name);
        if (status) break;
        uint64_t seq, snapshot;
        mr_state_log_numbers(topic->log, &seq, &snapshot);
        if (seq > back->seq) back->seq = seq;
        if (snapshot > back->snapshot) back->snapshot = snapshot;
        if (!back->last || last->seq > back->last->seq) back->last = last;
        status = mr_state_writer_open(&topic->writer, back->transaction, name, &back->failure, err);
    }
    return status;
}

/* A transaction that came to nothing is not made again here. */
static mr_status written(mr_status status, struct mr_err *err)
{
    if (status == MR_ERESTART) status = err->status = MR_EKAFKA;
    return status;
}

/* The commit that puts a model back: what it has read, and what waits to be learned, stays. */
static mr_status model_send(struct back *back, struct topic *topic, uint64_t run_id, int64_t time_ms,
                            struct mr_err *err)
{
    const struct mr_model_at_work *const model = &back->past.run->models.item[topic->model];
    const struct mr_state_commit *const last = mr_state_log_last(topic->log);
    const size_t pending = mr_state_pending_count(back->last);
    struct mr_blob record = {0};
    char unit[MR_STATE_NAME_BYTES_MAX];
    mr_units_kind(&back->past.run->units, unit, sizeof unit);
    /* A topic may have lost its end: what was read is what the furthest one says. */
    struct mr_state_commit commit = *back->last;
    commit.model = last->model;
    commit.type = last->type;
    commit.schema_hash = last->schema_hash;
    commit.unit = unit;
    commit.run_id = run_id;
    commit.kind = MR_STATE_ROLLED_BACK;
    commit.time_ms = time_ms;
    commit.seq = back->seq + 1;
    commit.seq_before = last->seq;
    commit.version_before = last->version_after;
    commit.version_after = model->version;
    commit.snapshot = back->snapshot + 1;
    commit.index = 0;
    commit.model_bytes = topic->bytes.bytes;
    commit.model_checksum = mr_state_checksum(topic->bytes.data, topic->bytes.bytes);
    commit.range = back->last->range + (back->last->range_count - pending);
    commit.range_count = pending;
    commit.update = NULL;
    commit.update_count = 0;
    const mr_status status =
        written(mr_state_write(&topic->writer, &commit, topic->bytes.data, true, &record, err), err);
    mr_blob_deinit(&record);
    return status;
}

static mr_status all_send(struct back *back, struct mr_err *err)
{
    const int64_t time_ms = mr_clock_epoch_ms();
    const uint64_t run_id = mr_state_run_id();
    mr_status status = outcome_status(mr_transaction_begin(back->transaction, err));
    for (size_t i = 0; i < back->count && !status; i++)
        status = model_send(back, &back->topic[i], run_id, time_ms, err);
    if (!status) status = written(mr_state_write_wait(back->transaction, &back->failure, NULL, NULL, err), err);
    return status ? status : step(back, mr_transaction_commit, err);
}

static void back_close(struct back *back)
{
    for (size_t i = 0; i < back->count; i++) {
        mr_state_writer_close(&back->topic[i].writer);
        mr_state_log_destroy(back->topic[i].log);
        mr_blob_deinit(&back->topic[i].bytes);
    }
    mr_transaction_destroy(back->transaction);
    mr_past_close(&back->past);
    free(back->topic);
}

mr_status mr_back_write(const struct mr_job *job, size_t model, const struct mr_state_target *target,
                        struct mr_back_done *done_out, struct mr_err *err)
{
    struct back back = {.job = job};
    /* All that can be wrong with what was asked for comes first: only then is a trainer that runs stopped. */
    mr_status status = mr_past_open(&back.past, job, model, target, err);
    if (!status) status = models_store(&back, err);
    if (!status) status = trainer_become(&back, err);
    if (!status) status = topics_open(&back, err);
    if (!status) status = all_send(&back, err);
    for (size_t i = 0; i < back.count && !status; i++) {
        if (back.topic[i].model != model) continue;
        const struct mr_state_commit *const last = mr_state_log_last(back.topic[i].log);
        *done_out = (struct mr_back_done){.seq = back.seq + 1,
                                          .version = back.past.run->models.item[model].version,
                                          .version_before = last->version_after,
                                          .from_seq = back.past.commit->seq};
    }
    back_close(&back);
    return status;
}
