#include "tools/report/ticks.h"

#include <algorithm>
#include <cmath>

#include "tools/report/text.h"

namespace offramp::report {
namespace {

struct Step {
  double size;
  int decimals;  // needed to write a multiple of it
};

Step nice_step(double raw) {
  const int power = static_cast<int>(std::floor(std::log10(raw)));
  const double scale = std::pow(10., power), part = raw / scale;
  // 1 % of slack keeps a span of exactly ten steps from falling to the next coarser one.
  for (const double nice : {1., 2., 2.5, 5.})
    if (part <= nice * 1.01) return {nice * scale, std::max(0, -power + (nice == 2.5 ? 1 : 0))};
  return {10 * scale, std::max(0, -power - 1)};
}

std::string power_label(int power) {
  if (power >= -4 && power <= 5) return pretty(std::pow(10., power));
  return "1e" + std::to_string(power);
}

}  // namespace

std::vector<Tick> linear_ticks(double low, double high, int wanted) {
  const Step step = nice_step((high - low) / std::max(wanted, 1));
  std::vector<Tick> ticks;
  const double slack = step.size * 1e-9;
  const double first = std::ceil((low - slack) / step.size);
  for (double k = first; k * step.size <= high + slack && ticks.size() < 1000; ++k) {
    const double value = k * step.size;
    const bool plain = std::max(std::abs(low), std::abs(high)) < 1e6 && step.decimals <= 5;
    std::string label = plain ? fixed(value, step.decimals) : pretty(value);
    if (plain && step.decimals == 0 && std::abs(value) >= 10'000) label = with_commas(std::llround(value));
    ticks.push_back({value, std::move(label)});
  }
  return ticks;
}

std::vector<Tick> log_ticks(double low, double high, int wanted) {
  const int first = static_cast<int>(std::ceil(std::log10(low) - 1e-9)),
            last = static_cast<int>(std::floor(std::log10(high) + 1e-9));
  if (last - first < 1) return linear_ticks(low, high, wanted);
  const int stride =
      std::max(1, (last - first) / std::max(wanted, 1) + ((last - first) % std::max(wanted, 1) > 0));
  std::vector<Tick> ticks;
  for (int power = first - 1; power <= last; ++power) {
    const double decade = std::pow(10., power);
    if (power >= first) ticks.push_back({decade, (power - first) % stride == 0 ? power_label(power) : ""});
    if (stride == 1)
      for (int m = 2; m <= 9; ++m)
        if (m * decade >= low && m * decade <= high) ticks.push_back({m * decade, ""});
  }
  return ticks;
}

}  // namespace offramp::report
