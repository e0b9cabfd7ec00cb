#include "attacks/evasion/distance.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace offramp::attacks::evasion {
namespace {

double difference(float a, float b) { return static_cast<double>(a) - static_cast<double>(b); }

double norm_of(Norm norm, std::span<const double> delta) {
  double sum = 0;
  for (const double d : delta) {
    if (norm == Norm::kLinf) sum = std::max(sum, std::abs(d));
    if (norm == Norm::kL2) sum += d * d;
    if (norm == Norm::kL1) sum += std::abs(d);
  }
  return norm == Norm::kL2 ? std::sqrt(sum) : sum;
}

float inside(double v) { return static_cast<float>(std::clamp(v, 0.0, 1.0)); }

}  // namespace

const char* to_text(Norm norm) {
  switch (norm) {
    case Norm::kLinf:
      return "linf";
    case Norm::kL2:
      return "l2";
    case Norm::kL1:
      return "l1";
    case Norm::kNone:
      break;
  }
  return "none";
}

double distance(Norm norm, std::span<const float> origin, std::span<const float> image) {
  std::vector<double> delta(origin.size());
  for (std::size_t i = 0; i < delta.size(); ++i) delta[i] = difference(image[i], origin[i]);
  return norm_of(norm, delta);
}

double psnr_db(std::span<const float> origin, std::span<const float> image) {
  double squares = 0;
  for (std::size_t i = 0; i < origin.size(); ++i) squares += std::pow(difference(image[i], origin[i]), 2);
  return squares > 0 ? -10 * std::log10(squares / static_cast<double>(origin.size()))
                     : std::numeric_limits<double>::infinity();
}

LinfBox box_around(std::span<const float> origin, double eps) {
  LinfBox box;
  for (const float x : origin) {
    float low = inside(static_cast<double>(x) - eps), high = inside(static_cast<double>(x) + eps);
    while (difference(x, low) > eps) low = std::nextafter(low, 1.f);
    while (difference(high, x) > eps) high = std::nextafter(high, 0.f);
    box.low.push_back(low);
    box.high.push_back(high);
  }
  return box;
}

void place(Norm norm,
           double radius,
           std::span<const float> origin,
           std::span<double> delta,
           std::span<float> image) {
  if (norm == Norm::kLinf) {
    const LinfBox box = box_around(origin, radius);
    for (std::size_t i = 0; i < image.size(); ++i) {
      image[i] =
          std::clamp(static_cast<float>(static_cast<double>(origin[i]) + delta[i]), box.low[i], box.high[i]);
    }
  } else {
    const double size = norm_of(norm, delta);
    double factor = size > radius ? radius / size : 1;
    // Rounding of the sum to float may add a little: then a little less; of radii near the spacing of floats soon much less.
    constexpr int kFineRounds = 16;
    double less = 0x1p-22;
    int round = 0;
    do {
      for (std::size_t i = 0; i < image.size(); ++i) {
        image[i] = inside(static_cast<double>(origin[i]) + factor * delta[i]);
      }
      if (++round > kFineRounds) less *= 2;
      factor *= 1 - less;
    } while (norm != Norm::kNone && distance(norm, origin, image) > radius &&
             factor > 0.5 * radius / std::max(size, radius));
    if (norm != Norm::kNone &&
        distance(norm, origin, image) > radius) {  // a radius below the spacing of floats
      std::copy(origin.begin(), origin.end(), image.begin());
    }
  }
  for (std::size_t i = 0; i < image.size(); ++i) delta[i] = difference(image[i], origin[i]);
}

}  // namespace offramp::attacks::evasion
