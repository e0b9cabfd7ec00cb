#pragma once
// Corrupted copies of pictures (training.md section 8): what black-box surrogates are trained on beside the
// clean ones. Hendrycks, Dietterich: Benchmarking neural network robustness to common corruptions, ICLR 2019.
#include <cstdint>
#include <span>

#include "nets/data/image_set.h"

namespace offramp::data {

enum class Corruption { kGaussianNoise, kBrightness };
enum class CorruptionTable { kCifar, kTinyImagenet };

// Severity 1..5. Noise: standard deviation on the [0,1] scale; brightness: what is added to V of HSV.
double corruption_strength(Corruption kind, CorruptionTable table, int severity);

// RGB, or grey, whose V is the pixel itself. The result is clipped to [0,1], scaled to 0..255 and truncated. Noise of picture i, element e is
// drawn from PhiloxKey{seed, kCorruptionStream, op = severity, step = i}. Throws DataError (severity,
// channels).
ImageSet corrupt(
    const ImageSet& set, Corruption kind, CorruptionTable table, int severity, std::uint64_t seed);

// One pixel [r,g,b] in [0,1]: V = clip(V + b, 0, 1) with hue and saturation kept.
void brighten(std::span<double, 3> rgb, double b);

}  // namespace offramp::data
