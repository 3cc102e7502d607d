#include "state/write.h"

#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "kafka/client.h"

#define LIMIT_NS     (40 * 1000000000LL) /* longer than a message may take */
#define ROOM_WAIT_MS 10
#define POLL_MS      5

/* What a message that cannot be sent, or has not arrived, means for its transaction. */
static mr_status message_fail(const struct mr_port *port, rd_kafka_resp_err_t code, struct mr_err *err)
{
    const mr_status status = code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? MR_EKAFKA
                             : mr_kafka_status(code) == MR_EFENCED        ? MR_EFENCED
                                                                          : MR_ERESTART;
    return mr_fail(err, status, "state topic \"%s\": %s", port->topic_name, rd_kafka_err2str(code));
}

static void delivered(struct mr_port *port, const rd_kafka_message_t *message)
{
    union {
        struct mr_port *port;
        struct mr_state_writer *writer;
    } owner = {.port = port};
    struct mr_state_writer *const writer = owner.writer;
    if (!message->err || writer->failure->status) return;
    /* What the transaction says of it says more: that another process has taken this one's place, or that it was old.
     */
    if (!mr_transaction_failure(writer->transaction, writer->failure))
        message_fail(port, message->err, writer->failure);
}

mr_status mr_state_writer_open(struct mr_state_writer *writer, struct mr_transaction *transaction, const char *topic,
                               struct mr_err *failure, struct mr_err *err)
{
    *writer = (struct mr_state_writer){
        .port = {.topic_name = topic, .delivered = delivered}, .transaction = transaction, .failure = failure};
    const mr_status status = mr_port_open(transaction, &writer->port, err);
    writer->is_open = !status;
    return status;
}

void mr_state_writer_close(struct mr_state_writer *writer)
{
    if (writer->is_open) mr_port_close(writer->transaction, &writer->port);
    writer->is_open = false;
}

static mr_status record_send(struct mr_state_writer *writer, const char *key, const struct mr_blob *record,
                             struct mr_err *err)
{
    union {
        const char *from;
        void *to;
    } text = {.from = key};
    const int64_t deadline_ns = mr_clock_ns() + LIMIT_NS;
    rd_kafka_resp_err_t code;
    while ((code = rd_kafka_producev(mr_transaction_client(writer->transaction), RD_KAFKA_V_RKT(writer->port.topic),
                                     RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(record->data, record->bytes),
                                     RD_KAFKA_V_KEY(text.to, strlen(key)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                     RD_KAFKA_V_END)) == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
           mr_clock_ns() < deadline_ns && !writer->failure->status)
        mr_transaction_poll(writer->transaction, ROOM_WAIT_MS);
    if (!code) {
        mr_transaction_sent(writer->transaction, 1);
        return MR_OK;
    }
    if (mr_transaction_failure(writer->transaction, err)) return err->status;
    return message_fail(&writer->port, code, err);
}

mr_status mr_state_write(struct mr_state_writer *writer, const struct mr_state_commit *commit, const void *model,
                         bool is_snapshot, struct mr_blob *scratch, struct mr_err *err)
{
    char key[MR_STATE_KEY_BYTES];
    const uint32_t chunks = is_snapshot ? mr_state_chunk_count(commit->model_bytes, MR_STATE_RECORD_BYTES_MAX) : 0;
    mr_status status = mr_state_commit_encode(commit, scratch, err);
    mr_state_key_print(key, commit->model, commit->snapshot, MR_STATE_MANIFEST, commit->index);
    if (!status) status = record_send(writer, key, scratch, err);
    for (uint32_t i = 0; i < chunks && !status; i++) {
        status = mr_state_chunk_encode(commit, model, MR_STATE_RECORD_BYTES_MAX, i, scratch, err);
        mr_state_key_print(key, commit->model, commit->snapshot, MR_STATE_CHUNK, i);
        if (!status) status = record_send(writer, key, scratch, err);
    }
    return status;
}

mr_status mr_state_write_wait(struct mr_transaction *transaction, const struct mr_err *failure,
                              bool (*is_over)(const void *context), const void *context, struct mr_err *err)
{
    const int64_t deadline_ns = mr_clock_ns() + LIMIT_NS;
    uint64_t sent, arrived;
    for (;;) {
        mr_transaction_counts(transaction, &sent, &arrived);
        if (failure->status) {
            if (err) *err = *failure;
            return failure->status;
        }
        if (sent == arrived) return MR_OK;
        const mr_status status = mr_transaction_failure(transaction, err);
        if (status) return status;
        if (is_over && is_over(context))
            return mr_fail(err, MR_ERESTART, "left at once: %llu state records were not acknowledged yet",
                           (unsigned long long)(sent - arrived));
        if (mr_clock_ns() >= deadline_ns)
            return mr_fail(err, MR_ERESTART, "%llu state records were not acknowledged in time",
                           (unsigned long long)(sent - arrived));
        mr_transaction_poll(transaction, POLL_MS);
    }
}

uint64_t mr_state_run_id(void)
{
    uint64_t id = 0;
    while (!id)
        if (getrandom(&id, sizeof id, 0) < 0) id = (uint64_t)mr_clock_ns();
    return id;
}
