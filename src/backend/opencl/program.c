/*
 * The program of a device: compiled once, then kept in the user's cache folder under a name made of the device, its
 * driver and the source. A file there is its digest and the driver's binary; whatever is wrong with it, the source is
 * compiled as if it were not there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/opencl/opencl.h"
#include "base/log.h"
#include "base/sha256.h"

#define DIGEST_BYTES (MR_SHA256_TEXT_BYTES - 1)
#define BINARY_MAX   ((size_t)64 << 20)

static void options_print(const struct mr_backend *backend, char *text, size_t bytes)
{
    uint64_t config = 0;
    backend->api.GetDeviceInfo(backend->device, MR_CL_DEVICE_FLOAT_CONFIG, sizeof config, &config, NULL);
    snprintf(text, bytes, "-cl-std=CL1.2 -DMR_LANES=%u%s", backend->kind.lanes,
             config & MR_CL_EXACT_DIVISION ? " -cl-fp32-correctly-rounded-divide-sqrt" : "");
}

/* Folder for cached programs, made when it is not there; false: there is no place for one. */
static bool folder_find(char *path, size_t bytes)
{
    const char *const cache = getenv("XDG_CACHE_HOME"), *const home = getenv("HOME");
    const bool is_cache = cache && *cache == '/';
    if (!is_cache && !(home && *home == '/')) return false;
    int length = is_cache ? snprintf(path, bytes, "%s", cache) : snprintf(path, bytes, "%s/.cache", home);
    if (length < 0 || (size_t)length + 16 > bytes) return false;
    mkdir(path, 0700);
    strcat(path, "/millrace"); /* NOLINT(clang-analyzer-security.insecureAPI.strcpy): room was checked */
    mkdir(path, 0700);
    return !access(path, W_OK);
}

/* The file of this device, driver and source. */
static bool path_make(const struct mr_backend *backend, const char *options, char *path, size_t bytes)
{
    char key[1024], version[128] = "", digest[MR_SHA256_TEXT_BYTES], folder[400];
    size_t source_bytes;
    const char *const source = mr_cl_source(&source_bytes);
    if (!folder_find(folder, sizeof folder)) return false;
    backend->api.GetPlatformInfo(backend->platform, MR_CL_PLATFORM_VERSION, sizeof version, version, NULL);
    mr_sha256_text(source, source_bytes, digest);
    snprintf(key, sizeof key, "%s\n%s\n%.127s\n%s\n%s", backend->name, backend->driver, version, options, digest);
    mr_sha256_text(key, strlen(key), digest);
    return snprintf(path, bytes, "%s/opencl-%.32s.bin", folder, digest) < (int)bytes;
}

static mr_status build(struct mr_backend *backend, struct cl_program *program, const char *options, struct mr_err *err)
{
    const struct mr_cl_api *const api = &backend->api;
    const int result = api->BuildProgram(program, 1, &backend->device, options, NULL, NULL);
    if (!result) return MR_OK;
    char log[400] = "";
    size_t bytes = 0;
    char *const whole = api->GetProgramBuildInfo(program, backend->device, MR_CL_PROGRAM_LOG, 0, NULL, &bytes)
                            ? NULL
                            : calloc(1, bytes + 1);
    if (whole && !api->GetProgramBuildInfo(program, backend->device, MR_CL_PROGRAM_LOG, bytes, whole, NULL))
        snprintf(log, sizeof log, "%s", whole);
    free(whole);
    return mr_fail(err, MR_EBACKEND, "backend opencl: %s does not compile the kernels: %s (%d): %s", backend->name,
                   mr_cl_result_name(result), result, log);
}

/* The bytes of a cached binary behind its digest, to be freed; NULL: there is none that is whole. */
static unsigned char *cache_read(const char *path, size_t *bytes_out)
{
    FILE *const file = fopen(path, "rbe");
    struct stat facts;
    unsigned char *bytes = NULL;
    if (!file) return NULL;
    if (!fstat(fileno(file), &facts) && facts.st_size > DIGEST_BYTES && (size_t)facts.st_size < BINARY_MAX)
        bytes = malloc((size_t)facts.st_size);
    if (bytes && fread(bytes, 1, (size_t)facts.st_size, file) == (size_t)facts.st_size) {
        char digest[MR_SHA256_TEXT_BYTES];
        *bytes_out = (size_t)facts.st_size - DIGEST_BYTES;
        mr_sha256_text(bytes + DIGEST_BYTES, *bytes_out, digest);
        if (!memcmp(digest, bytes, DIGEST_BYTES)) {
            fclose(file);
            memmove(bytes, bytes + DIGEST_BYTES, *bytes_out);
            return bytes;
        }
        mr_log(MR_LOG_WARN, "opencl", "the cached program is broken and made anew file=%s", path);
    }
    free(bytes);
    fclose(file);
    return NULL;
}

static bool cache_load(struct mr_backend *backend, const char *path, const char *options)
{
    size_t bytes;
    unsigned char *const binary = cache_read(path, &bytes);
    const unsigned char *const binaries[] = {binary};
    int status = 0, result = 0;
    if (!binary) return false;
    struct cl_program *const program = backend->api.CreateProgramWithBinary(
        backend->context, 1, &backend->device, &bytes, (const unsigned char **)(uintptr_t)binaries, &status, &result);
    free(binary);
    if (!program) return false;
    struct mr_err ignored;
    if (result || status || build(backend, program, options, &ignored)) {
        backend->api.ReleaseProgram(program);
        return false;
    }
    backend->program = program;
    return true;
}

/* Written beside its place and moved there, so that nobody ever reads half of it. Not to have a cache is no error. */
static void cache_store(const struct mr_backend *backend, const char *path)
{
    const struct mr_cl_api *const api = &backend->api;
    char temporary[512], digest[MR_SHA256_TEXT_BYTES];
    size_t bytes = 0;
    if (api->GetProgramInfo(backend->program, MR_CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) || !bytes) return;
    unsigned char *const binary = malloc(bytes);
    unsigned char *binaries[] = {binary};
    const bool is_room = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) < (int)sizeof temporary;
    if (binary && is_room &&
        !api->GetProgramInfo(backend->program, MR_CL_PROGRAM_BINARIES, sizeof binaries, binaries, NULL)) {
        const int fd = mkostemp(temporary, O_CLOEXEC);
        mr_sha256_text(binary, bytes, digest);
        if (fd >= 0) {
            const bool is_whole =
                write(fd, digest, DIGEST_BYTES) == DIGEST_BYTES && write(fd, binary, bytes) == (ssize_t)bytes;
            if (close(fd) || !is_whole || rename(temporary, path)) unlink(temporary);
        }
    }
    free(binary);
}

static mr_status program_make(struct mr_backend *backend, struct mr_err *err)
{
    char options[128], path[512];
    size_t bytes;
    int result = 0;
    const char *source = mr_cl_source(&bytes);
    options_print(backend, options, sizeof options);
    const bool has_cache = path_make(backend, options, path, sizeof path);
    if (has_cache && cache_load(backend, path, options)) return MR_OK;
    backend->program = backend->api.CreateProgramWithSource(backend->context, 1, &source, &bytes, &result);
    mr_status status = mr_cl_check(backend, result, "clCreateProgramWithSource", err);
    if (!status) status = build(backend, backend->program, options, err);
    if (!status && has_cache) cache_store(backend, path);
    return status;
}

mr_status mr_cl_program_build(struct mr_backend *backend, struct mr_err *err)
{
    pthread_mutex_lock(&backend->lock);
    const mr_status status = backend->program ? MR_OK : program_make(backend, err);
    if (status && backend->program) { /* not whole */
        backend->api.ReleaseProgram(backend->program);
        backend->program = NULL;
    }
    pthread_mutex_unlock(&backend->lock);
    return status;
}
