#pragma once
// Time of each kernel as the device saw it, through CUPTI, for machines without Nsight. libcupti is opened on
// first use.
#include <cstdint>
#include <string>
#include <vector>

namespace offramp::cuda {

struct KernelTime {
  std::string name;  // demangled
  std::int64_t launches = 0;
  double seconds = 0, shortest = 0, longest = 0;
  int registers = 0;              // of a thread
  std::int64_t shared_bytes = 0;  // of a block, static and dynamic
  std::int64_t blocks = 0;        // of the last launch
  int threads = 0;                // of a block
};

// Empty where kernel times can be had, else what is missing.
std::string why_no_kernel_times();

// Runs from the first to the second; the device is waited for at both ends. Throw DeviceError with what is
// missing, or with CUPTI's own message (a user may need the right to read performance counters).
void start_kernel_times();
std::vector<KernelTime> stop_kernel_times();  // longest first

}  // namespace offramp::cuda
