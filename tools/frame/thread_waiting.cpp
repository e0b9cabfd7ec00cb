#include "tools/frame/thread_waiting.h"

#include "tools/frame/build_info.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace offramp::tools {
namespace {

// libgomp's own 300000 take about 10 ms: longer than the scheduler's time slice, so that beside other jobs a
// thread burns its whole slice waiting for one that has none (a step took 7 to 11 times as long as with
// 30000). Sleeping at once costs half of the speed on an idle machine, where a step has thousands of loops.
constexpr const char* kSpinCount = "30000";

}  // namespace

void bound_spinning(char** argv) {
  if (!build_info().threading.starts_with("OpenMP")) return;
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error || setenv("GOMP_SPINCOUNT", kSpinCount, 0) != 0) return;
  execv(self.c_str(), argv);  // returns only where it failed: then the runtime's own count stays
}

}  // namespace offramp::tools
