#pragma once
// Victims whose gradients are known in closed form, and some that a gradient cannot attack.
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attacks/evasion/harness.h"
#include "base/errors.h"
#include "engine/ops.h"
#include "engine/recording.h"
#include "kernels/philox.h"
#include "tests/attacks/tiny.h"

namespace offramp::test {

using namespace attacks::evasion;

inline Images noise_images(const nets::Extent& extent, int n, int classes, std::uint64_t seed) {
  Images images{.n = n, .extent = extent, .pixels = {}, .labels = {}, .numbers = {}};
  const PhiloxKey draw{seed, 77};
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n) * images.size(); ++i) {
    images.pixels.push_back(draw.uniform(i));
  }
  const PhiloxKey of_labels{seed, 78};
  for (int i = 0; i < n; ++i) {
    images.labels.push_back(static_cast<std::int32_t>(of_labels.word(static_cast<std::uint64_t>(i)) %
                                                      static_cast<std::uint32_t>(classes)));
    images.numbers.push_back(100 + i);
  }
  return images;
}

// Each exit: logits = weights x, weights [classes, size]. The features pass on unchanged; `rows` counts the samples that
// entered each segment.
class LinearNet : public nets::SegmentedNet {
 public:
  LinearNet(nets::Extent extent, int classes, std::vector<std::vector<float>> weights)
      : inputs_{extent}, classes_(classes), rows(weights.size(), 0) {
    for (const auto& w : weights) {
      weights_.push_back(
          Tensor::from<float>({classes, static_cast<std::int64_t>(w.size()) / classes}, w, one_thread()));
    }
  }
  int num_exits() const override { return static_cast<int>(weights_.size()); }
  int classes() const override { return classes_; }
  const std::vector<nets::Extent>& inputs() const override { return inputs_; }
  nets::Segment forward_segment(int s, const nets::Features& x) const override {
    rows[static_cast<std::size_t>(s)] += x[0].shape().n();
    const Tensor logits = linear(flatten(x[0]), weights_[static_cast<std::size_t>(s)], {});
    return {s + 1 < num_exits() ? nets::Features{relu(x[0])} : nets::Features{}, logits};
  }

 private:
  std::vector<nets::Extent> inputs_;
  int classes_;
  std::vector<Tensor> weights_;

 public:
  mutable std::vector<int> rows;
};

// Another net, and what has been asked of it.
class WatchedNet final : public nets::SegmentedNet {
 public:
  explicit WatchedNet(const nets::SegmentedNet& net) : net_(net) {}
  int num_exits() const override { return net_.num_exits(); }
  int classes() const override { return net_.classes(); }
  const std::vector<nets::Extent>& inputs() const override { return net_.inputs(); }
  nets::Segment forward_segment(int s, const nets::Features& x) const override {
    if (s == 0) seen.push_back(x[0].to_host<float>());
    return net_.forward_segment(s, x);
  }

 private:
  const nets::SegmentedNet& net_;

 public:
  mutable std::vector<std::vector<float>> seen;
};

// logits = f(x) of one exit.
class FunctionNet final : public nets::SegmentedNet {
 public:
  FunctionNet(nets::Extent extent, int classes, std::function<Tensor(const Tensor&)> f)
      : inputs_{extent}, classes_(classes), f_(std::move(f)) {}
  int num_exits() const override { return 1; }
  int classes() const override { return classes_; }
  const std::vector<nets::Extent>& inputs() const override { return inputs_; }
  nets::Segment forward_segment(int, const nets::Features& x) const override { return {{}, f_(x[0])}; }

 private:
  std::vector<nets::Extent> inputs_;
  int classes_;
  std::function<Tensor(const Tensor&)> f_;
};

inline Victim victim_on(const nets::SegmentedNet& net, double threshold = 0.9) {
  Victim victim{.name = "victim",
                .net = &net,
                .device = one_thread(),
                .policy = nets::ExitPolicy::uniform(net.num_exits(), threshold),
                .exit_macs = {},
                .exit_ops = {},
                .inverse_deviation = {}};
  for (int e = 0; e < net.num_exits(); ++e) {
    victim.exit_macs.push_back(100 * (e + 1));
    victim.exit_ops.push_back(200 * (e + 1));
  }
  return victim;
}

inline std::vector<float> weights(int count, std::uint64_t seed, float scale) {
  const PhiloxKey draw{seed, 79};
  std::vector<float> w;
  for (int i = 0; i < count; ++i) w.push_back(scale * (2 * draw.uniform(static_cast<std::uint64_t>(i)) - 1));
  return w;
}

inline Images tiny_images(int n, std::uint64_t seed) {
  const data::ImageSet set = bars(n, seed);
  Images images{.n = n, .extent = {1, 8, 8}, .pixels = {}, .labels = set.labels, .numbers = {}};
  for (const std::uint8_t p : set.pixels) images.pixels.push_back(static_cast<float>(p) / 255.f);
  for (int i = 0; i < n; ++i) images.numbers.push_back(i);
  return images;
}

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace offramp::test
