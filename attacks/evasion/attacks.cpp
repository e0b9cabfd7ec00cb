// The table of attacks. Another attack is a file, its declaration in attack.h and a row here.
#include <string>

#include "attacks/evasion/attack.h"
#include "base/errors.h"

namespace offramp::attacks::evasion {
namespace {

Settings with(double eps, double step, int steps) { return {.eps = eps, .step = step, .steps = steps}; }

constexpr unsigned kLoop = kReadsEps | kReadsStep | kReadsSteps;

const Attack kAttacks[] = {
    {"fgsm",
     "one signed step of eps",
     "Goodfellow et al. 2015",
     Norm::kLinf,
     with(8.0 / 255, 8.0 / 255, 1),
     false,
     kReadsEps | kReadsPath,
     fgsm},
    {"pgd",
     "signed steps from a random start",
     "Madry et al. 2018",
     Norm::kLinf,
     with(8.0 / 255, 2.0 / 255, 10),
     false,
     kLoop | kReadsRandomStart | kReadsPath,
     pgd},
    {"mi-fgsm",
     "signed steps along a momentum",
     "Dong et al. 2018",
     Norm::kLinf,
     with(8.0 / 255, 2.0 / 255, 10),
     false,
     kLoop | kReadsMomentum | kReadsPath,
     mi_fgsm},
    {"pgd-avg",
     "PGD on the mean loss over exits",
     "Hong et al. 2021",
     Norm::kLinf,
     with(8.0 / 255, 2.0 / 255, 10),
     false,
     kLoop | kReadsRandomStart,
     pgd_average},
    {"max-average",
     "PGD on each exit, the image that harms all exits most",
     "Hu et al. 2020",
     Norm::kLinf,
     with(8.0 / 255, 2.0 / 255, 10),
     false,
     kLoop | kReadsRandomStart,
     max_average},
    {"apgd-ce",
     "PGD that chooses its step, cross entropy",
     "Croce, Hein 2020",
     Norm::kLinf,
     with(8.0 / 255, 2.0 / 255, 100),
     false,
     kReadsEps | kReadsSteps | kReadsRandomStart | kReadsPath,
     apgd_ce},
    {"apgd-dlr",
     "the same with the difference of logits ratio",
     "Croce, Hein 2020",
     Norm::kLinf,
     with(8.0 / 255, 2.0 / 255, 100),
     false,
     kReadsEps | kReadsSteps | kReadsRandomStart | kReadsPath,
     apgd_dlr},
    {"early-attack",
     "the last exit keeps its class, all others lose it",
     "DyNN 6",
     Norm::kNone,
     with(1, 1, 1000),
     true,
     kReadsSteps | kReadsEarly,
     early_attack},
    {"sloth-linf",
     "no exit becomes sure, L-inf",
     "DeepSloth",
     Norm::kLinf,
     with(0.03125, 0.002, 30),
     true,
     kLoop | kReadsRandomStart,
     sloth_linf},
    {"sloth-l2", "no exit becomes sure, L2", "DeepSloth", Norm::kL2, with(1, 1, 550), true, kLoop, sloth_l2},
    {"sloth-l1",
     "no exit becomes sure, L1",
     "DeepSloth",
     Norm::kL1,
     with(8, 0.5, 250),
     true,
     kLoop,
     sloth_l1},
};

}  // namespace

std::span<const Attack> all_attacks() { return kAttacks; }

const Attack& attack_named(std::string_view name) {
  std::string known;
  for (const Attack& attack : kAttacks) {
    if (name == attack.name) return attack;
    known += std::string(known.empty() ? "" : ", ") + attack.name;
  }
  throw ValueError("evade: no attack is called " + in_quotes(name) + "; there are " + known);
}

}  // namespace offramp::attacks::evasion
