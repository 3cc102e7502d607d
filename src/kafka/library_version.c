#include "kafka/library_version.h"

#include <cjson/cJSON.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>

#include "base/log.h"

#define VERSION(major, minor, patch) ((unsigned)(major) << 24 | (unsigned)(minor) << 16 | (unsigned)(patch) << 8)

static const struct mr_library_note notes[] = {
    {0, VERSION(2, 1, 0), false, "cooperative rebalances are refused, positions are set by assignment alone",
     "pause and seek skip records that were read in batches (its issue 4208, mended in 2.1.0)"},
    {0, VERSION(2, 2, 0), false, "its fetcher is woken",
     "it sleeps up to a second where its queue was full (fetch.queue.backoff.ms came with 2.2.0)"},
    {0, VERSION(2, 3, 0), false,
     "a producer that was made unusable is replaced under exactly-once, and ends the run else",
     "a batch that was perhaps stored makes it so (its issue 4438, mended in 2.3.0)"},
    {0, 0, false, "a producer is replaced when a request of its transaction was answered late",
     "its epoch does not change with each transaction (its issue 5423, KIP-890)"},
    {VERSION(2, 1, 0), VERSION(2, 1, 1), true, "2.1.0 delivers records twice after a rebalance or a seek",
     "use 2.1.1 or later"},
    {VERSION(2, 2, 0), VERSION(2, 5, 0), true,
     "2.2 to 2.4 may rebuild a batch of messages wrongly when it is sent again", "its issue 4750: use 2.5.3 or later"},
    {VERSION(2, 5, 0), VERSION(2, 5, 3), true, "2.5.0 to 2.5.2 end the process where enable.metrics.push is true",
     "millrace sets it to false; use 2.5.3 or later"},
    {VERSION(2, 10, 0), VERSION(2, 10, 1), true, "2.10.0 may not find its brokers again", "its issue 5088: use 2.10.1"},
    {VERSION(2, 2, 0), VERSION(2, 14, 0), true,
     "2.2.0 to 2.13.1 may count a wrong position at the end of a partition that is read in batches",
     "its issue 4844: millrace counts positions itself; use 2.14.0 or later"},
};

const struct mr_library_note *mr_library_note_next(unsigned version, const struct mr_library_note *before)
{
    for (const struct mr_library_note *note = before ? before + 1 : notes; note < notes + sizeof notes / sizeof *notes;
         note++) {
        if (version >= note->from && (!note->to || version < note->to)) return note;
    }
    return NULL;
}

void mr_library_log(void)
{
    const unsigned version = (unsigned)rd_kafka_version();
    const struct mr_library_note *note = NULL;
    char text[1024];
    int used = snprintf(text, sizeof text, "librdkafka %s", rd_kafka_version_str());
    const char *mark = ": ";
    while ((note = mr_library_note_next(version, note))) {
        if (note->is_bug) continue;
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s", mark, note->what);
        if (used >= (int)sizeof text) break;
        mark = "; ";
    }
    mr_log(MR_LOG_INFO, "kafka", "%s", text);
    for (note = NULL; (note = mr_library_note_next(version, note));)
        if (note->is_bug)
            mr_log(MR_LOG_WARN, "kafka", "librdkafka %s: %s: %s", rd_kafka_version_str(), note->what, note->why);
}

void mr_library_notes_add(struct cJSON *root)
{
    const struct mr_library_note *note = NULL;
    cJSON *const list = cJSON_AddArrayToObject(root, "librdkafka_notes");
    while ((note = mr_library_note_next((unsigned)rd_kafka_version(), note))) {
        cJSON *const item = cJSON_CreateObject();
        cJSON_AddBoolToObject(item, "is_bug", note->is_bug);
        cJSON_AddStringToObject(item, "what", note->what);
        cJSON_AddStringToObject(item, "why", note->why);
        cJSON_AddItemToArray(list, item);
    }
}
