#pragma once
// Pictures of noise alone, to ask a victim about (specs/extraction.md 6.2; Roberts et al.: model weight theft with just
// noise inputs). 8-bit, as everything that is sent to a victim.
#include <cstdint>

#include "nets/data/image_set.h"

namespace offramp::attacks {

enum class NoiseKind {
  kBernoulli,  // every pixel and channel 0 or 255, each with 1/2
  kUniform,    // every pixel and channel one of 0 .. 255
  kIsing,      // every channel a sample of the Ising model on a torus, spins -1 and 1 as 0 and 255
};

struct IsingOptions {
  double beta = 0.3;  // coupling over temperature, at least 0; 0 is Bernoulli noise, 0.4407 critical
  int sweeps = 50;    // of Gibbs sampling from a random start, half of a checkerboard at a time
};

// The same seed gives the same pictures; the first m of n are those of a call for m. Throws ValueError: n < 1, sizes < 1,
// beta negative, an odd side with kIsing (a torus of odd side has no checkerboard).
data::ImageSet noise_images(
    NoiseKind kind, int n, int channels, int side, std::uint64_t seed, const IsingOptions& ising = {});

}  // namespace offramp::attacks
