/* The head of a Kafka request, and the error code of a few answers. */
#include <stdlib.h>
#include <string.h>

#include "proxy.h"

/* What may follow the head: nothing that is of use here, the id itself, or an array whose first element begins with it.
 */
enum id_place { NO_ID, FIRST, IN_ARRAY };

struct api {
    const char *name;
    int16_t flexible; /* from this version on strings are compact and the head has tags; 99: not yet */
    int16_t array;    /* from this version on the id stands in an array */
    enum id_place id;
    bool has_error; /* throttle time and error code begin its answer */
};

/* Numbers from https://kafka.apache.org/protocol */
static const struct api apis[API_MAX] = {
    [0] = {"Produce", 9, 99, FIRST, false},
    [1] = {"Fetch", 12, 99, NO_ID, false},
    [2] = {"ListOffsets", 6, 99, NO_ID, false},
    [3] = {"Metadata", 9, 99, NO_ID, false},
    [8] = {"OffsetCommit", 8, 99, FIRST, false},
    [9] = {"OffsetFetch", 6, 8, FIRST, false},
    [10] = {"FindCoordinator", 3, 99, FIRST, false},
    [11] = {"JoinGroup", 6, 99, FIRST, false},
    [12] = {"Heartbeat", 4, 99, FIRST, false},
    [13] = {"LeaveGroup", 4, 99, FIRST, false},
    [14] = {"SyncGroup", 4, 99, FIRST, false},
    [15] = {"DescribeGroups", 5, 99, NO_ID, false},
    [16] = {"ListGroups", 3, 99, NO_ID, false},
    [17] = {"SaslHandshake", 99, 99, NO_ID, false},
    [18] = {"ApiVersions", 3, 99, NO_ID, false},
    [19] = {"CreateTopics", 5, 99, NO_ID, false},
    [20] = {"DeleteTopics", 4, 99, NO_ID, false},
    [21] = {"DeleteRecords", 2, 99, NO_ID, false},
    [22] = {"InitProducerId", 2, 99, FIRST, true},
    [23] = {"OffsetForLeaderEpoch", 4, 99, NO_ID, false},
    [24] = {"AddPartitionsToTxn", 3, 4, FIRST, false},
    [25] = {"AddOffsetsToTxn", 3, 99, FIRST, true},
    [26] = {"EndTxn", 3, 99, FIRST, true},
    [27] = {"WriteTxnMarkers", 1, 99, NO_ID, false},
    [28] = {"TxnOffsetCommit", 3, 99, FIRST, false},
    [29] = {"DescribeAcls", 2, 99, NO_ID, false},
    [32] = {"DescribeConfigs", 4, 99, NO_ID, false},
    [36] = {"SaslAuthenticate", 2, 99, NO_ID, false},
    [37] = {"CreatePartitions", 2, 99, NO_ID, false},
    [42] = {"DeleteGroups", 2, 99, NO_ID, false},
    [60] = {"DescribeCluster", 0, 99, NO_ID, false},
    [61] = {"DescribeProducers", 0, 99, NO_ID, false},
    [65] = {"DescribeTransactions", 0, 99, NO_ID, false},
    [66] = {"ListTransactions", 0, 99, NO_ID, false},
    [68] = {"ConsumerGroupHeartbeat", 0, 99, FIRST, false},
    [71] = {"GetTelemetrySubscriptions", 0, 99, NO_ID, false},
    [72] = {"PushTelemetry", 0, 99, NO_ID, false},
};

const char *api_name(int api)
{
    return api >= 0 && api < API_MAX ? apis[api].name : NULL;
}

int api_find(const char *word)
{
    if (!strcmp(word, "any")) return ANY;
    for (int api = 0; api < API_MAX; api++) {
        if (apis[api].name && !strcmp(apis[api].name, word)) return api;
    }
    char *end;
    const long number = strtol(word, &end, 10);
    return *word && !*end && number >= 0 && number < API_MAX ? (int)number : -2;
}

/** What is left to read; after a read past the end, is_short. */
struct reading {
    const unsigned char *at;
    size_t left;
    bool is_short;
};

static uint64_t read_number(struct reading *reading, size_t bytes)
{
    uint64_t value = 0;
    if (reading->left < bytes) {
        reading->is_short = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) value = value << 8 | reading->at[i];
    reading->at += bytes;
    reading->left -= bytes;
    return value;
}

static uint64_t read_varint(struct reading *reading)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        const uint64_t byte = read_number(reading, 1);
        value |= (byte & 127) << shift;
        if (byte < 128) break;
    }
    return value;
}

/* A string that may be null; out holds TEXT_MAX bytes, what is longer is cut. */
static void read_text(struct reading *reading, bool is_compact, char *out)
{
    const uint64_t number = is_compact ? read_varint(reading) : read_number(reading, 2);
    const bool is_null = is_compact ? number == 0 : number == 0xffff;
    const size_t size = is_null ? 0 : (size_t)number - is_compact;
    out[0] = '\0';
    if (reading->is_short || reading->left < size) {
        reading->is_short = true;
        return;
    }
    const size_t kept = size < TEXT_MAX ? size : TEXT_MAX - 1;
    memcpy(out, reading->at, kept);
    out[kept] = '\0';
    reading->at += size;
    reading->left -= size;
}

bool about_read(const unsigned char *bytes, size_t size, struct about *about_out)
{
    struct reading reading = {bytes, size, false};
    struct about about = {.epoch = -1};
    about.api = (int16_t)read_number(&reading, 2);
    about.version = (int16_t)read_number(&reading, 2);
    about.correlation = (int32_t)read_number(&reading, 4);
    read_text(&reading, false, about.client);
    if (reading.is_short || about.api < 0 || about.api >= API_MAX || about.version < 0) return false;
    *about_out = about;

    const struct api *api = &apis[about.api];
    if (!api->name || api->id == NO_ID) return true;
    const bool is_compact = about.version >= api->flexible;
    if (is_compact && read_varint(&reading)) return true; /* tags that nobody knows: then without the id */
    if (about.api == 10 && about.version >= 4) read_number(&reading, 1); /* the kind of key stands before the keys */
    if (about.version >= api->array || (about.api == 10 && about.version >= 4)) read_varint(&reading);
    if (about.api == 0 && about.version < 3) return true;
    read_text(&reading, is_compact, about.id);
    if (about.api == 26) {
        about.producer = (int64_t)read_number(&reading, 8);
        about.epoch = (int16_t)read_number(&reading, 2);
        about.is_commit = read_number(&reading, 1);
    }
    if (!reading.is_short) *about_out = about;
    return true;
}

int answer_error(const struct about *about, const unsigned char *bytes, size_t size)
{
    struct reading reading = {bytes, size, false};
    const struct api *api = &apis[about->api];
    if (!api->name || !api->has_error) return ANY;
    read_number(&reading, 4);
    if (about->version >= api->flexible) read_varint(&reading);
    read_number(&reading, 4);
    const int16_t code = (int16_t)read_number(&reading, 2);
    return reading.is_short ? ANY : code;
}
