#include "attacks/extraction/extraction.h"

#include <utility>

#include "attacks/extraction/victim.h"
#include "base/errors.h"
#include "base/json_file.h"
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
  if (plan.search.first < 0 || plan.search.first > plan.queries.n)
    throw ValueError("search: thresholds are wanted from the first " + std::to_string(plan.search.first) +
                     " images, there are " + std::to_string(plan.queries.n));
}

Trace ask(const ExtractionPlan& plan, Listener& listener) {
  const auto folder = plan.folder / "trace";
  if (plan.black_box != nullptr)
    return query_stage(*plan.black_box, plan.queries, plan.query, folder, listener);
  InProcessBlackBox victim = own_victim(plan.victim);
  return query_stage(victim, plan.queries, plan.query, folder, listener);
}

// Thresholds of the baseline: the victim's where its owner takes part, else those of no early exit.
nets::ExitPolicy knockoff_policy(const ExtractionOutcome& out, int num_exits) {
  return out.contestants.empty() ? nets::ExitPolicy::uniform(num_exits, 1.0)
                                 : policy_for(out.contestants.front().policy, num_exits);
}

}  // namespace

ExtractionOutcome run_extraction(const ExtractionPlan& plan, Listener& listener) {
  check(plan);
  const Device device = plan.device ? *plan.device : Device::cpu();
  ExtractionOutcome out;
  out.trace = ask(plan, listener);
  const auto estimated = estimate_stage(
      {out.trace.times_as_double(), static_cast<std::size_t>(out.trace.repetitions), out.trace.order},
      plan.estimate,
      device,
      listener);
  out.estimate = estimated.estimate;
  write_json_file(plan.folder / "estimate.json", estimated.json);
  write_assignment(plan.folder / "assignment.csv", out.estimate);
  const std::vector<std::int32_t> exits = estimated.exits();
  const int num_exits = static_cast<int>(out.estimate.num_exits);
  const auto net = plan.copy.complete(plan.queries, out.trace.classes, num_exits);

  const auto keep =
      [&](const std::string& name, std::unique_ptr<nets::Network> its, nets::ExitPolicy policy) {
        out.contestants.push_back({name, its.get(), std::move(policy)});
        out.nets.push_back(std::move(its));
      };
  if (!plan.victim.empty()) {
    auto victim = nets::load_net(plan.victim, device);
    keep("victim", std::move(victim.net), victim.policy);
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
  }
  const auto start = plan.from_knockoff ? plan.folder / "knockoff.safetensors" : plan.copy.pretrained;
  auto copy = fit("substitute", "ours", plan.copy.options(FitMethod::kStrategy), start);

  std::vector<std::int32_t> labels;
  if (plan.counts == Counts::kClassAndExit)
    labels = labels_of(
        Tensor::from<float>({out.trace.samples, out.trace.classes}, out.trace.outputs, Device::cpu()));
  const Confidences confidences = confidence_stage(*copy, plan.queries, exits, labels, listener);
  write_confidences(plan.folder / "confidences.csv", confidences);
  const auto searched = search_stage(confidences, plan.search, device, listener);
  write_json_file(plan.folder / "strategy.json", searched.json);
  out.strategy = searched.strategy;
  nets::save_checkpoint(plan.folder / "substitute.safetensors", *copy, out.strategy.policy);
  keep("ours", std::move(copy), out.strategy.policy);

  if (plan.victim.empty() || plan.test.n == 0) return out;
  out.scores = score_stage(out.contestants, plan.test, &plan.queries, plan.score, listener);
  out.true_exits = out.scores[0].on_queries.exit;
  out.exits = score_exits(out.true_exits, out.scores[0].num_exits, exits, num_exits);
  return out;
}

}  // namespace offramp::attacks
