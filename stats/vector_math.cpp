#include "stats/vector_math.h"

#include <algorithm>

#include "stats/checks.h"
#include "stats/simd.h"

namespace offramp::stats {
namespace {

template <class F>
void apply(std::span<const double> x, std::span<double> out, const char* what, F f) {
  require_same_size(x.size(), "x", out.size(), "out", what);
  for (std::size_t i = 0; i < x.size(); i += kLanes) {
    const std::size_t count = std::min(kLanes, x.size() - i);
    double lanes[kLanes] = {1, 1, 1, 1, 1, 1, 1, 1};
    std::copy_n(x.data() + i, count, lanes);
    store(lanes, f(load(lanes)));
    std::copy_n(lanes, count, out.data() + i);
  }
}

}  // namespace

void exp2_all(std::span<const double> x, std::span<double> out) {
  apply(x, out, "exp2_all", [](Vec v) { return exp2(v); });
}

void log2_all(std::span<const double> x, std::span<double> out) {
  apply(x, out, "log2_all", [](Vec v) { return log2(v); });
}

}  // namespace offramp::stats
