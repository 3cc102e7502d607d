/* No allocation per record: malloc, calloc and realloc are counted when the program's own code calls them on a lane's
 * thread. */
#include "pipeline/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

int main(void)
{
    puts("SKIP: a sanitizer has its own allocator");
    return 77;
}

#else

/* The parts of glibc's allocator that stay behind the functions below. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);

extern const char __executable_start,
    etext; /* the linker's: the program's own code; librdkafka and libc lie elsewhere */

static _Thread_local bool is_test_thread;
static _Atomic uint64_t own_count, other_count;

static const void *_Atomic own_last; /* for who looks for the culprit: addr2line -e PROGRAM OFFSET */

/* Offset in the program, as addr2line wants it. */
static size_t own_offset(void)
{
    return own_last ? (size_t)((const char *)own_last - &__executable_start) : 0;
}

static void note(const void *caller)
{
    if (is_test_thread) return;
    const bool is_own = (const char *)caller >= &__executable_start && (const char *)caller < &etext;
    if (is_own) own_last = caller;
    atomic_fetch_add_explicit(is_own ? &own_count : &other_count, 1, memory_order_relaxed);
}

__attribute__((noinline)) void *malloc(size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

__attribute__((noinline)) void *calloc(size_t count, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_calloc(count, bytes);
}

__attribute__((noinline)) void *realloc(void *memory, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_realloc(memory, bytes);
}

static void *allocate_once(void *argument)
{
    void *volatile *out = argument;
    *out = malloc(10);
    return NULL;
}

static void the_counter_counts(void **state)
{
    pthread_t thread;
    void *memory = NULL;
    const uint64_t before = own_count;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, allocate_once, &memory), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    free(memory);
    assert_int_equal(own_count, before + 1);
}

static void none_in_steady_state(const char *name, const char *emit)
{
    char in[32], out[32];
    const struct fixture_job job = {
        .name = name, .emit = emit, .rest = ",\"lanes\":1,\"batch\":{\"records_max\":512},\"commit_interval\":\"1ms\""};
    struct fixture_run run;
    snprintf(in, sizeof in, "%s.in", name);
    snprintf(out, sizeof out, "%s.out", name);
    fixture_topic(in, 4);
    fixture_topic(out, 4);
    fixture_fill(in, 0, 4000, 4);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
    fixture_wait(fixture_sum(&run, records_out) == 4000); /* warm: lists have grown, all slots and boxes were used */
    const uint64_t own_before = own_count, other_before = other_count;
    fixture_fill(in, 4000, 40000, 4);
    fixture_wait(fixture_sum(&run, records_out) == 44000);
    const uint64_t own = own_count - own_before;
    print_message("%s: %llu allocations of the program, %llu of libraries for 40000 records\n", name,
                  (unsigned long long)own, (unsigned long long)(other_count - other_before));
    assert_true(other_count > other_before);
    if (own) fail_msg("the last one at program offset %#zx", own_offset());
    assert_int_equal(fixture_stop(&run, MR_RUN_DRAIN), MR_OK);
    fixture_run_free(&run);
    fixture_check_scores(out, 0, 44000, 4, true);
}

static void single_records_with_keys(void **state)
{
    (void)state;
    none_in_steady_state("single", NULL);
}

static void with_provenance_headers(void **state)
{
    (void)state;
    none_in_steady_state("provenance",
                         "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"provenance\":true,\"timestamp\":true}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counter_counts),
        cmocka_unit_test(single_records_with_keys),
        cmocka_unit_test(with_provenance_headers),
    };
    is_test_thread = true;
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}

#endif
