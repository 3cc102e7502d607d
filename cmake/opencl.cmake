# The OpenCL kernels: kernels/gpu_all.h and what it includes joined to one text, which src/backend/opencl/source.c embeds and
# the driver compiles on the machine that it runs on. Nothing of OpenCL is linked and no header of it is needed.
set(OPENCL_SOURCE ${CMAKE_BINARY_DIR}/opencl/kernels.cl)
file(GLOB OPENCL_TEXTS CONFIGURE_DEPENDS kernels/gpu*.h kernels/*/*_gpu.h)
add_custom_command(OUTPUT ${OPENCL_SOURCE}
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} -DSOURCE=kernels/gpu_all.h -DOUTPUT=${OPENCL_SOURCE}
    -P ${CMAKE_SOURCE_DIR}/cmake/join.cmake
  DEPENDS ${OPENCL_TEXTS} ${CMAKE_SOURCE_DIR}/cmake/join.cmake COMMENT "Joining OpenCL kernels" VERBATIM)

# Gives a library the text.
function(mr_opencl_source target)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/opencl/source.c PROPERTIES
    COMPILE_DEFINITIONS MR_OPENCL_SOURCE="${OPENCL_SOURCE}" OBJECT_DEPENDS ${OPENCL_SOURCE})
  target_sources(${target} PRIVATE ${OPENCL_SOURCE})
endfunction()
