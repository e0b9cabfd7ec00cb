#include "attacks/membership/models.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <tuple>

#include "base/errors.h"
#include "base/hash.h"
#include "nets/data/split.h"
#include "nets/exits/evaluation.h"
#include "nets/families/build.h"
#include "nets/graph/metadata_text.h"
#include "nets/training/trainer.h"

namespace offramp::attacks::membership {
namespace {

namespace fs = std::filesystem;
constexpr std::uint32_t kReferenceStream = 0x3E3B0001u;  // step: the pair
constexpr const char* kRowsKey = "membership.rows";      // hash of the rows that a model was trained on

std::string name_of(Role role, int exits, int index) {
  std::string name = std::string(to_text(role)) + (exits == 1 ? "-plain" : "-k" + std::to_string(exits));
  if (role == Role::kReference) name += (index < 10 ? "-0" : "-") + std::to_string(index);
  return name;
}

std::string rows_digest(const ModelSpec& spec) {
  Fnv1a hash;
  hash.add(std::span<const std::int32_t>(spec.members)).add(std::uint8_t{1});
  hash.add(std::span<const std::int32_t>(spec.non_members));
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash.value()));
  return text;
}

// A random half of every class, and the other half.
std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>> halves(
    const std::vector<std::int32_t>& pool,
    const std::vector<std::int32_t>& labels,
    std::uint64_t seed,
    int pair) {
  const auto order = data::permutation(
      static_cast<int>(pool.size()), seed, kReferenceStream, static_cast<std::uint32_t>(pair));
  std::vector<std::int32_t> rows;
  for (const std::int32_t i : order) rows.push_back(pool[static_cast<std::size_t>(i)]);
  std::ranges::stable_sort(rows, {}, [&](std::int32_t row) { return labels[static_cast<std::size_t>(row)]; });
  std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>> out;
  for (std::size_t i = 0; i < rows.size(); ++i) (i % 2 == 0 ? out.first : out.second).push_back(rows[i]);
  std::ranges::sort(out.first);
  std::ranges::sort(out.second);
  return out;
}

nets::TrainOptions train_options(const ModelPlan& plan, const ModelSpec& spec, const nets::Network& net) {
  nets::TrainOptions o = plan.train;
  o.seed = spec.seed;
  if (plan.sdn_loss_weights) o.exit_weights = nets::sdn_loss_weights(net.num_exits());
  return o;
}

nets::ExitOutputs outputs_on(const nets::Network& net,
                             const Samples& samples,
                             const std::vector<std::int32_t>& rows) {
  const auto source = samples.evaluation(net.device(), 250, rows);
  return nets::exit_outputs(net, *source, {}, nets::Keep::kConfidences);
}

// The cheapest of 0, .05, .. 1 that is accurate enough: the smallest, as a lower threshold never costs more.
nets::ExitPolicy owners_policy(const nets::Network& net,
                               const nets::ExitOutputs& outputs,
                               std::optional<double> plain_accuracy,
                               double max_drop) {
  if (net.num_exits() == 1) return nets::ExitPolicy{};
  const double wanted = plain_accuracy.value_or(nets::accuracy(outputs).back()) - max_drop;
  nets::ExitPolicy best;
  double best_accuracy = -1;
  for (int step = 0; step <= 20; ++step) {
    const auto policy = nets::ExitPolicy::uniform(net.num_exits(), step / 20.0);
    const double accuracy = nets::apply(policy, outputs, net.costs()).accuracy;
    if (accuracy >= wanted) return policy;
    if (accuracy > best_accuracy) {
      best_accuracy = accuracy;
      best = policy;
    }
  }
  return best;
}

nets::Metadata metadata_of(const TrainedModel& m) {
  using nets::text::list, nets::text::number;
  return {{kRowsKey, rows_digest(m.spec)},
          {"membership.train_accuracy", list(m.train_accuracy)},
          {"membership.test_accuracy", list(m.test_accuracy)},
          {"membership.policy_train_accuracy", number(m.policy_train_accuracy)},
          {"membership.policy_test_accuracy", number(m.policy_test_accuracy)},
          {"membership.histogram", list(m.histogram)},
          {"membership.relative_macs", number(m.relative_macs)}};
}

TrainedModel trained_from(const ModelSpec& spec, const nets::LoadedNet& loaded, const fs::path& path) {
  const auto at = [&](const char* key) -> const std::string& {
    const auto found = loaded.metadata.find(key);
    if (found == loaded.metadata.end())
      throw FileError(path.string(), std::string("expected a model of a membership audit, found no ") + key);
    return found->second;
  };
  if (at(kRowsKey) != rows_digest(spec))
    throw FileError(path.string(), "was trained on other rows than this split gives " + spec.name);
  using nets::text::read_list, nets::text::read_number;
  TrainedModel m{.spec = spec};
  m.threshold = loaded.policy.thresholds.empty() ? 0 : loaded.policy.thresholds.front();
  m.train_accuracy = read_list<double>("membership.train_accuracy", at("membership.train_accuracy"));
  m.test_accuracy = read_list<double>("membership.test_accuracy", at("membership.test_accuracy"));
  m.policy_train_accuracy =
      read_number<double>("membership.policy_train_accuracy", at("membership.policy_train_accuracy"));
  m.policy_test_accuracy =
      read_number<double>("membership.policy_test_accuracy", at("membership.policy_test_accuracy"));
  m.histogram = read_list<std::int64_t>("membership.histogram", at("membership.histogram"));
  m.relative_macs = read_number<double>("membership.relative_macs", at("membership.relative_macs"));
  return m;
}

}  // namespace

const char* to_text(Role role) {
  switch (role) {
    case Role::kTarget:
      return "target";
    case Role::kShadow:
      return "shadow";
    case Role::kReference:
      break;
  }
  return "reference";
}

nets::NetOptions ccs_net() {
  nets::NetOptions o;
  o.name = "fcn-18-1";
  o.placement = nets::Placement::kCcs;
  o.form = nets::ExitForm::kTwoLayer;
  return o;
}

nets::TrainOptions ccs_training() {
  nets::TrainOptions o;
  o.step_at_start = false;
  return o;
}

fs::path model_path(const fs::path& folder, const std::string& name) {
  return folder / "models" / (name + ".safetensors");
}

std::vector<ModelSpec> models_of(const ModelPlan& plan,
                                 const data::FourParts& parts,
                                 const std::vector<std::int32_t>& labels) {
  if (plan.exits.empty()) throw ValueError("membership: the plan has no net: name numbers of exits");
  std::vector<int> exits = plan.exits;
  std::ranges::sort(exits);
  if (exits.front() < 1)
    throw ValueError("membership: a net has at least 1 exit, got " + std::to_string(exits.front()));
  if (const auto twice = std::ranges::adjacent_find(exits); twice != exits.end())
    throw ValueError("membership: " + std::to_string(*twice) + " exits are planned twice");
  if (plan.references < 0 || plan.references % 2 != 0)
    throw ValueError("membership: reference nets come in pairs that share the data between them, got " +
                     std::to_string(plan.references));
  std::vector<int> of_references = plan.reference_exits;
  if (of_references.empty()) of_references = {exits.back()};
  std::ranges::sort(of_references);
  if (const auto twice = std::ranges::adjacent_find(of_references); twice != of_references.end())
    throw ValueError("membership: references of " + std::to_string(*twice) + " exits are planned twice");
  std::vector<ModelSpec> out;
  const auto add = [&](Role role, int k, int index) -> ModelSpec& {
    ModelSpec spec{.role = role, .exits = k, .index = index, .name = name_of(role, k, index)};
    spec.seed = Fnv1a().add(plan.seed).add(std::string_view(spec.name)).value();
    return out.emplace_back(std::move(spec));
  };
  using data::Part;
  for (const int k : exits) {  // plain first: its accuracy is what the others' thresholds aim at
    for (const auto& [role, in, held] : {std::tuple{Role::kTarget, Part::kTargetTrain, Part::kTargetTest},
                                         std::tuple{Role::kShadow, Part::kShadowTrain, Part::kShadowTest}}) {
      ModelSpec& spec = add(role, k, 0);
      spec.members = parts.of(in);
      spec.non_members = parts.of(held);
    }
  }
  if (plan.references == 0) return out;
  std::vector<std::int32_t> pool = parts.of(Part::kTargetTrain);
  pool.insert(pool.end(), parts.of(Part::kTargetTest).begin(), parts.of(Part::kTargetTest).end());
  std::ranges::sort(pool);
  for (const int k : of_references) {
    if (!std::ranges::binary_search(exits, k))
      throw ValueError("membership: references of " + std::to_string(k) + " exits need a target of as many");
    for (int pair = 0; pair < plan.references / 2; ++pair) {
      const auto [first, second] = halves(pool, labels, plan.seed, pair);
      ModelSpec& a = add(Role::kReference, k, 2 * pair);
      a.members = first;
      a.non_members = second;
      ModelSpec& b = add(Role::kReference, k, 2 * pair + 1);
      b.members = second;
      b.non_members = first;
    }
  }
  return out;
}

std::vector<TrainedModel> train_models(const ModelPlan& plan,
                                       const Samples& samples,
                                       const data::FourParts& parts,
                                       const Device& device,
                                       const fs::path& folder,
                                       Listener& listener) {
  const auto specs = models_of(plan, parts, samples.labels());
  const auto options_of = [&](int exits) {
    nets::NetOptions options = plan.net;
    options.num_exits = exits;
    samples.describe(options, plan.normalise);
    return options;
  };
  for (const int exits : plan.exits)
    static_cast<void>(nets::build(options_of(exits)));  // all fit, or none is trained
  fs::create_directories(folder / "models");
  fs::create_directories(folder / "checkpoints");
  std::vector<TrainedModel> done;
  std::optional<double> plain_accuracy;
  std::map<int, nets::ExitPolicy> policy_of;  // by number of exits: the target's is everybody's
  for (const ModelSpec& spec : specs) {
    const fs::path path = model_path(folder, spec.name);
    if (!fs::exists(path)) {
      nets::Network net(options_of(spec.exits), device);
      nets::initialize(net, spec.seed);
      const auto source = samples.training(device, plan.train.batch_size, spec.seed, spec.members);
      nets::Trainer trainer(net, train_options(plan, spec, net), *source);
      const fs::path checkpoint = folder / "checkpoints" / (spec.name + ".safetensors");
      if (fs::exists(checkpoint)) trainer.load(checkpoint);
      while (!trainer.done()) {
        const auto report = trainer.step();
        if (report.epoch_end)
          listener.progress("train " + spec.name,
                            plan.train.epochs,
                            report.epoch_end->epoch,
                            "epochs",
                            {{"loss", report.epoch_end->loss}});
        if (report.epoch_end || listener.stop_requested()) trainer.save(checkpoint);
        stop_if_requested(listener);
      }
      const auto on_members = outputs_on(net, samples, spec.members);
      const auto on_others = outputs_on(net, samples, spec.non_members);
      if (spec.role == Role::kTarget)
        policy_of[spec.exits] = owners_policy(net, on_others, plain_accuracy, plan.max_drop);
      const nets::ExitPolicy& policy = policy_of.at(spec.exits);
      TrainedModel m{.spec = spec};
      m.train_accuracy = nets::accuracy(on_members);
      m.test_accuracy = nets::accuracy(on_others);
      m.policy_train_accuracy = nets::apply(policy, on_members, net.costs()).accuracy;
      const auto applied = nets::apply(policy, on_others, net.costs());
      m.policy_test_accuracy = applied.accuracy;
      m.histogram = applied.histogram;
      m.relative_macs = applied.relative_macs;
      nets::save_checkpoint(path, net, policy, metadata_of(m));
      std::error_code ignored;
      fs::remove(checkpoint, ignored);
    }
    OpenedModel opened = open_model(spec, folder, device);
    if (spec.role == Role::kTarget) {
      policy_of[spec.exits] = opened.loaded.policy;
      if (spec.exits == 1) plain_accuracy = opened.trained.policy_test_accuracy;
    }
    listener.note(spec.name + ": accuracy on members " +
                      nets::text::number(opened.trained.policy_train_accuracy) + ", on others " +
                      nets::text::number(opened.trained.policy_test_accuracy),
                  {{"model", spec.name},
                   {"threshold", opened.trained.threshold},
                   {"train_accuracy", opened.trained.policy_train_accuracy},
                   {"test_accuracy", opened.trained.policy_test_accuracy}});
    done.push_back(std::move(opened.trained));
  }
  return done;
}

OpenedModel open_model(const ModelSpec& spec,
                       const fs::path& folder,
                       const Device& device,
                       std::optional<double> threshold) {
  const fs::path path = model_path(folder, spec.name);
  if (!fs::exists(path))
    throw FileError(path.string(), "there is no such model; `membership train` makes it");
  OpenedModel out{.loaded = nets::load_net(path, device), .trained = {}};
  if (out.loaded.net->num_exits() != spec.exits)
    throw FileError(path.string(),
                    "expected a net of " + std::to_string(spec.exits) + " exits, found " +
                        std::to_string(out.loaded.net->num_exits()));
  out.trained = trained_from(spec, out.loaded, path);
  if (threshold && spec.exits > 1) {
    out.loaded.policy = nets::ExitPolicy::uniform(spec.exits, *threshold);
    out.trained.threshold = *threshold;
  }
  return out;
}

}  // namespace offramp::attacks::membership
