/*
 * Runs the node tests of the onnx package, which tests/parity/test_onnx_nodes.py puts into one file:
 *     nodes --operators      the operators that are known, one a line
 *     nodes FILE             every case; exit code 1 when one is not as expected
 * A case in the file: name, what must be in its refusal (empty: it must be computed), rtol, atol, model, counts of
 * inputs and outputs and these as TensorProto; texts and messages behind their length.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfile/onnx/run.h"

#define ARENA_BYTES ((size_t)256 << 20)
#define PORTS_MAX   64

struct reader {
    struct mr_onnx_span left;
};

static struct mr_onnx_span take(struct reader *reader, size_t bytes)
{
    if (bytes > reader->left.bytes) {
        puts("the file of cases is cut off");
        exit(1);
    }
    const struct mr_onnx_span taken = {reader->left.data, bytes};
    reader->left.data += bytes;
    reader->left.bytes -= bytes;
    return taken;
}

static struct mr_onnx_span take_bytes(struct reader *reader)
{
    return take(reader, mr_onnx_u32(take(reader, 4).data));
}

static double take_number(struct reader *reader)
{
    const uint64_t bits = mr_onnx_u64(take(reader, 8).data);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool shapes_agree(const struct mr_onnx_tensor *got, const struct mr_onnx_tensor *want)
{
    return got->type == want->type && got->rank == want->rank &&
           !memcmp(got->dim, want->dim, got->rank * sizeof *got->dim);
}

/* As numpy's assert_allclose. */
static bool values_agree(const struct mr_onnx_tensor *got, const struct mr_onnx_tensor *want, size_t i, double rtol,
                         double atol)
{
    if (want->type == MR_ONNX_STRING) return mr_onnx_span_same(got->text[i], want->text[i]);
    if (!mr_onnx_is_float(want->type)) return mr_onnx_get_int(got, i) == mr_onnx_get_int(want, i);
    const double a = mr_onnx_get(got, i), b = mr_onnx_get(want, i);
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= atol + rtol * fabs(b);
}

static bool output_agrees(const char *name, size_t index, const struct mr_onnx_tensor *got,
                          const struct mr_onnx_tensor *want, double rtol, double atol)
{
    if (!shapes_agree(got, want)) {
        printf("FAIL %s: output %zu is %s with %zu dimensions, expected %s with %zu\n", name, index,
               mr_onnx_type_name(got->type), got->rank, mr_onnx_type_name(want->type), want->rank);
        return false;
    }
    for (size_t i = 0; i < want->count; i++) {
        if (values_agree(got, want, i, rtol, atol)) continue;
        printf("FAIL %s: output %zu, value %zu: got %.9g, expected %.9g\n", name, index, i, mr_onnx_get(got, i),
               mr_onnx_get(want, i));
        return false;
    }
    return true;
}

static mr_status case_compute(struct mr_onnx_arena *arena, struct mr_onnx_span bytes, size_t inputs,
                              const struct mr_onnx_span *proto, const struct mr_onnx_tensor **got, size_t *outputs_out,
                              struct mr_err *err)
{
    const struct mr_onnx_place place = {.name = "case"};
    const struct mr_onnx_tensor *input[PORTS_MAX] = {0};
    struct mr_onnx_model model;
    mr_status status = mr_onnx_model_read(&place, bytes, arena, &model, err);
    if (!status && (model.input_count != inputs || model.output_count > PORTS_MAX))
        status = mr_fail(err, MR_EDATA, "%zu inputs, the case has %zu", model.input_count, inputs);
    for (size_t i = 0; i < inputs && !status; i++) {
        struct mr_onnx_tensor *tensor;
        status = mr_onnx_tensor_read(&place, proto[i], arena, &tensor, NULL, err);
        input[i] = tensor;
    }
    if (!status) *outputs_out = model.output_count;
    return status ? status : mr_onnx_run(&model, arena, input, got, err);
}

/* True when the case is as expected: 1 in *is_computed when that was values, 0 when it was a refusal. */
static bool case_check(struct reader *reader, bool *is_computed)
{
    struct mr_onnx_arena arena = {.bytes_max = ARENA_BYTES};
    const struct mr_onnx_tensor *got[PORTS_MAX] = {0};
    struct mr_onnx_span proto[2 * PORTS_MAX];
    struct mr_onnx_tensor *want;
    struct mr_err err = {0};
    char name[256], refusal[256];
    size_t outputs = 0;
    bool is_good = true;
    const struct mr_onnx_span title = take_bytes(reader), reason = take_bytes(reader);
    snprintf(name, sizeof name, "%.*s", MR_ONNX_TEXT(title));
    snprintf(refusal, sizeof refusal, "%.*s", MR_ONNX_TEXT(reason));
    const double rtol = take_number(reader), atol = take_number(reader);
    const struct mr_onnx_span model = take_bytes(reader);
    const size_t input_count = mr_onnx_u32(take(reader, 4).data), output_count = mr_onnx_u32(take(reader, 4).data);
    if (input_count > PORTS_MAX || output_count > PORTS_MAX) exit(1);
    for (size_t i = 0; i < input_count + output_count; i++) proto[i] = take_bytes(reader);
    const mr_status status = case_compute(&arena, model, input_count, proto, got, &outputs, &err);
    *is_computed = !status;
    if (status) {
        is_good = *refusal && strstr(err.text, refusal);
        printf("%s %s: %s\n", is_good ? "left out" : "FAIL", name, err.text);
    } else if (*refusal) {
        printf("FAIL %s: expected a refusal that says \"%s\"\n", name, refusal);
        is_good = false;
    } else if (outputs != output_count) {
        printf("FAIL %s: %zu outputs, expected %zu\n", name, outputs, output_count);
        is_good = false;
    }
    for (size_t i = 0; i < output_count && is_good && !status; i++) {
        const struct mr_onnx_place place = {.name = name};
        is_good = !mr_onnx_tensor_read(&place, proto[input_count + i], &arena, &want, NULL, &err) &&
                  output_agrees(name, i, got[i], want, rtol, atol);
    }
    mr_onnx_arena_deinit(&arena);
    return is_good;
}

/* The whole file; the caller frees it. */
static struct mr_onnx_span file_load(const char *path)
{
    FILE *const file = fopen(path, "rb");
    struct mr_onnx_span span = {0};
    long bytes = 0;
    if (file && !fseek(file, 0, SEEK_END)) bytes = ftell(file);
    unsigned char *const data = file && bytes > 0 ? malloc((size_t)bytes) : NULL;
    if (data) {
        rewind(file);
        span = (struct mr_onnx_span){data, fread(data, 1, (size_t)bytes, file)};
    }
    if (file) fclose(file);
    return span;
}

int main(int argc, char **argv)
{
    size_t passed = 0, refused = 0, failed = 0;
    if (argc == 2 && !strcmp(argv[1], "--operators")) {
        for (const char *at = mr_onnx_op_list(); *at; at++) putchar(*at == ' ' ? '\n' : *at);
        return 0;
    }
    const struct mr_onnx_span whole = argc == 2 ? file_load(argv[1]) : (struct mr_onnx_span){0};
    struct reader reader = {whole};
    if (!whole.bytes) {
        puts("usage: nodes --operators | FILE");
        return 64;
    }
    while (reader.left.bytes) {
        bool is_computed;
        if (!case_check(&reader, &is_computed))
            failed++;
        else if (is_computed)
            passed++;
        else
            refused++;
    }
    printf("%zu node tests passed, %zu left out as expected, %zu failed\n", passed, refused, failed);
    free((void *)(uintptr_t)whole.data);
    return failed || !passed;
}
