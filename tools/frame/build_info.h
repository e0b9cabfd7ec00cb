// What was fixed when this program was built; tools/frame/build_info.cmake writes the values.
#pragma once

#include <string_view>

namespace offramp::tools {

struct BuildInfo {
  std::string_view version;      // "0.1.0"
  std::string_view commit;       // "0123456789ab", "-dirty" behind if files differed; "unknown" without git
  std::string_view compiler;     // "GNU 12.2.0"
  std::string_view build_type;   // "Release"
  std::string_view cpu_arch;     // -march of the CPU kernels
  std::string_view convolution;  // "oneDNN 2.6.3 (...)", or why not
  std::string_view threading;    // "OpenMP 4.5", or why not
  std::string_view cuda;         // "off", "on", "host"
  std::string_view sanitizer;    // "" in a plain build
};

const BuildInfo& build_info();

}  // namespace offramp::tools
