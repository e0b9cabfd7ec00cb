#include "attacks/membership/hop_skip_jump.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/errors.h"
#include "kernels/philox.h"

namespace offramp::attacks::membership {
namespace {

constexpr std::uint32_t kStartStream = 0x3E3B0005u;      // op: the try; step: the image's name
constexpr std::uint32_t kDirectionStream = 0x3E3B0006u;  // op: direction within the iteration's; step: name
constexpr double kStartTolerance = 1e-3;                 // of the blend factor of the first search
constexpr int kMostHalvings = 60;

void check_hsj(const HopSkipJumpOptions& o) {
  if (o.iterations < 0 || o.start_tries < 1 || o.first_directions < 1 || o.most_directions < 1 ||
      o.together < 1 || o.batch < 1 || !(o.low < o.high))
    throw ValueError("hop_skip_jump: expected counts of at least 1 and a clip range low < high");
}

// A group of images that advance together.
class Group {
 public:
  Group(std::span<const float> images,
        std::span<const std::uint32_t> names,
        const LabelsOf& labels,
        const HopSkipJumpOptions& o)
      : n_(names.size()),
        d_(images.size() / names.size()),
        x_(images),
        names_(names),
        labels_(labels),
        o_(o) {
    theta_ = 0.01 / std::sqrt(static_cast<double>(d_));
    points_.resize(n_);
    at_.assign(images.begin(), images.end());
    found_.assign(n_, false);
  }

  std::vector<BoundaryPoint> run() {
    std::vector<std::size_t> all(n_);
    for (std::size_t i = 0; i < n_; ++i) all[i] = i;
    own_ = ask(at_, all);
    find_starts();
    active_.clear();
    for (std::size_t i = 0; i < n_; ++i)
      if (found_[i]) active_.push_back(i);
    search(kStartTolerance);
    for (int it = 0; it < o_.iterations && !active_.empty(); ++it) {
      std::vector<double> delta(n_);
      for (const std::size_t i : active_)
        delta[i] =
            it == 0 ? 0.1 * (o_.high - o_.low) : std::sqrt(static_cast<double>(d_)) * theta_ * distance(i);
      search(theta_);
      const auto gradient = estimate(it, delta);
      step(it, gradient);
    }
    for (const std::size_t i : active_) {
      points_[i].distance = distance(i);
      points_[i].image.assign(at_.begin() + offset(i),
                              at_.begin() + offset(i) + static_cast<std::ptrdiff_t>(d_));
    }
    return std::move(points_);
  }

 private:
  std::ptrdiff_t offset(std::size_t i) const { return static_cast<std::ptrdiff_t>(i * d_); }
  const float* original(std::size_t i) const { return x_.data() + i * d_; }
  float* current(std::size_t i) { return at_.data() + i * d_; }

  // Labels of images that belong to `owners`, counted to them.
  std::vector<std::int32_t> ask(std::span<const float> images, std::span<const std::size_t> owners) {
    std::vector<std::int32_t> out;
    for (std::size_t first = 0; first < owners.size(); first += static_cast<std::size_t>(o_.batch)) {
      const std::size_t count = std::min(static_cast<std::size_t>(o_.batch), owners.size() - first);
      const auto some = labels_(images.subspan(first * d_, count * d_), static_cast<int>(count));
      out.insert(out.end(), some.begin(), some.end());
    }
    for (const std::size_t i : owners) ++points_[i].queries;
    return out;
  }

  double distance(std::size_t i) {
    double sum = 0;
    for (std::size_t j = 0; j < d_; ++j) {
      const double v = static_cast<double>(current(i)[j]) - static_cast<double>(original(i)[j]);
      sum += v * v;
    }
    return std::sqrt(sum);
  }

  // The first of up to start_tries uniform images with another label.
  void find_starts() {
    for (int attempt = 0; attempt < o_.start_tries; ++attempt) {
      std::vector<std::size_t> left;
      std::vector<float> images;
      for (std::size_t i = 0; i < n_; ++i) {
        if (found_[i]) continue;
        left.push_back(i);
        const PhiloxKey key{o_.seed, kStartStream, static_cast<std::uint32_t>(attempt), names_[i]};
        for (std::size_t j = 0; j < d_; ++j)
          images.push_back(
              static_cast<float>(o_.low + (o_.high - o_.low) * static_cast<double>(key.uniform(j))));
      }
      if (left.empty()) return;
      const auto labels = ask(images, left);
      for (std::size_t k = 0; k < left.size(); ++k) {
        if (labels[k] == own_[left[k]]) continue;
        found_[left[k]] = true;
        std::copy_n(images.begin() + offset(k), d_, at_.begin() + offset(left[k]));
      }
    }
  }

  // Binary search on the line to the original, until the blend factor is known to `tolerance`; the other label's end stays.
  void search(double tolerance) {
    std::vector<double> low(n_, 0), high(n_, 1);
    const std::vector<float> from = at_;
    const auto blend = [&](std::size_t i, double alpha, float* to) {
      for (std::size_t j = 0; j < d_; ++j)
        to[j] = static_cast<float>((1 - alpha) * static_cast<double>(original(i)[j]) +
                                   alpha * static_cast<double>(from[i * d_ + j]));
    };
    std::vector<float> images;
    for (double width = 1; width > tolerance; width /= 2) {
      images.resize(active_.size() * d_);
      for (std::size_t k = 0; k < active_.size(); ++k)
        blend(active_[k], (low[active_[k]] + high[active_[k]]) / 2, images.data() + k * d_);
      const auto labels = ask(images, active_);
      for (std::size_t k = 0; k < active_.size(); ++k) {
        const std::size_t i = active_[k];
        (labels[k] != own_[i] ? high : low)[i] = (low[i] + high[i]) / 2;
      }
    }
    for (const std::size_t i : active_)
      if (high[i] < 1) blend(i, high[i], current(i));
  }

  // Unit directions towards the other label, estimated at the boundary: mean of (s - mean s) u.
  std::vector<std::vector<double>> estimate(int it, const std::vector<double>& delta) {
    const int m = std::min(static_cast<int>(o_.first_directions * std::sqrt(it + 1.0)), o_.most_directions);
    std::vector<std::vector<double>> weighted(n_, std::vector<double>(d_)),
        plain(n_, std::vector<double>(d_));
    std::vector<double> signs(n_, 0);
    std::vector<float> u(d_);
    std::vector<std::size_t> owners;
    std::vector<float> images, directions;
    const auto flush = [&] {
      const auto labels = ask(images, owners);
      for (std::size_t k = 0; k < owners.size(); ++k) {
        const std::size_t i = owners[k];
        const double s = labels[k] != own_[i] ? 1 : -1;
        signs[i] += s;
        for (std::size_t j = 0; j < d_; ++j) {
          const double v = static_cast<double>(directions[k * d_ + j]);
          weighted[i][j] += s * v;
          plain[i][j] += v;
        }
      }
      owners.clear();
      images.clear();
      directions.clear();
    };
    for (int b = 0; b < m; ++b) {
      for (const std::size_t i : active_) {
        unit_direction(it, b, i, u);
        for (std::size_t j = 0; j < d_; ++j) {
          const double c = static_cast<double>(current(i)[j]);
          const double moved = std::clamp(c + delta[i] * static_cast<double>(u[j]), o_.low, o_.high);
          images.push_back(static_cast<float>(moved));
          directions.push_back(static_cast<float>((moved - c) / delta[i]));
        }
        owners.push_back(i);
      }
      if (owners.size() >= static_cast<std::size_t>(o_.batch)) flush();
    }
    if (!owners.empty()) flush();
    for (const std::size_t i : active_) {
      const double mean = signs[i] / m;
      double norm = 0;
      for (std::size_t j = 0; j < d_; ++j) {
        double& g = weighted[i][j];
        // All answers alike: the mean direction itself, towards or away.
        g = std::abs(mean) == 1 ? mean * plain[i][j] : g - mean * plain[i][j];
        norm += g * g;
      }
      norm = std::sqrt(norm);
      if (norm > 0)
        for (double& g : weighted[i]) g /= norm;
    }
    return weighted;
  }

  void unit_direction(int it, int b, std::size_t i, std::vector<float>& u) const {
    const PhiloxKey key{o_.seed,
                        kDirectionStream,
                        static_cast<std::uint32_t>(it) << 20 | static_cast<std::uint32_t>(b),
                        names_[i]};
    double norm = 0;
    for (std::size_t j = 0; j < d_; j += 4) {
      const PhiloxBlock words = key.block(j / 4);
      for (std::size_t pair = 0; pair < 2; ++pair) {  // Box and Muller
        const double a = (static_cast<double>(words.v[2 * pair]) + 1) * 0x1p-32;
        const double angle = 2 * std::numbers::pi * static_cast<double>(words.v[2 * pair + 1]) * 0x1p-32;
        const double radius = std::sqrt(-2 * std::log(a));
        const double z[2] = {radius * std::cos(angle), radius * std::sin(angle)};
        for (std::size_t k = 0; k < 2 && j + 2 * pair + k < d_; ++k) {
          u[j + 2 * pair + k] = static_cast<float>(z[k]);
          norm += z[k] * z[k];
        }
      }
    }
    const auto scale = static_cast<float>(1 / std::sqrt(norm));
    for (float& v : u) v *= scale;
  }

  // The largest of distance / sqrt(it + 1) * 1, 1/2, 1/4, .. along the gradient that still has another label.
  void step(int it, const std::vector<std::vector<double>>& gradient) {
    std::vector<double> length(n_);
    for (const std::size_t i : active_) length[i] = 2 * distance(i) / std::sqrt(it + 1.0);
    std::vector<std::size_t> left = active_;
    for (int halving = 0; halving < kMostHalvings && !left.empty(); ++halving) {
      std::vector<float> images;
      for (const std::size_t i : left) {
        length[i] /= 2;
        for (std::size_t j = 0; j < d_; ++j)
          images.push_back(static_cast<float>(
              std::clamp(static_cast<double>(current(i)[j]) + length[i] * gradient[i][j], o_.low, o_.high)));
      }
      const auto labels = ask(images, left);
      std::vector<std::size_t> next;
      for (std::size_t k = 0; k < left.size(); ++k) {
        if (labels[k] == own_[left[k]]) {
          next.push_back(left[k]);
        } else {
          std::copy_n(images.begin() + offset(k), d_, at_.begin() + offset(left[k]));
        }
      }
      left = std::move(next);
    }
  }

  std::size_t n_, d_;
  std::span<const float> x_;
  std::span<const std::uint32_t> names_;
  const LabelsOf& labels_;
  const HopSkipJumpOptions& o_;
  double theta_ = 0;
  std::vector<std::int32_t> own_;  // the victim's own labels
  std::vector<float> at_;          // [n, d] iterates
  std::vector<bool> found_;
  std::vector<std::size_t> active_;  // those with a start
  std::vector<BoundaryPoint> points_;
};

}  // namespace

std::vector<BoundaryPoint> hop_skip_jump(std::span<const float> images,
                                         std::span<const std::uint32_t> names,
                                         const LabelsOf& labels,
                                         const HopSkipJumpOptions& o) {
  check_hsj(o);
  if (names.empty()) return {};
  if (images.empty() || images.size() % names.size() != 0)
    throw ShapeError("hop_skip_jump: expected as many values for each of " + std::to_string(names.size()) +
                     " images, got " + std::to_string(images.size()));
  for (const float v : images)
    if (!(static_cast<double>(v) >= o.low && static_cast<double>(v) <= o.high))
      throw DataError("hop_skip_jump: images must lie in the clip range, found " + std::to_string(v));
  const std::size_t d = images.size() / names.size();
  std::vector<BoundaryPoint> out;
  for (std::size_t first = 0; first < names.size(); first += static_cast<std::size_t>(o.together)) {
    const std::size_t count = std::min(static_cast<std::size_t>(o.together), names.size() - first);
    Group group(images.subspan(first * d, count * d), names.subspan(first, count), labels, o);
    for (BoundaryPoint& p : group.run()) out.push_back(std::move(p));
  }
  return out;
}

Signal boundary_distance(BlackBox& victim,
                         const Samples& samples,
                         const Records& records,
                         std::span<const std::size_t> asked,
                         const HopSkipJumpOptions& given,
                         Listener& listener) {
  HopSkipJumpOptions o = given;
  const auto* images = std::get_if<data::ImageSet>(&samples.set());
  if (images == nullptr)
    throw ValueError("boundary attack: it moves pixels of images; for tables take noise");
  const LabelsOf labels = [&](std::span<const float> values, int count) {
    return victim
        .query(Tensor::from<float>(
                   {count, std::int64_t{images->c}, std::int64_t{images->h}, std::int64_t{images->w}},
                   values,
                   Device::cpu()),
               Timing::kNone)
        .labels;
  };
  Signal out{
      .record = {asked.begin(), asked.end()}, .columns = 1, .value = std::vector<double>(asked.size())};
  std::vector<std::size_t> right;  // places in `asked`
  for (std::size_t k = 0; k < asked.size(); ++k)
    if (records.correct(asked[k])) right.push_back(k);
  if (o.clip_to_data && !right.empty()) {
    std::uint8_t least = 255, most = 0;
    for (const std::size_t k : right) {
      const auto [low, high] = std::ranges::minmax(images->image(records.row[asked[k]]));
      least = std::min(least, low);
      most = std::max(most, high);
    }
    o.low = static_cast<double>(static_cast<float>(least) / 255.0f);
    o.high = static_cast<double>(static_cast<float>(most) / 255.0f);
  }
  const auto together = static_cast<std::size_t>(o.together);
  for (std::size_t first = 0; first < right.size(); first += together) {
    std::vector<std::int32_t> rows;
    std::vector<std::uint32_t> names;
    for (std::size_t k = first; k < std::min(right.size(), first + together); ++k) {
      rows.push_back(records.row[asked[right[k]]]);
      names.push_back(static_cast<std::uint32_t>(rows.back()));
    }
    const auto values = samples.load(rows, Device::cpu()).to_host<float>();
    const auto points = hop_skip_jump(values, names, labels, o);
    for (std::size_t k = 0; k < points.size(); ++k) {
      out.value[right[first + k]] = points[k].distance;
      out.queries += points[k].queries;
    }
    listener.progress("boundary",
                      static_cast<std::int64_t>(right.size()),
                      static_cast<std::int64_t>(std::min(right.size(), first + together)),
                      "images",
                      Listener::Fields::object());
    stop_if_requested(listener);
  }
  return out;
}

}  // namespace offramp::attacks::membership
