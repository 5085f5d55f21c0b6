# Warnings, hardening and sanitizers, on one interface target that everything links.
add_library(kser_options INTERFACE)
target_compile_definitions(kser_options INTERFACE _GNU_SOURCE KSER_VERSION="${PROJECT_VERSION}")
target_include_directories(kser_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(kser_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -fno-omit-frame-pointer)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  # The build is optimized as a whole: a tenth fewer instructions a step (tests/budget).
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
  # Assertions stay on in release.
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
  target_compile_options(kser_options INTERFACE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2)
  target_link_options(kser_options INTERFACE -Wl,-z,relro,-z,now)
else()
  target_compile_options(kser_options INTERFACE -Werror)
endif()
if(KSER_FAULTS)
  target_compile_definitions(kser_options INTERFACE KSER_FAULTS)
endif()
if(KSER_SANITIZE)
  target_compile_options(kser_options INTERFACE -fsanitize=${KSER_SANITIZE} -fno-sanitize-recover=undefined)
  target_link_options(kser_options INTERFACE -fsanitize=${KSER_SANITIZE})
endif()
