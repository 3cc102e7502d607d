#include "sink/elastic/bulk.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json_text.h"
#include "base/number.h"
#include "codec/json/json.h"
#include "codec/json/walk.h"
#include "sink/http/http.h"

#define TIMESTAMP       "@timestamp"
#define TIMESTAMP_BYTES 64
#define ID_BYTES_MAX    512 /* of the server: longer ones are refused */

struct out {
    char *at, *end;
    bool is_full;
};

static void put(struct out *out, const char *text, size_t bytes)
{
    if (bytes > (size_t)(out->end - out->at)) {
        out->is_full = true;
        return;
    }
    memcpy(out->at, text, bytes);
    out->at += bytes;
}

static void put_text(struct out *out, const char *text)
{
    put(out, text, strlen(text));
}

static void put_number(struct out *out, int64_t number)
{
    char digits[MR_NUMBER_BYTES];
    put(out, digits, mr_print_i64(number, digits));
}

/* ---- a document ---- */

static void put_action(struct out *out, const struct mr_bulk_options *options, const struct mr_remote_record *record,
                       uint32_t row)
{
    char topic[MR_JSON_ESCAPE_MAX * 256];
    const size_t topic_bytes = strlen(record->topic);
    put_text(out, options->creates ? "{\"create\":{\"_index\":\"" : "{\"index\":{\"_index\":\"");
    put_text(out, options->index); /* its letters need no escapes */
    put_text(out, "\",\"_id\":\"");
    put(out, topic, mr_json_escape(record->topic, topic_bytes < 255 ? topic_bytes : 255, topic));
    put_text(out, "-");
    put_number(out, record->partition);
    put_text(out, "-");
    put_number(out, record->offset);
    if (row) put_text(out, "-");
    if (row) put_number(out, row);
    put_text(out, "\"}}\n");
}

/* The moment as text, quoted, with a comma: "@timestamp":"2026-11-23T05:30:00.123Z", */
static size_t timestamp_print(int64_t event_ms, char out[TIMESTAMP_BYTES])
{
    struct tm utc;
    const time_t seconds = (time_t)(event_ms / 1000);
    if (event_ms < 0 || !gmtime_r(&seconds, &utc) || utc.tm_year > 9999 - 1900) return 0;
    return (size_t)snprintf(out, TIMESTAMP_BYTES, "\"" TIMESTAMP "\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
                            utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                            (int)(event_ms % 1000));
}

static void timestamp_look(void *context, const struct mr_leaf *leaf)
{
    bool *const has_timestamp = context;
    if (leaf->name_bytes >= sizeof TIMESTAMP - 1 && !memcmp(leaf->name, TIMESTAMP, sizeof TIMESTAMP - 1) &&
        (leaf->name_bytes == sizeof TIMESTAMP - 1 || leaf->name[sizeof TIMESTAMP - 1] == '.'))
        *has_timestamp = true;
}

/* An object on one line: a line break can only stand between tokens. */
static void put_document(struct out *out, const char *object, const char *end, const char *timestamp, size_t bytes)
{
    const char *const inside = json_space_skip(object + 1, end);
    put(out, "{", 1);
    put(out, timestamp, bytes);
    if (bytes && *inside != '}') put(out, ",", 1);
    char *const first = out->at;
    put(out, inside, (size_t)(end - inside));
    for (char *at = first; (at = memchr(at, '\n', (size_t)(out->at - at)));) *at = ' ';
    for (char *at = first; (at = memchr(at, '\r', (size_t)(out->at - at)));) *at = ' ';
    put(out, "\n", 1);
}

static mr_status refuse(const char *text, mr_reason reason, mr_reason *reason_out, char why[128])
{
    *reason_out = reason;
    snprintf(why, 128, "%s", text);
    return MR_EDATA;
}

mr_status mr_bulk_add(const struct mr_bulk_options *options, const struct mr_remote_record *record,
                      struct mr_remote_text *text, uint32_t *units_out, mr_reason *reason_out, char why[128])
{
    struct out out = {text->data + text->used, text->data + text->cap, false};
    char timestamp[TIMESTAMP_BYTES];
    const size_t timestamp_bytes = timestamp_print(record->event_ms, timestamp);
    const char *cursor = record->value, *object;
    const char *const end = record->value ? record->value + record->value_bytes : NULL;
    bool has_timestamp = false;
    int more;
    *units_out = 0;
    if (!record->value) return refuse("it is null", MR_REASON_TOMBSTONE, reason_out, why);
    if (strlen(record->topic) > ID_BYTES_MAX / 2)
        return refuse("the name of its topic is too long for an id", MR_REASON_SIZE, reason_out, why);
    while ((more = mr_objects_next(record->value, end, &cursor, &object, timestamp_look, &has_timestamp)) > 0) {
        put_action(&out, options, record, record->row + *units_out);
        put_document(&out, object, cursor, timestamp, has_timestamp ? 0 : timestamp_bytes);
        if (out.is_full) return MR_AGAIN;
        has_timestamp = false;
        ++*units_out;
    }
    if (more < 0) return refuse("it is no JSON object", MR_REASON_SYNTAX, reason_out, why);
    text->used = (size_t)(out.at - text->data);
    return MR_OK;
}

/* ---- the answer ---- */

/* What one item of an answer says. */
typedef enum { SAYS_DONE, SAYS_LATER, SAYS_ABSENT, SAYS_DENIED, SAYS_REFUSED } says;

struct answer_item {
    int status;
    const char *type, *reason; /* of its error; "" */
};

static const char *string_of(const cJSON *object, const char *key)
{
    const cJSON *const item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* {"index": {"status": 201}}. False: it is not of that kind. */
static bool item_read(const cJSON *node, struct answer_item *item)
{
    const cJSON *const action = node ? node->child : NULL;
    const cJSON *const status = cJSON_GetObjectItemCaseSensitive(action, "status");
    const cJSON *const error = cJSON_GetObjectItemCaseSensitive(action, "error");
    if (!cJSON_IsNumber(status)) return false;
    item->status = status->valueint;
    item->type = cJSON_IsObject(error) ? string_of(error, "type") : "";
    item->reason = cJSON_IsObject(error) ? string_of(error, "reason") : cJSON_IsString(error) ? error->valuestring : "";
    return true;
}

static says item_judge(const struct answer_item *item)
{
    if (item->status >= 200 && item->status < 300) return SAYS_DONE;
    if (item->status == 409) return SAYS_DONE; /* it is there already: "create" of one that is sent again */
    if (item->status == 429 || item->status >= 500) return SAYS_LATER;
    if (!strcmp(item->type, "cluster_block_exception")) return SAYS_LATER; /* a full disk, for instance */
    if (!strcmp(item->type, "index_closed_exception")) return SAYS_LATER;  /* a 400, but nothing of the record's */
    if (!strcmp(item->type, "index_not_found_exception")) return SAYS_ABSENT;
    if (item->status == 401 || item->status == 403) return SAYS_DENIED;
    return SAYS_REFUSED;
}

static void item_text(const struct answer_item *item, const char *remedy, char *out, size_t bytes)
{
    char words[240];
    mr_curl_words(item->reason, strlen(item->reason), words, sizeof words);
    snprintf(out, bytes, "%d: %.60s: %s%s", item->status, item->type, words, remedy);
}

/* The units of one record: one that is to come again makes all of it come again, for they are repeats then. */
static bool record_judge(struct mr_remote *remote, struct mr_remote_item *item, const cJSON **node,
                         struct mr_remote_outcome *outcome)
{
    char refused[300] = "";
    bool waits = false;
    for (uint32_t i = 0; i < item->units; i++, *node = (*node)->next) {
        struct answer_item said;
        if (!*node || !item_read(*node, &said)) return false;
        const says verdict = item_judge(&said);
        if (verdict == SAYS_DONE) continue;
        if (verdict == SAYS_REFUSED) {
            item_text(&said, "", refused, sizeof refused);
            continue;
        }
        waits = true;
        if (outcome->answer == MR_ANSWER_DENIED) continue;
        outcome->answer = verdict == SAYS_DENIED   ? MR_ANSWER_DENIED
                          : verdict == SAYS_ABSENT ? MR_ANSWER_ABSENT
                                                   : MR_ANSWER_PART;
        item_text(&said, verdict == SAYS_ABSENT ? "; create the index, or let the server create it" : "", outcome->text,
                  sizeof outcome->text);
    }
    if (waits) return true;
    if (*refused)
        mr_remote_refuse(remote, item, MR_REASON_REFUSED, refused);
    else
        item->state = MR_ITEM_DELIVERED;
    return true;
}

bool mr_bulk_judge(struct mr_remote *remote, struct mr_remote_item *items, size_t count, const char *answer,
                   size_t bytes, struct mr_remote_outcome *outcome)
{
    cJSON *const root = cJSON_ParseWithLength(answer, bytes);
    const cJSON *const list = cJSON_GetObjectItemCaseSensitive(root, "items");
    size_t units = 0;
    for (size_t i = 0; i < count; i++) units += items[i].units;
    bool is_right = cJSON_IsArray(list) && (size_t)cJSON_GetArraySize(list) == units;
    const cJSON *node = is_right ? list->child : NULL;
    outcome->answer = MR_ANSWER_GOOD;
    for (size_t i = 0; i < count && is_right; i++) is_right = record_judge(remote, &items[i], &node, outcome);
    cJSON_Delete(root);
    return is_right;
}
