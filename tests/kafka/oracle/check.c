/* oracle check: reads what went in and what came out, and says what became of each record. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

#define PARTITION_MAX   64
#define TROUBLE_PRINTED 10 /* of each kind */
#define CUT_BYTES       65536

/** One record that went in. */
struct record {
    long id;
    int64_t offset;
    int32_t partition;
    char kind;
    uint32_t bytes;
    uint64_t value_hash, key_hash;
    uint32_t out_count, dead_count;
};

enum trouble {
    MISSING,
    DUPLICATE,
    REORDERED,
    MISPLACED,
    WRONG_CLASS,
    WRONG_BYTES,
    WRONG_KEY,
    UNKNOWN,
    NOT_EXPECTED,
    AHEAD,
    TROUBLE_COUNT
};
static const char *const trouble_names[] = {"missing",     "duplicates", "reordered", "misplaced",    "wrong_class",
                                            "wrong_bytes", "wrong_key",  "unknown",   "not_expected", "ahead"};

struct checking {
    const struct options *opt;
    struct record *record; /* in the order read; of each partition in that of offsets */
    size_t count, cap;
    size_t *by_id; /* index + 1; 0: none */
    size_t by_id_cap;
    size_t *by_place[PARTITION_MAX]; /* indices, offsets ascending */
    size_t place_count[PARTITION_MAX], place_cap[PARTITION_MAX];
    int64_t newest[PARTITION_MAX]; /* of each output partition: the highest input offset answered so far */
    uint64_t trouble[TROUBLE_COUNT];
    uint64_t outputs, dead_letters, cut;
    uint64_t repeats; /* answers beyond the first of each record */
    uint64_t beyond;  /* records answered that the group has not committed: what a crash now would repeat */
};

static void trouble(struct checking *checking, enum trouble kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void trouble(struct checking *checking, enum trouble kind, const char *format, ...)
{
    va_list arguments;
    if (checking->trouble[kind]++ >= TROUBLE_PRINTED) return;
    va_start(arguments, format);
    fprintf(stderr, "oracle: %s: ", trouble_names[kind]);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

static uint64_t hash(const void *data, size_t bytes)
{
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < bytes; i++) sum = (sum ^ ((const unsigned char *)data)[i]) * 1099511628211u;
    return data ? sum : 0;
}

static void *grown(void *array, size_t *cap, size_t need, size_t size)
{
    const size_t old = *cap;
    if (need <= old) return array;
    *cap = need * 2 < 1024 ? 1024 : need * 2;
    char *more = realloc(array, *cap * size);
    if (!more) die("out of memory");
    memset(more + old * size, 0, (*cap - old) * size);
    return more;
}

static bool header_get(const rd_kafka_message_t *message, const char *name, char *out, size_t out_bytes)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t bytes;
    if (rd_kafka_message_headers(message, &headers) || rd_kafka_header_get_last(headers, name, &value, &bytes))
        return false;
    snprintf(out, out_bytes, "%.*s", (int)bytes, (const char *)value);
    return true;
}

static void input_take(void *context, const rd_kafka_message_t *message)
{
    struct checking *checking = context;
    char text[64], kind;
    long id;
    if (!header_get(message, HEADER_NAME, text, sizeof text) || sscanf(text, "%c:%ld", &kind, &id) != 2)
        die("%s holds records of others", checking->opt->in);
    if (message->partition >= PARTITION_MAX) die("more than %d partitions", PARTITION_MAX);
    if (id >= STRANGER_ID || id < 0) {
        trouble(checking, UNKNOWN, "an aborted record %ld was read from the input", id);
        return;
    }
    checking->record = grown(checking->record, &checking->cap, checking->count + 1, sizeof *checking->record);
    checking->record[checking->count] = (struct record){.id = id,
                                                        .offset = message->offset,
                                                        .partition = message->partition,
                                                        .kind = kind,
                                                        .bytes = (uint32_t)message->len,
                                                        .value_hash = hash(message->payload, message->len),
                                                        .key_hash = hash(message->key, message->key_len)};
    checking->by_id = grown(checking->by_id, &checking->by_id_cap, (size_t)id + 1, sizeof *checking->by_id);
    if (checking->by_id[id]) die("record %ld is twice in the input", id);
    checking->by_id[id] = ++checking->count;
    const int32_t at = message->partition;
    checking->by_place[at] = grown(checking->by_place[at], &checking->place_cap[at], checking->place_count[at] + 1,
                                   sizeof **checking->by_place);
    checking->by_place[at][checking->place_count[at]++] = checking->count - 1;
}

static struct record *record_at(struct checking *checking, int32_t partition, int64_t offset)
{
    if (partition < 0 || partition >= PARTITION_MAX) return NULL;
    size_t low = 0, high = checking->place_count[partition];
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        struct record *record = &checking->record[checking->by_place[partition][middle]];
        if (record->offset == offset) return record;
        if (record->offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void order_check(struct checking *checking, const struct record *record, const rd_kafka_message_t *message)
{
    if (checking->opt->partitions && record->partition >= checking->opt->partitions) return;
    if (record->partition != message->partition) {
        trouble(checking, MISPLACED, "record %ld of partition %d was answered in partition %d", record->id,
                record->partition, message->partition);
        return;
    }
    int64_t *newest = &checking->newest[message->partition];
    if (record->out_count > 1) return; /* a repeat: counted as such */
    if (record->offset < *newest) {
        trouble(checking, REORDERED, "partition %d: record %ld (offset %lld) was answered behind offset %lld",
                message->partition, record->id, (long long)record->offset, (long long)*newest);
    }
    if (record->offset > *newest) *newest = record->offset;
}

static void output_take(void *context, const rd_kafka_message_t *message)
{
    struct checking *checking = context;
    char text[128];
    long id;
    int class_index;

    checking->outputs++;
    snprintf(text, sizeof text, "%.*s", (int)message->len, (const char *)message->payload);
    if (sscanf(text, "{\"id\":%ld,\"prediction\":%d", &id, &class_index) != 2) {
        trouble(checking, WRONG_BYTES, "output[%d] %lld is \"%s\"", message->partition, (long long)message->offset,
                text);
        return;
    }
    if (id < 0 || (size_t)id >= checking->by_id_cap || !checking->by_id[id]) {
        trouble(checking, UNKNOWN, "an output answers record %ld, which was never sent", id);
        return;
    }
    struct record *record = &checking->record[checking->by_id[id] - 1];
    record->out_count++;
    if (record->kind != 'g') trouble(checking, NOT_EXPECTED, "record %ld of kind %c was answered", id, record->kind);
    if (class_index != id % CLASS_COUNT)
        trouble(checking, WRONG_CLASS, "record %ld: class %d, not %ld", id, class_index, id % CLASS_COUNT);
    if (record->key_hash != hash(message->key, message->key_len))
        trouble(checking, WRONG_KEY, "record %ld has another key", id);
    if (checking->opt->is_ordered) order_check(checking, record, message);
}

static void dead_take(void *context, const rd_kafka_message_t *message)
{
    struct checking *checking = context;
    char partition[32], offset[32], reason[64], cut[32];

    checking->dead_letters++;
    if (!header_get(message, "millrace-source-partition", partition, sizeof partition) ||
        !header_get(message, "millrace-source-offset", offset, sizeof offset) ||
        !header_get(message, "millrace-error", reason, sizeof reason)) {
        trouble(checking, UNKNOWN, "dead[%d] %lld does not say where it is from and why", message->partition,
                (long long)message->offset);
        return;
    }
    struct record *record = record_at(checking, atoi(partition), atoll(offset));
    if (!record) {
        trouble(checking, UNKNOWN, "a dead letter is from partition %s, offset %s, where no record is", partition,
                offset);
        return;
    }
    record->dead_count++;
    const bool may_die =
        record->kind == 'b' || record->kind == 'l' || (record->kind == 'n' && checking->opt->has_tombstones);
    if (!may_die)
        trouble(checking, NOT_EXPECTED, "record %ld of kind %c is a dead letter (%s)", record->id, record->kind,
                reason);
    if (record->kind != 'b') return; /* of an output that was too large, the output is kept */
    if (header_get(message, "millrace-truncated-from", cut, sizeof cut)) {
        checking->cut++;
        if (message->len != CUT_BYTES || strtoul(cut, NULL, 10) != record->bytes)
            trouble(checking, WRONG_BYTES, "record %ld is cut to %zu bytes from %s", record->id, message->len, cut);
    } else if (message->len != record->bytes || hash(message->payload, message->len) != record->value_hash) {
        trouble(checking, WRONG_BYTES, "record %ld has other bytes as a dead letter (%zu, not %u)", record->id,
                message->len, record->bytes);
    }
}

/* Committed offsets of the group: everything before them must have been delivered. */
static void committed_get(const struct checking *checking, int64_t *committed_out)
{
    const char *const extra[] = {"group.id", checking->opt->group ? checking->opt->group : "none", NULL};
    for (int i = 0; i < PARTITION_MAX; i++) committed_out[i] = checking->opt->is_partial ? -1 : INT64_MAX;
    if (!checking->opt->group) return;
    rd_kafka_t *client = client_open(checking->opt, RD_KAFKA_CONSUMER, extra);
    const int32_t count = partition_count(client, checking->opt->in);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int32_t i = 0; i < count; i++) rd_kafka_topic_partition_list_add(list, checking->opt->in, i);
    rd_kafka_resp_err_t code;
    int tries = 300; /* of 0.1 s: a group that was just made has no coordinator yet */
    while ((code = rd_kafka_committed(client, list, 30000)) && tries-- &&
           (code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR || code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
            code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS)) {
        rd_kafka_poll(client, 100);
    }
    if (code) die("committed offsets of %s: %s", checking->opt->group, rd_kafka_err2str(code));
    for (int i = 0; i < list->cnt; i++) committed_out[list->elems[i].partition] = list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
}

static void records_judge(struct checking *checking, const int64_t *committed)
{
    for (size_t i = 0; i < checking->count; i++) {
        const struct record *record = &checking->record[i];
        const uint32_t answers = record->out_count + record->dead_count;
        const bool is_wanted = record->kind != 'n' || checking->opt->has_tombstones;
        if (answers > 1) trouble(checking, DUPLICATE, "record %ld was answered %u times", record->id, answers);
        if (answers) checking->repeats += answers - 1;
        if (answers && record->offset >= committed[record->partition]) checking->beyond++;
        if (answers || !is_wanted || record->id < checking->opt->recent) continue;
        if (!checking->opt->is_partial) {
            trouble(checking, MISSING, "record %ld of kind %c (partition %d, offset %lld)", record->id, record->kind,
                    record->partition, (long long)record->offset);
        } else if (record->offset < committed[record->partition]) {
            trouble(checking, AHEAD, "partition %d: offset %lld is committed, but record %ld at %lld is not delivered",
                    record->partition, (long long)committed[record->partition], record->id, (long long)record->offset);
        }
    }
}

/* With --group and not --partial: a finished job has committed up to the last record. */
static void end_check(struct checking *checking, const int64_t *committed)
{
    for (int32_t p = 0; checking->opt->group && !checking->opt->is_partial && p < PARTITION_MAX; p++) {
        if (!checking->place_count[p]) continue;
        const struct record *last = &checking->record[checking->by_place[p][checking->place_count[p] - 1]];
        if (committed[p] <= last->offset) {
            trouble(checking, AHEAD, "partition %d: committed up to %lld, but the last record is at %lld", p,
                    (long long)committed[p], (long long)last->offset);
        }
    }
}

int check(const struct options *opt)
{
    struct checking checking = {.opt = opt};
    int64_t committed[PARTITION_MAX];
    bool is_good = true;

    for (int i = 0; i < PARTITION_MAX; i++) checking.newest[i] = -1;
    committed_get(&checking, committed); /* before the outputs are read: what is committed is there by then */
    topic_read(opt, opt->in, input_take, &checking);
    topic_read(opt, opt->out, output_take, &checking);
    if (opt->dead) topic_read(opt, opt->dead, dead_take, &checking);
    records_judge(&checking, committed);
    end_check(&checking, committed);
    if (opt->count && checking.count != (size_t)opt->count) {
        trouble(&checking, MISSING, "%zu records are in the input, not %ld", checking.count, opt->count);
    }
    const uint64_t duplicates_max = opt->is_once               ? 0
                                    : opt->duplicates_max >= 0 ? (uint64_t)opt->duplicates_max
                                                               : UINT64_MAX;
    printf("{\"in\":%zu,\"repeats\":%llu,\"beyond\":%llu,\"outputs\":%llu,\"dead\":%llu,\"cut\":%llu", checking.count,
           (unsigned long long)checking.repeats, (unsigned long long)checking.beyond,
           (unsigned long long)checking.outputs, (unsigned long long)checking.dead_letters,
           (unsigned long long)checking.cut);
    for (int i = 0; i < TROUBLE_COUNT; i++) {
        printf(",\"%s\":%llu", trouble_names[i], (unsigned long long)checking.trouble[i]);
        if (checking.trouble[i] > (i == DUPLICATE ? duplicates_max : 0)) is_good = false;
    }
    printf(",\"good\":%s}\n", is_good ? "true" : "false");
    for (int i = 0; i < PARTITION_MAX; i++) free(checking.by_place[i]);
    free(checking.record);
    free(checking.by_id);
    return is_good ? 0 : 1;
}
