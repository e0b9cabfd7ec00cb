#pragma once
// Early exit on the device: who stops at an exit, what they answer, and who goes on, in the order they came.
// Between two segments the host reads one number, the count of those who go on. Device only.
#include "kernels/backend.h"

namespace offramp::cuda {

struct ExitDecision {
  int n = 0, classes = 0;                // rows of this segment's batch
  const std::int32_t* valid = nullptr;   // [1]: rows that count, the first ones; null: all
  int exit = 1;                          // 1-based
  bool last = false;                     // everybody stops
  bool stops_at_threshold = false;       // confidence >= threshold stops; false: only > does
  bool keeps_best = false;               // who is never sure gets the most confident output, not the last one
  const float* logits = nullptr;         // [n, classes]
  const float* threshold = nullptr;      // [1], device memory
  const std::int32_t* sample = nullptr;  // [n]: the sample that a row belongs to; null: the row itself
  // At the place of each sample: its answer, written where it stops and with keeps_best at every exit that is
  // more confident than what `confidence` holds (negative before the first); and where it stops. A confidence that is
  // not a number, of logits that are not finite, is the answer of its exit and stays, whoever answers later.
  float* confidence = nullptr;        // [samples]
  std::int32_t* predicted = nullptr;  // [samples]
  std::int32_t* exit_of = nullptr;    // [samples]
  std::int32_t* answered = nullptr;   // [samples] or null: the exit of the answer
  float* probabilities = nullptr;     // [samples, classes] or null
  // Of the rows that go on, in order: what gather_rows takes, and the samples of the next segment. Behind the
  // last one `row` is 0, so that gather_rows may take all n.
  std::int32_t* row = nullptr;          // [n]
  std::int32_t* next_sample = nullptr;  // [n]
  std::int32_t* count = nullptr;        // [1]
};

void decide_exits(Context&, const ExitDecision&);

}  // namespace offramp::cuda
