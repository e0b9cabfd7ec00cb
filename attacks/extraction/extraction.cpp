#include "attacks/extraction/extraction.h"

#include <utility>

#include "attacks/extraction/victim.h"
#include "base/errors.h"
#include "base/json_file.h"
#include "nets/families/build.h"
#include "nets/graph/state_dict.h"

namespace offramp::attacks {
namespace {

void check(const ExtractionPlan& plan) {
  if (plan.folder.empty()) throw ValueError("extraction: a folder for its files is wanted");
  if (plan.victim.empty() && plan.black_box == nullptr)
    throw ValueError("extraction: a victim is wanted: a checkpoint, or a black box");
  if (plan.queries.n < 1) throw ValueError("extraction: query images are wanted");
  if (plan.from_knockoff && !plan.with_knockoff)
    throw ValueError("extraction: a copy that starts from the baseline needs the baseline");
  if ((plan.true_exits || !plan.searched) && plan.victim.empty())
    throw ValueError("extraction: exits or thresholds of the owner need the owner's checkpoint");
  if (plan.search.first < 0 || plan.search.first > plan.queries.n)
    throw ValueError("search: thresholds are wanted from the first " + std::to_string(plan.search.first) +
                     " images, there are " + std::to_string(plan.queries.n));
  plan.copy.check(plan.queries, static_cast<int>(plan.estimate.options.known_exits.value_or(1)));
}

// The victim as it shows itself: what answers, behind what it gives away.
class Asked {
 public:
  explicit Asked(const ExtractionPlan& plan) {
    if (plan.black_box == nullptr) own_.emplace(own_victim(plan.victim));
    shown_.emplace(plan.black_box != nullptr ? *plan.black_box : *own_, plan.shown);
  }
  BlackBox& box() { return *shown_; }

 private:
  std::optional<InProcessBlackBox> own_;
  std::optional<ShownBlackBox> shown_;
};

// Thresholds of the baseline: the victim's where its owner takes part, else those of no early exit.
nets::ExitPolicy knockoff_policy(const ExtractionOutcome& out, int num_exits) {
  constexpr double kNever = 2;  // a confidence may round to 1
  return out.contestants.empty() ? nets::ExitPolicy::uniform(num_exits, kNever)
                                 : policy_for(out.contestants.front().policy, num_exits);
}

}  // namespace

void as_published(Version version, ExtractionPlan& plan) {
  const bool first = version == Version::kV1;
  plan.estimate.options.method =
      first ? stats::EstimationMethod::kChangepoints : stats::EstimationMethod::kDensity;
  plan.search.options.objective = first ? stats::SearchObjective::kJoint : stats::SearchObjective::kSeparable;
  if (!first) plan.search.options.others = stats::SeparableOthers::kAll;
}

ExtractionOutcome run_extraction(const ExtractionPlan& plan, Listener& listener) {
  check(plan);
  const Device device = plan.device ? *plan.device : Device::cpu();
  ExtractionOutcome out;
  Asked victim(plan);
  out.trace = query_stage(victim.box(), plan.queries, plan.query, plan.folder / "trace", listener);
  const auto estimated = estimate_stage(
      {out.trace.times_as_double(), static_cast<std::size_t>(out.trace.repetitions), out.trace.order, {}},
      plan.estimate,
      device,
      listener);
  out.estimate = estimated.estimate;
  write_json_file(plan.folder / "estimate.json", estimated.json);
  write_assignment(plan.folder / "assignment.csv", out.estimate);
  out.exits_told = plan.true_exits;
  out.number_told = plan.estimate.options.known_exits.has_value();
  std::vector<std::int32_t> exits = estimated.exits();
  int num_exits = static_cast<int>(out.estimate.num_exits);
  if (plan.true_exits) {
    const auto owner = nets::load_net(plan.victim, device);
    exits = behaviour_of(*owner.net, owner.policy, plan.queries).exit;
    num_exits = owner.net->num_exits();
  }
  out.fitted_exits = exits;
  const auto net = plan.copy.complete(plan.queries, out.trace.classes, num_exits);
  try {
    static_cast<void>(nets::build(net));
  } catch (const ValueError& error) {
    throw DataError("the times gave " + std::to_string(num_exits) +
                    " exits, and the copy has no place for them (" + error.what() +
                    "): more repetitions tell exits from noise, and --exits says how many there are");
  }

  const auto keep =
      [&](const std::string& name, std::unique_ptr<nets::Network> its, nets::ExitPolicy policy) {
        out.contestants.push_back({name, its.get(), std::move(policy)});
        out.nets.push_back(std::move(its));
      };
  if (!plan.victim.empty()) {
    auto owner = nets::load_net(plan.victim, device);
    keep("victim", std::move(owner.net), owner.policy);
  }
  // The file's name is that of the copy, the contestant's what tables say.
  const auto fit = [&](const std::string& file,
                       const std::string& name,
                       const FitOptions& options,
                       const auto& start) {
    auto fitted = fit_stage(
        file, net, options, start, plan.queries, {out.trace.outputs, exits}, device, plan.folder, listener);
    out.fit_names.push_back(name);
    out.histories.push_back(std::move(fitted.history));
    return std::move(fitted.net);
  };
  if (plan.with_knockoff) {
    FitOptions options = plan.copy.options(FitMethod::kKnockoff);
    if (plan.knockoff_learning_rate) options.learning_rate = *plan.knockoff_learning_rate;
    auto knockoff = fit("knockoff", "knockoff", options, plan.copy.pretrained);
    const auto policy = knockoff_policy(out, num_exits);
    nets::save_checkpoint(plan.folder / "knockoff.safetensors", *knockoff, policy);
    keep("knockoff", std::move(knockoff), policy);
    out.queries["knockoff"] = plan.queries.n;  // the first answer to each picture of the trace
  }
  for (const Baseline method : plan.baselines) {
    BaselinePlan one = plan.baseline;
    one.method = method;
    one.folder = plan.folder / "baselines";
    one.budget = plan.queries.n;
    one.images = &plan.queries;
    one.copy = plan.copy;
    if (plan.knockoff_learning_rate) one.copy.fit.learning_rate = *plan.knockoff_learning_rate;
    one.num_exits = num_exits;
    const std::string name = to_text(method);
    auto stolen = run_baseline(victim.box(), one, device, listener);
    const auto policy = knockoff_policy(out, num_exits);
    nets::save_checkpoint(plan.folder / (name + ".safetensors"), *stolen.net, policy);
    out.fit_names.push_back(name);
    out.histories.push_back(std::move(stolen.history));
    out.queries[name] = stolen.queries;
    keep(name, std::move(stolen.net), policy);
  }
  out.queries["ours"] = out.trace.samples * out.trace.repetitions;
  if (plan.query.repetitions == 0)  // chosen by a pilot, which asked too
    out.queries["ours"] +=
        std::min<std::int64_t>(out.trace.samples, plan.query.pilot_samples) * plan.query.pilot_repetitions;
  const auto start = plan.from_knockoff ? plan.folder / "knockoff.safetensors" : plan.copy.pretrained;
  auto copy = fit("substitute", "ours", plan.copy.options(FitMethod::kStrategy), start);

  if (plan.searched) {
    std::vector<std::int32_t> labels;
    if (plan.counts == Counts::kClassAndExit)
      labels = labels_of(
          Tensor::from<float>({out.trace.samples, out.trace.classes}, out.trace.outputs, Device::cpu()));
    const Confidences confidences = confidence_stage(*copy, plan.queries, exits, labels, listener);
    write_confidences(plan.folder / "confidences.csv", confidences);
    const auto searched = search_stage(confidences, plan.search, device, listener);
    out.searched = searched.json.at("samples").get<std::size_t>();
    out.jointly = plan.search.options.objective == stats::SearchObjective::kJoint;
    write_json_file(plan.folder / "strategy.json", searched.json);
    out.strategy = searched.strategy;
  } else {
    out.strategy.policy = policy_for(out.contestants.front().policy, num_exits);
  }
  nets::save_checkpoint(plan.folder / "substitute.safetensors", *copy, out.strategy.policy);
  keep("ours", std::move(copy), out.strategy.policy);

  if (plan.victim.empty() || plan.test.n == 0) return out;
  out.scores = score_stage(out.contestants, plan.test, &plan.queries, plan.score, listener);
  out.true_exits = out.scores[0].on_queries.exit;
  // Of the estimate, also where the copy was told better.
  out.exits = score_exits(
      out.true_exits, out.scores[0].num_exits, estimated.exits(), static_cast<int>(out.estimate.num_exits));
  return out;
}

}  // namespace offramp::attacks
