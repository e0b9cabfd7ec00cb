#include "attacks/baselines/draws.h"

#include <cmath>
#include <numbers>

namespace offramp::attacks {
namespace {

double unit(const PhiloxKey& key, std::uint64_t element) {  // in (0, 1)
  return (key.word(element) + 0.5) * 0x1p-32;
}

}  // namespace

double normal(const PhiloxKey& key, std::uint64_t element) {
  return std::sqrt(-2 * std::log(unit(key, 2 * element))) *
         std::cos(2 * std::numbers::pi * unit(key, 2 * element + 1));
}

double gamma(const PhiloxKey& key, std::uint64_t& at, double shape) {
  if (shape < 1) {
    const double u = unit(key, 4 * at++);
    return gamma(key, at, shape + 1) * std::pow(u, 1 / shape);
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const std::uint64_t block = at++;  // four words an attempt: two of the normal, one of the uniform
    const double z = normal(key, 2 * block), v = std::pow(1 + c * z, 3);
    if (v > 0 && std::log(unit(key, 4 * block + 2)) < z * z / 2 + d - d * v + d * std::log(v)) return d * v;
  }
}

std::vector<float> dirichlet(const PhiloxKey& key,
                             std::uint64_t& at,
                             const std::vector<double>& concentration) {
  std::vector<double> parts;
  double sum = 0;
  for (const double alpha : concentration) sum += parts.emplace_back(gamma(key, at, alpha));
  std::vector<float> point;
  for (const double p : parts)
    point.push_back(static_cast<float>(sum > 0 ? p / sum : 1 / static_cast<double>(parts.size())));
  return point;
}

}  // namespace offramp::attacks
