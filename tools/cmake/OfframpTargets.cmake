# offramp_room(ROOM [sources...] [LINK other rooms or libraries...] [PRIVATE_LINK ...]): the library of one room.
# A room sees only the headers of the rooms it links: its include path is <build>/rooms/<room>, which holds one
# link named after the room, so that `#include "engine/tensor.h"` fails to build in a room that does not link engine.
# offramp_test(NAME sources... LINK ... [COST N] [NUMERIC]): a GoogleTest program, each test known to ctest, which starts those
# of high cost first. NUMERIC: its own sums take time, which an optimiser saves.
# offramp_light_code(TARGET): what it takes the compiler counts more than what it takes to run.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# OFFRAMP_UNITY: sources are compiled eight at a time, because each takes the compiler 3 to 20 seconds of which one or two
# are its own (the templates of the standard library, nlohmann's and GoogleTest's are the rest). A name in an anonymous
# namespace is therefore used once in a room. `.ci/run includes` compiles each by itself and sees what it forgets to include.
if(OFFRAMP_UNITY)
  set(CMAKE_UNITY_BUILD ON)
endif()
set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)
find_program(OFFRAMP_CCACHE ccache DOC "Compiler cache; used where it is installed and no other launcher is set")
mark_as_advanced(OFFRAMP_CCACHE)
if(OFFRAMP_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${OFFRAMP_CCACHE})
endif()
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
find_package(Threads REQUIRED)

# What every target takes; of it, warnings and code generation stay in this tree and the rest is installed.
add_library(offramp_options INTERFACE)
add_library(offramp_build_options INTERFACE)
target_link_libraries(offramp_options INTERFACE Threads::Threads $<BUILD_INTERFACE:offramp_build_options>)
target_compile_features(offramp_options INTERFACE cxx_std_20)
target_compile_options(offramp_build_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wconversion -Wshadow -ffp-contract=off -g1>
  # Clang counts signs among -Wconversion, GCC does not: one set of warnings for both.
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-sign-conversion>
  # GCC 12 warns about correct std::string code (bug 105651).
  $<$<AND:$<COMPILE_LANG_AND_ID:CXX,GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>
  # To GCC a source inside another one looks like a header with an anonymous namespace.
  $<$<AND:$<COMPILE_LANG_AND_ID:CXX,GNU>,$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wno-subobject-linkage>
  # Clang sees that libstdc++ 12's own stable_sort uses a function that C++20 deprecates.
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-deprecated-declarations>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${OFFRAMP_WERROR}>>:-Werror>)
# OFFRAMP_ASSERT stays on in Release: it guards our own bugs and costs nothing that a benchmark shows.
target_compile_definitions(offramp_build_options INTERFACE $<$<CONFIG:Debug>:OFFRAMP_DEBUG=1>)
if(OFFRAMP_SANITIZE STREQUAL "address")
  target_compile_options(offramp_build_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(offramp_options INTERFACE -fsanitize=address,undefined)
elseif(OFFRAMP_SANITIZE STREQUAL "thread")
  target_compile_options(offramp_build_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(offramp_options INTERFACE -fsanitize=thread)
elseif(OFFRAMP_SANITIZE)
  message(FATAL_ERROR "OFFRAMP_SANITIZE: expected address or thread, got '${OFFRAMP_SANITIZE}'")
endif()
if(OFFRAMP_FUZZ)
  target_compile_options(offramp_build_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(offramp_options INTERFACE -fsanitize=address,undefined)
endif()
if(OFFRAMP_SANITIZE)
  target_compile_definitions(offramp_build_options INTERFACE OFFRAMP_SANITIZED=1)
endif()
if(OFFRAMP_STATIC)
  target_link_options(offramp_options INTERFACE -static-libstdc++ -static-libgcc)
endif()

function(offramp_light_code target)
  if(OFFRAMP_SANITIZE)  # eight verbs under `asan`, seconds of processor: -O1 57, -O0 30
    target_compile_options(${target} PRIVATE -O0)
  else()
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
endfunction()

function(offramp_room room)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  set(target offramp_${room})
  set(view ${PROJECT_BINARY_DIR}/rooms/${room})
  string(REPLACE "_" "/" folder ${room})
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${folder})
    set(folder ${room})
  endif()
  get_filename_component(parent ${view}/${folder} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${view}/${folder} SYMBOLIC)
  if(ARG_SOURCES)
    add_library(${target} STATIC ${ARG_SOURCES})
    target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${view}>)
    target_link_libraries(${target} PUBLIC offramp_options ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
  else()
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE $<BUILD_INTERFACE:${view}>)
    target_link_libraries(${target} INTERFACE offramp_options ${ARG_LINK})
  endif()
  add_library(offramp::${room} ALIAS ${target})
endfunction()

function(offramp_test name)
  cmake_parse_arguments(ARG "NUMERIC" "PREFIX;COST" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_COST)
    set(ARG_COST 1)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_BINARY_DIR}/rooms/tests)
  if(ARG_NUMERIC)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  else()
    offramp_light_code(${name})
  endif()
  target_link_libraries(${name} PRIVATE offramp_options ${ARG_LINK} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE OFFRAMP_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set(limit 300)
  if(OFFRAMP_SANITIZE)
    set(limit 900)  # they slow some tests tenfold
  endif()
  gtest_discover_tests(${name} TEST_PREFIX "${ARG_PREFIX}" DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${limit} COST ${ARG_COST})
endfunction()
