#include "tools/verbs/membership/asked_nets.h"

#include "attacks/extraction/victim.h"

namespace offramp::tools {

namespace am = attacks::membership;

am::Records records_of(RunFolder& folder,
                       const TrainedFolder& trained,
                       const am::ModelSpec& spec,
                       const am::OpenedModel& model,
                       attacks::Listener& listener) {
  const auto path = folder.folder("records") / (spec.name + ".safetensors");
  if (std::filesystem::exists(path)) return am::read_records(path);
  am::Records r = am::collect_records(
      *model.loaded.net, model.loaded.policy, *trained.samples, spec.members, spec.non_members, listener);
  r.model = spec.name;
  am::write_records(path, r);
  return r;
}

am::Records population_records(RunFolder& folder,
                               const TrainedFolder& trained,
                               const am::OpenedModel& model,
                               const std::string& name,
                               attacks::Listener& listener) {
  const auto path = folder.folder("records") / (name + "-population.safetensors");
  if (std::filesystem::exists(path)) return am::read_records(path);
  am::Records r = am::collect_records(*model.loaded.net,
                                      model.loaded.policy,
                                      *trained.samples,
                                      {},
                                      trained.parts.of(data::Part::kShadowTest),
                                      listener);
  r.model = name;
  am::write_records(path, r);
  return r;
}

double relative_macs(const am::Records& r, const nets::NetCosts& costs) {
  double macs = 0, others = 0;
  for (std::size_t i = 0; i < r.size(); ++i) {
    if (r.member[i]) continue;
    macs += static_cast<double>(costs.exits[static_cast<std::size_t>(r.exit[i]) - 1].macs);
    ++others;
  }
  return macs / (others * static_cast<double>(costs.plain.macs));
}

am::Signal signal_of(const std::string& attack,
                     const SignalQuestions& questions,
                     RunFolder& folder,
                     const TrainedFolder& trained,
                     const am::OpenedModel& model,
                     const am::Records& records,
                     attacks::Listener& listener) {
  const auto path = folder.folder("signals") / (records.model + "-" + attack + ".safetensors");
  if (std::filesystem::exists(path)) return am::read_signal(path, records.size());
  attacks::InProcessBlackBox victim(attacks::early_exit_victim(*model.loaded.net, model.loaded.policy),
                                    records.classes,
                                    {.untimed_batch = 1000});
  const auto asked = am::records_to_ask(records, questions.per_side, questions.noise.seed);
  am::Signal s =
      attack == "noise"
          ? am::noise_robustness(victim, *trained.samples, records, asked, questions.noise, listener)
          : am::boundary_distance(victim, *trained.samples, records, asked, questions.boundary, listener);
  am::write_signal(path, s);
  return s;
}

}  // namespace offramp::tools
