#pragma once
// Runs an attack and judges what it returns. The attack's word counts for nothing: bounds are measured on the float32 image
// that comes back, and success is read from a fresh forward pass.
#include <functional>
#include <vector>

#include "attacks/evasion/attack.h"
#include "nets/exits/outputs.h"

namespace offramp::attacks::evasion {

struct Examples {
  Images images;                   // as the clean ones, with new pixels
  std::vector<std::int32_t> exit;  // [n] of the last gradient, from 0
  std::vector<double> macs;        // [n]
};

// `progress(done, all)` between batches; it may throw to stop. eps = 0 returns the images bit for bit. Throws ValueError for
// settings outside their domain and for a victim that the attack cannot take, DataError for images (check(Images)),
// ShapeError for images of another size, NumericError where the victim's gradient is not finite.
struct CraftOptions {
  int batch = 50;
  std::function<void(int done, int all)> progress = {};
};
Examples craft(const Victim& victim,
               const Attack& attack,
               const Images& images,
               const Settings& settings,
               const CraftOptions& options = {});

// eps in [0,1] for L-inf and at least 0 for the others, step and steps above 0, what Early Attack needs.
void check(const Attack& attack, const Settings& settings);
// Throws what is wrong with examples of `images` under the attack's bound (std::logic_error: a bug of ours).
void check_bounds(Norm norm, double eps, const Images& images, const Images& examples);

// What the victim says: every exit, and the one where the policy lets the sample leave.
struct Judgement {
  nets::ExitOutputs outputs;        // predictions and confidences of all exits; labels are the true ones
  std::vector<std::int32_t> label;  // [n] of the answer
  std::vector<std::int32_t> exit;   // [n] where the sample left, from 0: what it cost

  std::size_t n() const { return label.size(); }
  std::int32_t last_label(std::size_t i) const {
    return outputs.predicted[outputs.at(static_cast<int>(i), outputs.num_exits - 1)];
  }
};
Judgement judge(const Victim& victim, const Images& images, int batch = 50);

// Why a weak attack on this victim would prove little (Croce et al. on flags of robustness evaluations). Shares of the
// probed images, on the mean cross entropy over all exits.
struct VictimFlags {
  int probed = 0;
  double zero_gradient = 0;  // the gradient is zero in every pixel
  double random = 0;         // two forward passes of the same image differ
  double discontinuous =
      0;  // no small step along the gradient's signs changes the loss by what the gradient says
  bool any() const { return zero_gradient > 0.5 || random > 0 || discontinuous > 0.5; }
};
VictimFlags flags_of(const Victim& victim, const Images& images);

}  // namespace offramp::attacks::evasion
