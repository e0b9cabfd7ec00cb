# OFFRAMP_CPU_ARCH=dispatch: rooms whose speed hangs on the instruction set are compiled once for each machine level of
# base/cpu_level.h, and one program runs everywhere.
#
# offramp_levels(ROOM OUT LINK .. LIBRARIES .. DEFINITIONS .. FLAGS .. SOURCES ..) compiles SOURCES for each level and sets OUT to the
# objects that stand for them in the room's library. Of each level all objects become one (merge_level), in which the functions of
# the room's interface have the level behind their names and everything else is local: no inline function that was compiled
# for AVX-512 can stand in for the plain one of another room. level_jumps writes what has the plain names: jumps through a
# table that offramp_choose_level fills before main.
set(OFFRAMP_CPU_LEVELS v3 v4 v4-bf16)
set(OFFRAMP_LEVEL_FLAGS_v3 -march=x86-64-v3)
set(OFFRAMP_LEVEL_FLAGS_v4 -march=x86-64-v4 -mprefer-vector-width=512)
set(OFFRAMP_LEVEL_FLAGS_v4-bf16 -march=x86-64-v4 -mavx512bf16 -mavx512vnni -mprefer-vector-width=512)
set(level_tools ${CMAKE_CURRENT_LIST_DIR})

if(OFFRAMP_CPU_ARCH STREQUAL "dispatch")
  if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64" OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    message(FATAL_ERROR "OFFRAMP_CPU_ARCH=dispatch needs g++ on x86-64")
  endif()
  enable_language(ASM)
  set(OFFRAMP_CPU_MARCH -march=x86-64-v3)  # of what is compiled once
else()
  set(OFFRAMP_CPU_MARCH -march=${OFFRAMP_CPU_ARCH})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # clang 19's -march=native on a processor with AVX10.1 warns of the features that it has itself put together.
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-Winvalid-feature-combination OFFRAMP_CLANG_KNOWS_FEATURE_COMBINATIONS)
  if(OFFRAMP_CLANG_KNOWS_FEATURE_COMBINATIONS)
    list(APPEND OFFRAMP_CPU_MARCH -Wno-invalid-feature-combination)
  endif()
endif()

function(offramp_levels room out)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LIBRARIES;DEFINITIONS;FLAGS" ${ARGN})
  set(merged)
  foreach(level IN LISTS OFFRAMP_CPU_LEVELS)
    set(target offramp_${room}_${level})
    add_library(${target} OBJECT ${ARG_SOURCES})
    if(room STREQUAL "kernels")  # as where one level is built: their sources have options of their own
      set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
    endif()
    target_include_directories(${target} PRIVATE ${PROJECT_BINARY_DIR}/rooms/${room})
    target_link_libraries(${target} PRIVATE offramp_options ${ARG_LINK} ${ARG_LIBRARIES})
    target_compile_definitions(${target} PRIVATE ${ARG_DEFINITIONS})
    target_compile_options(${target} PRIVATE ${OFFRAMP_LEVEL_FLAGS_${level}} ${ARG_FLAGS} -fno-gnu-unique)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${room}-${level}.o)
    add_custom_command(OUTPUT ${object} ${object}.names
      COMMAND ${level_tools}/merge_level ${level} ${object} ${CMAKE_LINKER} ${CMAKE_NM} ${CMAKE_OBJCOPY} $<TARGET_OBJECTS:${target}>
      DEPENDS $<TARGET_OBJECTS:${target}> ${level_tools}/merge_level COMMAND_EXPAND_LISTS VERBATIM
      COMMENT "Merging ${room} for ${level}")
    list(APPEND merged ${object})
  endforeach()
  set(jumps ${CMAKE_CURRENT_BINARY_DIR}/${room}-jumps.S)
  list(TRANSFORM merged APPEND .names OUTPUT_VARIABLE names)
  add_custom_command(OUTPUT ${jumps} COMMAND ${level_tools}/level_jumps ${room} ${jumps} ${names}
    DEPENDS ${names} ${level_tools}/level_jumps VERBATIM COMMENT "Writing the jumps of ${room}")
  set_source_files_properties(${merged} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(${out} ${merged} ${jumps} PARENT_SCOPE)
endfunction()
