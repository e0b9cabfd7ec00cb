#include "base/cpus.h"

#include "base/control_group.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>

namespace offramp {
namespace {

// CPUs in the mask of this thread. The kernel refuses a set smaller than its own, so the set grows until it fits.
int affinity_cpus() {
  constexpr int kMostCpus = 1 << 20;
  struct Free {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
  };
  for (int cpus = CPU_SETSIZE; cpus <= kMostCpus; cpus *= 2) {
    const std::unique_ptr<cpu_set_t, Free> set(CPU_ALLOC(static_cast<std::size_t>(cpus)));
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    if (set == nullptr) break;
    if (sched_getaffinity(0, bytes, set.get()) == 0) return CPU_COUNT_S(bytes, set.get());
    if (errno != EINVAL) break;
  }
  return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

// Version 2: "150000 100000" or "max 100000" (microseconds in a period). Version 1: the same in two files, -1 for
// none. INT_MAX: no quota.
int quota_of(const ControlGroup& group) {
  double quota = 0, period = 0;
  if (group.unified) {
    std::ifstream in(group.folder / "cpu.max");
    in >> quota >> period;
  } else {
    std::ifstream(group.folder / "cpu.cfs_quota_us") >> quota;
    std::ifstream(group.folder / "cpu.cfs_period_us") >> period;
  }
  if (!(quota > 0 && period > 0)) return INT_MAX;
  return static_cast<int>(std::clamp(std::ceil(quota / period), 1.0, static_cast<double>(INT_MAX)));
}

}  // namespace

int control_group_cpus(const std::filesystem::path& groups, const std::filesystem::path& root) {
  int least = INT_MAX;
  for_control_groups(
      "cpu", groups, root, [&](const ControlGroup& group) { least = std::min(least, quota_of(group)); });
  return least;
}

int environment_cpus() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (text == nullptr) return INT_MAX;
  while (*text == ' ' || *text == '\t') ++text;
  int threads = 0;
  const std::from_chars_result end = std::from_chars(text, text + std::strlen(text), threads);
  return end.ec == std::errc() && threads > 0 ? threads : INT_MAX;
}

int usable_cpus() {
  return std::max(1, std::min({affinity_cpus(), control_group_cpus(), environment_cpus()}));
}

}  // namespace offramp
