#pragma once
// Inference that really stops: after each exit the samples that are sure leave, the rest are compacted, and
// only they enter the next segment.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "nets/exits/exit_policy.h"
#include "nets/exits/segmented.h"

namespace offramp::nets {

struct EarlyExitResult {
  int n = 0, classes = 0;
  std::vector<std::int32_t> label;     // [n] the class of the output that is returned
  std::vector<std::int32_t> exit;      // [n] where the sample stopped, from 1: what it cost
  std::vector<std::int32_t> answered;  // [n] whose output is returned, from 1
  std::vector<float> confidence;       // [n] of that output
  std::vector<float> probabilities;    // [n, classes]
};

// NumericError where what an exit (from 0) says of a sample is not finite: no answer can be made of it.
void check_finite(std::span<const float> probabilities, int exit);
// Of n samples that have no answer yet.
EarlyExitResult unanswered(int n, int classes);
// What exit `s` (from 0) makes of `sample`, whose probabilities there are given: kept in `result` where they are its answer.
// True: it stops here.
bool take_exit(const ExitPolicy& policy,
               int s,
               bool last,
               std::span<const float> probabilities,
               std::size_t sample,
               EarlyExitResult& result);

// x as the net takes it. Throws ValueError where the policy does not fit the net, ShapeError where x does
// not, NumericError as check_finite. A sample's result does not depend on the others. On the CPU a large batch goes through in parts (parts.h);
// `before_segment(segment, samples)`, where given, sees what each segment of each part is run on.
EarlyExitResult infer(const SegmentedNet& net,
                      const ExitPolicy& policy,
                      const Tensor& x,
                      const std::function<void(int segment, int samples)>& before_segment = {});
EarlyExitResult infer(const SegmentedNet& net,
                      const ExitPolicy& policy,
                      const Features& x,
                      const std::function<void(int segment, int samples)>& before_segment = {});

}  // namespace offramp::nets
