/* The driver's calls over the objects of the double. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_cuda/fake.h"

#define DEVICES_MAX 8

/* Same as the driver's: a library that defines its names. The prototypes are those of calls.def. */
#define MR_CUDA_CALL(name, symbol, ...) __attribute__((visibility("default"))) mr_cuda_result symbol(__VA_ARGS__);
#include "backend/cuda/calls.def"
#undef MR_CUDA_CALL

static _Thread_local const struct CUctx_st *current;
struct CUctx_st {
    int device;
};
static struct CUctx_st contexts[DEVICES_MAX];

static void fail_set(unsigned long long n, mr_cuda_result code, bool is_late)
{
    fake.fail_at = n ? fake.calls + n : 0;
    fake.fail_code = code;
    fake.fail_late = is_late;
    fake.has_failed = false;
    fake.sticky = 0;
}

void fake_enter(bool needs_context, const char *call, mr_cuda_result *code_out, bool *is_late_out)
{
    pthread_mutex_lock(&fake.lock);
    fake.calls++;
    *code_out = fake.sticky;
    if (is_late_out) *is_late_out = false;
    if (!fake.is_initialised) {
        fake_misuse("%s before cuInit", call);
        *code_out = FAKE_NOT_INITIALIZED;
    } else if (needs_context && (!current || !fake.contexts[current - contexts])) {
        fake_misuse("%s: no context is current on this thread", call);
        *code_out = FAKE_INVALID_CONTEXT;
    } else if (fake.fail_at && fake.calls >= fake.fail_at && !fake.has_failed && (!fake.fail_late || is_late_out)) {
        fake.has_failed = true;
        if (fake.fail_late) {
            *is_late_out = true;
            return;
        }
        if (fake_is_sticky(fake.fail_code)) fake.sticky = fake.fail_code;
        *code_out = fake.fail_code;
    }
}

mr_cuda_result fake_leave(mr_cuda_result code)
{
    pthread_mutex_unlock(&fake.lock);
    return code;
}

static unsigned long long number_of(const char *variable, unsigned long long otherwise)
{
    const char *const text = getenv(variable);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void settings_read(void)
{
    const char *const text = getenv("MILLRACE_FAKE_CUDA_FAIL");
    char *end = NULL;
    fake.is_lazy = number_of("MILLRACE_FAKE_CUDA_LAZY", fake.is_lazy) != 0;
    fake.device_count = (int)number_of("MILLRACE_FAKE_CUDA_DEVICES", 2);
    if (fake.device_count > DEVICES_MAX) fake.device_count = DEVICES_MAX;
    if (!fake.memory_bytes) fake.memory_bytes = number_of("MILLRACE_FAKE_CUDA_MEMORY", 1ull << 30);
    if (!text || !*text) return;
    fake.fail_at = strtoull(text, &end, 10);
    fake.fail_code = *end == ':' && end[1] != 'l' ? (mr_cuda_result)strtoul(end + 1, &end, 10) : FAKE_LAUNCH_FAILED;
    fake.fail_late = !strcmp(end, ":late");
}

mr_cuda_result cuInit(unsigned flags)
{
    mr_cuda_result code;
    pthread_mutex_lock(&fake.lock);
    if (!fake.is_initialised) settings_read();
    fake.is_initialised = true;
    pthread_mutex_unlock(&fake.lock);
    fake_enter(false, "cuInit", &code, NULL);
    if (!code && flags) code = FAKE_INVALID_VALUE;
    if (!code && !fake.device_count) code = MR_CUDA_ERROR_NO_DEVICE;
    return fake_leave(code);
}

mr_cuda_result cuDriverGetVersion(int *version_out)
{
    mr_cuda_result code;
    fake_enter(false, "cuDriverGetVersion", &code, NULL);
    if (!code) *version_out = 13000;
    return fake_leave(code);
}

mr_cuda_result cuGetErrorName(mr_cuda_result result, const char **name_out)
{
    static const struct {
        mr_cuda_result code;
        const char *name;
    } names[] = {{0, "CUDA_SUCCESS"},
                 {1, "CUDA_ERROR_INVALID_VALUE"},
                 {2, "CUDA_ERROR_OUT_OF_MEMORY"},
                 {3, "CUDA_ERROR_NOT_INITIALIZED"},
                 {46, "CUDA_ERROR_DEVICE_UNAVAILABLE"},
                 {100, "CUDA_ERROR_NO_DEVICE"},
                 {101, "CUDA_ERROR_INVALID_DEVICE"},
                 {200, "CUDA_ERROR_INVALID_IMAGE"},
                 {201, "CUDA_ERROR_INVALID_CONTEXT"},
                 {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
                 {214, "CUDA_ERROR_ECC_UNCORRECTABLE"},
                 {400, "CUDA_ERROR_INVALID_HANDLE"},
                 {500, "CUDA_ERROR_NOT_FOUND"},
                 {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                 {719, "CUDA_ERROR_LAUNCH_FAILED"},
                 {999, "CUDA_ERROR_UNKNOWN"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].code != result) continue;
        *name_out = names[i].name;
        return MR_CUDA_SUCCESS;
    }
    *name_out = NULL;
    return FAKE_INVALID_VALUE;
}

mr_cuda_result cuGetErrorString(mr_cuda_result result, const char **text_out)
{
    *text_out = result ? "made by the double of the driver" : "no error";
    return MR_CUDA_SUCCESS;
}

mr_cuda_result cuDeviceGetCount(int *count_out)
{
    mr_cuda_result code;
    fake_enter(false, "cuDeviceGetCount", &code, NULL);
    if (!code) *count_out = fake.device_count;
    return fake_leave(code);
}

mr_cuda_result cuDeviceGet(int *device_out, int ordinal)
{
    mr_cuda_result code;
    fake_enter(false, "cuDeviceGet", &code, NULL);
    if (!code && (ordinal < 0 || ordinal >= fake.device_count)) code = FAKE_INVALID_DEVICE;
    if (!code) *device_out = ordinal;
    return fake_leave(code);
}

mr_cuda_result cuDeviceGetName(char *name, int bytes, int device)
{
    mr_cuda_result code;
    fake_enter(false, "cuDeviceGetName", &code, NULL);
    if (!code && (device < 0 || device >= fake.device_count)) code = FAKE_INVALID_DEVICE;
    if (!code) snprintf(name, (size_t)bytes, "double of a GPU in host memory");
    return fake_leave(code);
}

mr_cuda_result cuDeviceGetAttribute(int *value_out, mr_cuda_attribute attribute, int device)
{
    mr_cuda_result code;
    fake_enter(false, "cuDeviceGetAttribute", &code, NULL);
    if (!code && (device < 0 || device >= fake.device_count)) code = FAKE_INVALID_DEVICE;
    if (code) return fake_leave(code);
    switch (attribute) {
    case MR_CUDA_CAPABILITY_MAJOR:
        *value_out = 9;
        break;
    case MR_CUDA_CAPABILITY_MINOR:
        *value_out = 0;
        break;
    case MR_CUDA_CLOCK_KHZ:
        *value_out = 1000000;
        break;
    case MR_CUDA_MULTIPROCESSOR_COUNT:
        *value_out = 4;
        break;
    default:
        fake_misuse("cuDeviceGetAttribute: the double does not know attribute %u", attribute);
        code = FAKE_INVALID_VALUE;
    }
    return fake_leave(code);
}

mr_cuda_result cuDeviceTotalMem_v2(size_t *bytes_out, int device)
{
    mr_cuda_result code;
    fake_enter(false, "cuDeviceTotalMem", &code, NULL);
    if (!code && (device < 0 || device >= fake.device_count)) code = FAKE_INVALID_DEVICE;
    if (!code) *bytes_out = fake.memory_bytes;
    return fake_leave(code);
}

mr_cuda_result cuDevicePrimaryCtxRetain(struct CUctx_st **context_out, int device)
{
    mr_cuda_result code;
    fake_enter(false, "cuDevicePrimaryCtxRetain", &code, NULL);
    if (!code && (device < 0 || device >= fake.device_count)) code = FAKE_INVALID_DEVICE;
    if (!code) {
        fake.contexts[device]++;
        contexts[device].device = device;
        *context_out = &contexts[device];
    }
    return fake_leave(code);
}

/* Releasing does its work whatever it returns: the result may be that of something before. */
mr_cuda_result cuDevicePrimaryCtxRelease_v2(int device)
{
    mr_cuda_result code;
    fake_enter(false, "cuDevicePrimaryCtxRelease", &code, NULL);
    if (device < 0 || device >= fake.device_count || !fake.contexts[device]) {
        fake_misuse("cuDevicePrimaryCtxRelease: device %d is not retained", device);
        return fake_leave(code ? code : FAKE_INVALID_CONTEXT);
    }
    if (!--fake.contexts[device]) {
        fake.sticky = 0; /* a new context works again */
        for (const struct fake_object *object = fake.first; object; object = object->next)
            fake_misuse("the last context was released before an object of kind %d", (int)object->kind);
    }
    return fake_leave(code);
}

mr_cuda_result cuCtxSetCurrent(struct CUctx_st *context)
{
    mr_cuda_result code;
    fake_enter(false, "cuCtxSetCurrent", &code, NULL);
    if (context && (context < contexts || context >= contexts + DEVICES_MAX || !fake.contexts[context - contexts])) {
        fake_misuse("cuCtxSetCurrent: no such context");
        return fake_leave(FAKE_INVALID_CONTEXT);
    }
    current = context; /* even with a fault behind it: what is released next needs it */
    return fake_leave(code);
}

mr_cuda_result cuModuleLoadData(struct CUmod_st **module_out, const void *image)
{
    const unsigned magic = 0xba55ed50u; /* of a fatbin */
    struct CUmod_st *module = NULL;
    mr_cuda_result code;
    fake_enter(true, "cuModuleLoadData", &code, NULL);
    if (!code && memcmp(image, &magic, sizeof magic)) code = FAKE_INVALID_IMAGE;
    if (!code && !(module = calloc(1, sizeof *module))) code = MR_CUDA_ERROR_OUT_OF_MEMORY;
    if (!code) fake_object_add(&module->object, FAKE_MODULE);
    if (!code) *module_out = module;
    return fake_leave(code);
}

mr_cuda_result cuModuleUnload(struct CUmod_st *module)
{
    mr_cuda_result code;
    fake_enter(true, "cuModuleUnload", &code, NULL);
    struct CUmod_st *const found = fake_object_find(module, FAKE_MODULE, "cuModuleUnload");
    if (!found) return fake_leave(FAKE_INVALID_HANDLE);
    fake_streams_drain();
    for (struct fake_object *object = fake.first, *next; object; object = next) {
        next = object->next;
        if (object->kind != FAKE_FUNCTION || ((struct CUfunc_st *)object)->module != found) continue;
        fake_object_remove(object);
        free(object);
    }
    fake_object_remove(&found->object);
    free(found);
    return fake_leave(code);
}

/* A function that was asked for before is the same one. */
static struct CUfunc_st *function_find(const struct CUmod_st *module, const char *name)
{
    for (struct fake_object *object = fake.first; object; object = object->next) {
        struct CUfunc_st *const function = (struct CUfunc_st *)object;
        if (object->kind == FAKE_FUNCTION && function->module == module && !strcmp(function->name, name))
            return function;
    }
    return NULL;
}

mr_cuda_result cuModuleGetFunction(struct CUfunc_st **function_out, struct CUmod_st *module, const char *name)
{
    static const char prefix[] = "mr_gpu_";
    struct CUfunc_st *function = NULL;
    mr_cuda_result code;
    fake_enter(true, "cuModuleGetFunction", &code, NULL);
    if (!code && !fake_object_find(module, FAKE_MODULE, "cuModuleGetFunction")) code = FAKE_INVALID_HANDLE;
    if (!code && strncmp(name, prefix, sizeof prefix - 1)) code = FAKE_NOT_FOUND;
    if (!code) function = function_find(module, name + sizeof prefix - 1);
    if (function) {
        *function_out = function;
        return fake_leave(code);
    }
    if (!code && !(function = calloc(1, sizeof *function))) code = MR_CUDA_ERROR_OUT_OF_MEMORY;
    if (!code) {
        function->module = module;
        snprintf(function->name, sizeof function->name, "%s", name + sizeof prefix - 1);
        fake_object_add(&function->object, FAKE_FUNCTION);
        *function_out = function;
    }
    return fake_leave(code);
}

mr_cuda_result cuLaunchKernel(struct CUfunc_st *function, unsigned groups_x, unsigned groups_y, unsigned groups_z,
                              unsigned size_x, unsigned size_y, unsigned size_z, unsigned shared_bytes,
                              struct CUstream_st *stream, void **arguments, void **extra)
{
    struct fake_work work = {
        .kind = FAKE_LAUNCH, .groups = groups_x, .group_size = size_x, .shared_bytes = shared_bytes};
    mr_cuda_result code;
    fake_enter(true, "cuLaunchKernel", &code, &work.is_faulty);
    if (code) return fake_leave(code);
    work.function = fake_object_find(function, FAKE_FUNCTION, "cuLaunchKernel");
    struct CUstream_st *const on = fake_object_find(stream, FAKE_STREAM, "cuLaunchKernel");
    if (!work.function || !on) return fake_leave(FAKE_INVALID_HANDLE);
    if (!groups_x || groups_y != 1 || groups_z != 1 || !size_x || size_x > 1024 || size_y != 1 || size_z != 1 ||
        shared_bytes > 49152 || extra || !arguments) {
        fake_misuse("cuLaunchKernel %s: %u x %u x %u groups of %u x %u x %u threads, %u bytes of shared memory",
                    work.function->name, groups_x, groups_y, groups_z, size_x, size_y, size_z, shared_bytes);
        return fake_leave(FAKE_INVALID_VALUE);
    }
    fake.launches++;
    for (int i = 0; i < FAKE_POINTERS; i++) {
        memcpy(&work.pointer[i], arguments[i], sizeof work.pointer[i]);
        const bool is_written = i == 2 || i == 3 || i == 5; /* y, class_index, scratch */
        if (work.pointer[i] && !fake_device_use(work.pointer[i], 0, is_written, on, work.function->name))
            code = FAKE_INVALID_VALUE;
    }
    for (int i = 0; i < FAKE_WORDS; i++) memcpy(&work.word[i], arguments[FAKE_POINTERS + i], sizeof work.word[i]);
    return fake_leave(code ? code : fake_stream_add(on, &work));
}

static void control_fail(unsigned long long n, mr_cuda_result code, bool is_late)
{
    pthread_mutex_lock(&fake.lock);
    fail_set(n, code, is_late);
    pthread_mutex_unlock(&fake.lock);
}

static bool control_has_failed(void)
{
    pthread_mutex_lock(&fake.lock);
    const bool has_failed = fake.has_failed;
    pthread_mutex_unlock(&fake.lock);
    return has_failed;
}

static unsigned long long control_calls(void)
{
    pthread_mutex_lock(&fake.lock);
    const unsigned long long calls = fake.calls;
    pthread_mutex_unlock(&fake.lock);
    return calls;
}

static unsigned long long control_launches(void)
{
    pthread_mutex_lock(&fake.lock);
    const unsigned long long launches = fake.launches;
    pthread_mutex_unlock(&fake.lock);
    return launches;
}

static unsigned long long control_uploads(void)
{
    pthread_mutex_lock(&fake.lock);
    const unsigned long long uploads = fake.uploads;
    pthread_mutex_unlock(&fake.lock);
    return uploads;
}

static size_t control_live(void)
{
    size_t count = 0;
    pthread_mutex_lock(&fake.lock);
    for (const struct fake_object *object = fake.first; object; object = object->next) count++;
    for (int device = 0; device < DEVICES_MAX; device++) count += fake.contexts[device];
    pthread_mutex_unlock(&fake.lock);
    return count;
}

static size_t control_misuse(void)
{
    pthread_mutex_lock(&fake.lock);
    const size_t misuse = fake.misuse;
    pthread_mutex_unlock(&fake.lock);
    return misuse;
}

static void control_set_lazy(bool is_lazy)
{
    pthread_mutex_lock(&fake.lock);
    fake_streams_drain();
    fake.is_lazy = is_lazy;
    pthread_mutex_unlock(&fake.lock);
}

static void control_set_memory(size_t bytes)
{
    pthread_mutex_lock(&fake.lock);
    fake.memory_bytes = bytes;
    pthread_mutex_unlock(&fake.lock);
}

__attribute__((visibility("default"))) extern const struct fake_cuda_control fake_cuda;
const struct fake_cuda_control fake_cuda = {
    .fail_call = control_fail,
    .has_failed = control_has_failed,
    .calls = control_calls,
    .live = control_live,
    .misuse = control_misuse,
    .set_lazy = control_set_lazy,
    .set_memory = control_set_memory,
    .launches = control_launches,
    .uploads = control_uploads,
};
