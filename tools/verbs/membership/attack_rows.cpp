#include "tools/verbs/membership/attack_rows.h"

#include <fmt/format.h>

namespace offramp::tools {

namespace am = attacks::membership;

void add_row(Table& table, const std::string& net, const am::Evaluation& e) {
  const auto at = [&](double rate) -> std::string {
    for (const auto& p : e.points)
      if (p.wanted_fpr == rate)
        return p.refused.empty() ? fmt::format("{:.2f} %", 100 * p.tpr.estimate) : std::string("refused");
    return "-";
  };
  table.row(
      {net,
       e.attack,
       e.adversary,
       fmt::format(
           "{:.2f} [{:.2f}, {:.2f}]", 100 * e.accuracy.estimate, 100 * e.accuracy.low, 100 * e.accuracy.high),
       fmt::format("{:.4f}", e.auc.estimate),
       at(.01),
       at(0)});
}

nlohmann::ordered_json failed_row(Session& session,
                                  const std::string& net,
                                  const std::string& attack,
                                  const std::string& adversary,
                                  const Error& why) {
  session.log.warn(fmt::format("{} {} {}: {}", net, attack, adversary, why.what()));
  return {{"attack", attack}, {"adversary", adversary}, {"failed", why.what()}};
}

}  // namespace offramp::tools
