/* The safetensors reader: what it must read, and each way in which a file can lie. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "modelfile/safetensors.h"

/* A file in memory of exactly its size, so that the address sanitizer sees any read past the end. */
struct image {
    unsigned char *bytes;
    size_t byte_count;
};

static struct image image_make(const char *header, size_t header_bytes, size_t data_bytes)
{
    struct image image = {malloc(8 + header_bytes + data_bytes), 8 + header_bytes + data_bytes};
    assert_non_null(image.bytes);
    for (int i = 0; i < 8; i++) image.bytes[i] = (unsigned char)((uint64_t)header_bytes >> (8 * i));
    memcpy(image.bytes + 8, header, header_bytes);
    memset(image.bytes + 8 + header_bytes, 0, data_bytes);
    return image;
}

static mr_status parse(const struct image *image, struct mr_err *err)
{
    struct mr_safetensors *file = (struct mr_safetensors *)(uintptr_t)err;
    const mr_status status = mr_safetensors_parse("m.st", image->bytes, image->byte_count, &file, err);
    assert_true((status == MR_OK) == (file != NULL));
    mr_safetensors_close(file);
    return status;
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define B "\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}"

static void good_files_are_read(void **state)
{
    static const char *const headers[] = {
        "{" A "," B "}",
        "{" B "," A "}   ",
        "{\"__metadata__\":{\"k\":\"v\"}," A "," B "}",
        /* A scalar, an empty tensor, and the order of names other than that of the data. */
        "{\"z\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},\"e\":{\"dtype\":\"F32\",\"shape\":[0,3],"
        "\"data_offsets\":[4,4]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,2,2],\"data_offsets\":[0,16],\"more\":null}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct image image = image_make(headers[i], strlen(headers[i]), 16);
        struct mr_err err = {0};
        if (parse(&image, &err)) fail_msg("%s: %s", headers[i], err.text);
        free(image.bytes);
    }
    struct image empty = image_make("{}", 2, 0);
    struct mr_err err;
    assert_int_equal(parse(&empty, &err), MR_OK);
    free(empty.bytes);
}

static void wrong_files_are_refused(void **state)
{
    static const struct {
        const char *header, *reason;
    } wrong[] = {
        {"", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"{" A "," B "} x", "goes on"},
        {"{" A "," B, "not a JSON object"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,17]}}", "data_offsets"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[8,16]}}", "do not match its shape"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[16,8]}}", "data_offsets"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8]}}", "data_offsets"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,\"16\"]}}", "data_offsets"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":{\"x\":8,\"y\":16}}}", "data_offsets"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", "overlaps"},
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "overlaps"},
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", "hole"},
        {"{" A "}", "behind the last tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", "hole"},
        {"{" A ",\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}}", "twice"},
        {"{" A ",\"a\\u0000b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}}", "twice"},
        {"{" A ",\"\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}}", "name of tensor"},
        {"{" A ",\"b\\n\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}}", "name of tensor"},
        {"{" A ",\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[8,16]}}", "BF16"},
        {"{" A ",\"b\":{\"shape\":[1],\"data_offsets\":[8,16]}}", "dtype"},
        {"{" A ",\"b\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[8,16]}}", "dtype"},
        {"{" A ",\"b\":7}", "dtype"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"data_offsets\":[8,16]}}", "shape"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1.5],\"data_offsets\":[8,16]}}", "shape[0]"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[-1],\"data_offsets\":[8,16]}}", "shape[0]"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1e300],\"data_offsets\":[8,16]}}", "shape[0]"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[4294967296,4294967296],\"data_offsets\":[8,16]}}", "shape[1]"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[4503599627370496,4096],\"data_offsets\":[8,16]}}", "shape[1]"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[8,16]}}", "shape[0]"},
        {"{" A ",\"b\":{\"dtype\":\"F64\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[8,16]}}", "at most 8"},
        {"{\"__metadata__\":[]," A "," B "}", "__metadata__"},
        {"{\"__metadata__\":{\"k\":1}," A "," B "}", "\"k\""},
        {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}," A "," B "}", "\"k\""},
        {"{\"__metadata__\":{},\"__metadata__\":{}," A "," B "}", "__metadata__"},
        {"{\"\xff\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}," A "}", "UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct image image = image_make(wrong[i].header, strlen(wrong[i].header), 16);
        struct mr_err err = {0};
        const mr_status status = parse(&image, &err);
        if (status != MR_EDATA || !strstr(err.text, wrong[i].reason) || !strstr(err.text, "m.st")) {
            fail_msg("%s: status %d, \"%s\" does not say \"%s\"", wrong[i].header, (int)status, err.text,
                     wrong[i].reason);
        }
        free(image.bytes);
    }
}

/* Cut off anywhere, a file is refused; so it is with a header size that is too large by one bit. */
static void cut_files_are_refused(void **state)
{
    const char header[] = "{" A "," B "}";
    struct image whole = image_make(header, strlen(header), 16);
    struct mr_err err;
    (void)state;
    assert_int_equal(parse(&whole, &err), MR_OK);
    for (size_t bytes = 0; bytes < whole.byte_count; bytes++) {
        struct image cut = {malloc(bytes ? bytes : 1), bytes};
        memcpy(cut.bytes, whole.bytes, bytes);
        assert_int_equal(parse(&cut, &err), MR_EDATA);
        free(cut.bytes);
    }
    for (int bit = 7; bit < 64; bit++) {
        whole.bytes[bit / 8] ^= (unsigned char)(1 << (bit % 8));
        if (bit != 7) assert_int_equal(parse(&whole, &err), MR_EDATA);
        whole.bytes[bit / 8] ^= (unsigned char)(1 << (bit % 8));
    }
    free(whole.bytes);
}

static void too_many_tensors_are_refused(void **state)
{
    const size_t count = MR_TENSOR_COUNT_MAX + 1;
    char *const header = malloc(count * 80);
    size_t used = 0;
    struct mr_err err;
    (void)state;
    header[used++] = '{';
    for (size_t i = 0; i < count; i++) {
        used += (size_t)sprintf(header + used, "%s\"t%zu\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
                                i ? "," : "", i);
        if (i + 2 == count) { /* the limit itself is fine */
            header[used] = '}';
            struct image image = image_make(header, used + 1, 0);
            assert_int_equal(parse(&image, &err), MR_OK);
            free(image.bytes);
        }
    }
    header[used++] = '}';
    struct image image = image_make(header, used, 0);
    assert_int_equal(parse(&image, &err), MR_EDATA);
    free(image.bytes);
    free(header);
}

static void written_files_are_read(void **state)
{
    static const float weight[] = {1, -2, 3.5f, 0.1f, 5, 6};
    static const double bias[] = {0.1, 1e300};
    const struct mr_tensor_out tensors[] = {{.name = "layer \"0\"", .rank = 2, .shape = {2, 3}, .f32 = weight},
                                            {.name = "bias", .rank = 1, .shape = {2}, .f64 = bias},
                                            {.name = "none", .rank = 1, .shape = {0}, .f32 = weight}};
    const struct mr_metadata_out metadata[] = {{"a", "one\n\"two\""}, {"b", ""}};
    struct mr_safetensors *file;
    struct mr_err err = {0};
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "/tmp/millrace_safetensors_%ld", (long)getpid());
    assert_int_equal(mr_safetensors_write(path, tensors, 3, metadata, 2, &err), MR_OK);
    assert_int_equal(mr_safetensors_open(path, &file, &err), MR_OK);
    assert_int_equal(mr_safetensors_count(file), 3);
    const struct mr_tensor *const w = mr_safetensors_find(file, "layer \"0\""), *const b =
                                                                                    mr_safetensors_find(file, "bias");
    assert_int_equal(w->rank, 2);
    assert_int_equal(w->shape[1], 3);
    for (size_t i = 0; i < 6; i++) assert_true(mr_tensor_value(w, i) == (double)weight[i]);
    for (size_t i = 0; i < 2; i++) assert_true(mr_tensor_value(b, i) == bias[i]);
    assert_null(mr_safetensors_find(file, "layer"));
    assert_string_equal(mr_safetensors_metadata(file, "a"), metadata[0].value);
    assert_null(mr_safetensors_metadata(file, "c"));
    mr_safetensors_close(file);
    unlink(path);
    assert_int_equal(mr_safetensors_open(path, &file, &err), MR_EINPUT);
    assert_int_equal(mr_safetensors_open("/tmp", &file, &err), MR_EDATA);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes to it: must not wait for that */
    assert_int_equal(mr_safetensors_open(path, &file, &err), MR_EDATA);
    unlink(path);
    assert_int_equal(mr_safetensors_write("/nonexistent/x", tensors, 3, metadata, 2, &err), MR_EIO);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_are_read),    cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(cut_files_are_refused),  cmocka_unit_test(too_many_tensors_are_refused),
        cmocka_unit_test(written_files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
