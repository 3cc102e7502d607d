#include "verify/back.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "kafka/transaction.h"
#include "verify/past.h"

#define TRIES_MAX   30 /* of about a second */
#define QUEUE_BYTES (64u << 20)
#define SEND_NS     (40 * 1000000000LL)

struct back;

/* A model's topic. */
struct topic {
    struct mr_port port; /* first */
    struct back *back;
    size_t model;
    struct mr_state_log *log;
    struct mr_blob bytes;
    bool is_open;
};

struct back {
    const struct mr_job *job;
    struct mr_past past;
    struct mr_transaction *transaction;
    struct topic *topic; /* [count] */
    size_t count;
    struct mr_err failure;
};

static void delivered(struct mr_port *port, const rd_kafka_message_t *message)
{
    union {
        struct mr_port *port;
        struct topic *topic;
    } owner = {.port = port};
    struct back *const back = owner.topic->back;
    if (message->err && !back->failure.status)
        mr_fail(&back->failure, MR_EKAFKA, "state topic \"%s\": %s", port->topic_name, rd_kafka_err2str(message->err));
}

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
    snprintf(id, sizeof id, "%s-trainer", back->job->name);
    mr_status status = mr_past_properties(back->job, &open.properties, err);
    if (!status) status = mr_transaction_create(&open, &back->transaction, err);
    return status ? status : step(back, mr_transaction_init, err);
}

static mr_status topics_open(struct back *back, struct mr_err *err)
{
    const struct mr_models *const models = &back->past.run->models;
    mr_status status = MR_OK;
    back->topic = calloc(models->count, sizeof *back->topic);
    if (!back->topic) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < models->count && !status; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        if (!model->learn) continue;
        struct topic *const topic = &back->topic[back->count++];
        *topic =
            (struct topic){.port = {.topic_name = model->job->topic, .delivered = delivered}, .back = back, .model = i};
        status = mr_past_list(back->job, i, &topic->log, err);
        if (!status && !mr_state_log_last(topic->log))
            status = mr_fail(err, MR_EINPUT, "state topic \"%s\" is empty", model->job->topic);
        if (!status) status = model->learn->store(model->model, &topic->bytes, err);
        if (!status) status = mr_port_open(back->transaction, &topic->port, err);
        topic->is_open = !status;
    }
    return status;
}

static mr_status record_send(struct back *back, struct topic *topic, const char *key, const struct mr_blob *record,
                             struct mr_err *err)
{
    const int64_t deadline_ns = mr_clock_ns() + SEND_NS;
    union {
        const char *from;
        void *to;
    } text = {.from = key};
    rd_kafka_resp_err_t code;
    while ((code = rd_kafka_producev(mr_transaction_client(back->transaction), RD_KAFKA_V_RKT(topic->port.topic),
                                     RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(record->data, record->bytes),
                                     RD_KAFKA_V_KEY(text.to, strlen(key)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                     RD_KAFKA_V_END)) == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
           mr_clock_ns() < deadline_ns)
        mr_transaction_poll(back->transaction, 10);
    if (code) return mr_fail(err, MR_EKAFKA, "state topic \"%s\": %s", topic->port.topic_name, rd_kafka_err2str(code));
    mr_transaction_sent(back->transaction, 1);
    return MR_OK;
}

/* The commit that puts a model back: what it has read, and what waits to be learned, stays. */
static mr_status model_send(struct back *back, struct topic *topic, uint64_t run_id, int64_t time_ms,
                            struct mr_err *err)
{
    const struct mr_model_at_work *const model = &back->past.run->models.item[topic->model];
    const struct mr_state_commit *const last = mr_state_log_last(topic->log);
    const size_t pending = mr_state_pending_count(last);
    struct mr_blob record = {0};
    char key[MR_STATE_KEY_BYTES], unit[MR_STATE_NAME_BYTES_MAX];
    mr_units_describe(&back->past.run->units, unit, sizeof unit);
    struct mr_state_commit commit = *last;
    commit.unit = unit;
    commit.run_id = run_id;
    commit.kind = MR_STATE_ROLLED_BACK;
    commit.time_ms = time_ms;
    commit.seq = last->seq + 1;
    commit.seq_before = last->seq;
    commit.version_before = last->version_after;
    commit.version_after = model->version;
    commit.snapshot = last->snapshot + 1;
    commit.index = 0;
    commit.model_bytes = topic->bytes.bytes;
    commit.model_checksum = mr_state_checksum(topic->bytes.data, topic->bytes.bytes);
    commit.range = last->range + (last->range_count - pending);
    commit.range_count = pending;
    commit.update = NULL;
    commit.update_count = 0;
    mr_status status = mr_state_commit_encode(&commit, &record, err);
    mr_state_key_print(key, commit.model, commit.snapshot, MR_STATE_MANIFEST, 0);
    if (!status) status = record_send(back, topic, key, &record, err);
    const uint32_t chunks = mr_state_chunk_count(commit.model_bytes, MR_STATE_RECORD_BYTES_MAX);
    for (uint32_t i = 0; i < chunks && !status; i++) {
        status = mr_state_chunk_encode(&commit, topic->bytes.data, MR_STATE_RECORD_BYTES_MAX, i, &record, err);
        mr_state_key_print(key, commit.model, commit.snapshot, MR_STATE_CHUNK, i);
        if (!status) status = record_send(back, topic, key, &record, err);
    }
    mr_blob_deinit(&record);
    return status;
}

static mr_status arrival_wait(struct back *back, struct mr_err *err)
{
    const int64_t deadline_ns = mr_clock_ns() + SEND_NS;
    uint64_t sent, arrived;
    for (;;) {
        mr_transaction_counts(back->transaction, &sent, &arrived);
        if (back->failure.status) {
            *err = back->failure;
            return back->failure.status;
        }
        if (sent == arrived) return MR_OK;
        const mr_status status = mr_transaction_failure(back->transaction, err);
        if (status) return status == MR_EFENCED ? status : MR_EKAFKA;
        if (mr_clock_ns() >= deadline_ns)
            return mr_fail(err, MR_EKAFKA, "%llu state records were not acknowledged in time",
                           (unsigned long long)(sent - arrived));
        mr_transaction_poll(back->transaction, 10);
    }
}

static mr_status all_send(struct back *back, struct mr_err *err)
{
    const int64_t time_ms = mr_clock_epoch_ms();
    uint64_t run_id = 0;
    mr_status status = MR_OK;
    while (!run_id)
        if (getrandom(&run_id, sizeof run_id, 0) < 0) run_id = (uint64_t)mr_clock_ns();
    status = outcome_status(mr_transaction_begin(back->transaction, err));
    for (size_t i = 0; i < back->count && !status; i++)
        status = model_send(back, &back->topic[i], run_id, time_ms, err);
    if (!status) status = arrival_wait(back, err);
    return status ? status : step(back, mr_transaction_commit, err);
}

static void back_close(struct back *back)
{
    for (size_t i = 0; i < back->count; i++) {
        if (back->topic[i].is_open) mr_port_close(back->transaction, &back->topic[i].port);
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
    mr_status status = trainer_become(&back, err); /* first: nobody writes any more */
    if (!status) status = mr_past_open(&back.past, job, model, target, err);
    if (!status) status = topics_open(&back, err);
    if (!status) status = all_send(&back, err);
    for (size_t i = 0; i < back.count && !status; i++) {
        if (back.topic[i].model != model) continue;
        const struct mr_state_commit *const last = mr_state_log_last(back.topic[i].log);
        *done_out = (struct mr_back_done){.seq = last->seq + 1,
                                          .version = back.past.run->models.item[model].version,
                                          .version_before = last->version_after,
                                          .from_seq = back.past.commit->seq};
    }
    back_close(&back);
    return status;
}
