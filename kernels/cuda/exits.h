#pragma once
// Early exit on the device: who stops at an exit, what they answer, and who goes on, in the order they came.
// Between two segments the host reads one number, the count of those who go on. Device only.
#include "kernels/backend.h"

namespace offramp::cuda {

struct ExitDecision {
  int n = 0, classes = 0;                // rows of this segment's batch
  int exit = 1;                          // 1-based
  bool last = false;                     // everybody stops
  bool stops_at_threshold = false;       // confidence >= threshold stops; false: only > does
  const float* logits = nullptr;         // [n, classes]
  const float* threshold = nullptr;      // [1], device memory
  const std::int32_t* sample = nullptr;  // [n]: the sample that a row belongs to; null: the row itself
  // Of the samples that stop, written at their place.
  float* confidence = nullptr;        // [samples]
  std::int32_t* predicted = nullptr;  // [samples]
  std::int32_t* exit_of = nullptr;    // [samples]
  // Of the rows that go on, in order: what gather_rows takes, and the samples of the next segment.
  std::int32_t* row = nullptr;          // [n]
  std::int32_t* next_sample = nullptr;  // [n]
  std::int32_t* count = nullptr;        // [1]
};

void decide_exits(Context&, const ExitDecision&);

}  // namespace offramp::cuda
