#include "kafka/timeouts.h"

#include "base/log.h"
#include "kafka/client.h"

#define TRANSACTION_MS 30000
#define SOCKET_MS      10000
#define BROKER_MAX_MS  900000 /* transaction.max.timeout.ms of a broker where nobody changed it */
#define SESSION_MS     45000  /* librdkafka's, of a member of a group */
#define SOCKET_MORE_MS 100    /* librdkafka: a request may take that much longer than its transaction */

/* -1: nothing was. */
static int64_t given(const struct mr_map *properties, const char *key)
{
    return mr_kafka_property_whole(properties, key, -1);
}

int64_t mr_timeouts_session_ms(const struct mr_map *properties)
{
    return mr_kafka_property_whole(properties, "session.timeout.ms", SESSION_MS);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Each of them against a transaction's time, which is fixed by now. */
static mr_status contradiction(const struct mr_map *properties, int64_t interval_ms, const struct mr_timeouts *chosen,
                               struct mr_err *err)
{
    static const char *const names[] = {"message.timeout.ms", "delivery.timeout.ms"};
    const int64_t most = chosen->transaction_ms;
    if (2 * interval_ms > most)
        return mr_fail(
            err, MR_ECONFIG,
            "exactly-once: commit_interval of %g s with transaction.timeout.ms of %lld: a transaction is open "
            "for an interval and then waits for its messages, and the broker would abort it: set "
            "commit_interval to at most %g s (1 s is usual)%s",
            (double)interval_ms / 1e3, (long long)most, (double)most / 2e3,
            given(properties, "transaction.timeout.ms") >= 0 ? ", or raise transaction.timeout.ms" : "");
    if (chosen->socket_ms > most + SOCKET_MORE_MS)
        return mr_fail(err, MR_ECONFIG,
                       "exactly-once: socket.timeout.ms of %lld is more than transaction.timeout.ms of %lld: a lost "
                       "request would be noticed when its transaction is over: set it to at most %lld, or leave it out",
                       (long long)chosen->socket_ms, (long long)most, (long long)most);
    for (size_t i = 0; i < 2; i++) {
        const int64_t message_ms = given(properties, names[i]);
        if (message_ms < 0 || (message_ms && message_ms <= most)) continue;
        return mr_fail(
            err, MR_ECONFIG,
            "exactly-once: %s of %lld%s is more than transaction.timeout.ms of %lld: a message cannot outlive "
            "its transaction: leave it out, or set it to at most %lld",
            names[i], (long long)message_ms, message_ms ? "" : " (no limit)", (long long)most, (long long)most);
    }
    return MR_OK;
}

mr_status mr_timeouts_choose(const struct mr_map *properties, int64_t commit_interval_us, struct mr_timeouts *out,
                             struct mr_err *err)
{
    const int64_t transaction_ms = given(properties, "transaction.timeout.ms");
    const int64_t socket_ms = given(properties, "socket.timeout.ms");
    const int64_t message_ms =
        larger(given(properties, "message.timeout.ms"), given(properties, "delivery.timeout.ms"));
    const int64_t interval_ms = commit_interval_us / 1000;
    out->transaction_ms = transaction_ms;
    if (transaction_ms < 0) {
        out->transaction_ms = larger(TRANSACTION_MS, larger(3 * interval_ms, larger(socket_ms, message_ms)));
        out->transaction_ms = smaller(out->transaction_ms, BROKER_MAX_MS);
        if (out->transaction_ms > TRANSACTION_MS)
            mr_log(
                MR_LOG_INFO, "kafka",
                "transaction.timeout.ms is %lld, to fit commit_interval, socket.timeout.ms and message.timeout.ms: so "
                "long readers wait behind a transaction whose writer was lost",
                (long long)out->transaction_ms);
    }
    out->socket_ms = socket_ms >= 0 ? socket_ms : smaller(SOCKET_MS, out->transaction_ms);
    if (out->transaction_ms > BROKER_MAX_MS)
        mr_log(
            MR_LOG_WARN, "kafka",
            "transaction.timeout.ms of %lld is more than brokers allow where transaction.max.timeout.ms is not raised "
            "(%d)",
            (long long)out->transaction_ms, BROKER_MAX_MS);
    return contradiction(properties, interval_ms, out, err);
}
