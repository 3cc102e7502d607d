/* Every source that needs no broker against its ops table: offsets ascend, batches are given back in any order, what is
 * committed is where the next one goes on, a bounded run ends, and closing leaves nothing behind. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry.h"
#include "source/rate/rate.h"

#define RECORDS    1000
#define BATCHES    3
#define DEADLINE_S 30

static char folder[] = "/tmp/millrace-source-XXXXXX";
static struct mr_message message[BATCHES][RECORDS];

/* How the input of a source is made, and what its options are; RECORDS records. */
struct rig {
    const char *name;
    void (*make)(void);
    const char *options[6][2]; /* PATH stands for the input */
    void (*undo)(void);
    size_t (*want)(size_t index, char *out); /* the record; NULL: it begins with {"n":index, */
};

static const char *input_path(void)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/input", folder);
    return path;
}

static void lines_write(const char *path, size_t from, size_t to)
{
    FILE *const file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = from; i < to; i++) fprintf(file, "{\"n\":%zu,\"x\":1}\n", i);
    fclose(file);
}

static void file_make(void)
{
    lines_write(input_path(), 0, RECORDS);
}

static int stdin_kept = -1;

static void stdin_make(void)
{
    file_make();
    stdin_kept = dup(STDIN_FILENO);
    const int fd = open(input_path(), O_RDONLY);
    assert_true(dup2(fd, STDIN_FILENO) >= 0);
    close(fd);
}

static void stdin_undo(void)
{
    if (stdin_kept >= 0) dup2(stdin_kept, STDIN_FILENO);
    if (stdin_kept >= 0) close(stdin_kept);
    stdin_kept = -1;
}

/* Files of 60 records, an empty one between them; names in another order than times. */
static void dir_make(void)
{
    char path[160];
    assert_int_equal(mkdir(input_path(), 0755), 0);
    for (size_t i = 0; i * 60 < RECORDS; i++) {
        const size_t end = (i + 1) * 60 < RECORDS ? (i + 1) * 60 : RECORDS;
        const struct timespec times[2] = {{.tv_sec = 1000000 + (time_t)i}, {.tv_sec = 1000000 + (time_t)i}};
        snprintf(path, sizeof path, "%s/%02zu.jsonl", input_path(), 99 - i);
        lines_write(path, i * 60, end);
        utimensat(AT_FDCWD, path, times, 0);
        if (i == 5) {
            snprintf(path, sizeof path, "%s/empty", input_path());
            lines_write(path, 0, 0);
        }
        utimensat(AT_FDCWD, path, times, 0);
    }
}

static int listener = -1;
static pthread_t server;

/* One peer gets all lines; one that leaves before gets what it could. */
static void *server_main(void *argument)
{
    const int fd = accept(listener, NULL, NULL);
    char line[64];
    (void)argument;
    for (size_t i = 0; fd >= 0 && i < RECORDS; i++) {
        const int bytes = snprintf(line, sizeof line, "{\"n\":%zu,\"x\":1}\n", i);
        if (send(fd, line, (size_t)bytes, MSG_NOSIGNAL) != bytes) break;
    }
    if (fd >= 0) close(fd);
    return NULL;
}

static void socket_make(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, input_path());
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(pthread_create(&server, NULL, server_main, NULL), 0);
}

static void socket_undo(void)
{
    if (listener < 0) return;
    shutdown(listener, SHUT_RDWR); /* nobody may have come */
    pthread_join(server, NULL);
    close(listener);
    listener = -1;
    unlink(input_path());
}

static size_t rate_want(size_t index, char *out)
{
    struct rate_options options = {.count = RECORDS, .users = 1, .items = 1, .rank = 1};
    struct mr_rate_stream stream;
    struct mr_err err;
    options.noise = -1;
    assert_int_equal(mr_rate_stream_init(&stream, &options, &err), MR_OK);
    return mr_rate_record(&stream, (int64_t)index, out);
}

static void nothing(void) {}

static const struct rig rigs[] = {
    {.name = "file", .make = file_make, .options = {{"path", "PATH"}}, .undo = nothing},
    {.name = "dir", .make = dir_make, .options = {{"path", "PATH"}}, .undo = nothing},
    {.name = "rate",
     .make = nothing,
     .options = {{"count", "1000"}, {"rate", "0"}, {"positions", "PATH"}},
     .undo = nothing,
     .want = rate_want},
    {.name = "socket", .make = socket_make, .options = {{"address", "unix:PATH"}}, .undo = socket_undo},
    {.name = "stdin", .make = stdin_make, .undo = stdin_undo},
};

/* An open source, and its options. */
struct opened {
    const struct mr_source_ops *ops;
    struct mr_source *source;
    void *options;
};

/* What the lane says to events.start, and what it was asked. */
static int64_t start_answer = -1, start_committed;

static mr_status on_start(void *context, const char *topic, int32_t partition, int64_t committed, const char *note,
                          int64_t *offset_out, struct mr_err *err)
{
    (void)context;
    (void)err;
    assert_true(topic && *topic && note);
    assert_int_equal(partition, 0);
    start_committed = committed;
    *offset_out = start_answer;
    return MR_OK;
}

static void options_make(struct opened *opened, const struct rig *rig)
{
    struct mr_err err = {0};
    opened->options = calloc(1, opened->ops->options_size + 1);
    assert_int_equal(mr_options_init(opened->ops->options, opened->options, &err), MR_OK);
    for (size_t i = 0; i < sizeof rig->options / sizeof *rig->options && rig->options[i][0]; i++) {
        const char *const said = rig->options[i][1], *const path = strstr(said, "PATH");
        char value[192];
        snprintf(value, sizeof value, "%.*s%s", (int)(path ? path - said : 100), said, path ? input_path() : "");
        if (mr_options_set(opened->ops->options, opened->options, rig->options[i][0], value, &err))
            fail_msg("%s: %s", rig->name, err.text);
    }
    if (opened->ops->check && opened->ops->check(opened->options, &err)) fail_msg("%s: %s", rig->name, err.text);
}

static mr_status source_try(struct opened *opened, const struct rig *rig, unsigned lanes, bool is_bounded,
                            struct mr_err *err)
{
    opened->ops = mr_source_find(rig->name);
    assert_non_null(opened->ops);
    options_make(opened, rig);
    const struct mr_source_open open = {.options = opened->options,
                                        .job = "contract",
                                        .lane_count = lanes,
                                        .memory_bytes = 8 << 20,
                                        .is_bounded = is_bounded,
                                        .events = {.start = on_start}};
    opened->source = (struct mr_source *)(uintptr_t)8;
    mr_status status = opened->ops->open(&open, &opened->source, err);
    if (status) assert_null(opened->source);
    if (!status && opened->ops->join) status = opened->ops->join(opened->source, err);
    return status;
}

static void source_close(struct opened *opened)
{
    opened->ops->close(opened->source);
    mr_options_deinit(opened->ops->options, opened->options);
    free(opened->options);
}

static struct opened source_open(const struct rig *rig)
{
    struct opened opened;
    struct mr_err err = {0};
    if (source_try(&opened, rig, 1, true, &err)) fail_msg("%s: %s", rig->name, err.text);
    if (opened.ops->join) assert_true(opened.ops->has_joined(opened.source));
    return opened;
}

/* Up to cap messages, as soon as there are some; 0 at the end. */
static size_t source_poll(const struct opened *opened, struct mr_message *messages, size_t cap)
{
    const int64_t deadline_ns = mr_clock_ns() + DEADLINE_S * 1000000000LL;
    struct mr_err err = {0};
    while (mr_clock_ns() < deadline_ns) {
        size_t count = 77;
        const mr_status status = opened->ops->poll(opened->source, messages, cap, 100000, 0, &count, &err);
        assert_true(count <= cap);
        if (status == MR_END) return count;
        if (status) fail_msg("%s: %s", opened->ops->name, err.text);
        if (count) return count;
    }
    fail_msg("%s: nothing came within %d s", opened->ops->name, DEADLINE_S);
    return 0;
}

static void messages_are(const struct rig *rig, const struct opened *opened, const struct mr_message *messages,
                         size_t count, size_t first)
{
    for (size_t i = 0; i < count; i++) {
        char want[MR_RATE_RECORD_BYTES], place[256];
        const size_t bytes =
            rig->want ? rig->want(first + i, want) : (size_t)snprintf(want, sizeof want, "{\"n\":%zu,", first + i);
        assert_int_equal(messages[i].offset, first + i);
        assert_int_equal(messages[i].partition, 0);
        assert_true(messages[i].value_bytes >= bytes);
        assert_memory_equal(messages[i].value, want, bytes);
        assert_true(*opened->ops->topic_name(opened->source, messages[i].topic) != '\0');
        assert_true(opened->ops->timestamp_ms(opened->source, &messages[i]) >= -1);
        struct mr_span value;
        assert_false(opened->ops->header(opened->source, &messages[i], "none", &value));
        if (opened->ops->place && opened->ops->place(opened->source, &messages[i], 0, place, sizeof place))
            assert_true(strlen(place) > 2);
    }
}

/* All that is left, from record `first` on. */
static void rest_is(const struct rig *rig, const struct opened *opened, size_t first, size_t cap)
{
    size_t count;
    while ((count = source_poll(opened, message[0], cap))) {
        messages_are(rig, opened, message[0], count, first);
        opened->ops->release(opened->source, message[0], count);
        first += count;
    }
    if (first != RECORDS) fail_msg("%s: the end came at record %zu, not %d", rig->name, first, RECORDS);
    assert_int_equal(source_poll(opened, message[0], cap), 0); /* the end stays one */
}

static void commit(const struct opened *opened, int64_t next)
{
    const struct mr_position position = {0, 0, next};
    struct mr_err err = {0};
    if (opened->ops->commit(opened->source, &position, next >= 0, true, &err))
        fail_msg("%s: %s", opened->ops->name, err.text);
}

/* An input of its own for each test: nothing was read of it. */
static void fresh(const struct rig *rig)
{
    DIR *const entries = opendir(folder);
    for (struct dirent *entry; (entry = readdir(entries));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        struct stat info;
        if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.')) continue;
        if (!lstat(path, &info) && S_ISDIR(info.st_mode)) {
            char command[600];
            snprintf(command, sizeof command, "rm -rf %s", path);
            assert_int_equal(system(command), 0);
        } else {
            unlink(path);
        }
    }
    closedir(entries);
    start_answer = -1;
    rig->make();
}

#define EACH_RIG(rig) for (const struct rig *rig = rigs; rig < rigs + sizeof rigs / sizeof *rigs; rig->undo(), rig++)

static void test_ops(void **state)
{
    (void)state;
    for (size_t i = 0; mr_sources[i]; i++) {
        const struct mr_source_ops *const ops = mr_sources[i];
        bool has_rig = !strcmp(ops->name, "kafka"); /* on a broker: tests/pipeline, tests/kafka */
        EACH_RIG(rig) has_rig |= !strcmp(rig->name, ops->name);
        if (!has_rig) fail_msg("source %s is not tested here: add a rig", ops->name);
        assert_true(ops->summary && ops->open && ops->poll && ops->release && ops->commit && ops->topic_name &&
                    ops->timestamp_ms && ops->header && ops->close);
        assert_int_equal(!ops->join, !ops->has_joined);
        ops->close(NULL);
    }
}

static void test_ascending(void **state)
{
    (void)state;
    static const size_t caps[] = {1, 7, RECORDS};
    for (size_t c = 0; c < sizeof caps / sizeof *caps; c++) {
        EACH_RIG(rig)
        {
            fresh(rig);
            struct opened opened = source_open(rig);
            size_t count = 77;
            assert_int_equal(opened.ops->poll(opened.source, NULL, 0, 0, 0, &count, NULL), MR_OK);
            assert_int_equal(count, 0);
            assert_int_equal(start_committed, -1);
            rest_is(rig, &opened, 0, caps[c]);
            commit(&opened, RECORDS);
            source_close(&opened);
        }
    }
}

/* Batches stay as they are until they are released, in whatever order. */
static void test_release(void **state)
{
    (void)state;
    static const size_t orders[][BATCHES] = {{2, 0, 1}, {1, 2, 0}, {0, 1, 2}};
    for (size_t o = 0; o < 3; o++) {
        EACH_RIG(rig)
        {
            fresh(rig);
            struct opened opened = source_open(rig);
            size_t count[BATCHES], first[BATCHES], next = 0;
            for (size_t i = 0; i < BATCHES; i++, next += count[i - 1]) {
                first[i] = next;
                count[i] = source_poll(&opened, message[i], 100);
                assert_true(count[i]);
            }
            for (size_t i = 0; i < BATCHES; i++) {
                const size_t batch = orders[o][i];
                for (size_t later = i; later < BATCHES; later++)
                    messages_are(rig, &opened, message[orders[o][later]], count[orders[o][later]],
                                 first[orders[o][later]]);
                /* A part of a batch may go before the rest. */
                opened.ops->release(opened.source, message[batch] + count[batch] / 2, count[batch] - count[batch] / 2);
                opened.ops->release(opened.source, message[batch], count[batch] / 2);
            }
            rest_is(rig, &opened, next, 100);
            source_close(&opened);
        }
    }
}

/* A source that repeats goes on exactly where it was committed, in the middle of what it has handed over. */
static void test_reopen(void **state)
{
    (void)state;
    static const int64_t commits[] = {0, 1, 137, 500, 999, RECORDS};
    for (size_t c = 0; c < sizeof commits / sizeof *commits; c++) {
        EACH_RIG(rig)
        {
            fresh(rig);
            struct opened opened = source_open(rig);
            if (!opened.ops->repeats) {
                source_close(&opened);
                continue;
            }
            size_t count = 0;
            while (count < (size_t)commits[c]) {
                const size_t more = source_poll(&opened, message[0], 100);
                messages_are(rig, &opened, message[0], more, count);
                opened.ops->release(opened.source, message[0], more);
                count += more;
            }
            commit(&opened, commits[c]);
            commit(&opened, -1); /* again, with nothing new */
            source_close(&opened);
            opened = source_open(rig);
            assert_int_equal(start_committed, commits[c] ? commits[c] : -1);
            rest_is(rig, &opened, (size_t)commits[c], 64);
            commit(&opened, RECORDS);
            source_close(&opened);
            opened = source_open(rig);
            rest_is(rig, &opened, RECORDS, 64);
            source_close(&opened);
        }
    }
}

/* The lane goes on elsewhere: before what is committed, as learned state may, or behind it. */
static void test_start(void **state)
{
    (void)state;
    static const int64_t answers[] = {0, 3, 250, 399, 400, 401, 900, RECORDS};
    for (size_t a = 0; a < sizeof answers / sizeof *answers; a++) {
        EACH_RIG(rig)
        {
            fresh(rig);
            struct opened opened = source_open(rig);
            const bool repeats = opened.ops->repeats;
            for (size_t count = 0; count < 400;) {
                const size_t more = source_poll(&opened, message[0], 400 - count < 90 ? 400 - count : 90);
                opened.ops->release(opened.source, message[0], more);
                count += more;
                if (count % 3) commit(&opened, (int64_t)count);
            }
            commit(&opened, 400);
            source_close(&opened);
            if (!repeats) continue;
            start_answer = answers[a];
            opened = source_open(rig);
            assert_int_equal(start_committed, 400);
            rest_is(rig, &opened, (size_t)answers[a], 64);
            commit(&opened, RECORDS);
            source_close(&opened);
            start_answer = -1;
            opened = source_open(rig);
            rest_is(rig, &opened, RECORDS, 64);
            source_close(&opened);
        }
    }
}

/* Nothing leaks, nothing hangs: ASan looks. */
static void test_close_with_messages_out(void **state)
{
    (void)state;
    EACH_RIG(rig)
    {
        fresh(rig);
        struct opened opened = source_open(rig);
        assert_true(source_poll(&opened, message[0], 10) > 0);
        assert_true(source_poll(&opened, message[1], 10) > 0);
        opened.ops->release(opened.source, message[1], 1);
        source_close(&opened);
    }
}

static void test_lanes(void **state)
{
    (void)state;
    EACH_RIG(rig)
    {
        struct opened opened;
        struct mr_err err = {0};
        unsigned count = 0;
        fresh(rig);
        assert_int_equal(source_try(&opened, rig, 2, true, &err), MR_ECONFIG);
        assert_non_null(strstr(err.text, rig->name));
        assert_non_null(strstr(err.text, "lanes"));
        assert_int_equal(opened.ops->lane_count_max(opened.options, &count, &err), MR_OK);
        assert_int_equal(count, 1);
        source_close(&opened);
    }
}

static int folder_make(void **state)
{
    (void)state;
    mr_log_level_set(MR_LOG_ERROR);
    return !mkdtemp(folder);
}

static int folder_remove(void **state)
{
    static const struct rig none = {.make = nothing};
    (void)state;
    fresh(&none);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops),    cmocka_unit_test(test_ascending), cmocka_unit_test(test_release),
        cmocka_unit_test(test_reopen), cmocka_unit_test(test_start),     cmocka_unit_test(test_close_with_messages_out),
        cmocka_unit_test(test_lanes),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
