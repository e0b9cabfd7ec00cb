#pragma once
// The S-step of the ES attack (specs/extraction.md 6.3; Yuan et al.): pictures made with the copy alone, to ask the victim
// about next. The copy's last exit decides; its parameters and statistics do not change.
#include <cstdint>
#include <functional>

#include "attacks/baselines/generator.h"
#include "nets/data/image_set.h"
#include "nets/graph/network.h"

namespace offramp::attacks {

struct SynthesisOptions {
  int steps = 30;            // m: of Adam for each picture; passes over all of them for the generator
  int batch_size = 128;      // even
  double image_rate = 0.01;  // OPT-SYN: Adam on the pixels
  bool from_noise = false;   // OPT-SYN: every round from noise; else from the pictures of the round before
  double generator_rate = 1e-3;  // DNN-SYN: Adam on the generator
  double lambda_ms = 1;          // DNN-SYN: weight of the mode-seeking term
};
void check(const SynthesisOptions& options);  // ValueError: one lies outside its domain
struct Synthesis {
  data::ImageSet images;
  double first_loss = 0,
         last_loss = 0;  // mean over the pictures of the first and of the last step, mode seeking left out
};
// Called with the pictures made (times steps) since the last call; what it throws ends the synthesis.
using Synthesised = std::function<void(int)>;

// Gaussian noise around grey, N(0.5, 0.25) within [0,1]: what both start from.
data::ImageSet gaussian_images(int n, int channels, int side, std::uint64_t seed);

// OPT-SYN: for each picture a target y ~ Dirichlet(alpha), alpha_c = |N(0,1)| + 0.01; the pixels go down CE(y, p_S(x)),
// clamped to [0,1] after each step, rounded to 8 bits at the end. `start`: the pictures to go on from.
Synthesis optimised_images(const nets::Network& copy,
                           const data::ImageSet& start,
                           const SynthesisOptions& options,
                           std::uint64_t seed,
                           const Synthesised& report = {});

// DNN-SYN: trains the generator on CE(p_S(G(z,l)), l) + lambda_ms * L_ms, z ~ N(0, I), l uniform, and draws n pictures.
Synthesis generated_images(const nets::Network& copy,
                           Generator& generator,
                           int n,
                           const SynthesisOptions& options,
                           std::uint64_t seed,
                           const Synthesised& report = {});

}  // namespace offramp::attacks
