/** For tests that run the cuda backend on the double of its driver. */
#ifndef MR_TESTS_FAKE_CUDA_LOAD_H
#define MR_TESTS_FAKE_CUDA_LOAD_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/driver.h"

/** What a test may ask and set; found in the library with dlsym("fake_cuda"). Thread-safe. */
struct fake_cuda_control {
    /* The next calls: the n-th from now fails (0: none does) as in MILLRACE_FAKE_CUDA_FAIL. Forgets a fault before. */
    void (*fail_call)(unsigned long long n, mr_cuda_result code, bool is_late);
    /* Did it? */
    bool (*has_failed)(void);
    unsigned long long (*calls)(void);
    /* Objects that are there: contexts, modules, streams, events, memory of device and host. */
    size_t (*live)(void);
    /* Uses that a real driver would answer with a crash, silence or wrong numbers; each is printed. */
    size_t (*misuse)(void);
    void (*set_lazy)(bool is_lazy);
    void (*set_memory)(size_t bytes);
    /* Launches and copies to the device so far. */
    unsigned long long (*launches)(void);
    unsigned long long (*uploads)(void);
};

/** Makes the backend load the double, and opens it for the test; NULL, with a text, when that fails. */
static inline const struct fake_cuda_control *fake_cuda_load(const char *path)
{
    setenv(MR_CUDA_LIBRARY_VARIABLE, path, 1);
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct fake_cuda_control *const control = library ? dlsym(library, "fake_cuda") : NULL;
    if (!control) fprintf(stderr, "no double of the driver: %s\n", dlerror());
    return control;
}

#endif
