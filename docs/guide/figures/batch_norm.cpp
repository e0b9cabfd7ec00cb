// Three channels of a batch before and after batch normalisation, by the reference kernel in double.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "figures.h"
#include "kernels/philox.h"
#include "kernels/ref/batch_norm.h"
#include "stats/kde.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"

namespace offramp::guide {
namespace {

constexpr int kChannels = 3, kRows = 4096;

// A normal number from two uniform ones (Box and Muller).
double normal(const PhiloxKey& key, std::uint64_t element) {
  const double u = 1 - static_cast<double>(key.uniform(2 * element)), v = key.uniform(2 * element + 1);
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

report::Series density(const std::string& name, const std::vector<double>& x, int channel, int dash) {
  report::Series curve{.name = name, .colour = channel, .dash = dash};
  std::vector<double> sample;
  for (std::size_t i = static_cast<std::size_t>(channel); i < x.size(); i += kChannels)
    sample.push_back(x[i]);
  const auto [least, most] = std::minmax_element(sample.begin(), sample.end());
  const double bandwidth = (*most - *least) / 25;
  constexpr int kPoints = 160;
  for (int i = 0; i <= kPoints; ++i)
    curve.x.push_back(*least - 3 * bandwidth + (*most - *least + 6 * bandwidth) * i / kPoints);
  curve.y = stats::kde_direct(sample, curve.x, bandwidth, 1);
  return curve;
}

}  // namespace

std::string batch_norm_figure() {
  constexpr std::array<double, kChannels> kMean{-4, 1, 6}, kDeviation{0.6, 2, 1.2};
  const PhiloxKey key{.seed = 1};
  std::vector<double> x(kRows * kChannels), y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = kMean[i % kChannels] + kDeviation[i % kChannels] * normal(key, i);
  const BatchNormGeom g{.rows = kRows, .channels = kChannels};
  std::array<double, kChannels> mean{}, var{};
  const std::array<double, kChannels> gamma{1, 1, 1}, beta{};
  ref::batch_statistics(g, x.data(), mean.data(), var.data());
  ref::batch_norm_apply(g,
                        x.data(),
                        gamma.data(),
                        beta.data(),
                        mean.data(),
                        var.data(),
                        static_cast<const double*>(nullptr),
                        y.data());

  report::XyChart chart;
  chart.frame.title = "Three channels of a batch, before and after";
  chart.frame.subtitle = "solid: as they come; dashed: normalised, gamma 1 and beta 0";
  chart.frame.height = 340;
  chart.frame.x.label = "value";
  chart.frame.y = {.label = "density", .min = 0.0};
  for (int c = 0; c < kChannels; ++c)
    chart.series.push_back(density("channel " + std::to_string(c + 1), x, c, 0));
  for (int c = 0; c < kChannels; ++c) {
    chart.series.push_back(density("", y, c, c + 1));
  }
  return report::standalone_svg(report::render(chart));
}

}  // namespace offramp::guide
