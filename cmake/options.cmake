# Language, warnings and sanitizers, the same for every target.
option(MILLRACE_TESTS "Build the tests (needs cmocka)" ON)
option(MILLRACE_BENCH "Build the benchmarks" ON)
option(MILLRACE_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
option(MILLRACE_WERROR "Warnings are errors" OFF)
set(MILLRACE_SANITIZE "" CACHE STRING "Sanitizers, such as address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1")
add_compile_definitions(_GNU_SOURCE)

add_library(mr_warnings INTERFACE)
target_compile_options(mr_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
  -Wwrite-strings -Wundef -Wformat=2 -Wvla -Wno-gnu-zero-variadic-macro-arguments
  -Wno-gnu-statement-expression) # gcc: no such warnings; clang: the macros of librdkafka are made of them
if(MILLRACE_WERROR)
  target_compile_options(mr_warnings INTERFACE -Werror)
endif()
if(MILLRACE_SANITIZE)
  add_compile_options(-fsanitize=${MILLRACE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${MILLRACE_SANITIZE})
endif()
if(MILLRACE_FUZZ)
  # The library, too, reports where an input takes it: without that libFuzzer mutates blindly.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
