/* Which device: all that the installed drivers have, in their order; a number or a part of a name chooses. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backend/opencl/opencl.h"

#define PLATFORMS_MAX 16
#define DEVICES_MAX   64

struct found {
    struct cl_platform *platform;
    struct cl_device *device;
    uint64_t type;
    char name[128];
};

static void device_text(const struct mr_cl_api *api, struct cl_device *device, unsigned what, char *text, size_t bytes)
{
    if (api->GetDeviceInfo(device, what, bytes, text, NULL)) text[0] = '\0';
    text[bytes - 1] = '\0';
}

/* A number of the device; 0 when it does not say. */
static uint64_t device_number(const struct mr_cl_api *api, struct cl_device *device, unsigned what, size_t bytes)
{
    uint64_t value = 0; /* little-endian, as all machines that millrace runs on */
    if (api->GetDeviceInfo(device, what, bytes, &value, NULL)) return 0;
    return value;
}

static size_t devices_list(const struct mr_cl_api *api, struct found *found)
{
    struct cl_platform *platforms[PLATFORMS_MAX];
    unsigned platform_count = 0;
    size_t count = 0;
    if (api->GetPlatformIDs(PLATFORMS_MAX, platforms, &platform_count)) return 0;
    for (unsigned p = 0; p < platform_count && p < PLATFORMS_MAX; p++) {
        struct cl_device *devices[DEVICES_MAX];
        unsigned device_count = 0;
        if (api->GetDeviceIDs(platforms[p], MR_CL_TYPE_ALL, DEVICES_MAX, devices, &device_count)) continue;
        for (unsigned d = 0; d < device_count && d < DEVICES_MAX && count < DEVICES_MAX; d++) {
            if (!device_number(api, devices[d], MR_CL_DEVICE_AVAILABLE, 4) ||
                !device_number(api, devices[d], MR_CL_DEVICE_COMPILER, 4))
                continue;
            found[count] = (struct found){.platform = platforms[p],
                                          .device = devices[d],
                                          .type = device_number(api, devices[d], MR_CL_DEVICE_TYPE, 8)};
            device_text(api, devices[d], MR_CL_DEVICE_NAME, found[count].name, sizeof found[count].name);
            count++;
        }
    }
    return count;
}

static bool name_has(const char *name, const char *part)
{
    const size_t length = strlen(part);
    for (; *name; name++) {
        if (!strncasecmp(name, part, length)) return true;
    }
    return false;
}

/* Index of what the variant names; count: none. */
static size_t device_choose(const struct found *found, size_t count, const char *variant)
{
    if (!variant) {
        for (size_t i = 0; i < count; i++) {
            if (found[i].type & MR_CL_TYPE_GPU) return i;
        }
        return 0;
    }
    char *end;
    const unsigned long number = strtoul(variant, &end, 10);
    if (isdigit((unsigned char)*variant) && !*end) return number < count ? number : count;
    size_t i = 0;
    while (i < count && !(*variant && name_has(found[i].name, variant))) i++;
    return i;
}

static void kind_fill(struct mr_backend *backend, const struct found *found)
{
    const struct mr_cl_api *const api = &backend->api;
    const uint64_t width = device_number(api, found->device, MR_CL_DEVICE_FLOAT_WIDTH, 4);
    const uint64_t shared = device_number(api, found->device, MR_CL_DEVICE_LOCAL_BYTES, 8);
    const uint64_t units = device_number(api, found->device, MR_CL_DEVICE_COMPUTE_UNITS, 4);
    const char *const as = getenv(MR_CL_AS_VARIABLE);
    backend->is_host = found->type & MR_CL_TYPE_CPU && !(as && !strcmp(as, "gpu"));
    backend->kind = (struct mr_device_kind){
        .lanes = !backend->is_host ? 1
                 : width >= 16     ? 16
                                   : 8,
        .shared_bytes = shared < 16384                           ? 16384
                        : shared > 48 << 10 && !backend->is_host ? 48 << 10
                                                                 : shared,
        .units = units ? (unsigned)units : 1,
    };
}

mr_status mr_cl_device_find(struct mr_backend *backend, const char *variant, struct mr_err *err)
{
    struct found found[DEVICES_MAX];
    const size_t count = devices_list(&backend->api, found);
    if (!count)
        return mr_fail(
            err, MR_EBACKEND,
            "backend \"opencl%s%.40s\": no device: the loader is there, a driver is not. For the CPU install "
            "PoCL (Debian: pocl-opencl-icd), for a GPU its vendor's",
            variant ? ":" : "", variant ? variant : "");
    const size_t chosen = device_choose(found, count, variant);
    if (chosen == count) {
        char list[400] = "";
        for (size_t i = 0, used = 0; i < count && used < sizeof list; i++)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%zu (%s)", i ? ", " : "", i, found[i].name);
        return mr_fail(err, MR_EBACKEND, "backend \"opencl:%.40s\": no such device; there are, by number or name: %s",
                       variant, list);
    }
    backend->platform = found[chosen].platform;
    backend->device = found[chosen].device;
    memcpy(backend->name, found[chosen].name, sizeof backend->name);
    device_text(&backend->api, backend->device, MR_CL_DRIVER_VERSION, backend->driver, sizeof backend->driver);
    kind_fill(backend, &found[chosen]);
    snprintf(backend->text, sizeof backend->text, "opencl:%zu, %s, %u units, driver %.60s", chosen, backend->name,
             backend->kind.units, backend->driver);
    return MR_OK;
}
