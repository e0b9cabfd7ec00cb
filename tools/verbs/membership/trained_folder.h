// A folder that `membership train` wrote: its plan (plan.json), data, split (split.json) and nets (models/).
#pragma once

#include "attacks/membership/models.h"
#include "tools/frame/verb.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace offramp::tools {

// plan.json: what of a plan says which nets there are and on which data, and for reports how they were trained.
void write_plan(const std::filesystem::path& folder,
                const attacks::membership::ModelPlan& plan,
                const std::string& data);

struct TrainedFolder {
  std::filesystem::path path;
  std::string data;  // its spec
  nlohmann::json plan_json;
  attacks::membership::ModelPlan plan;  // exits, references, reference_exits and seed
  std::unique_ptr<attacks::membership::Samples> samples;
  data::FourParts parts;
  std::vector<attacks::membership::ModelSpec> specs;
  std::optional<double> tau;  // of the exits of all nets; none: what training chose

  // Throws UsageError where no such net was planned.
  const attacks::membership::ModelSpec& spec(attacks::membership::Role role, int exits) const;
  std::vector<attacks::membership::ModelSpec> references(int exits) const;
  attacks::membership::OpenedModel open(const attacks::membership::ModelSpec& spec,
                                        const Device& device) const {
    return attacks::membership::open_model(spec, path, device, tau);
  }
};
// `data`: where the set lies now; empty: where it lay then. Throws UsageError for a folder without a plan.
TrainedFolder open_trained(const Session& session,
                           const std::filesystem::path& folder,
                           const std::string& data);

}  // namespace offramp::tools
