#pragma once
// Nsight records what lies between cudaProfilerStart and cudaProfilerStop when it is started with
// --capture-range=cudaProfilerApi: a few steps in the middle of a run, not its warm-up.
#include <cstdint>

#include "engine/device.h"

namespace offramp {

class ProfilerWindow {
 public:
  ProfilerWindow(const Device& device, std::int64_t first, std::int64_t last);  // steps first to last, from 0
  ~ProfilerWindow();  // stops where a run ends inside
  ProfilerWindow(const ProfilerWindow&) = delete;
  ProfilerWindow& operator=(const ProfilerWindow&) = delete;

  // Call before every step. Nothing happens on the CPU.
  void before(std::int64_t step);

 private:
  void turn(bool on);
  Device device_;
  std::int64_t first_, last_;
  bool on_ = false;
};

}  // namespace offramp
