/* What the mf model reads: ids from model files and from records, and lists of ratings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "millrace/batch.h"
#include "model/mf/ids.h"
#include "model/mf/mf.h"
#include "registry.h"

#define CAFE "caf\xc3\xa9"         /* U+00E9 */
#define FACE "\xf0\x9f\x98\x80"    /* U+1F600 */
#define EURO "\xe2\x82\xac"        /* U+20AC */
#define TEXT CAFE FACE "a\"b" EURO /* the ids of three items and one more */

/* A safetensors file in memory: a header, then the data of its tensors. */
static size_t file_make(const char *header, const void *data, size_t data_bytes, unsigned char *out)
{
    const uint64_t header_bytes = strlen(header);
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(header_bytes >> (8 * i));
    memcpy(out + 8, header, header_bytes);
    memcpy(out + 8 + header_bytes, data, data_bytes);
    return 8 + header_bytes + data_bytes;
}

/* mr_ids_read of one file; ids are to be deinited. */
static mr_status ids_read(const char *header, const void *data, size_t data_bytes, size_t count, struct mr_ids *ids,
                          struct mr_err *err)
{
    static unsigned char bytes[1024];
    struct mr_safetensors *file;
    *ids = (struct mr_ids){0};
    assert_int_equal(mr_safetensors_parse("ids.st", bytes, file_make(header, data, data_bytes, bytes), &file, err),
                     MR_OK);
    const mr_status status = mr_ids_read(file, "u", count, ids, err);
    mr_safetensors_close(file);
    return status;
}

#define INTEGERS "{\"u\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[0,24]}}"
#define TEXTS                                                                                                          \
    "{\"u.offsets\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[0,24]},"                                        \
    "\"u.text\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[24,32]}}"

struct texts {
    int64_t offset[3];
    char text[8];
};

static void ids_are_found_by_their_characters(void **state)
{
    const int64_t integers[3] = {196, -7, 0};
    const struct texts texts = {{0, 5, 8}, CAFE "a\"b"};
    struct mr_ids ids;
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(ids_read(INTEGERS, integers, sizeof integers, 3, &ids, &err), MR_OK);
    assert_int_equal(mr_intern_find(&ids.set, "196", 3), 0);
    assert_int_equal(mr_intern_find(&ids.set, "-7", 2), 1);
    assert_int_equal(mr_intern_find(&ids.set, "0", 1), 2);
    assert_true(mr_intern_find(&ids.set, "19", 2) == MR_INTERN_NONE);
    assert_true(mr_intern_find(&ids.set, "", 0) == MR_INTERN_NONE);
    mr_ids_deinit(&ids);

    assert_int_equal(ids_read(TEXTS, &texts, sizeof texts, 2, &ids, &err), MR_OK);
    assert_int_equal(mr_intern_find(&ids.set, CAFE, 5), 0);
    assert_int_equal(mr_intern_find(&ids.set, "a\"b", 3), 1);
    assert_int_equal(ids.json[1].bytes, 6);
    assert_memory_equal(ids.json[1].data, "\"a\\\"b\"", 6);
    assert_int_equal(ids.json_bytes_max, 7);
    mr_ids_deinit(&ids);

    assert_int_equal(ids_read("{}", "", 0, 12, &ids, &err), MR_OK); /* an id is its index */
    assert_int_equal(mr_intern_find(&ids.set, "11", 2), 11);
    assert_true(mr_intern_find(&ids.set, "12", 2) == MR_INTERN_NONE);
    mr_ids_deinit(&ids);
}

static void wrong_ids_are_refused(void **state)
{
    const int64_t twice[3] = {5, 6, 5};
    const struct texts falls = {{0, 9, 8}, "abcdefgh"}, late = {{1, 5, 8}, "abcdefgh"}, same = {{0, 4, 8}, "abcdabcd"};
    struct mr_ids ids;
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(ids_read(INTEGERS, twice, sizeof twice, 3, &ids, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "id 5 is there twice"));
    mr_ids_deinit(&ids);
    assert_int_equal(ids_read(INTEGERS, twice, sizeof twice, 2, &ids, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "must be I64 with 2 ids"));
    mr_ids_deinit(&ids);
    assert_int_equal(ids_read(TEXTS, &falls, sizeof falls, 2, &ids, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "does not ascend"));
    mr_ids_deinit(&ids);
    assert_int_equal(ids_read(TEXTS, &late, sizeof late, 2, &ids, &err), MR_EDATA);
    mr_ids_deinit(&ids);
    assert_int_equal(ids_read(TEXTS, &same, sizeof same, 2, &ids, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "\"abcd\" is there twice"));
    mr_ids_deinit(&ids);
}

/* ---- a model of three users and four items, whose ids are text ---- */

#define HEADER                                                                                                         \
    "{\"__metadata__\":{\"millrace.type\":\"mf\",\"millrace.version\":\"1\"},"                                         \
    "\"user_factors\":{\"dtype\":\"F32\",\"shape\":[3,1],\"data_offsets\":[0,12]},"                                    \
    "\"item_factors\":{\"dtype\":\"F32\",\"shape\":[4,1],\"data_offsets\":[12,28]},"                                   \
    "\"pad\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[28,32]},"                                              \
    "\"user_ids.offsets\":{\"dtype\":\"I64\",\"shape\":[4],\"data_offsets\":[32,64]},"                                 \
    "\"item_ids.offsets\":{\"dtype\":\"I64\",\"shape\":[5],\"data_offsets\":[64,104]},"                                \
    "\"user_ids.text\":{\"dtype\":\"U8\",\"shape\":[12],\"data_offsets\":[104,116]},"                                  \
    "\"item_ids.text\":{\"dtype\":\"U8\",\"shape\":[15],\"data_offsets\":[116,131]}}"

static struct mr_model *model_open(void)
{
    struct {
        float user[3], item[4], pad;
        int64_t user_offset[4], item_offset[5];
        char user_text[12], item_text[15];
    } data = {{1, 2, 3}, {1, 2, 3, 4}, 0, {0, 5, 9, 12}, {0, 5, 9, 12, 15}, CAFE FACE "a\"b", TEXT};
    static unsigned char bytes[2048];
    char path[] = "/tmp/test_mf_read_XXXXXX";
    const size_t count = file_make(HEADER, &data, 131, bytes);
    const int fd = mkstemp(path);
    const struct mr_model_ops *const ops = mr_model_find("mf");
    struct mr_model *model;
    struct mr_err err = {0};
    assert_true(fd >= 0 && write(fd, bytes, count) == (ssize_t)count && !close(fd));
    const mr_status status = ops->open(&(struct mr_model_open){.file = path, .feature_count = 2}, &model, &err);
    unlink(path);
    if (status) fail_msg("%s", err.text);
    return model;
}

/* Reads a user and a list (NULL: none) into columns, MR_TILE_ROWS apart. */
static mr_reason row_read(const struct mr_model *model, struct mr_text user, const char *list, float *x)
{
    const struct mr_text feature[2] = {user, {list, list ? strlen(list) : 0, true}};
    void *const scratch = aligned_alloc(64, (mr_mf_read_bytes(model) + 63) / 64 * 64);
    size_t at;
    assert_non_null(scratch);
    const mr_reason reason = mr_mf_read(model, feature, x, scratch, &at);
    free(scratch);
    return reason;
}

static void users_are_known_however_they_are_written(void **state)
{
    static const struct {
        const char *text;
        bool is_json;
        float user;
    } cases[] = {
        {"\"" CAFE "\"", true, 0},
        {"\"caf\\u00e9\"", true, 0},
        {"\"\\u0063\\u0061\\u0066\\u00E9\"", true, 0},
        {CAFE, false, 0},
        {"\"" CAFE "\"", false, 0},
        {"\"" FACE "\"", true, 1},
        {"\"\\ud83d\\ude00\"", true, 1},
        {"\"\\uD83D\\uDE00\"", true, 1},
        {"\"a\\\"b\"", true, 2},
        {"\"a\\u0022b\"", true, 2},
        {"\"a\"\"b\"", false, 2},
        {"\"cafe\"", true, MR_MF_UNKNOWN},
        {"\"\\u00e9\"", true, MR_MF_UNKNOWN},
        {"\"\"", true, MR_MF_UNKNOWN},
        {"17", true, MR_MF_UNKNOWN},
    };
    struct mr_model *const model = model_open();
    float *const x = calloc(mr_mf_topn_cols(&model->params) * MR_TILE_ROWS, sizeof *x);
    (void)state;
    assert_non_null(x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mr_text user = {cases[i].text, strlen(cases[i].text), cases[i].is_json};
        assert_int_equal(row_read(model, user, NULL, x), MR_REASON_NONE);
        if (x[0] != cases[i].user) fail_msg("%s: user %g", cases[i].text, (double)x[0]);
    }
    free(x);
    mr_model_find("mf")->close(model);
}

/* 512 bytes of id are 3072 of text when all are escaped; more of either is no id that can be known. */
static void long_ids_are_unknown(void **state)
{
    struct mr_model *const model = model_open();
    float *const x = calloc(mr_mf_topn_cols(&model->params) * MR_TILE_ROWS, sizeof *x);
    static char text[1 << 16];
    (void)state;
    assert_non_null(x);
    for (size_t bytes = 510; bytes < sizeof text; bytes = bytes < 3100 ? bytes + 1 : bytes * 2) {
        memset(text, 'x', bytes);
        text[0] = text[bytes - 1] = '"';
        for (int is_json = 0; is_json < 2; is_json++) {
            assert_int_equal(row_read(model, (struct mr_text){text, bytes, is_json}, NULL, x), MR_REASON_NONE);
            assert_true(x[0] == MR_MF_UNKNOWN);
        }
    }
    free(x);
    mr_model_find("mf")->close(model);
}

static void lists_are_read(void **state)
{
    static const struct {
        const char *list;
        mr_reason reason;
        size_t listed;
    } cases[] = {
        {"[]", MR_REASON_NONE, 0},
        {"[[\"caf\\u00e9\",3]]", MR_REASON_NONE, 1},
        {"[{\"rating\":3,\"x\":\"\\\"\",\"item\":\"\\ud83d\\ude00\"},[\"" CAFE "\",1]]", MR_REASON_NONE, 2},
        {"[[\"\\u20ac\",3],[\"\\u20ad\",3],[5,3]]", MR_REASON_NONE, 1},
        {"[[\"" CAFE "\",3],[\"caf\\u00e9\",4]]", MR_REASON_NONE, 1},
        {"[[\"" CAFE "\"]]", MR_REASON_TYPE, 0},
        {"[[\"" CAFE "\",\"3\"]]", MR_REASON_TYPE, 0},
        {"[[\"" CAFE "\",1e7]]", MR_REASON_RANGE, 0},
        {"[{\"item\":1}]", MR_REASON_TYPE, 0},
        {"[[null,1]]", MR_REASON_TYPE, 0},
        {"7", MR_REASON_TYPE, 0},
    };
    struct mr_model *const model = model_open();
    float *const x = calloc(mr_mf_topn_cols(&model->params) * MR_TILE_ROWS, sizeof *x);
    const struct mr_text user = {"\"new\"", 5, true};
    (void)state;
    assert_non_null(x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mr_reason reason = row_read(model, user, cases[i].list, x);
        if (reason != cases[i].reason) fail_msg("%s: reason %d", cases[i].list, (int)reason);
        if (reason) continue;
        size_t listed = 0;
        while (x[0] == MR_MF_OWN && x[(3 + listed) * MR_TILE_ROWS] >= 0) listed++;
        if (listed != cases[i].listed) fail_msg("%s: %zu items", cases[i].list, listed);
    }
    free(x);
    mr_model_find("mf")->close(model);
}

static float folded(const struct mr_model *model, const char *list, float *x)
{
    const struct mr_text user = {"\"new\"", 5, true};
    assert_int_equal(row_read(model, user, list, x), MR_REASON_NONE);
    assert_true(x[0] == MR_MF_OWN);
    return x[(size_t)2 * MR_TILE_ROWS];
}

/* One factor q, rating r: p = q r / (q^2 + reg). Of an item twice the last rating counts. */
static void the_last_rating_of_an_item_counts(void **state)
{
    struct mr_model *const model = model_open();
    float *const x = calloc(mr_mf_topn_cols(&model->params) * MR_TILE_ROWS, sizeof *x);
    (void)state;
    assert_non_null(x);
    const double want = 2.0 * 5 / (2.0 * 2 + 0.02);
    assert_float_equal(folded(model, "[[\"" FACE "\",5]]", x), want, 1e-6);
    assert_float_equal(folded(model, "[[\"" FACE "\",1],[\"\\ud83d\\ude00\",5]]", x), want, 1e-6);
    assert_float_equal(folded(model, "[[\"" FACE "\",1],[\"" CAFE "\",4],[\"" FACE "\",5]]", x),
                       (2.0 * 5 + 1.0 * 4) / (4 + 1 + 2 * 0.02), 1e-6);
    free(x);
    mr_model_find("mf")->close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_found_by_their_characters),
        cmocka_unit_test(wrong_ids_are_refused),
        cmocka_unit_test(users_are_known_however_they_are_written),
        cmocka_unit_test(long_ids_are_unknown),
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(the_last_rating_of_an_item_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
