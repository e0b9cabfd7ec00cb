# offramp::http: Debian's cpp-httplib, a compiled library whose header must be read with the options that it was built
# with. OFFRAMP_HAVE_HTTP: whether it is used.
set(OFFRAMP_HAVE_HTTP OFF)
if(OFFRAMP_HTTP AND NOT OFFRAMP_STATIC AND NOT OFFRAMP_CORE_ONLY)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
  add_library(offramp_http INTERFACE)
  target_link_libraries(offramp_http INTERFACE PkgConfig::HTTPLIB)
  add_library(offramp::http ALIAS offramp_http)
  set(OFFRAMP_HAVE_HTTP ON)
endif()
