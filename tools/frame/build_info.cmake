# Runs at every build (cmake -P) so that the commit is that of the build, not of the last configure. The file is only
# touched when its content changes.
find_program(git NAMES git)
set(COMMIT unknown)
if(git)
  execute_process(COMMAND ${git} -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(COMMIT ${described})
  endif()
endif()
configure_file(${SOURCE}/tools/frame/build_info.cpp.in ${OUTPUT} @ONLY)
