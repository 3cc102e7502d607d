# The kernels: <op>_ref.c as it is, <op>_simd.c once for each instruction set, flags only on those objects.
file(GLOB KERNEL_SOURCES CONFIGURE_DEPENDS kernels/*.c kernels/*/*.c)
list(FILTER KERNEL_SOURCES EXCLUDE REGEX "_(simd|avx512)\\.c$")
file(GLOB KERNEL_SIMD_SOURCES CONFIGURE_DEPENDS kernels/*/*_simd.c)
add_library(mr_kernels STATIC ${KERNEL_SOURCES})
target_include_directories(mr_kernels PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> PRIVATE .)
target_link_libraries(mr_kernels PRIVATE mr_warnings m)

set(AVX512_FLAGS -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512)

# Objects mr_kernels_<name> of these sources; flags: ARGN.
function(mr_kernel_objects name variant sources)
  add_library(mr_kernels_${name} OBJECT ${sources})
  target_include_directories(mr_kernels_${name} PRIVATE include .)
  target_link_libraries(mr_kernels_${name} PRIVATE mr_warnings)
  target_compile_definitions(mr_kernels_${name} PRIVATE MR_VARIANT=${variant})
  target_compile_options(mr_kernels_${name} PRIVATE ${ARGN})
  if(MILLRACE_SANITIZE MATCHES "undefined")
    # Checks around every one of thousands of unrolled vector operations take minutes to compile; the address sanitizer stays.
    target_compile_options(mr_kernels_${name} PRIVATE -fno-sanitize=undefined -O1)
  endif()
  if(MILLRACE_FUZZ)
    # Kernels are not what is fuzzed, and clang takes minutes for them under the sanitizers; the asan preset has them checked.
    target_compile_options(mr_kernels_${name} PRIVATE -O1 -fno-sanitize=all)
  endif()
  target_sources(mr_kernels PRIVATE $<TARGET_OBJECTS:mr_kernels_${name}>)
endfunction()

function(mr_kernel_variant variant)
  mr_kernel_objects(${variant} ${variant} "${KERNEL_SIMD_SOURCES}" ${ARGN})
endfunction()

function(mr_kernel_files name pattern)
  file(GLOB sources CONFIGURE_DEPENDS ${pattern})
  mr_kernel_objects(${name} avx512 "${sources}" ${AVX512_FLAGS} ${ARGN})
endfunction()

if(KERNEL_SIMD_SOURCES)
  mr_kernel_variant(base)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    mr_kernel_variant(avx2 -mavx2 -mfma)
    mr_kernel_variant(avx512 ${AVX512_FLAGS})
    # Files for one instruction set alone, with its flag on top.
    mr_kernel_files(bf16 kernels/*/*_bf16_avx512.c -mavx512bf16)
    mr_kernel_files(int8 kernels/*/*_int8_avx512.c -mavx512vnni)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    mr_kernel_variant(neon)
  endif()
endif()
