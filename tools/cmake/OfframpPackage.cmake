# `cpack` in a build folder: Debian packages, offramp (the program, manual pages, completion) and offramp-dev (libraries, headers,
# the package that find_package reads). For other machines build the preset `package`.
if(OFFRAMP_CORE_ONLY)
  return()
endif()
include(GNUInstallDirs)

# Manual pages and completion come out of the program itself; pages, changelog and copyright lie where Debian wants them.
file(WRITE ${PROJECT_BINARY_DIR}/copyright
  "Offramp: an engine and laboratory for early-exit networks\n"
  "Copyright: 2026 The Offramp authors\n"
  "License: Apache License, Version 2.0; on Debian systems its text is in /usr/share/common-licenses/Apache-2.0\n")
install(CODE "
  set(prefix \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\")
  execute_process(COMMAND \"$<TARGET_FILE:offramp>\" help files \"\${prefix}\" COMMAND_ERROR_IS_FATAL ANY)
  file(GLOB pages \"\${prefix}/share/man/man1/offramp*.1\")
  execute_process(COMMAND gzip -9nf \${pages} COMMAND_ERROR_IS_FATAL ANY)" COMPONENT program)
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${PROJECT_BINARY_DIR}/changelog
  "offramp (${PROJECT_VERSION}) unstable; urgency=medium\n\n  * What a user notices: CHANGELOG.md of the sources.\n\n"
  " -- The Offramp authors <offramp@example.org>  ${now}\n")
execute_process(COMMAND gzip -9nc ${PROJECT_BINARY_DIR}/changelog OUTPUT_FILE ${PROJECT_BINARY_DIR}/changelog.gz
  COMMAND_ERROR_IS_FATAL ANY)
foreach(part program development)
  string(REPLACE "-program" "" folder "offramp-${part}")
  string(REPLACE "-development" "-dev" folder "${folder}")
  install(FILES ${PROJECT_BINARY_DIR}/copyright ${PROJECT_BINARY_DIR}/changelog.gz
    DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${folder} COMPONENT ${part})
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME offramp)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The Offramp authors <offramp@example.org>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL program development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME offramp)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SUGGESTS "dataset-fashion-mnist, openmpi-bin")
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION
  "laboratory for early-exit neural networks\nTrains and serves networks with early exits, and measures what their exits give\naway: model extraction through the time of answers, membership of records in\nthe training data, adversarial inputs that change where an answer leaves.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME offramp-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "libssl-dev, zlib1g-dev, libpng-dev, libjpeg62-turbo-dev, libzip-dev, libcpp-httplib-dev, nlohmann-json3-dev, libdnnl-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
  "libraries and headers of a laboratory for early-exit networks\nTensors and automatic differentiation, nets with early exits, the statistics\nand the attacks, as static libraries with a CMake package.")
include(CPack)
