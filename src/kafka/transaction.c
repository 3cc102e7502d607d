#include "kafka/transaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "kafka/epoch_watch.h"
#include "kafka/timeouts.h"
#include "kafka/transaction_age.h"

#define STEP_MS          1000  /* of init and commit: then they are called again, and go on where they were */
#define OFFSETS_MS       10000 /* cannot be resumed: sent again it would be another request */
#define LEAVE_MS         1000
#define NOTICE_MS        1000 /* librdkafka looks for requests that are over once a second */
#define REFUSALS_WAIT_MS 1000
#define PROBE_EVERY_US   100000 /* how often to ask whether a transaction that waits for reports has failed */

struct mr_transaction {
    struct mr_transaction_open open;
    struct mr_timeouts timeouts;
    char *id;
    rd_kafka_t *client;
    struct mr_port *port; /* all that are open */
    struct mr_epoch_watch watch;
    struct mr_refused refused;
    bool is_solo;      /* the producer sends one record a request */
    bool has_refusals; /* of the open transaction */
    bool has_learned;  /* a record that is refused was found since it was last asked */
    int64_t solo_until_us;
    bool is_closing; /* reports that still come are of a transaction that is over */
    bool is_open;    /* between begin and the first request of its end */
    bool is_pending; /* between begin and the request of its commit */
    uint64_t sent, acknowledged;
    int64_t probe_due_us;
    struct mr_transaction_age age;
    struct mr_err failure;
};

mr_status mr_transaction_create(const struct mr_transaction_open *open, struct mr_transaction **transaction_out,
                                struct mr_err *err)
{
    struct mr_transaction *transaction = calloc(1, sizeof *transaction);
    *transaction_out = NULL;
    if (!transaction || !(transaction->id = strdup(open->id))) {
        free(transaction);
        return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    transaction->open = *open;
    transaction->open.id = transaction->id;
    const mr_status status =
        mr_timeouts_choose(open->properties, open->commit_interval_us, &transaction->timeouts, err);
    if (status)
        mr_transaction_destroy(transaction);
    else
        *transaction_out = transaction;
    return status;
}

void mr_transaction_destroy(struct mr_transaction *transaction)
{
    if (!transaction) return;
    mr_transaction_drop(transaction);
    mr_refused_deinit(&transaction->refused);
    free(transaction->id);
    free(transaction);
}

static bool is_fenced(rd_kafka_resp_err_t code)
{
    return mr_kafka_status(code) == MR_EFENCED;
}

/* The lane is at work on the transaction, behind a call that may have taken so long. */
static void seen(struct mr_transaction *transaction, int64_t allowed_ms)
{
    mr_age_seen(&transaction->age, mr_clock_us(), allowed_ms);
}

static int left_ms(const struct mr_transaction *transaction, int most_ms)
{
    return mr_age_left_ms(&transaction->age, mr_clock_us(), transaction->timeouts.transaction_ms, most_ms);
}

static mr_txn_outcome old_fail(const struct mr_transaction *transaction, const char *what, struct mr_err *err)
{
    mr_fail(err, MR_ERESTART,
            "%s: no answer, and the broker would soon end the transaction (transaction.timeout.ms, %g s)", what,
            (double)transaction->timeouts.transaction_ms / 1e3);
    return MR_TXN_ABORT;
}

/* Fenced: by the coordinator, because a call took longer than it was given (it waits for requests in flight, each for
 * socket.timeout.ms), or by another process. */
static mr_txn_outcome fence_judge(const struct mr_transaction *transaction, mr_txn_outcome outcome, const char *what,
                                  struct mr_err *err)
{
    const int64_t limit_ms = transaction->timeouts.transaction_ms;
    if (outcome != MR_TXN_FENCED || !mr_age_is_over(&transaction->age, mr_clock_us(), limit_ms)) return outcome;
    mr_fail(err, MR_ERESTART,
            "%s: the broker answered so late that it had ended the transaction (transaction.timeout.ms, %g s)", what,
            (double)limit_ms / 1e3);
    return MR_TXN_ABORT;
}

static mr_txn_outcome fenced_fail(struct mr_err *err, const char *what, const char *reason)
{
    mr_fail(
        err, MR_EFENCED,
        "%s: another process has taken this one's place, or this one was away for longer than its transaction may "
        "last (%s): nothing of it was committed; see that only one runs with this job name and instance. Of a job that "
        "learns, `millrace model rollback` takes that place, too: then start again, and it goes on from there",
        what, reason);
    return MR_TXN_FENCED;
}

static mr_txn_outcome denied_fail(struct mr_err *err, rd_kafka_resp_err_t code, const char *what, const char *reason)
{
    if (code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT)
        mr_fail(err, MR_EKAFKA,
                "%s: %s: set transaction.timeout.ms to at most transaction.max.timeout.ms of the brokers (900000 where "
                "nobody changed it)",
                what, reason);
    else
        mr_fail(err, MR_EKAFKA, "%s: %s: give this user the rights (TransactionalId and Topic write, Group read)", what,
                reason);
    return MR_TXN_REFUSED;
}

mr_txn_outcome mr_transaction_judge(rd_kafka_t *client, rd_kafka_error_t *error, const char *what, struct mr_err *err)
{
    char reason[512], fatal_reason[512];
    if (!error) return MR_TXN_OK;
    const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    const bool is_fatal = rd_kafka_error_is_fatal(error), is_abort = rd_kafka_error_txn_requires_abort(error);
    const bool is_again = rd_kafka_error_is_retriable(error);
    const rd_kafka_resp_err_t fatal_code = rd_kafka_fatal_error(client, fatal_reason, sizeof fatal_reason);
    snprintf(reason, sizeof reason, "%s", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    /* Being fenced may come marked as something that an abort mends (librdkafka 2.0.2): it does not. */
    if (is_fenced(code)) return fenced_fail(err, what, reason);
    if (is_fenced(fatal_code)) return fenced_fail(err, what, fatal_reason);
    if (mr_kafka_is_denied(code)) return denied_fail(err, code, what, reason);
    if (mr_kafka_is_denied(fatal_code)) return denied_fail(err, fatal_code, what, fatal_reason);
    mr_fail(err, MR_ERESTART, "%s: %s", what, fatal_code ? fatal_reason : reason);
    if (is_fatal || fatal_code) return MR_TXN_FATAL;
    if (is_abort) return MR_TXN_ABORT;
    return is_again ? MR_TXN_AGAIN : MR_TXN_FATAL;
}

/* A fatal error that no call has told of: a commit may answer OK behind it, with nothing written. */
static mr_txn_outcome fatal_check(const struct mr_transaction *transaction, const char *what, struct mr_err *err)
{
    char reason[512];
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(transaction->client, reason, sizeof reason);
    if (!code) return MR_TXN_OK;
    if (is_fenced(code)) return fenced_fail(err, what, reason);
    if (mr_kafka_is_denied(code)) return denied_fail(err, code, what, reason);
    mr_fail(err, MR_ERESTART, "%s: %s", what, reason);
    return MR_TXN_FATAL;
}

/* What a call of the transaction's end came to, which may have taken so long. */
static mr_txn_outcome call_judge(struct mr_transaction *transaction, rd_kafka_error_t *error, int64_t allowed_ms,
                                 const char *what, struct mr_err *err)
{
    mr_txn_outcome outcome = mr_transaction_judge(transaction->client, error, what, err);
    seen(transaction, allowed_ms);
    if (!outcome) outcome = fatal_check(transaction, what, err);
    return fence_judge(transaction, outcome, what, err);
}

/* A delivery report, on the lane's thread. */
static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct mr_transaction *const transaction = opaque;
    struct mr_port *const port = rd_kafka_topic_opaque(message->rkt);
    (void)client;
    if (message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) return;
    if (!message->err) transaction->acknowledged++;
    if (!message->err && transaction->is_closing) return;
    port->delivered(port, message);
}

static mr_status producer_conf(struct mr_transaction *transaction, rd_kafka_conf_t **conf_out, struct mr_err *err)
{
    const struct mr_map *const properties = transaction->open.properties;
    char linger_ms[32], kbytes[32], transaction_ms[32], socket_ms[32];
    const struct mr_kafka_default defaults[] = {
        {.key = "transactional.id", .value = transaction->id, .is_reserved = true},
        {.key = "transaction.timeout.ms", .value = transaction_ms},
        {.key = "linger.ms", .value = linger_ms},
        {.key = "queue.buffering.max.kbytes", .value = kbytes},
        {.key = "queue.buffering.max.messages", .value = "1000000"},
        {.key = "batch.num.messages", .value = transaction->is_solo ? "1" : "100000"},
        {.key = "enable.idempotence", .value = "true", .is_reserved = true},
        {.key = "delivery.report.only.error", .value = "false", .is_reserved = true}, /* every record is counted */
        {.key = "reconnect.backoff.max.ms", .value = "1000"},
        {.key = "socket.timeout.ms", .value = socket_ms},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "partitioner", .value = "murmur2_random"},
        {.key = "client.id", .value = "millrace"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    snprintf(linger_ms, sizeof linger_ms, "%g", (double)transaction->open.linger_us / 1000.0);
    snprintf(transaction_ms, sizeof transaction_ms, "%lld", (long long)transaction->timeouts.transaction_ms);
    snprintf(socket_ms, sizeof socket_ms, "%lld", (long long)transaction->timeouts.socket_ms);
    mr_kafka_queue_kbytes(properties, transaction->open.memory_bytes, kbytes);
    const mr_status status = mr_kafka_conf_create("transaction", properties, defaults, conf_out, err);
    if (status) return status;
    rd_kafka_conf_set_opaque(*conf_out, transaction);
    rd_kafka_conf_set_dr_msg_cb(*conf_out, delivered);
    mr_epoch_watch_add(&transaction->watch, *conf_out);
    return MR_OK;
}

static mr_status port_bind(const struct mr_transaction *transaction, struct mr_port *port, struct mr_err *err)
{
    char reason[256];
    rd_kafka_topic_conf_t *const conf = rd_kafka_topic_conf_new();
    rd_kafka_topic_conf_set_opaque(conf, port);
    const struct mr_map *const properties = transaction->open.properties;
    const bool is_given =
        mr_kafka_property(properties, "compression.codec") || mr_kafka_property(properties, "compression.type");
    if (port->codec && !is_given &&
        rd_kafka_topic_conf_set(conf, "compression.codec", port->codec, reason, sizeof reason))
        mr_log(MR_LOG_DEBUG, "kafka", "%s: %s", port->topic_name, reason); /* a build without it: sent as it is */
    port->topic = rd_kafka_topic_new(transaction->client, port->topic_name, conf);
    if (port->topic) return MR_OK;
    rd_kafka_topic_conf_destroy(conf);
    return mr_fail(err, MR_EKAFKA, "topic \"%s\": %s", port->topic_name, rd_kafka_err2str(rd_kafka_last_error()));
}

static mr_status producer_make(struct mr_transaction *transaction, struct mr_err *err)
{
    rd_kafka_conf_t *conf;
    transaction->is_solo = mr_clock_us() < transaction->solo_until_us;
    transaction->has_refusals = false;
    mr_epoch_watch_reset(&transaction->watch);
    mr_status status = producer_conf(transaction, &conf, err);
    if (!status) status = mr_kafka_client_create("transaction", RD_KAFKA_PRODUCER, conf, &transaction->client, err);
    for (struct mr_port *port = transaction->port; port && !status; port = port->next)
        status = port_bind(transaction, port, err);
    transaction->failure = (struct mr_err){0};
    transaction->is_closing = transaction->is_open = transaction->is_pending = false;
    return status;
}

mr_txn_outcome mr_transaction_init(struct mr_transaction *transaction, struct mr_err *err)
{
    if (!transaction->client && producer_make(transaction, err)) {
        mr_transaction_drop(transaction);
        return MR_TXN_REFUSED;
    }
    return mr_transaction_judge(transaction->client, rd_kafka_init_transactions(transaction->client, STEP_MS),
                                "starting transactions", err);
}

mr_txn_outcome mr_transaction_begin(struct mr_transaction *transaction, struct mr_err *err)
{
    const mr_txn_outcome outcome = fatal_check(transaction, "beginning a transaction", err);
    if (outcome) return outcome;
    mr_epoch_watch_begin(&transaction->watch);
    transaction->sent = transaction->acknowledged = 0;
    mr_age_begin(&transaction->age);
    transaction->probe_due_us = mr_clock_us() + PROBE_EVERY_US;
    const mr_txn_outcome begun = mr_transaction_judge(
        transaction->client, rd_kafka_begin_transaction(transaction->client), "beginning a transaction", err);
    transaction->is_open = transaction->is_pending = !begun;
    return begun;
}

mr_txn_outcome mr_transaction_offsets(struct mr_transaction *transaction, const rd_kafka_topic_partition_list_t *list,
                                      const rd_kafka_consumer_group_metadata_t *group, struct mr_err *err)
{
    static const char what[] = "putting the input offsets into the transaction";
    seen(transaction, 0);
    mr_age_known(&transaction->age, mr_clock_us());
    const int wait_ms = left_ms(transaction, OFFSETS_MS);
    if (!wait_ms) return old_fail(transaction, what, err);
    transaction->is_open = false;
    rd_kafka_error_t *const error = rd_kafka_send_offsets_to_transaction(transaction->client, list, group, wait_ms);
    /* On its way to the coordinator of the group it waits for two requests whatever it was given. */
    return call_judge(transaction, error, wait_ms + transaction->timeouts.socket_ms + NOTICE_MS, what, err);
}

mr_txn_outcome mr_transaction_commit(struct mr_transaction *transaction, struct mr_err *err)
{
    static const char what[] = "committing the transaction";
    seen(transaction, 0);
    if (!left_ms(transaction, STEP_MS)) return old_fail(transaction, what, err);
    transaction->is_open = transaction->is_pending = false;
    rd_kafka_error_t *const error = rd_kafka_commit_transaction(transaction->client, STEP_MS);
    const mr_txn_outcome outcome = call_judge(transaction, error, STEP_MS, what, err);
    if (outcome) return outcome;
    if (transaction->acknowledged != transaction->sent) {
        mr_fail(err, MR_ERESTART, "%s: %llu of %llu messages were acknowledged", what,
                (unsigned long long)transaction->acknowledged, (unsigned long long)transaction->sent);
        return MR_TXN_FATAL;
    }
    transaction->sent = transaction->acknowledged = 0;
    mr_refused_clear(&transaction->refused); /* their offsets are committed */
    return MR_TXN_OK;
}

bool mr_transaction_is_dirty(struct mr_transaction *transaction)
{
    return transaction->is_solo != (mr_clock_us() < transaction->solo_until_us) ||
           mr_epoch_watch_is_dirty(&transaction->watch);
}

void mr_transaction_leave(struct mr_transaction *transaction)
{
    if (!transaction->client || !transaction->is_pending || rd_kafka_fatal_error(transaction->client, NULL, 0)) return;
    transaction->is_open = transaction->is_pending = false;
    transaction->is_closing = true;
    const bool is_clean = !mr_epoch_watch_is_dirty(&transaction->watch);
    rd_kafka_error_t *const error = is_clean ? rd_kafka_abort_transaction(transaction->client, LEAVE_MS) : NULL;
    if (is_clean && !error) return;
    mr_log(MR_LOG_WARN, "kafka",
           "the last transaction is left open (%s): readers of committed records wait at it for %g s at most, or until "
           "this instance starts again",
           error ? rd_kafka_error_string(error) : "a request of it was not answered, and may come after its end",
           (double)transaction->timeouts.transaction_ms / 1e3);
    if (error) rd_kafka_error_destroy(error);
}

void mr_transaction_drop(struct mr_transaction *transaction)
{
    rd_kafka_t *const client = transaction->client;
    if (!client) return;
    if (transaction->has_refusals && transaction->is_solo) { /* what is on its way may tell of more refused records */
        rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
        rd_kafka_flush(client, REFUSALS_WAIT_MS);
    }
    transaction->is_closing = true;
    rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_poll(client, 0);
    for (struct mr_port *port = transaction->port; port; port = port->next) {
        if (port->topic) rd_kafka_topic_destroy(port->topic);
        port->topic = NULL;
    }
    transaction->client = NULL;
    transaction->sent = transaction->acknowledged = 0; /* of nobody's: the next producer has sent nothing yet */
    transaction->is_open = false;
    rd_kafka_destroy(client);
}

rd_kafka_t *mr_transaction_client(const struct mr_transaction *transaction)
{
    return transaction->client;
}

mr_status mr_port_open(struct mr_transaction *transaction, struct mr_port *port, struct mr_err *err)
{
    const mr_status status = port_bind(transaction, port, err);
    if (status) return status;
    port->next = transaction->port;
    transaction->port = port;
    return MR_OK;
}

void mr_port_close(struct mr_transaction *transaction, struct mr_port *port)
{
    struct mr_port **at = &transaction->port;
    while (*at && *at != port) at = &(*at)->next;
    if (*at) *at = port->next;
    if (port->topic) rd_kafka_topic_destroy(port->topic);
    port->topic = NULL;
}

void mr_transaction_sent(struct mr_transaction *transaction, size_t count)
{
    mr_age_known(&transaction->age, mr_clock_us());
    transaction->sent += count;
}

void mr_transaction_counts(const struct mr_transaction *transaction, uint64_t *sent_out, uint64_t *acknowledged_out)
{
    *sent_out = transaction->sent;
    *acknowledged_out = transaction->acknowledged;
}

/*
 * A transaction that the coordinator has turned down sends no messages any more, and their reports never come: the
 * client tells when it is next asked for something. Beginning another one is asking for nothing: it is refused while
 * one is open, with what is wrong with that one.
 */
static void failure_probe(struct mr_transaction *transaction)
{
    const int64_t now_us = mr_clock_us();
    if (!transaction->is_open || transaction->acknowledged == transaction->sent || now_us < transaction->probe_due_us)
        return;
    transaction->probe_due_us = now_us + PROBE_EVERY_US;
    rd_kafka_error_t *const error = rd_kafka_begin_transaction(transaction->client);
    if (error && (rd_kafka_error_txn_requires_abort(error) || rd_kafka_error_is_fatal(error)))
        mr_transaction_judge(transaction->client, error, "transaction", &transaction->failure);
    else if (error)
        rd_kafka_error_destroy(error);
}

void mr_transaction_ask(struct mr_transaction *transaction)
{
    transaction->probe_due_us = 0;
    if (!transaction->failure.status) failure_probe(transaction);
}

void mr_transaction_poll(struct mr_transaction *transaction, int wait_ms)
{
    if (!transaction->client) return;
    seen(transaction, 0);
    rd_kafka_poll(transaction->client, wait_ms);
    seen(transaction, wait_ms);
    if (!transaction->failure.status && transaction->is_open && !left_ms(transaction, 1))
        old_fail(transaction, "waiting for outputs to be acknowledged", &transaction->failure);
    if (!transaction->failure.status) failure_probe(transaction);
}

mr_status mr_transaction_failure(struct mr_transaction *transaction, struct mr_err *err)
{
    struct mr_err *const failure = &transaction->failure;
    if (!failure->status && transaction->client)
        fence_judge(transaction, fatal_check(transaction, "transaction", failure), "transaction", failure);
    if (failure->status && err) *err = *failure;
    return failure->status;
}

void mr_transaction_refused(struct mr_transaction *transaction, const struct mr_sent_record *record, const char *why)
{
    const int64_t now_us = mr_clock_us();
    const bool is_known = mr_refused_has(&transaction->refused, record, now_us);
    transaction->has_refusals = true;
    /* For a while: where a topic takes less than a request of many records, each such request would be refused. */
    transaction->solo_until_us = now_us + MR_LIMIT_HOLDS_US;
    if (transaction->is_solo) transaction->has_learned |= !is_known;
    if (transaction->is_solo && !is_known && !mr_refused_add(&transaction->refused, record, now_us)) {
        mr_fail(&transaction->failure, MR_ENOMEM, "no memory for refused records");
        return;
    }
    if (transaction->failure.status) return;
    mr_fail(&transaction->failure, MR_ERESTART, "topic \"%s\" refuses %s: %s", record->to,
            transaction->is_solo ? "an output" : "some outputs", why);
}

bool mr_transaction_has_refused(const struct mr_transaction *transaction)
{
    return !mr_refused_is_empty(&transaction->refused);
}

bool mr_transaction_knows_refused(const struct mr_transaction *transaction, const struct mr_sent_record *record)
{
    return mr_refused_has(&transaction->refused, record, mr_clock_us());
}

bool mr_transaction_has_learned(struct mr_transaction *transaction)
{
    const bool has_learned = transaction->has_learned;
    transaction->has_learned = false;
    return has_learned;
}
