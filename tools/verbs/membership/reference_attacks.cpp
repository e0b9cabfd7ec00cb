#include "tools/verbs/membership/reference_attacks.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/verbs/membership/asked_nets.h"
#include "tools/verbs/membership/attack_rows.h"

namespace offramp::tools {

namespace am = attacks::membership;

bool attack_with_references(Session& session,
                            RunFolder& folder,
                            SessionListener& listener,
                            const TrainedFolder& target,
                            const am::OpenedModel& of_target,
                            const am::Records& on_target,
                            const std::vector<am::ModelSpec>& specs,
                            const ReferenceAttacks& how,
                            nlohmann::ordered_json& rows,
                            Table& table) {
  const Device device = Device::by_name(session.device());
  std::vector<am::Records> on_pool, on_population;
  for (const am::ModelSpec& spec : specs) {
    folder.bind(am::model_path(target.path, spec.name));
    const am::OpenedModel model = target.open(spec, device);
    on_pool.push_back(records_of(folder, target, spec, model, listener));
    on_population.push_back(population_records(folder, target, model, spec.name, listener));
  }
  const auto& population = target.parts.of(data::Part::kShadowTest);
  const auto references = am::references_of(on_pool, on_target.row);
  const am::Queried queried = am::queried_of(on_target);
  bool sound = true;
  const auto wanted = [&](const std::string& name) {
    return std::ranges::find(how.names, name) != how.names.end();
  };
  const auto add =
      [&](const std::string& name, std::vector<double> score, std::optional<am::Calibrated> calibrated) {
        am::AttackOutcome outcome;
        // Without a net that may play the target: ratios speak for a member above 0, a share of the population above half.
        const double threshold = calibrated ? calibrated->threshold : name == "rmia" ? .5 : 0;
        if (!calibrated) outcome.note = fmt::format("decided at {}, not calibrated", threshold);
        for (std::size_t i = 0; i < score.size(); ++i) {
          outcome.record.push_back(i);
          outcome.decision.push_back(score[i] > threshold);
        }
        outcome.score = std::move(score);
        const am::Evaluation e = am::evaluate(
            name, fmt::format("{} references", specs.size()), std::move(outcome), on_target, how.evaluation);
        nlohmann::ordered_json row = am::to_json(e, on_target);
        if (calibrated)
          row["calibrated"] = {{"level", calibrated->level},
                               {"members", calibrated->members},
                               {"members_found", calibrated->members_found},
                               {"non_members", calibrated->non_members},
                               {"false_alarms", calibrated->false_alarms}};
        rows.push_back(row);
        sound = sound && e.control.passed;
        add_row(table, on_target.model, e);
      };
  for (const am::ManyModelAttack& attack : am::many_model_attacks()) {
    if (!wanted(attack.name)) continue;
    try {
      add(attack.name,
          attack.score(queried, references),
          specs.size() >= 6
              ? std::optional(am::calibrated(attack.score, queried, on_target.member, references))
              : std::nullopt);
    } catch (const DataError& error) {  // too few nets for it
      rows.push_back(failed_row(
          session, on_target.model, attack.name, fmt::format("{} references", specs.size()), error));
    }
  }
  if (!wanted("rmia")) return sound;
  const am::Records target_population =
      population_records(folder, target, of_target, on_target.model, listener);
  const auto population_ratios = am::rmia_population_ratios(am::queried_of(target_population),
                                                            am::references_of(on_population, population));
  add("rmia",
      am::rmia(am::rmia_ratios(queried, references, how.rmia.offline_a), population_ratios, how.rmia.gamma),
      std::nullopt);
  return sound;
}

}  // namespace offramp::tools
