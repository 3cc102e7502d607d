/*
 * Allocation that fails on purpose: include it in one file of a test and every malloc, calloc, realloc, aligned_alloc,
 * strdup and strndup of the library goes through here (the linker wraps them, see CMakeLists.txt). cJSON, a shared
 * library, is led here by its hooks.
 */
#ifndef MR_TESTS_FAILING_MALLOC_H
#define MR_TESTS_FAILING_MALLOC_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);
void __wrap_free(void *memory);

static struct {
    bool is_on;
    bool fails_once; /* only the one, else all from then on */
    size_t until;    /* allocations that still succeed */
    size_t failed;
    long live; /* allocations less frees */
} failing;

static bool failing_now(void)
{
    if (!failing.is_on) return false;
    if (failing.until) {
        failing.until--;
        return false;
    }
    if (failing.fails_once && failing.failed) return false;
    failing.failed++;
    return true;
}

static void *failing_count(void *memory)
{
    if (memory) failing.live++;
    return memory;
}

void *__wrap_malloc(size_t bytes)
{
    return failing_now() ? NULL : failing_count(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return failing_now() ? NULL : failing_count(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *old, size_t bytes)
{
    if (failing_now()) return NULL;
    void *const memory = __real_realloc(old, bytes);
    if (memory && !old) failing.live++;
    return memory;
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    return failing_now() ? NULL : failing_count(__real_aligned_alloc(align, bytes));
}

char *__wrap_strndup(const char *text, size_t bytes)
{
    const size_t used = strnlen(text, bytes);
    char *const copy = __wrap_malloc(used + 1);
    if (copy) memcpy(copy, text, used);
    if (copy) copy[used] = '\0';
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

void __wrap_free(void *memory)
{
    if (memory) failing.live--;
    __real_free(memory);
}

/* The first `until` allocations succeed, the next one fails; or all later ones do. */
static void failing_start(size_t until, bool fails_once)
{
    static cJSON_Hooks hooks = {__wrap_malloc, __wrap_free};
    cJSON_InitHooks(&hooks);
    failing.until = until;
    failing.failed = 0;
    failing.fails_once = fails_once;
    failing.is_on = true;
}

static void failing_stop(void)
{
    failing.is_on = false;
}

#endif
