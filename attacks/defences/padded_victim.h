// Padding that is applied for real (specs/audit.md 3): the exit that a query took decides, with the input's own random
// number, at which of the exits' deadlines its answer is sent. stats/padding says what a plan leaks.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "attacks/defences/input_seed.h"
#include "attacks/query/in_process.h"

namespace offramp::attacks {

// The owner's side of a victim: one image [1,c,h,w] -> probabilities [classes], and the exit it took, from 0.
using ExitVictim = std::function<int(const Tensor& image, std::span<float> probabilities)>;

struct PaddingPlan {
  std::vector<double> deadlines_ns;  // [K] ascending: a quantile of each exit's running times
  std::vector<double> channel;       // [K, K] row k: probability that exit k is answered at deadline j >= k
  InputSeedOptions seed;             // not used by a channel of zeros and ones
};

// Whether an answer's deadline depends on its input's number; else any number will do.
bool draws(const PaddingPlan& plan);

// The deadline, from 0, of an input that left at `exit`: the inverse of row `exit` at the input's uniform number.
int deadline_of(const PaddingPlan& plan, int exit, double uniform);

// The victim behind the plan. An answer that is ready only after its deadline is sent at once. Several images at once
// are answered by `plain` without delay (nobody times them). ValueError: a plan that does not fit itself; in the call:
// an exit that the plan does not know.
VictimFunction padded(VictimFunction plain, ExitVictim one, PaddingPlan plan);

}  // namespace offramp::attacks
