// TimeGuard (CCS'22 section 5, Algorithm 1): an answer that is ready at time t is sent at t + |t - I| with
// I ~ N(t, sigma^2) drawn from a seed that belongs to the input: a half-normal delay of scale sigma, the same for every
// repetition, so that averaging does not help. Mean delay sigma sqrt(2/pi).
// Known weakness: whoever changes an input a little gets a fresh draw and can average over near-duplicates that exit
// alike (attacks/defences does not hide it: `extract query --near-duplicates`).
#pragma once

#include <chrono>
#include <limits>

#include "attacks/defences/input_seed.h"
#include "attacks/query/in_process.h"

namespace offramp::attacks {

struct TimeGuardOptions {
  double sigma_ns = 0;  // > 0
  // Nobody waits beyond this time; who is later is not delayed. Infinity: Algorithm 1. The published code takes the
  // mean time of the 100 deepest samples.
  double cap_ns = std::numeric_limits<double>::infinity();
  InputSeedOptions seed;
};

// When the answer to `input`, ready after clean_ns, is sent: >= clean_ns.
double time_guard_release_ns(const Tensor& input, double clean_ns, const TimeGuardOptions& options);

// `victim` behind TimeGuard: one image at a time waits; several at once are answered without (nobody times them).
// The hash is computed after the answer is ready and counts towards the delay. ValueError: options outside their domain.
VictimFunction time_guarded(VictimFunction victim, const TimeGuardOptions& options);

// Returns at `deadline` of the steady clock or at once where it has passed: sleeps, then spins.
void wait_until(std::chrono::steady_clock::time_point deadline);

}  // namespace offramp::attacks
