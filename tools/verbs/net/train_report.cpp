#include "tools/verbs/net/train_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace offramp::tools {

using nlohmann::ordered_json;

void say_what_is_trained(Log& log,
                         const nets::Network& net,
                         const NetData& set,
                         const nets::BatchSource& test,
                         const std::string& test_name) {
  constexpr std::size_t kShown = 12;
  const std::vector<std::string>& names = set.class_names();
  const auto shown = static_cast<std::ptrdiff_t>(std::min(kShown, names.size()));
  log.info(fmt::format("{} classes: {}{}",
                       names.size(),
                       fmt::join(names.begin(), names.begin() + shown, ", "),
                       names.size() > kShown ? ", .." : ""));
  if (!set.note().empty()) log.info(set.note());
  const std::string& name = net.options().name;
  log.info(fmt::format("{} with {} exits at {:.2f} of the cost, {} parameters; {} training and {} {} samples",
                       name,
                       net.num_exits(),
                       fmt::join(net.costs().exit_fraction_macs, ", "),
                       with_thousands(net.parameters().count()),
                       with_thousands(set.samples() - (test_name == "held-out" ? test.samples() : 0)),
                       with_thousands(test.samples()),
                       test_name),
           {{"net", name}, {"exits", net.num_exits()}, {"parameters", net.parameters().count()}});
}

EventFile::Scalars scalars_of(const ordered_json& metrics) {
  EventFile::Scalars scalars;
  for (const auto& [key, value] : metrics.items()) {
    if (value.is_number() && key != "step") scalars.emplace_back(key, value.get<double>());
    if (!value.is_array()) continue;
    for (std::size_t e = 0; e < value.size(); ++e)
      scalars.emplace_back(fmt::format("{}/exit_{}", key, e + 1), value[e].get<double>());
  }
  return scalars;
}

ExitReport exit_report(const nets::NetCosts& costs,
                       const ordered_json& metrics,
                       const std::string& test_name) {
  ExitReport report{
      Table({"exit", "parameters", "MACs", "profiler ops", "of plain", test_name + " accuracy %"}),
      ordered_json::array()};
  for (std::size_t e = 0; e < costs.exits.size(); ++e) {
    const nets::Cost& cost = costs.exits[e];
    const double relative = static_cast<double>(cost.macs) / static_cast<double>(costs.plain.macs);
    const double right = metrics["test_accuracy"][e].get<double>();
    report.table.row({std::to_string(e + 1),
                      with_thousands(cost.parameters),
                      with_thousands(cost.macs),
                      with_thousands(cost.ops_profiler),
                      fmt::format("{:.3f}", relative),
                      fmt::format("{:.2f}", 100 * right)});
    report.exits.push_back({{"exit", e + 1},
                            {"parameters", cost.parameters},
                            {"macs", cost.macs},
                            {"ops_profiler", cost.ops_profiler},
                            {"accuracy", right}});
  }
  return report;
}

}  // namespace offramp::tools
