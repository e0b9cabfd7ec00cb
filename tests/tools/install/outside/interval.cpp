// Wilson's 95 % interval of 8 successes in 10 trials, from the installed offramp::stats.
#include <cstdio>

#include "stats/intervals.h"

int main() {
  const auto [share, low, high] = offramp::stats::wilson_interval(8, 10);
  std::printf("%.1f in [%.4f, %.4f]\n", share, low, high);
}
