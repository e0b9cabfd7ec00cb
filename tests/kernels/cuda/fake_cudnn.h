#pragma once
// What the stand-in for libcudnn counts; the test finds it by the name fake_cudnn_counts.
#include <cstdint>

struct FakeCudnnCounts {
  std::int64_t live_descriptors = 0;
  std::int64_t live_at_destroy = 0;  // descriptors that were there when the last handle was destroyed
  std::int64_t finalized_plans = 0;
  std::int64_t executions = 0;
  std::int64_t last_engine = 0;
  std::int64_t failing_engine = 0;  // set by the test: its plans fail when they are executed; -1: all
  bool refuse_handles = false;      // set by the test: cudnnCreate fails
};
