# `cmake --install`: the program, the rooms as libraries, their headers, and the package that find_package(Offramp) reads.
# Headers keep their place under include/offramp, so that `#include "nets/graph/network.h"` reads the same on both sides.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(installed_rooms base kernels engine stats nets_data nets attacks_query attacks_defences attacks attacks_evasion)
set(installed_targets)
foreach(name ${installed_rooms} options http kernels_cuda)
  if(TARGET offramp_${name})
    list(APPEND installed_targets offramp_${name})
    set_target_properties(offramp_${name} PROPERTIES EXPORT_NAME ${name})
  endif()
endforeach()
install(TARGETS ${installed_targets} EXPORT OfframpTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/offramp)

foreach(folder base kernels engine stats nets attacks)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/offramp COMPONENT development
    FILES_MATCHING PATTERN "*.h")
endforeach()
if(TARGET offramp)
  install(TARGETS offramp RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
endif()

# Which packages the libraries were linked with, so that the config finds the same ones again.
get_directory_property(OFFRAMP_USES_OPENMP DIRECTORY ${PROJECT_SOURCE_DIR}/kernels DEFINITION OpenMP_CXX_FOUND)
set(OFFRAMP_USES_DATA OFF)
set(OFFRAMP_USES_ZIP OFF)
if(NOT OFFRAMP_CORE_ONLY)
  set(OFFRAMP_USES_DATA ON)
  if(OFFRAMP_ZIP AND NOT OFFRAMP_STATIC)
    set(OFFRAMP_USES_ZIP ON)
  endif()
endif()
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/Offramp)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/OfframpConfig.cmake.in ${PROJECT_BINARY_DIR}/OfframpConfig.cmake
  INSTALL_DESTINATION ${package_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/OfframpConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/OfframpConfig.cmake ${PROJECT_BINARY_DIR}/OfframpConfigVersion.cmake
  DESTINATION ${package_folder} COMPONENT development)
install(EXPORT OfframpTargets NAMESPACE offramp:: DESTINATION ${package_folder} COMPONENT development)
