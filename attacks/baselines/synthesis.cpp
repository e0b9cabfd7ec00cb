#include "attacks/baselines/synthesis.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "attacks/baselines/draws.h"
#include "attacks/extraction/images.h"
#include "base/errors.h"
#include "engine/optimizer.h"
#include "engine/recording.h"

namespace offramp::attacks {
namespace {

constexpr std::uint32_t kStart = 304, kTargets = 305, kLatents = 306;  // Philox streams

std::uint8_t to_8_bits(float value) {
  return static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0f, 1.0f) * 255.0f));
}

data::ImageSet empty_set(int n, int channels, int side) {
  data::ImageSet set{.n = n, .h = side, .w = side, .c = channels};
  set.class_names = {"unlabelled"};
  set.family = "synthesised";
  set.source = "synthesised";
  set.labels.assign(static_cast<std::size_t>(n), 0);
  set.pixels.resize(static_cast<std::size_t>(n) * set.image_bytes());
  return set;
}

// A tensor of pictures (memory order H,W,C) into rows first .. of a set.
void store(const Tensor& pictures, data::ImageSet& set, int first) {
  const auto values = pictures.to_host<float>();
  auto* to = set.pixels.data() + static_cast<std::size_t>(first) * set.image_bytes();
  for (std::size_t i = 0; i < values.size(); ++i) to[i] = to_8_bits(values[i]);
}

}  // namespace

void check(const SynthesisOptions& o) {
  if (o.steps < 0 || o.batch_size < 2 || o.batch_size % 2 != 0 || !(o.image_rate > 0) ||
      !(o.generator_rate > 0) || !(o.lambda_ms >= 0))
    throw ValueError(
        "synthesis: steps and lambda_ms are at least 0, rates above 0, the batch is even and at least 2");
}

data::ImageSet gaussian_images(int n, int channels, int side, std::uint64_t seed) {
  data::ImageSet set = empty_set(n, channels, side);
  for (int i = 0; i < n; ++i) {
    const PhiloxKey key{seed, kStart, 0, static_cast<std::uint32_t>(i)};
    const auto image = set.image(i);
    for (std::size_t p = 0; p < image.size(); ++p)
      image[p] = to_8_bits(static_cast<float>(0.5 + 0.25 * normal(key, p)));
  }
  return set;
}

Synthesis optimised_images(const nets::Network& copy,
                           const data::ImageSet& start,
                           const SynthesisOptions& o,
                           std::uint64_t seed,
                           const Synthesised& report) {
  check(o);
  Synthesis made{.images = empty_set(start.n, start.c, start.h)};
  const auto classes = static_cast<std::size_t>(copy.classes());
  const ImageSource source = image_source(start);
  for (int first = 0; first < start.n; first += o.batch_size) {
    const int n = std::min(o.batch_size, start.n - first);
    std::vector<std::int32_t> rows;
    std::vector<float> targets;
    for (int i = first; i < first + n; ++i) {
      rows.push_back(i);
      const PhiloxKey key{seed, kTargets, 0, static_cast<std::uint32_t>(i)};
      std::vector<double> alpha;
      for (std::size_t c = 0; c < classes; ++c) alpha.push_back(std::abs(normal(key, c)) + 0.01);
      std::uint64_t at = classes;  // behind the words of alpha
      const auto target = dirichlet(key, at, alpha);
      targets.insert(targets.end(), target.begin(), target.end());
    }
    const Tensor y = Tensor::from<float>({n, copy.classes()}, targets, copy.device());
    // The pixels are what is learnt: a set of one parameter, so that the optimiser is that of nets.
    ParameterSet learnt;
    Tensor x = learnt.parameter({.name = "pixels"}, {n, start.c, start.h, start.w});
    learnt.allocate(copy.device());
    const Tensor begin = source.load(rows).to(copy.device());
    copy.device().copy(x.raw(), begin.raw(), x.bytes());
    const auto adam = make_adam(learnt, {});
    StepScalars scalars(copy.device());
    for (int step = 0; step < o.steps; ++step) {
      {
        Recording recording(learnt.targets());
        // The sum over pictures: none of them knows how many others there are.
        const Tensor loss = scale(target_loss(copy.forward(x).back(), y, TargetLoss::kSoftCrossEntropy),
                                  static_cast<float>(n));
        static_cast<void>(recording.grad(loss));
        const double sum = static_cast<double>(loss.item());
        if (step == 0) made.first_loss += sum / start.n;
        if (step + 1 == o.steps) made.last_loss += sum / start.n;
      }
      scalars.set(static_cast<float>(o.image_rate), step, n);
      adam->step(scalars);
      const Tensor inside = clamp(x, 0, 1);
      copy.device().copy(x.raw(), inside.raw(), x.bytes());
      if (report) report(n);
    }
    store(x, made.images, first);
  }
  return made;
}

Synthesis generated_images(const nets::Network& copy,
                           Generator& generator,
                           int n,
                           const SynthesisOptions& o,
                           std::uint64_t seed,
                           const Synthesised& report) {
  check(o);
  const auto latent = static_cast<std::size_t>(generator.options().latent);
  const auto classes = static_cast<std::uint32_t>(copy.classes());
  // The b-th batch that is drawn; pairs (row i, row i + half) share a label.
  const auto draw = [&](std::uint32_t b, std::size_t count, bool pairs, auto& z, auto& labels) {
    const PhiloxKey key{seed, kLatents, 0, b};
    z.resize(count * latent);
    for (std::size_t i = 0; i < z.size(); ++i) z[i] = static_cast<float>(normal(key, i));
    const PhiloxKey which{seed, kLatents, 1, b};
    labels.resize(count);
    const std::size_t half = count / 2;
    for (std::size_t i = 0; i < count; ++i)
      labels[i] = static_cast<std::int32_t>(which.word(pairs && i >= half ? i - half : i) % classes);
  };
  Synthesis made{.images = empty_set(n, generator.options().channels, generator.options().side)};
  std::vector<float> z;
  std::vector<std::int32_t> labels;
  const auto adam = make_adam(generator.parameters(), {});
  StepScalars scalars(copy.device());
  const int per_pass = std::max(1, n / o.batch_size);
  for (int step = 0; step < o.steps * per_pass; ++step) {
    draw(static_cast<std::uint32_t>(step), static_cast<std::size_t>(o.batch_size), true, z, labels);
    const Tensor l = Tensor::from<std::int32_t>({o.batch_size}, labels, copy.device());
    Recording recording(generator.parameters().targets());
    const Tensor pictures = generator.images(z, labels, true);
    Tensor upstream;  // gradient with respect to the pictures
    {
      Recording through_copy({pictures});
      const Tensor loss = cross_entropy(copy.forward(pictures).back(), l);
      upstream = through_copy.grad(loss)[pictures];
      made.last_loss = static_cast<double>(loss.item());
      if (step == 0) made.first_loss = made.last_loss;
    }
    if (o.lambda_ms > 0) {
      const auto values = pictures.to_host<float>();
      const auto apart = mode_seeking(z, values, labels.size());
      NoGrad none;
      upstream = axpby(1,
                       upstream,
                       static_cast<float>(o.lambda_ms),
                       Tensor::from<float>(pictures.shape(), apart.gradient, copy.device()));
    }
    static_cast<void>(recording.grad(pictures, upstream));
    scalars.set(static_cast<float>(o.generator_rate), step, o.batch_size);
    adam->step(scalars);
    if (report) report(o.batch_size);
  }
  const std::uint32_t behind = 1u << 30;  // batches that no training step draws
  for (int first = 0; first < n; first += o.batch_size) {
    const int count = std::min(o.batch_size, n - first);
    draw(behind + static_cast<std::uint32_t>(first / o.batch_size),
         static_cast<std::size_t>(count),
         false,
         z,
         labels);
    store(generator.images(z, labels, false), made.images, first);
  }
  return made;
}

}  // namespace offramp::attacks
