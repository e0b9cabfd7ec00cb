#include "tools/verbs/membership/target_times.h"

#include <fmt/format.h>

#include <optional>

#include "attacks/membership/tenants.h"

namespace offramp::tools {
namespace {

namespace am = attacks::membership;

// The targets of other numbers of exits, in the order of the plan, over again where they are fewer than wanted; each on a
// device of its own.
std::vector<nets::LoadedNet> neighbours_of(const TrainedFolder& target, int k, int count) {
  std::vector<am::ModelSpec> others;
  for (const am::ModelSpec& s : target.specs)
    if (s.role == am::Role::kTarget && s.exits != k) others.push_back(s);
  if (count > 0 && others.empty())
    throw UsageError("--tenants: the run has no target of another number of exits to run beside");
  std::vector<nets::LoadedNet> nets;
  for (int i = 0; i < count; ++i)
    nets.push_back(
        target.open(others[static_cast<std::size_t>(i) % others.size()], Device::make_cpu({.threads = 1}))
            .loaded);
  return nets;
}

}  // namespace

am::EstimatedExits time_target(Session& session,
                               RunFolder& folder,
                               attacks::Listener& listener,
                               const TrainedFolder& target,
                               int k,
                               const TargetTimes& times,
                               am::Records& on_target,
                               const am::Records& on_shadow,
                               nlohmann::ordered_json& json) {
  // Small layers gain little from a second thread, and a pinned one would share its core.
  const Device device =
      session.device() == "cpu" ? Device::make_cpu({.threads = 1}) : Device::by_name(session.device());
  const am::ModelSpec& spec = target.spec(am::Role::kTarget, k);
  const am::OpenedModel model = target.open(spec, device);
  attacks::QueryOptions query = times.query;
  query.victim = spec.name;
  query.images = target.data;
  std::optional<attacks::Defence> defence;
  if (!times.defence.empty()) defence = attacks::read_defence(times.defence);
  if (defence) json["defence"] = defence->name;
  attacks::Trace trace;
  {
    const am::Tenants tenants(neighbours_of(target, k, times.tenants), *target.samples, spec.non_members);
    trace = am::time_records(model.loaded,
                             *target.samples,
                             on_target,
                             folder.folder("traces") / spec.name,
                             query,
                             listener,
                             defence ? &*defence : nullptr);
    for (std::size_t i = 0; i < tenants.size(); ++i) static_cast<void>(tenants.answers(i));
  }
  if (!defence && times.tenants == 0 && on_target.repetitions == 0) {
    on_target.repetitions = trace.repetitions;
    on_target.times_ns = trace.times_ns;
    am::write_records(folder.folder("records") / (spec.name + ".safetensors"), on_target);
  }
  const auto timed = am::estimate_exits_of(trace, on_shadow, on_target, session.threads());
  json["exit_times"] = {{"accuracy", timed.accuracy},
                        {"found", timed.found},
                        {"told", timed.told},
                        {"reliable", timed.reliable},
                        {"repetitions", trace.repetitions},
                        {"tenants", times.tenants},
                        {"advice", timed.advice}};
  session.log.info(fmt::format("{}: exits from times right on {:.2f} % ({} clusters{})",
                               spec.name,
                               100 * timed.accuracy,
                               timed.found,
                               timed.told ? ", told how many" : ""));
  return timed;
}

}  // namespace offramp::tools
