#include "sink/elastic/template.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (1u << 20)
#define PRIORITY       200 /* above the built-in ones of Elasticsearch, which are for logs-*-* and their like */

char *mr_template_default(const char *index, bool is_data_stream)
{
    static const char format[] =
        "{\"index_patterns\":[\"%s\"],%s\"priority\":%d,\"_meta\":{\"made_by\":\"millrace\"},\"template\":{"
        "\"mappings\":{\"dynamic_templates\":[{\"numbers\":{\"match_mapping_type\":\"long\",\"mapping\":{\"type\":"
        "\"double\"}}},{\"reals\":{\"match_mapping_type\":\"double\",\"mapping\":{\"type\":\"double\"}}},{\"texts\":{"
        "\"match_mapping_type\":\"string\",\"mapping\":{\"type\":\"keyword\",\"ignore_above\":1024}}}],\"properties\":{"
        "\"@timestamp\":{\"type\":\"date\"}}}}}";
    const size_t bytes = sizeof format + strlen(index) + 64;
    char *const text = malloc(bytes);
    if (text) snprintf(text, bytes, format, index, is_data_stream ? "\"data_stream\":{}," : "", PRIORITY);
    return text;
}

mr_status mr_template_file(const char *path, char **text_out, struct mr_err *err)
{
    FILE *const file = fopen(path, "rb");
    char *const text = calloc(1, FILE_BYTES_MAX + 1);
    const size_t bytes = file && text ? fread(text, 1, FILE_BYTES_MAX, file) : 0;
    const int error = !file || ferror(file) ? errno : 0;
    mr_status status = text ? MR_OK : mr_fail(err, MR_ENOMEM, "elastic sink: out of memory");
    if (file) fclose(file);
    if (!status && error)
        status = mr_fail(err, MR_EINPUT, "elastic sink: template: reading \"%s\": %s", path, strerror(error));
    cJSON *const root = status ? NULL : cJSON_ParseWithLength(text, bytes);
    if (!status && !cJSON_IsObject(root))
        status = mr_fail(err, MR_EINPUT,
                         "elastic sink: template \"%s\": expected a JSON object, as for PUT _index_template", path);
    cJSON_Delete(root);
    *text_out = status ? NULL : text;
    if (status) free(text);
    return status;
}

/* Numbers and truth values come back as text from some places of a template: settings. */
static bool is_same_scalar(const cJSON *want, const cJSON *have)
{
    char *const a = cJSON_PrintUnformatted(want), *const b = cJSON_PrintUnformatted(have);
    const char *left = a ? a : "", *right = b ? b : "";
    size_t left_bytes = strlen(left), right_bytes = strlen(right);
    if (cJSON_IsString(want) && left_bytes >= 2) left++, left_bytes -= 2;
    if (cJSON_IsString(have) && right_bytes >= 2) right++, right_bytes -= 2;
    const bool is_same = left_bytes == right_bytes && !memcmp(left, right, left_bytes);
    cJSON_free(a);
    cJSON_free(b);
    return is_same;
}

/* Whether all of `want` stands in `have`. */
static bool is_within(const cJSON *want, const cJSON *have)
{
    if (!have) return false;
    if (cJSON_IsObject(want)) {
        for (const cJSON *item = want->child; item; item = item->next)
            if (!is_within(item, cJSON_GetObjectItemCaseSensitive(have, item->string))) return false;
        return cJSON_IsObject(have);
    }
    if (!cJSON_IsArray(want)) return is_same_scalar(want, have);
    const cJSON *other = cJSON_IsArray(have) ? have->child : NULL;
    for (const cJSON *item = want->child; item; item = item->next, other = other->next)
        if (!other || !is_within(item, other)) return false;
    return cJSON_IsArray(have) && !other;
}

bool mr_template_is_same(const char *text, const char *answer, size_t bytes)
{
    cJSON *const want = cJSON_Parse(text), *const root = cJSON_ParseWithLength(answer, bytes);
    const cJSON *const list = cJSON_GetObjectItemCaseSensitive(root, "index_templates");
    const cJSON *const have =
        cJSON_GetObjectItemCaseSensitive(cJSON_IsArray(list) ? list->child : NULL, "index_template");
    const bool is_same = want && have && is_within(want, have);
    cJSON_Delete(want);
    cJSON_Delete(root);
    return is_same;
}
