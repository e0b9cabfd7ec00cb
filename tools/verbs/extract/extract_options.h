// The options that the verbs of `offramp extract` share, bound to what they set.
#pragma once

#include "tools/verbs/extract/extract_stages.h"

#include <string>

namespace offramp::tools {

// extract query, run
struct QuerySettings {
  int repetitions = 0, pilot_images = 300, block = 250;
  void declare(Options& options);
  attacks::QueryOptions resolve(const Session& session,
                                const std::string& victim,
                                const std::string& images) const;
};

// extract fit, run
struct FitSettings {
  std::string net = "resnet-56", precision = "f32", loss = "kl-target-first", hinge_mean = "batch";
  int width_divisor = 1, epochs = 100, batch = 128;
  double lambda = 0.5, phi1 = 0.95, phi2 = 0.90, learning_rate = 0.1, momentum = 0.9;
  std::optional<double> weight_decay;
  bool no_last_exit_term = false;
  std::filesystem::path pretrained;
  void declare(Options& options);
  // Everything but the number of exits; normalisation is that of the attacker's own images.
  nets::NetOptions net_options(int classes, const data::ImageSet& images) const;
  attacks::FitOptions resolve(const Session& session, attacks::FitMethod method) const;
};

// extract run
struct SearchOptionsSettings {
  std::string objective = "joint", counts = "exit";
  double time_limit = 60;
  int first = 0;
  void declare(Options& options);
  SearchSettings resolve(const Session& session) const;
};

struct EstimateSettings {
  std::string method = "kde";
  int known_exits = 0;
  void declare(Options& options);
  stats::EstimationOptions resolve(const Session& session) const;
};

// The victim's checkpoint: the file itself, or victim.safetensors / checkpoints in a run folder.
std::filesystem::path victim_checkpoint(const std::filesystem::path& given);

}  // namespace offramp::tools
