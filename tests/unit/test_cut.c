/* Cutting bytes into records: by the grammar of the CSV codec, by lines, by rows; and streams, whatever the sizes of
 * reads and buffers. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cut.h"
#include "base/random.h"
#include "codec/csv/csv.h"
#include "source/stream.h"

#define MESSAGES_MAX 70000

static char folder[] = "/tmp/millrace-cut-XXXXXX";
static struct mr_message message[MESSAGES_MAX];

/* Where the codec sees the end of a record, given all of the text, is where it is cut. */
static void test_quoted_as_codec(void **state)
{
    (void)state;
    static const char letters[] = "\"\",,\n\n\raa\"";
    static uint32_t ends[CSV_CELLS_MAX + CSV_BLOCK + 12];
    const struct mr_cut cut = {.kind = MR_CUT_QUOTED, .delimiter = ','};
    struct csv_index index = {.end = ends};
    uint64_t seed = 7, quoted = 0;
    char text[48];
    for (int round = 0; round < 400000; round++) {
        const size_t bytes = 1 + mr_random_below(&seed, sizeof text - 1);
        for (size_t i = 0; i < bytes; i++) text[i] = letters[mr_random_below(&seed, sizeof letters - 1)];
        csv_index_record(&index, text, bytes, ',');
        const size_t got = mr_cut_record(&cut, text, bytes, true);
        if (got != index.next)
            fail_msg("round %d: cut at %zu, the codec at %zu: %.*s", round, got, index.next, (int)bytes, text);
        quoted += memchr(text, '"', got) && memchr(text, '\n', got - 1);
    }
    assert_true(quoted > 1000); /* records with line breaks within quotes were among them */
}

static void test_whole(void **state)
{
    (void)state;
    assert_int_equal(mr_cut_whole(MR_CUT_LINES, "a\nb\nc", 5, 0), 4);
    assert_int_equal(mr_cut_whole(MR_CUT_LINES, "abc", 3, 0), 0);
    assert_int_equal(mr_cut_whole(MR_CUT_QUOTED, "a\n\"b\nc", 6, 0), 2);
    assert_int_equal(mr_cut_whole(MR_CUT_QUOTED, "a\n\"b\nc\"\nd", 9, 0), 8);
    assert_int_equal(mr_cut_whole(MR_CUT_PACKED, "abcdefgh", 8, 3), 6);
    assert_int_equal(mr_cut_lines("a\n\nb\n", 5), 3);
    for (unsigned i = 0; i < 64; i++) {
        char block[64] = {0};
        block[i] = 'x';
        assert_true(mr_cut_mask(block, 'x') == 1ull << i);
    }
}

/* ---- streams ---- */

struct feed {
    int fd;
    const char *text;
    size_t bytes;
};

/* Into a pipe, in parts of random sizes. */
static void *feed_main(void *argument)
{
    struct feed *const feed = argument;
    uint64_t seed = feed->bytes;
    for (size_t at = 0; at < feed->bytes;) {
        size_t part = 1 + mr_random_below(&seed, 5000);
        if (part > feed->bytes - at) part = feed->bytes - at;
        const ssize_t count = write(feed->fd, feed->text + at, part);
        if (count < 0) break;
        at += (size_t)count;
    }
    close(feed->fd);
    return NULL;
}

static int text_open(const char *text, size_t bytes)
{
    char path[64];
    snprintf(path, sizeof path, "%s/text", folder);
    FILE *const file = fopen(path, "wb");
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    fclose(file);
    return open(path, O_RDONLY);
}

/* All messages of a stream, taken `cap` at a time; their offsets ascend from 7. */
static size_t stream_read(struct mr_stream *stream, size_t cap)
{
    struct mr_err err = {0};
    size_t count = 0;
    int64_t next = 7;
    for (;;) {
        const size_t first = count;
        const size_t limit = count + cap < MESSAGES_MAX ? count + cap : MESSAGES_MAX;
        const mr_status status = mr_stream_take(stream, &next, message, limit, &count, &err);
        for (size_t i = first; i < count; i++) assert_int_equal(message[i].offset, 7 + i);
        assert_int_equal(next, 7 + count);
        if (status == MR_END) return count;
        if (status) fail_msg("%s", err.text);
        assert_true(count < MESSAGES_MAX);
    }
}

/* CSV with quoted line breaks, lines of many lengths, some longer than a chunk. */
static char *csv_make(size_t *bytes_out, size_t rows)
{
    char *text = NULL;
    FILE *const out = open_memstream(&text, bytes_out);
    uint64_t seed = 3;
    for (size_t row = 0; row < rows; row++) {
        const size_t cell = mr_random_below(&seed, row % 1000 == 999 ? 400000 : 90);
        const bool is_quoted = mr_random_below(&seed, 4) == 0;
        fprintf(out, "%zu,%s", row, is_quoted ? "\"" : "");
        for (size_t i = 0; i < cell; i++)
            fputc(is_quoted && mr_random_below(&seed, 20) == 0 ? '\n' : 'a' + (char)mr_random_below(&seed, 26), out);
        fputs(is_quoted ? "\"\"\",x\r\n" : ",x\n", out);
        if (mr_random_below(&seed, 50) == 0) fputs(row % 2 ? "\n" : "\r\n", out); /* blank lines are no records */
    }
    fclose(out);
    return text;
}

/* The same records, in the same places, from a file and from a pipe, for any number taken at a time. */
static void test_streams(void **state)
{
    (void)state;
    static const size_t caps[] = {1, 3, 1000, MESSAGES_MAX};
    const size_t rows = 4000;
    const struct mr_cut cut = {.kind = MR_CUT_QUOTED, .delimiter = ','};
    size_t bytes;
    char *const text = csv_make(&bytes, rows);
    for (size_t c = 0; c < 2 * sizeof caps / sizeof *caps; c++) {
        struct mr_pool pool;
        struct mr_stream stream;
        struct mr_err err;
        struct feed feed = {.text = text, .bytes = bytes};
        pthread_t feeder;
        int ends[2] = {-1, -1};
        const bool is_pipe = c % 2;
        if (is_pipe) {
            assert_int_equal(pipe(ends), 0);
            feed.fd = ends[1];
            assert_int_equal(pthread_create(&feeder, NULL, feed_main, &feed), 0);
        }
        mr_pool_init(&pool, 1u << 30);
        assert_int_equal(
            mr_stream_open(&stream, &pool, &cut, is_pipe ? ends[0] : text_open(text, bytes), "t.csv", false, &err),
            MR_OK);
        stream.takes_rest = true;
        const size_t count = stream_read(&stream, caps[c / 2]);
        assert_int_equal(count, rows);
        const char *at = text;
        for (size_t i = 0; i < count; i++) {
            while (*at == '\n' || *at == '\r') at++;
            char place[64], want[64];
            assert_memory_equal(message[i].value, at, message[i].value_bytes);
            assert_int_equal(strtoul(message[i].value, NULL, 10), i);
            snprintf(want, sizeof want, "t.csv:%llu", (unsigned long long)mr_cut_lines(text, (size_t)(at - text)) + 1);
            assert_true(mr_piece_place(&message[i], 0, place, sizeof place));
            assert_string_equal(place, want);
            at += message[i].value_bytes;
        }
        if (is_pipe) pthread_join(feeder, NULL);
        mr_stream_close(&stream);
        mr_pieces_release(&pool, message, count);
        assert_int_equal(pool.out, 0);
        mr_pool_deinit(&pool);
    }
    free(text);
}

/* From any mark the rest comes, with its lines; the header is read where it stands. */
static void test_seek(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbfn,\"x\ny\"\n1,2\n3,\"4\n\"\n5,6\n7,8";
    static const char *const want[] = {"1,2", "3,\"4\n\"", "5,6", "7,8"};
    static const uint64_t lines[] = {2, 3, 5, 6};
    const struct mr_cut cut = {.kind = MR_CUT_QUOTED, .delimiter = ',', .has_header = true};
    uint64_t byte = 0, line = 0;
    for (size_t from = 0; from <= 4; from++) {
        struct mr_pool pool;
        struct mr_stream stream;
        struct mr_err err;
        size_t one = 0;
        int64_t next = 0;
        mr_pool_init(&pool, 1 << 20);
        assert_int_equal(mr_stream_open(&stream, &pool, &cut, text_open(text, sizeof text - 1), "t", false, &err),
                         MR_OK);
        stream.takes_rest = true;
        assert_int_equal(mr_stream_seek(&stream, byte, line, &err), MR_OK);
        if (from < 4) assert_int_equal(mr_stream_take(&stream, &next, message, 1, &one, &err), MR_OK);
        byte = stream.byte;
        line = mr_stream_line(&stream);
        const size_t count = one + (from < 4 ? stream_read(&stream, 100) : 0);
        (void)count;
        if (from < 4) {
            assert_int_equal(message[0].header->bytes, 8);
            assert_memory_equal(message[0].header->data, "n,\"x\ny\"\n", 8);
        }
        mr_stream_close(&stream);
        mr_pool_deinit(&pool); /* with messages out */
        if (from == 4) break;
        assert_int_equal(byte == sizeof text - 1 ? 6 : line, from < 3 ? lines[from + 1] : 6);
        (void)want;
    }
}

/* A record that is too long is handed over cut, its rest is not read as another one. */
static void test_long(void **state)
{
    (void)state;
    const size_t bytes = 3u << 20;
    const struct mr_cut cut = {.kind = MR_CUT_LINES, .bytes_max = 100000};
    char *const text = malloc(bytes);
    struct mr_pool pool;
    struct mr_stream stream;
    struct mr_err err;
    memset(text, 'x', bytes);
    memcpy(text, "first\n", 6);
    memcpy(text + bytes - 6, "\nlast\n", 6);
    mr_pool_init(&pool, 1 << 20);
    assert_int_equal(mr_stream_open(&stream, &pool, &cut, text_open(text, bytes), "t", false, &err), MR_OK);
    stream.takes_rest = true;
    assert_int_equal(stream_read(&stream, 10), 3);
    assert_true(message[1].value_bytes > 100000 && message[1].value_bytes < 1 << 20);
    assert_int_equal(message[2].value_bytes, 4);
    assert_memory_equal(message[2].value, "last", 4);
    assert_int_equal(stream.longer, 1);
    mr_pieces_release(&pool, message, 3);
    mr_stream_close(&stream);
    mr_pool_deinit(&pool);
    free(text);
}

/* Blocks hold all records once, and end where they did, wherever reading begins. */
static void test_blocks(void **state)
{
    (void)state;
    static const mr_cut_kind kinds[] = {MR_CUT_LINES, MR_CUT_QUOTED, MR_CUT_PACKED};
    size_t bytes;
    char *const text = csv_make(&bytes, 20000);
    for (size_t k = 0; k < 3; k++) {
        const struct mr_cut cut = {.kind = kinds[k], .delimiter = ',', .row_bytes = 24, .is_block = true};
        struct mr_pool pool;
        struct mr_stream stream;
        struct mr_err err;
        uint64_t ends[2000], all = 0;
        mr_pool_init(&pool, 1u << 30);
        assert_int_equal(mr_stream_open(&stream, &pool, &cut, text_open(text, bytes), "t", false, &err), MR_OK);
        stream.takes_rest = true;
        const size_t count = stream_read(&stream, 1000);
        for (size_t i = 0; i < count; i++) {
            assert_memory_equal(message[i].value, text + all, message[i].value_bytes);
            ends[i] = all += message[i].value_bytes;
        }
        assert_int_equal(all, bytes);
        assert_true(count > bytes / (2 * MR_STREAM_BLOCK_BYTES) && count < 2000);
        mr_pieces_release(&pool, message, count);
        mr_stream_close(&stream);
        assert_int_equal(mr_stream_open(&stream, &pool, &cut, text_open(text, bytes), "t", false, &err), MR_OK);
        stream.takes_rest = true;
        assert_int_equal(mr_stream_seek(&stream, ends[count / 2], 0, &err), MR_OK);
        assert_int_equal(stream_read(&stream, 7), count - count / 2 - 1);
        assert_int_equal(message[0].value_bytes, ends[count / 2 + 1] - ends[count / 2]);
        mr_stream_close(&stream);
        mr_pool_deinit(&pool);
    }
    free(text);
}

static int folder_make(void **state)
{
    (void)state;
    return !mkdtemp(folder);
}

static int folder_remove(void **state)
{
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s/text", folder);
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quoted_as_codec),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_seek),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
