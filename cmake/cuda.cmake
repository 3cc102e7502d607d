# The CUDA kernels: kernels/gpu_all.h compiled by nvcc into one fatbin, whose bytes src/backend/cuda/image.c embeds. Nothing
# of CUDA is linked and no header of it is needed. Without nvcc the program is built all the same, and its backend says so.
set(MILLRACE_CUDA AUTO CACHE STRING "Compile the CUDA kernels: AUTO (when nvcc is found), ON (an error without nvcc), OFF")
set(MILLRACE_CUDA_ARCHS "75;80;86;89;90;100;120" CACHE STRING "Compute capabilities to compile for; PTX of the last is added for later ones")

set(CUDA_IMAGE "")
if(NOT MILLRACE_CUDA STREQUAL "OFF")
  # scripts/setup --cuda puts NVIDIA's wheels here; an installed toolkit does as well.
  find_program(MILLRACE_NVCC nvcc
    HINTS ${CMAKE_SOURCE_DIR}/.cache/cuda/nvidia/cu13/bin ENV CUDA_PATH ENV CUDA_HOME
    PATHS /usr/local/cuda/bin /opt/cuda/bin PATH_SUFFIXES bin)
  if(MILLRACE_NVCC)
    execute_process(COMMAND ${MILLRACE_NVCC} --list-gpu-code OUTPUT_VARIABLE CUDA_CODES ERROR_VARIABLE CUDA_ERROR
      RESULT_VARIABLE CUDA_RESULT OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REGEX MATCHALL "sm_[0-9]+" CUDA_CODES "${CUDA_CODES}")
    set(CUDA_FLAGS "")
    foreach(arch ${MILLRACE_CUDA_ARCHS})
      if("sm_${arch}" IN_LIST CUDA_CODES)
        list(APPEND CUDA_FLAGS -gencode arch=compute_${arch},code=sm_${arch})
        set(CUDA_ARCH_LAST ${arch})
      else()
        message(WARNING "CUDA: ${MILLRACE_NVCC} does not know sm_${arch}; it is left out")
      endif()
    endforeach()
    if(CUDA_FLAGS)
      list(APPEND CUDA_FLAGS -gencode arch=compute_${CUDA_ARCH_LAST},code=compute_${CUDA_ARCH_LAST})
      set(CUDA_IMAGE ${CMAKE_BINARY_DIR}/cuda/kernels.fatbin)
      message(STATUS "CUDA: kernels compiled by ${MILLRACE_NVCC}")
    else()
      message(WARNING "CUDA: left out, ${MILLRACE_NVCC} compiles for none of ${MILLRACE_CUDA_ARCHS}: ${CUDA_ERROR}")
    endif()
  elseif(MILLRACE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CUDA: no nvcc found: scripts/setup --cuda installs it, or give -DMILLRACE_NVCC=<path>")
  else()
    message(STATUS "CUDA: left out, no nvcc found: scripts/setup --cuda installs it, then configure again")
  endif()
else()
  message(STATUS "CUDA: left out, MILLRACE_CUDA is OFF")
endif()

# Gives the library the image: kernels/gpu_all.h, compiled only when one of its texts changes.
function(mr_cuda_image target)
  if(NOT CUDA_IMAGE)
    return()
  endif()
  add_custom_command(OUTPUT ${CUDA_IMAGE}
    COMMAND ${CMAKE_COMMAND} -DNVCC=${MILLRACE_NVCC} "-DFLAGS=${CUDA_FLAGS}" -DROOT=${CMAKE_SOURCE_DIR}
      -DSOURCE=${CMAKE_SOURCE_DIR}/src/backend/cuda/kernels.cu -DOUTPUT=${CUDA_IMAGE} -DDEPFILE=${CUDA_IMAGE}.d
      -P ${CMAKE_SOURCE_DIR}/cmake/fatbin.cmake
    DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/cuda/kernels.cu ${CMAKE_SOURCE_DIR}/cmake/fatbin.cmake
    DEPFILE ${CUDA_IMAGE}.d COMMENT "Compiling CUDA kernels" VERBATIM)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/cuda/image.c PROPERTIES
    COMPILE_DEFINITIONS MR_CUDA_IMAGE="${CUDA_IMAGE}" OBJECT_DEPENDS ${CUDA_IMAGE})
  target_sources(${target} PRIVATE ${CUDA_IMAGE})
endfunction()
