#include "attacks/membership/exit_times.h"

#include <algorithm>
#include <map>
#include <utility>

#include "attacks/extraction/victim.h"
#include "base/errors.h"
#include "stats/exits/exit_estimation.h"

namespace offramp::attacks::membership {

Trace time_records(const nets::LoadedNet& target,
                   const Samples& samples,
                   const Records& records,
                   const std::filesystem::path& folder,
                   const QueryOptions& options,
                   Listener& listener,
                   const Defence* defence) {
  VictimFunction answers = early_exit_victim(*target.net, target.policy);
  if (defence) answers = defended(std::move(answers), exit_victim(*target.net, target.policy), *defence);
  InProcessBlackBox victim(std::move(answers), target.net->classes());
  const ImageSource source{static_cast<int>(records.size()), [&](std::span<const std::int32_t> indices) {
                             std::vector<std::int32_t> rows;
                             for (const std::int32_t i : indices)
                               rows.push_back(records.row[static_cast<std::size_t>(i)]);
                             return samples.load(rows, Device::cpu());
                           }};
  return query_victim(victim, source, folder, options, [&](const QueryProgress& p) {
    listener.progress("times of " + records.model, p.total, p.done, "queries", Listener::Fields::object());
    stop_if_requested(listener);
  });
}

EstimatedExits estimate_exits_of(const Trace& trace,
                                 const Records& shadow,
                                 const Records& target,
                                 int threads) {
  if (static_cast<std::size_t>(trace.samples) != target.size())
    throw DataError("exit times: the trace has " + std::to_string(trace.samples) + " samples, the records " +
                    std::to_string(target.size()));
  return estimate_exits_of(trace.times_as_double(),
                           static_cast<std::size_t>(trace.repetitions),
                           trace.order,
                           shadow,
                           target,
                           threads);
}

EstimatedExits estimate_exits_of(std::span<const double> times_ns,
                                 std::size_t repetitions,
                                 const stats::MeasurementOrder& order,
                                 const Records& shadow,
                                 const Records& target,
                                 int threads) {
  std::map<std::int32_t, std::size_t> taken;
  for (const std::int32_t e : shadow.exit) ++taken[e];
  std::vector<std::int32_t> exits;
  for (const auto& [exit, count] : taken)
    if (static_cast<double>(count) >= kLeastShare * static_cast<double>(shadow.size())) exits.push_back(exit);
  stats::EstimationOptions options;
  options.method = stats::EstimationMethod::kMixture;  // as `extract estimate`
  options.order = order;
  options.threads = static_cast<unsigned>(threads);
  auto estimate = stats::estimate_exits(times_ns, repetitions, options);
  EstimatedExits out{.found = estimate.num_exits};
  if (estimate.num_exits != exits.size()) {
    options.known_exits = exits.size();
    estimate = stats::estimate_exits(times_ns, repetitions, options);
    out.told = true;
  }
  out.reliable = estimate.reliable && !out.told;
  out.advice = estimate.advice;
  std::size_t right = 0;
  for (std::size_t i = 0; i < target.size(); ++i) {
    out.exits.push_back(exits[std::min(estimate.exits[i], exits.size()) - 1]);
    right += out.exits.back() == target.exit[i] ? 1 : 0;
  }
  out.accuracy = static_cast<double>(right) / static_cast<double>(target.size());
  return out;
}

}  // namespace offramp::attacks::membership
