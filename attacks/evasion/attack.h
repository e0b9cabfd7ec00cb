#pragma once
// The attacks on a net's answers, one file each, and what they share: settings, result, and the table that names them.
// All are white box and untargeted; images in [0,1]. How they are run and judged: attacks/evasion/harness.h.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attacks/evasion/distance.h"
#include "attacks/evasion/gradient.h"
#include "attacks/evasion/losses.h"

namespace offramp::attacks::evasion {

// Early Attack (DyNN 6): its start image, its distance and what it returns.
enum class EarlyStart { kImage, kRandom };  // random: w ~ U[0,1), the authors' code
enum class EarlyDistance {
  kSquaredL2,
  kL2,
  kSquaredL2Normalised
};  // the printed formula: kL2; the code: the last
enum class EarlyReturn {
  kNearest,
  kAfter200
};  // the successful iterate with the smallest distance; or, the code,
    // the first successful one from iteration 200 on, else the last
struct EarlySettings {
  double alpha = 1, c = 50, learning_rate = 0.01;
  EarlyStart start = EarlyStart::kImage;
  EarlyDistance distance = EarlyDistance::kSquaredL2;
  EarlyReturn returns = EarlyReturn::kNearest;
  int held_classes = 0;  // classes in L1's sum; 0: all. The authors' code: 10
};

struct Settings {
  double eps = 8.0 / 255;   // radius in the attack's norm; pixels of [0,1]
  double step = 2.0 / 255;  // of one iteration
  int steps = 10;
  double momentum = 1;       // MI-FGSM's mu
  bool random_start = true;  // of the L-inf attacks that know one; those in L2 and L1 always start at random
  ExitPath path = {};        // what the accuracy attacks go through; others have a path of their own
  std::uint64_t seed = 1;
  EarlySettings early = {};
};

// The settings that an attack reads; the others change nothing of its examples.
enum Reads : unsigned {
  kReadsEps = 1,
  kReadsStep = 2,
  kReadsSteps = 4,
  kReadsMomentum = 8,
  kReadsRandomStart = 16,
  kReadsPath = 32,
  kReadsEarly = 64,
};

struct Crafted {
  std::vector<float> pixels;       // [n, size]
  std::vector<std::int32_t> exit;  // [n] the exit of the last gradient, from 0
  std::vector<double> macs;        // [n] what the example cost (gradient_macs)
};

struct Attack {
  const char* name;
  const char* summary;
  const char* source;
  Norm norm;
  Settings defaults;
  bool needs_internal_exits;
  unsigned reads;  // of Reads
  Crafted (*run)(const Victim&, const Images&, const Settings&);
};
std::span<const Attack> all_attacks();
// Throws ValueError that lists the names.
const Attack& attack_named(std::string_view name);

Crafted fgsm(const Victim&, const Images&, const Settings&);
Crafted pgd(const Victim&, const Images&, const Settings&);
Crafted mi_fgsm(const Victim&, const Images&, const Settings&);
Crafted pgd_average(const Victim&, const Images&, const Settings&);
Crafted max_average(const Victim&, const Images&, const Settings&);
Crafted apgd_ce(const Victim&, const Images&, const Settings&);
Crafted apgd_dlr(const Victim&, const Images&, const Settings&);
Crafted early_attack(const Victim&, const Images&, const Settings&);
Crafted sloth_linf(const Victim&, const Images&, const Settings&);
Crafted sloth_l2(const Victim&, const Images&, const Settings&);
Crafted sloth_l1(const Victim&, const Images&, const Settings&);

// What the sign attacks share: x <- clip(x + step * sign(direction)) inside the L-inf box, `steps` times.
struct SignLoop {
  double eps = 0, step = 0;
  int steps = 1;
  double start_radius = 0;  // of a uniform random start; 0: from the image
  bool ascend = true;
  ExitPath path = {};
  std::uint64_t seed = 1;
  std::uint32_t restart = 0;  // draws another start
};
// From one sample's gradient to the direction whose signs are taken, in place. Called for each step and sample.
using Direction = std::function<void(int sample, std::span<float> gradient)>;
Crafted run_sign_loop(const Victim& victim,
                      const Images& images,
                      const SignLoop& loop,
                      const LogitLoss& loss,
                      const Direction& direction = {});

// APGD's checkpoints: entry t says whether the step may be halved at iterate t. [steps + 1].
std::vector<bool> apgd_checkpoints(int steps);

// Uniform in [-radius, radius) for each value of image `number`; another `draw`, other values.
void uniform_start(
    std::uint64_t seed, std::uint32_t draw, std::int64_t number, double radius, std::span<double> delta);

}  // namespace offramp::attacks::evasion
