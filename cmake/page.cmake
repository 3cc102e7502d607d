# The page: src/live/page/* and uPlot, each compressed and embedded by src/live/page.c. Nothing is built by anything but gzip.
set(PAGE_FOLDER ${CMAKE_BINARY_DIR}/page)
file(GLOB PAGE_FILES CONFIGURE_DEPENDS src/live/page/*)
set(UPLOT_FOLDER ${CMAKE_SOURCE_DIR}/.cache/uplot/1.6.32 CACHE PATH "uPlot of the npm registry, as scripts/setup brings it")
find_program(GZIP gzip REQUIRED)
foreach(name dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE)
  if(EXISTS ${UPLOT_FOLDER}/${name})
    list(APPEND PAGE_FILES ${UPLOT_FOLDER}/${name})
  else()
    message(WARNING "${UPLOT_FOLDER}/${name} is not there: the page will have no charts (scripts/setup brings it)")
  endif()
endforeach()
foreach(file ${PAGE_FILES})
  get_filename_component(name ${file} NAME)
  add_custom_command(OUTPUT ${PAGE_FOLDER}/${name}.gz
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PAGE_FOLDER}
    COMMAND sh -c "${GZIP} -9nc '${file}' >'${PAGE_FOLDER}/${name}.gz'"
    DEPENDS ${file} COMMENT "Compressing ${name}" VERBATIM)
  list(APPEND PAGE_PACKED ${PAGE_FOLDER}/${name}.gz)
endforeach()

# Gives the library the files.
function(mr_page target)
  set(definitions MR_PAGE_FOLDER="${PAGE_FOLDER}")
  if(EXISTS ${UPLOT_FOLDER}/dist/uPlot.iife.min.js)
    list(APPEND definitions MR_HAS_UPLOT)
  endif()
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/live/page.c PROPERTIES
    COMPILE_DEFINITIONS "${definitions}" OBJECT_DEPENDS "${PAGE_PACKED}")
  target_sources(${target} PRIVATE ${PAGE_PACKED})
endfunction()
