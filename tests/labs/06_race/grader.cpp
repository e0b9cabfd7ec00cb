// Lab 6: the scan in every order of the threads: forward, reverse, and random ones.
#include "tests/labs/grading.h"
#include "tests/labs/on_fibers.h"

#include "docs/labs/kernels.h"

namespace offramp::labs {

const char* const kLab = "lab 6, a race";

void grade(std::uint64_t seed) {
  const auto scan = reinterpret_cast<decltype(&block_scan)>(symbol("block_scan"));
  Random random(seed);
  for (const int n : {1, 2, 3, random.from(4, 31), random.from(33, 100), 256}) {
    std::vector<int> x(static_cast<std::size_t>(n));
    for (int& v : x) v = random.from(1, 1000);
    test::DeviceArray<int> in(x);
    const InEveryOrder<int> results(random, x.size(), -1, [&](int* out) { scan(n, in.data(), out); });
    for (std::size_t o = 0; o < results.y.size(); ++o) {
      int sum = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        sum += x[i];
        if (results.y[o][i] != sum)
          wrong(
              results.alike
                  ? "The same in every order of the threads, so no race, but not the sum of x[0] to x[i]: step k adds to each "
                    "place what lies 2^k before it, while 2^k < n."
                  : "It depends on the order of the threads: one reads a place that another writes with no barrier between "
                    "them. In a step, all must have read s[t - offset] before anyone writes s[t], and all must have written "
                    "before anyone reads again.",
              "{} threads, {}: y[{}] is {}, the sum is {}",
              n,
              results.order[o].name(),
              i,
              results.y[o][i],
              sum);
      }
    }
  }
}

}  // namespace offramp::labs
