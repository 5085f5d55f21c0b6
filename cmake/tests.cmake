# kser_unit_test(NAME SOURCE... [LIBRARIES TARGET...] [TIMEOUT SECONDS] [LABEL LABEL]): a Criterion program of its own.
#
# Criterion exits with 0 when a test leaked, so the text of the sanitizers decides too. It does not run under
# ThreadSanitizer: those tests are programs with a main, added by kser_test_program with the same arguments.
pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
set(KSER_SANITIZER_TEXT "ERROR: AddressSanitizer|LeakSanitizer|runtime error:|WARNING: ThreadSanitizer")

function(kser_test_program name)
  cmake_parse_arguments(PARSE_ARGV 1 test "" "TIMEOUT;LABEL" "LIBRARIES")
  if(NOT test_TIMEOUT)
    set(test_TIMEOUT 60)
  endif()
  if(NOT test_LABEL)
    set(test_LABEL unit)
  endif()
  add_executable(${name} ${test_UNPARSED_ARGUMENTS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE kser_common ${test_LIBRARIES})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${test_LABEL} TIMEOUT ${test_TIMEOUT}
    FAIL_REGULAR_EXPRESSION "${KSER_SANITIZER_TEXT}")
endfunction()

function(kser_unit_test name)
  if(KSER_SANITIZE MATCHES thread)
    return()
  endif()
  kser_test_program(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE PkgConfig::CRITERION)
endfunction()
