/* millrace version: what this binary is made of. */
#include <cjson/cJSON.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>

#include "cli/command.h"
#include "kafka/library_version.h"
#include "registry.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

struct version_options {
    bool json;
};

static void print_text(void)
{
    printf("millrace %s\ncompiler    %s\nlibrdkafka  %s\ncJSON       %s\nbackends   ", MR_VERSION, COMPILER,
           rd_kafka_version_str(), cJSON_Version());
    for (size_t i = 0; mr_backends[i]; i++) printf(" %s", mr_backends[i]->name);
    puts(mr_backends[0] ? "" : " none");
    for (const struct mr_library_note *note = NULL; (note = mr_library_note_next((unsigned)rd_kafka_version(), note));)
        printf("%s %s\n             (%s)\n", note->is_bug ? "known bug  " : "follows    ", note->what, note->why);
}

static mr_status print_json(struct mr_err *err)
{
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "version", MR_VERSION);
    cJSON_AddStringToObject(root, "compiler", COMPILER);
    cJSON_AddStringToObject(root, "librdkafka", rd_kafka_version_str());
    mr_library_notes_add(root);
    cJSON_AddStringToObject(root, "cjson", cJSON_Version());
    cJSON *const backends = cJSON_AddArrayToObject(root, "backends");
    for (size_t i = 0; mr_backends[i]; i++) cJSON_AddItemToArray(backends, cJSON_CreateString(mr_backends[i]->name));
    char *const text = cJSON_PrintUnformatted(root);
    if (text) puts(text);
    free(text);
    cJSON_Delete(root);
    return text ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static mr_status version_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct version_options *const version = options;
    (void)words;
    if (version->json) return print_json(err);
    print_text();
    return MR_OK;
}

static const struct mr_flag version_flags[] = {
    {.row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = offsetof(struct version_options, json),
             .doc = "One JSON object."}},
    {0},
};

const struct mr_command mr_command_version = {
    .name = "version",
    .summary = "Say which millrace, compiler, client library and backends these are",
    .usage = "[--json]",
    .examples = "millrace version\n"
                "millrace version --json   # for scripts and bug reports",
    .flags = version_flags,
    .options_size = sizeof(struct version_options),
    .run = version_run,
};
