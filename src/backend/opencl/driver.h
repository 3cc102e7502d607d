/**
 * OpenCL, opened at run time through the loader of installed drivers (ICD): the few calls that are made, in
 * declarations of our own, so that neither a header nor a library of OpenCL is needed to build, and the same program
 * starts where there is none.
 */
#ifndef MR_BACKEND_OPENCL_DRIVER_H
#define MR_BACKEND_OPENCL_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "millrace/status.h"

/** Library that is opened in place of libOpenCL.so.1: a path. */
#define MR_CL_LIBRARY_VARIABLE "MILLRACE_OPENCL_LIBRARY"

struct cl_platform;
struct cl_device;
struct cl_context;
struct cl_queue;
struct cl_memory;
struct cl_program;
struct cl_kernel;
struct cl_event;

/** Results; all but success are negative. */
enum {
    MR_CL_SUCCESS = 0,
    MR_CL_DEVICE_NOT_FOUND = -1,
    MR_CL_ALLOCATION_FAILURE = -4,
    MR_CL_OUT_OF_RESOURCES = -5,
    MR_CL_OUT_OF_HOST_MEMORY = -6,
    MR_CL_NO_PLATFORM = -1001, /* of the loader: no driver is installed */
};

/** What can be asked of platforms, devices and programs, and flags. */
enum {
    MR_CL_PLATFORM_VERSION = 0x0901,
    MR_CL_PLATFORM_NAME = 0x0902,
    MR_CL_DEVICE_TYPE = 0x1000,
    MR_CL_DEVICE_COMPUTE_UNITS = 0x1002,
    MR_CL_DEVICE_GROUP_SIZE_MAX = 0x1004,
    MR_CL_DEVICE_FLOAT_CONFIG = 0x101B,
    MR_CL_DEVICE_LOCAL_BYTES = 0x1023,
    MR_CL_DEVICE_AVAILABLE = 0x1027,
    MR_CL_DEVICE_COMPILER = 0x1028,
    MR_CL_DEVICE_NAME = 0x102B,
    MR_CL_DRIVER_VERSION = 0x102D,
    MR_CL_DEVICE_VERSION = 0x102F,
    MR_CL_DEVICE_FLOAT_WIDTH = 0x103A,
    MR_CL_PROGRAM_BINARY_SIZES = 0x1165,
    MR_CL_PROGRAM_BINARIES = 0x1166,
    MR_CL_PROGRAM_LOG = 0x1183,
    MR_CL_TYPE_CPU = 1 << 1,
    MR_CL_TYPE_GPU = 1 << 2,
    MR_CL_EXACT_DIVISION = 1 << 7,
    MR_CL_READ_WRITE = 1 << 0,
    MR_CL_USE_HOST = 1 << 3,
    MR_CL_ALLOC_HOST = 1 << 4,
    MR_CL_MAP_READ = 1 << 0,
    MR_CL_MAP_WRITE = 1 << 1,
};
#define MR_CL_TYPE_ALL 0xffffffffu

/** The calls, by the names of calls.def. */
struct mr_cl_api {
#define MR_CL_CALL(name, result, ...) result (*(name))(__VA_ARGS__);
#include "backend/opencl/calls.def"
#undef MR_CL_CALL
};

/** Opens the loader and finds all calls; MR_EBACKEND says what is missing. It stays open until the process ends. Any
 * thread. */
mr_status mr_cl_api_open(struct mr_cl_api *api, struct mr_err *err);

/** The name of a result, such as "CL_OUT_OF_RESOURCES"; never NULL. */
const char *mr_cl_result_name(int result);

#endif
