#pragma once
// The gradient of a loss with respect to the image, through the exits that the loss looks at (specs: robustness 1.2).
//
// The net runs segment by segment. Behind each exit the samples that leave are done and only the others go on; on the
// way back each segment is walked for the samples that entered it, so an example costs what its exit path costs. The loss
// is a function of one sample's logits, called on the host with doubles: gradients of different samples never mix, and a
// sample's result does not depend on its batch.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "attacks/evasion/images.h"
#include "attacks/evasion/victim.h"

namespace offramp::attacks::evasion {

// Which logits the loss sees.
enum class Through {
  kExitTaken,  // of each sample the exit that answers it by the policy, on the present image
  kOneExit,    // exit `exit`, and nothing behind it is computed
  kAllExits,
  kInternalExits,  // all but the last, which is not computed
};
struct ExitPath {
  Through through = Through::kExitTaken;
  int exit = 0;  // of kOneExit, from 0
};
// Throws ValueError for an exit that the victim does not have.
void check(const ExitPath& path, const Victim& victim);

// Loss of one sample at one exit; `gradient` [classes] comes as zeros and receives d(loss)/d(logits). The losses of several
// exits add up. `sample`: its place in the batch.
using LogitLoss =
    std::function<double(int sample, int exit, std::span<const float> logits, std::span<double> gradient)>;

struct Gradients {
  std::vector<float> gradient;          // [n, size] as the pixels
  std::vector<double> loss;             // [n]
  std::vector<std::int32_t> exit;       // [n] the last exit that was computed, from 0
  std::vector<std::int32_t> predicted;  // [n] the class there; kExitTaken: the net's answer, of whatever exit
  std::vector<std::int32_t> at_exit;    // [n, num_exits] the class at each exit that was computed, else -1
};
Gradients gradients(const Victim& victim, const Images& images, const ExitPath& path, const LogitLoss& loss);

// Sum of the loss over all exits, of each sample, without a gradient.
std::vector<double> loss_over_exits(const Victim& victim, const Images& images, const LogitLoss& loss);

// MACs that `gradients` is charged for one sample that was computed up to `exit`: specs: robustness 1.2, forward and
// backward as three forward passes. (What runs is about two: no gradient of a weight is made.)
std::int64_t gradient_macs(const Victim& victim, std::int32_t exit);

}  // namespace offramp::attacks::evasion
