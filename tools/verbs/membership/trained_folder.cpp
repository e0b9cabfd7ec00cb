#include "tools/verbs/membership/trained_folder.h"

#include "base/json_file.h"
#include "tools/verbs/inputs.h"

#include <fmt/format.h>

namespace offramp::tools {

namespace am = attacks::membership;

void write_plan(const std::filesystem::path& folder, const am::ModelPlan& plan, const std::string& data) {
  write_json_file(folder / "plan.json",
                  {{"data", data},
                   {"net", plan.net.name},
                   {"placement", nets::to_text(plan.net.placement)},
                   {"form", nets::to_text(plan.net.form)},
                   {"width_divisor", plan.net.width_divisor},
                   {"exits", plan.exits},
                   {"references", plan.references},
                   {"reference_exits", plan.reference_exits},
                   {"seed", plan.seed},
                   {"precision", nets::to_text(plan.net.precision)},
                   {"epochs", plan.train.epochs},
                   {"batch", plan.train.batch_size},
                   {"optimizer", nets::to_text(plan.train.optimizer)},
                   {"learning_rate", plan.train.learning_rate},
                   {"schedule", nets::to_text(plan.train.schedule)},
                   {"weight_decay", plan.train.weight_decay},
                   {"sdn_loss_weights", plan.sdn_loss_weights},
                   {"max_drop", plan.max_drop}});
}

const am::ModelSpec& TrainedFolder::spec(am::Role role, int exits) const {
  for (const am::ModelSpec& s : specs)
    if (s.role == role && s.exits == exits) return s;
  throw UsageError(
      fmt::format("{}: its plan has no {} of {} exits", path.string(), am::to_text(role), exits));
}

std::vector<am::ModelSpec> TrainedFolder::references(int exits) const {
  std::vector<am::ModelSpec> out;
  for (const am::ModelSpec& s : specs)
    if (s.role == am::Role::kReference && s.exits == exits) out.push_back(s);
  return out;
}

TrainedFolder open_trained(const Session& session,
                           const std::filesystem::path& folder,
                           const std::string& data) {
  const auto path = folder / "plan.json";
  if (!std::filesystem::exists(path))
    throw UsageError(folder.string() + ": expected a folder of `membership train`, found no plan.json in it");
  TrainedFolder out;
  out.path = folder;
  out.plan_json = read_json_file(path);
  out.data = data.empty() ? json_member<std::string>(out.plan_json, "data", path) : data;
  out.plan.net.name = json_member<std::string>(out.plan_json, "net", path);
  out.plan.exits = json_member<std::vector<int>>(out.plan_json, "exits", path);
  out.plan.references = json_member<int>(out.plan_json, "references", path);
  out.plan.reference_exits = json_member<std::vector<int>>(out.plan_json, "reference_exits", path);
  out.plan.seed = json_member<std::uint64_t>(out.plan_json, "seed", path);
  out.samples = std::make_unique<am::Samples>(open_set(out.data, "all", open_options(session)));
  out.parts = data::read_manifest(folder / "split.json", out.samples->set());
  out.specs = am::models_of(out.plan, out.parts, out.samples->labels());
  return out;
}

}  // namespace offramp::tools
