#pragma once
// The nets of a membership audit, from one plan (specs/membership.md 1, 2; training.md 6): for each number of exits a target
// and a shadow of the same shape and thresholds, and for the attacks with many models pairs of reference nets, of which
// each is trained on half of the target's members and non-members and the other on the other half. Trained one after the
// other; what is finished stays finished.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attacks/extraction/listener.h"
#include "attacks/membership/samples.h"
#include "nets/data/four_parts.h"
#include "nets/graph/state_dict.h"
#include "nets/training/train_options.h"

namespace offramp::attacks::membership {

enum class Role { kTarget, kShadow, kReference };

// What of NetOptions and TrainOptions the CCS code sets otherwise than we do.
nets::NetOptions ccs_net();
nets::TrainOptions ccs_training();

struct ModelPlan {
  nets::NetOptions net = ccs_net();
  std::vector<int> exits = {1, 2, 3, 4, 5, 6};  // K of the nets, the end included; 1: plain
  int references = 0;                     // reference nets of each number of exits in reference_exits; even
  std::vector<int> reference_exits = {};  // empty: the largest of `exits`
  std::uint64_t seed = 1;
  // Paper: Adam. Code, and here: SGD 0.1, steps that fall after 35, 60 and 85 epochs; the list of loss weights.
  nets::TrainOptions train = ccs_training();
  bool sdn_loss_weights = true;  // false: the fraction of cost at each exit
  bool normalise = false;        // pixels; the code seems to use them as they are
  // The owner's threshold: the cheapest of 0, .05, .. 1 whose accuracy on target-test is at most this below that of the
  // plain target, or of the last exit where the plan has no plain net. None is: the most accurate.
  double max_drop = 0.005;
};

struct ModelSpec {
  Role role = Role::kTarget;
  int exits = 1;
  int index = 0;     // of a reference net
  std::string name;  // "target-plain", "shadow-k3", "reference-k6-00"
  std::uint64_t seed = 0;
  std::vector<std::int32_t> members = {},
                            non_members = {};  // rows of the whole set: trained on, and held out
};

// In the order of training. Throws ValueError: no or a repeated number of exits, one below 1, an odd number of references,
// references of a number of exits that is not planned.
std::vector<ModelSpec> models_of(const ModelPlan& plan,
                                 const data::FourParts& parts,
                                 const std::vector<std::int32_t>& labels);

// DIR/models/NAME.safetensors.
std::filesystem::path model_path(const std::filesystem::path& folder, const std::string& name);

// What training left behind, in the metadata of the model's file.
struct TrainedModel {
  ModelSpec spec;
  double threshold = 0;                                         // 0 of a plain net
  std::vector<double> train_accuracy = {}, test_accuracy = {};  // of every exit, on members and non-members
  double policy_train_accuracy = 0, policy_test_accuracy = 0;
  std::vector<std::int64_t> histogram = {};  // samples of `non_members` that leave at each exit
  double relative_macs = 1;                  // of a query of them, to the plain net
};

// Trains what is not finished, with checkpoints in folder/checkpoints. Throws Stopped where the listener wants it, after
// saving; FileError where a model in the folder belongs to another plan.
std::vector<TrainedModel> train_models(const ModelPlan& plan,
                                       const Samples& samples,
                                       const data::FourParts& parts,
                                       const Device& device,
                                       const std::filesystem::path& folder,
                                       Listener& listener);

// One that is finished. With a threshold a net with exits answers by that instead of its own, and what `trained` says of its own
// (threshold but for this one, policy accuracies, histogram, MACs) is not of this policy. Throws FileError: none, or trained on
// other rows than `spec` says.
struct OpenedModel {
  nets::LoadedNet loaded;
  TrainedModel trained;
};
OpenedModel open_model(const ModelSpec& spec,
                       const std::filesystem::path& folder,
                       const Device& device,
                       std::optional<double> threshold = std::nullopt);

const char* to_text(Role role);

}  // namespace offramp::attacks::membership
