#include "pipeline/dead_file.h"

#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/utf8.h"

#define FIXED_BYTES 1024 /* everything but key and value: reason, stage, path, topic (249 at most), numbers */

size_t mr_dead_file_bytes(const struct mr_bad *bad)
{
    return FIXED_BYTES +
           6 * (strlen(bad->topic) + (bad->field ? strlen(bad->field) : 0) + (bad->place ? strlen(bad->place) : 0)) +
           6 * (bad->key_bytes + bad->value_bytes);
}

static size_t member_put(char *out, const char *name, const char *bytes, size_t count)
{
    const bool is_text = mr_utf8_is_valid(bytes, count);
    size_t used = (size_t)sprintf(out, ",\"%s%s\":", name, is_text ? "" : "_base64");
    if (is_text) return used + mr_json_quote(bytes, count, out + used);
    out[used++] = '"';
    used += mr_base64_encode(bytes, count, out + used);
    out[used++] = '"';
    return used;
}

size_t mr_dead_file_line(const struct mr_bad *bad, char *out, size_t cap)
{
    size_t used =
        (size_t)snprintf(out, cap, "{\"error\":\"%s\",\"stage\":\"%s\"", mr_reason_name(bad->reason), bad->stage);
    if (bad->field) used += member_put(out + used, "field", bad->field, strlen(bad->field));
    used += member_put(out + used, "topic", bad->topic, strlen(bad->topic));
    used += (size_t)sprintf(out + used, ",\"partition\":%d,\"offset\":%lld", bad->partition, (long long)bad->offset);
    if (bad->place) used += member_put(out + used, "place", bad->place, strlen(bad->place));
    if (bad->truncated_from) used += (size_t)sprintf(out + used, ",\"truncated_from\":%zu", bad->truncated_from);
    if (bad->key) used += member_put(out + used, "key", bad->key, bad->key_bytes);
    if (bad->value)
        used += member_put(out + used, "value", bad->value, bad->value_bytes);
    else
        used += (size_t)sprintf(out + used, ",\"value\":null");
    out[used++] = '}';
    return used;
}
