/* A record as points and as documents: what comes out is lines, each of them whole, and as many as were counted;
 * documents are JSON to another parser, too. Nothing is read beyond the end. */
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sink/elastic/bulk.h"
#include "sink/influx/line.h"

#define CAP 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static size_t lines_of(const char *text, size_t bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) count += text[i] == '\n';
    if (bytes && text[bytes - 1] != '\n') abort();
    return count;
}

static void points_make(const struct mr_remote_record *record)
{
    static char body[CAP];
    static char name[] = "m", tag[] = "t", part[] = "@topic", integer[] = "i";
    static char *tags[] = {tag, part}, *integers[] = {integer};
    static const struct mr_line_options options = {.measurement = name, .tags = {tags, 2}, .integers = {integers, 1}};
    static struct mr_line *line;
    struct mr_remote_text text = {.data = body, .cap = CAP};
    struct mr_err err;
    uint32_t units = 0;
    mr_reason reason = MR_REASON_NONE;
    char why[128];
    if (!line && mr_line_create(&options, CAP, &line, &err)) abort();
    const mr_status status = mr_line_add(line, record, &text, &units, &reason, why);
    if (status ? text.used != 0 : !units || lines_of(body, text.used) != units) abort();
    for (size_t i = 0; i < text.used; i++)
        if ((unsigned char)body[i] < 0x20 && body[i] != '\n') abort();
}

static void documents_make(const struct mr_remote_record *record)
{
    static char body[CAP];
    const struct mr_bulk_options options = {"i", false};
    struct mr_remote_text text = {.data = body, .cap = CAP};
    uint32_t units = 0;
    mr_reason reason = MR_REASON_NONE;
    char why[128];
    const mr_status status = mr_bulk_add(&options, record, &text, &units, &reason, why);
    if (status) return;
    if (!units || lines_of(body, text.used) != 2 * units) abort();
    for (char *at = body, *end; at < body + text.used; at = end + 1) {
        end = memchr(at, '\n', (size_t)(body + text.used - at));
        cJSON *const line = cJSON_ParseWithLength(at, (size_t)(end - at));
        if (!cJSON_IsObject(line)) abort();
        cJSON_Delete(line);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *const value = malloc(bytes + !bytes); /* its end is the end of what may be read */
    if (!value) return 0;
    if (bytes) memcpy(value, data, bytes);
    const struct mr_remote_record record = {.value = value,
                                            .value_bytes = bytes,
                                            .topic = "to pic",
                                            .offset = (int64_t)bytes,
                                            .event_ms = 1700000000000,
                                            .partition = 1};
    points_make(&record);
    documents_make(&record);
    free(value);
    return 0;
}
