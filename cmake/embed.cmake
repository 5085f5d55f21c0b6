# embed_files(TARGET NAME FILE...): a static library with the files as byte arrays, in the order given:
#   extern const struct embedded_file NAME[]; extern const size_t NAME_count;   (sql/embedded.h)
function(embed_files target name)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
  string(REPLACE ";" "," files "${ARGN}")
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DNAME=${name} -DFILES=${files} -P ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake
    COMMENT "Embedding ${name}" VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
