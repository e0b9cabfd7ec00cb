#include "attacks/query/cpu_pin.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/errors.h"

namespace offramp::attacks {

CpuPin::CpuPin(int cpu) : cpu_(cpu) {
  if (sched_getaffinity(0, sizeof before_, &before_) != 0)
    throw ValueError("CpuPin: the cores of this thread cannot be read: " + std::string(std::strerror(errno)));
  for (int c = CPU_SETSIZE - 1; c >= 0 && cpu_ < 0; --c)
    if (CPU_ISSET(c, &before_)) cpu_ = c;
  if (cpu_ >= CPU_SETSIZE || !CPU_ISSET(cpu_, &before_))
    throw ValueError("CpuPin: this thread may not run on core " + std::to_string(cpu_));
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu_, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0)
    throw ValueError("CpuPin: core " + std::to_string(cpu_) + " refused: " + std::strerror(errno));
}

CpuPin::~CpuPin() {
  sched_setaffinity(0, sizeof before_, &before_);
  // A pool's threads that were started meanwhile inherited the pin and would keep it for good.
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu_, &one);
  std::error_code ignored;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", ignored)) {
    const auto id = static_cast<pid_t>(std::strtol(task.path().filename().c_str(), nullptr, 10));
    cpu_set_t mask;
    if (sched_getaffinity(id, sizeof mask, &mask) == 0 && CPU_EQUAL(&mask, &one))
      sched_setaffinity(id, sizeof before_, &before_);
  }
}

}  // namespace offramp::attacks
