#include "table/topic_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/client.h"
#include "kafka/range_reader.h"

#define ANSWER_MS 10000
#define STEP      2048 /* offsets that are asked for at once */

struct part {
    int64_t low, end;
};

/* A record whose lines or rows may still be asked for. */
struct origin {
    uint64_t first; /* its first line or row, from 0 */
    int64_t offset;
    int32_t partition;
};

struct mr_topic_input {
    char *topic;
    size_t row_bytes;
    struct mr_range_reader *reader;
    struct part *part; /* [part_count] */
    int32_t part_count;
    /* where it stands */
    int32_t at;                  /* partition */
    int64_t next;                /* offset that comes next in it */
    struct mr_message_list list; /* read, from list_at on not yet handed over */
    size_t list_at, byte_at;     /* byte_at: of that message */
    uint64_t rows;               /* lines or rows that were begun */
    struct origin *origin;       /* [origin_count] */
    size_t origin_count, origin_cap;
};

/* Partitions, and their bounds for a reader of committed records. */
static mr_status bounds_ask(struct mr_topic_input *input, const struct mr_map *properties, struct mr_err *err)
{
    const struct mr_kafka_default defaults[] = {
        {.key = "isolation.level", .value = "read_committed"},
        {.key = "client.id", .value = "millrace"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    const char *const servers = mr_kafka_property(properties, "bootstrap.servers");
    rd_kafka_conf_t *conf;
    rd_kafka_t *client;
    mr_status status = mr_kafka_conf_create("reader", properties, defaults, &conf, err);
    if (!status) status = mr_kafka_client_create("reader", RD_KAFKA_CONSUMER, conf, &client, err);
    if (status) return status;
    status = mr_kafka_partition_count(client, servers, input->topic, ANSWER_MS, &input->part_count, err);
    input->part = calloc((size_t)input->part_count + 1, sizeof *input->part);
    if (!status && !input->part) status = mr_fail(err, MR_ENOMEM, "out of memory");
    for (int32_t i = 0; i < input->part_count && !status; i++) {
        struct part *const part = &input->part[i];
        const rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(client, input->topic, i, &part->low, &part->end, ANSWER_MS);
        if (code)
            status = mr_fail(err, MR_EKAFKA, "where %s[%d] begins and ends: %s", input->topic, (int)i,
                             rd_kafka_err2str(code));
    }
    rd_kafka_destroy(client);
    return status;
}

mr_status mr_topic_input_open(const char *topic, const struct mr_map *properties, size_t row_bytes,
                              struct mr_topic_input **input_out, struct mr_err *err)
{
    struct mr_topic_input *const input = calloc(1, sizeof *input);
    *input_out = NULL;
    if (!input) return mr_fail(err, MR_ENOMEM, "out of memory");
    input->topic = strdup(topic);
    input->row_bytes = row_bytes;
    mr_status status = input->topic ? bounds_ask(input, properties, err) : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = mr_range_reader_create(properties, &input->reader, err);
    if (status) {
        mr_topic_input_close(input);
        return status;
    }
    mr_topic_input_rewind(input);
    *input_out = input;
    return MR_OK;
}

/* More messages into the list; none: all was read. */
static mr_status list_fill(struct mr_topic_input *input, struct mr_err *err)
{
    mr_message_list_clear(&input->list);
    input->list_at = 0;
    while (!input->list.count && input->at < input->part_count) {
        const struct part *const part = &input->part[input->at];
        const int64_t end = input->next + STEP < part->end ? input->next + STEP : part->end;
        const mr_status status =
            mr_range_read(input->reader, input->topic, input->at, input->next, end, &input->list, err);
        if (status) return status;
        input->next = end;
        if (end < part->end) continue;
        input->at++;
        input->next = input->at < input->part_count ? input->part[input->at].low : 0;
    }
    return MR_OK;
}

/* A record begins. */
static mr_status origin_add(struct mr_topic_input *input, const struct mr_message *message, struct mr_err *err)
{
    const size_t rows = input->row_bytes ? message->value_bytes / input->row_bytes : 1;
    if (input->row_bytes && message->value_bytes % input->row_bytes)
        return mr_fail(err, MR_EDATA, "topic \"%s\": partition %d, offset %lld: %zu bytes are no whole rows of %zu",
                       input->topic, (int)message->partition, (long long)message->offset, message->value_bytes,
                       input->row_bytes);
    if (input->origin_count == input->origin_cap) {
        const size_t cap = input->origin_cap ? 2 * input->origin_cap : STEP;
        struct origin *const grown = realloc(input->origin, cap * sizeof *grown);
        if (!grown) return mr_fail(err, MR_ENOMEM, "out of memory");
        input->origin = grown;
        input->origin_cap = cap;
    }
    input->origin[input->origin_count++] = (struct origin){input->rows, message->offset, message->partition};
    input->rows += rows;
    return MR_OK;
}

/* As much of a message as there is room for, and its line break. True: all of it. */
static bool message_take(struct mr_topic_input *input, const struct mr_message *message, char *to, size_t room,
                         size_t *bytes_out)
{
    const size_t left = message->value_bytes - input->byte_at, bytes = left < room ? left : room;
    memcpy(to, (const char *)message->value + input->byte_at, bytes);
    for (char *at = to; !input->row_bytes && at < to + bytes; at++)
        if (*at == '\n' || *at == '\r') *at = ' ';
    *bytes_out = bytes;
    input->byte_at += bytes;
    if (bytes < left || (!input->row_bytes && bytes == room)) return false;
    if (!input->row_bytes) to[(*bytes_out)++] = '\n';
    return true;
}

mr_status mr_topic_input_read(struct mr_topic_input *input, char *to, size_t cap, size_t *bytes_out, struct mr_err *err)
{
    mr_status status = MR_OK;
    *bytes_out = 0;
    while (!status && *bytes_out < cap) {
        size_t bytes;
        if (input->list_at == input->list.count) {
            if (*bytes_out) break; /* what is there first */
            status = list_fill(input, err);
            if (status || !input->list.count) break;
        }
        const struct mr_message *const message = &input->list.message[input->list_at];
        if (!message->value) {
            input->list_at++;
            continue;
        }
        if (!input->byte_at) status = origin_add(input, message, err);
        if (status || !message_take(input, message, to + *bytes_out, cap - *bytes_out, &bytes)) {
            *bytes_out += status ? 0 : bytes;
            break;
        }
        *bytes_out += bytes;
        input->byte_at = 0;
        input->list_at++;
    }
    return status;
}

/* The last record that begins at or before a line or row. */
static size_t origin_find(const struct mr_topic_input *input, uint64_t row)
{
    size_t low = 0, high = input->origin_count;
    while (high - low > 1) {
        const size_t middle = (low + high) / 2;
        if (input->origin[middle].first <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void mr_topic_input_place(const struct mr_topic_input *input, uint64_t number, char *text, size_t bytes)
{
    const struct origin *const origin = input->origin_count ? &input->origin[origin_find(input, number - 1)] : NULL;
    snprintf(text, bytes, "partition %d, offset %lld", origin ? (int)origin->partition : 0,
             origin ? (long long)origin->offset : 0);
}

void mr_topic_input_forget(struct mr_topic_input *input, uint64_t number)
{
    const size_t gone = input->origin_count ? origin_find(input, number) : 0;
    input->origin_count -= gone;
    if (gone) memmove(input->origin, input->origin + gone, input->origin_count * sizeof *input->origin);
}

void mr_topic_input_rewind(struct mr_topic_input *input)
{
    mr_message_list_clear(&input->list);
    input->list_at = input->byte_at = input->origin_count = 0;
    input->rows = 0;
    input->at = 0;
    input->next = input->part_count ? input->part[0].low : 0;
}

void mr_topic_input_close(struct mr_topic_input *input)
{
    if (!input) return;
    mr_message_list_clear(&input->list);
    mr_message_list_deinit(&input->list);
    mr_range_reader_destroy(input->reader);
    free(input->topic);
    free(input->part);
    free(input->origin);
    free(input);
}
