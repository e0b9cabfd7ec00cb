#pragma once
// The class-conditional generator of DNN-SYN (specs/extraction.md 6.3; the shape of ACGAN's): latents and the class,
// one-hot, side by side -> 4x4 maps -> twice the side with every transposed convolution -> a picture in [0,1].
//
//   conv_transpose 4x4 -> BN ReLU -> (conv_transpose 4x4, stride 2, pad 1 -> BN ReLU) ... -> conv_transpose -> (tanh + 1) / 2
//
// Channels halve with every step, `width` before the last one. Weights N(0, 0.02), BN 1 and 0 (DCGAN).
#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops.h"
#include "engine/parameters.h"

namespace offramp::attacks {

struct GeneratorOptions {
  int classes = 10, channels = 3,
      side = 32;  // of the pictures; the side is 4 times a power of two, at least 8
  int latent = 100;
  int width = 64;
  static void check_side(int h, int w);  // throws ValueError for pictures that it cannot make
};

class Generator {
 public:
  // Throws ValueError for sizes that it cannot make.
  Generator(const GeneratorOptions& options, const Device& device, std::uint64_t seed);
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // latents [n, latent] on the host, labels [n] -> [n, channels, side, side] in [0,1] on the device. With `train` the
  // statistics are those of the batch and running ones move.
  Tensor images(std::span<const float> latents, std::span<const std::int32_t> labels, bool train);
  ParameterSet& parameters() { return parameters_; }
  const GeneratorOptions& options() const { return options_; }

 private:
  struct Stage {
    Tensor weight, bias;  // bias: the last stage's alone
    BatchNormTensors norm;
  };
  GeneratorOptions options_;
  Device device_;
  ParameterSet parameters_;
  std::vector<Stage> stages_;
};

// The mode-seeking term L_ms, mean over pairs of d(z1,z2) / d(G(z1,l),G(z2,l)), d the mean absolute difference, and its
// gradient with respect to the pictures. The first half of the rows are z1 and their pictures, the second half z2. Where two
// pictures are equal the pair counts as kClosest apart and has no gradient.
struct ModeSeeking {
  double loss = 0;
  std::vector<float> gradient;  // [n, size]
};
inline constexpr double kClosest = 1e-5;
ModeSeeking mode_seeking(std::span<const float> latents, std::span<const float> pictures, std::size_t n);

}  // namespace offramp::attacks
