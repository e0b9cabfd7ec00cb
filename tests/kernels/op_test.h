#pragma once
// What the op tests share: device copies of vectors, and the check that bits do not depend on the thread
// count.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "kernels/cpu/context.h"
#include "tests/support/backends.h"
#include "tests/support/close.h"
#include "tests/support/fenced.h"
#include "tests/support/gradcheck.h"
#include "tests/support/random.h"

namespace offramp::test {

inline constexpr std::array kWrites = {Write::kOverwrite, Write::kAccumulate};

// What an output holds before the op: poison where it is overwritten, `before` where it is added to.
template <class T>
std::vector<T> start_values(Write write, const std::vector<T>& before) {
  return write == Write::kAccumulate ? before : std::vector<T>(before.size(), Fenced<T>::poison());
}

// The same for the double reference: zeros stand for what is overwritten.
template <class T>
std::vector<double> start_doubles(Write write, const std::vector<T>& before) {
  return write == Write::kAccumulate ? to_double(before) : std::vector<double>(before.size(), 0.);
}

// Bound of every element: `bound` for the computation, and the rounding of the stored value.
template <class T>
std::vector<double> stored_bounds(const std::vector<double>& expected, double bound) {
  std::vector<double> out(expected.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = stored_bound<T>(expected[i], bound);
  return out;
}

// `run(context)` returns a vector of numbers; it must be the same bits for 1, 2 and 3 threads.
template <class Run>
void expect_same_bits_for_any_thread_count(Run run) {
  cpu::Context one(cpu::ContextOptions{.threads = 1});
  const auto expected = run(one);
  for (const int threads : {2, 3}) {
    cpu::Context several(cpu::ContextOptions{.threads = threads});
    EXPECT_SAME_BITS(run(several), expected) << threads << " threads";
  }
}

}  // namespace offramp::test
