#include "attacks/baselines/generator.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "attacks/baselines/draws.h"
#include "base/errors.h"

namespace offramp::attacks {
namespace {

constexpr std::uint32_t kGeneratorWeights = 303;  // Philox stream

void upload(const Tensor& to, const std::vector<float>& values) {
  Tensor target = to;
  target.device().upload(target.raw(), values.data(), target.bytes());
}

}  // namespace

void GeneratorOptions::check_side(int h, int w) {
  if (h != w || h < 8 || !std::has_single_bit(static_cast<unsigned>(h)))
    throw ValueError("generator: it doubles 4x4 maps, so pictures are 8x8, 16x16, 32x32, ...; got " +
                     std::to_string(h) + "x" + std::to_string(w));
}

Generator::Generator(const GeneratorOptions& o, const Device& device, std::uint64_t seed)
    : options_(o), device_(device) {
  if (o.classes < 1 || o.channels < 1 || o.latent < 1 || o.width < 1)
    throw ValueError("generator: classes, channels, latent and width are at least 1");
  GeneratorOptions::check_side(o.side, o.side);
  const int doublings = std::countr_zero(static_cast<unsigned>(o.side)) - 2;
  int in = o.latent + o.classes;
  for (int s = 0; s <= doublings; ++s) {
    const bool last = s == doublings;
    const int out = last ? o.channels : o.width << (doublings - 1 - s);
    const std::string name = "stage" + std::to_string(s);
    Stage stage;
    stage.weight =
        parameters_.parameter({.name = name + ".weight", .layout = DiskLayout::kConv}, {in, out, 4, 4});
    if (last) {
      stage.bias = parameters_.parameter({.name = name + ".bias"}, {out});
    } else {
      stage.norm.gamma = parameters_.parameter({.name = name + ".norm.weight"}, {out});
      stage.norm.beta = parameters_.parameter({.name = name + ".norm.bias"}, {out});
      stage.norm.running_mean = parameters_.buffer({.name = name + ".norm.running_mean"}, {out});
      stage.norm.running_var = parameters_.buffer({.name = name + ".norm.running_var"}, {out});
    }
    stages_.push_back(std::move(stage));
    in = out;
  }
  parameters_.allocate(device);
  std::uint32_t op = 0;
  for (const Stage& stage : stages_) {
    std::vector<float> weight(static_cast<std::size_t>(stage.weight.size()));
    const PhiloxKey key{seed, kGeneratorWeights, op++};
    for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(0.02 * normal(key, i));
    upload(stage.weight, weight);
    if (!stage.norm.gamma) continue;
    const std::vector<float> ones(static_cast<std::size_t>(stage.norm.gamma.size()), 1.0f);
    upload(stage.norm.gamma, ones);
    upload(stage.norm.running_var, ones);
  }
}

Tensor Generator::images(std::span<const float> latents, std::span<const std::int32_t> labels, bool train) {
  const std::size_t n = labels.size(), latent = static_cast<std::size_t>(options_.latent),
                    classes = static_cast<std::size_t>(options_.classes);
  if (latents.size() != n * latent)
    throw ShapeError("generator: " + std::to_string(n) + " labels want " + std::to_string(n * latent) +
                     " latents, got " + std::to_string(latents.size()));
  std::vector<float> rows(n * (latent + classes));
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(latents.begin() + static_cast<std::ptrdiff_t>(i * latent),
                latent,
                rows.begin() + static_cast<std::ptrdiff_t>(i * (latent + classes)));
    rows[i * (latent + classes) + latent + static_cast<std::size_t>(labels[i])] = 1;
  }
  Tensor x = Tensor::from<float>(
      {static_cast<std::int64_t>(n), options_.latent + options_.classes, 1, 1}, rows, device_);
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    Stage& stage = stages_[s];
    x = conv_transpose2d(x,
                         stage.weight,
                         stage.bias,
                         s == 0 ? ConvTranspose2dParams{} : ConvTranspose2dParams{.stride = 2, .pad = 1});
    if (stage.norm.gamma) x = batch_norm(x, stage.norm, {.train = train, .relu = true, .residual = {}});
  }
  return pixels_from_tanh(x);
}

ModeSeeking mode_seeking(std::span<const float> latents, std::span<const float> pictures, std::size_t n) {
  const std::size_t pairs = n / 2, latent = latents.size() / n, size = pictures.size() / n;
  ModeSeeking result;
  result.gradient.resize(pictures.size());
  const auto distance = [](std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      sum += std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    return sum / static_cast<double>(a.size());
  };
  for (std::size_t i = 0; i < pairs; ++i) {
    const std::size_t j = i + pairs;
    const double dz = distance(latents.subspan(i * latent, latent), latents.subspan(j * latent, latent));
    const double dg = distance(pictures.subspan(i * size, size), pictures.subspan(j * size, size));
    result.loss += dz / std::max(dg, kClosest) / static_cast<double>(pairs);
    if (dg <= kClosest) continue;
    const double slope = dz / (dg * dg) / static_cast<double>(size) / static_cast<double>(pairs);
    for (std::size_t p = 0; p < size; ++p) {
      const float difference = pictures[i * size + p] - pictures[j * size + p];
      const double sign = difference > 0 ? 1 : difference < 0 ? -1 : 0;
      result.gradient[i * size + p] = static_cast<float>(-slope * sign);
      result.gradient[j * size + p] = static_cast<float>(slope * sign);
    }
  }
  return result;
}

}  // namespace offramp::attacks
