# install_and_find_package: see CMakeLists.txt beside this file.
function(run out)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE error)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${ARGN}\nexit code ${code}\n${text}${error}")
  endif()
  set(${out} "${text}" PARENT_SCOPE)
endfunction()
function(expect what text pattern)
  if(NOT text MATCHES "${pattern}")
    message(FATAL_ERROR "${what}: expected ${pattern}, got\n${text}")
  endif()
endfunction()

set(prefix ${WORK}/prefix)
file(REMOVE_RECURSE ${WORK}/prefix ${WORK}/outside)  # nothing of an earlier test
run(text ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
set(configure ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/outside -B ${WORK}/outside -G ${GENERATOR}
  -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_C_COMPILER=${C} -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${prefix}
  -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF -DEXAMPLE=${SOURCE}/docs/examples/infer.cpp)
run(text ${configure} -DWANTED_VERSION=${VERSION})
run(text ${CMAKE_COMMAND} --build ${WORK}/outside)

# Nothing of the tree is left in what was installed.
file(GLOB_RECURSE package ${prefix}/*.cmake)
foreach(file ${package})
  file(READ ${file} text)
  string(FIND "${text}" "${SOURCE}" at)
  if(NOT at EQUAL -1)
    message(FATAL_ERROR "${file} names the source tree ${SOURCE}")
  endif()
endforeach()

run(text ${WORK}/outside/interval)
expect(interval "${text}" "^0\\.8 in \\[0\\.4902, 0\\.9433\\]\n$")  # Wilson (1927): (0.8 + z^2/20 +- ..) / (1 + z^2/10)
run(text ${WORK}/outside/infer ${NET})
expect(infer "${text}" "^([A-Za-z/-]+[^\n]*, [0-9.]+ % sure, left at exit [1-9]\n)+$")
run(text ${prefix}/${BIN}/offramp --version)
expect("offramp --version" "${text}" "${VERSION}")

# A later minor version is refused.
execute_process(COMMAND ${configure} -DWANTED_VERSION=0.99 RESULT_VARIABLE code OUTPUT_QUIET ERROR_VARIABLE error)
if(code EQUAL 0)
  message(FATAL_ERROR "find_package(Offramp 0.99) found ${VERSION}")
endif()
expect("find_package(Offramp 0.99)" "${error}" "compatible")
