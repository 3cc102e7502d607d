/* What a verification reports: each line of it, however many; and what it is worth. */
#include "verify/proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FACTS 1000

static size_t times_in(const char *text, const char *what)
{
    size_t times = 0;
    while ((text = strstr(text, what))) {
        times++;
        text += strlen(what);
    }
    return times;
}

static char *printed(const struct mr_proof *proof, bool is_json)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *const out = open_memstream(&text, &bytes);
    assert_non_null(out);
    mr_proof_print(proof, "job", is_json, out);
    fclose(out);
    return text;
}

static void test_every_line(void **state)
{
    (void)state;
    struct mr_proof proof = {0};
    struct mr_err err = {0};
    for (int i = 0; i < FACTS; i++) mr_proof_fact(&proof, "file \"%d\": each line once", i);
    mr_proof_note(&proof, "a note");
    for (int is_json = 0; is_json < 2; is_json++) {
        char *const text = printed(&proof, is_json);
        assert_int_equal(times_in(text, "each line once"), FACTS);
        assert_int_equal(times_in(text, "a note"), 1);
        assert_int_equal(times_in(text, "left_out") + times_in(text, "no room"), 0);
        free(text);
    }
    assert_int_equal(mr_proof_status(&proof, &err), MR_OK);
    mr_proof_deinit(&proof);
}

static void test_first_findings(void **state)
{
    (void)state;
    struct mr_proof proof = {0};
    struct mr_err err = {0};
    for (int i = 0; i < MR_FINDINGS_SHOWN + 5; i++) mr_proof_found(&proof, MR_FOUND_MISSING, "t", 0, i, "gone");
    char *const text = printed(&proof, false);
    assert_int_equal(times_in(text, ": gone"), MR_FINDINGS_SHOWN);
    assert_non_null(strstr(text, "and 5 more"));
    free(text);
    assert_int_equal(mr_proof_status(&proof, &err), MR_EINVARIANT);
    assert_non_null(strstr(err.text, "25 missing"));
    mr_proof_deinit(&proof);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_line),
        cmocka_unit_test(test_first_findings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
