#pragma once
// Keeps the calling thread on one core while it lives: a moved thread starts with cold caches, which a timing
// sees. Threads started meanwhile inherit the pin and are set free with it; a timed victim should run on a
// one-thread device.
#include <sched.h>

namespace offramp::attacks {

class CpuPin {
 public:
  // cpu -1: the highest-numbered core that this thread may use (core 0 serves most interrupts). Throws
  // ValueError where the thread may not run on `cpu`.
  explicit CpuPin(int cpu = -1);
  ~CpuPin();
  CpuPin(const CpuPin&) = delete;
  CpuPin& operator=(const CpuPin&) = delete;
  int cpu() const { return cpu_; }

 private:
  cpu_set_t before_;
  int cpu_;
};

}  // namespace offramp::attacks
