// offramp membership train: the nets of a membership audit, from one plan.
#include "base/json_file.h"
#include "nets/families/families.h"
#include "tools/frame/table.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/membership/trained_folder.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>

namespace offramp::tools {
namespace {

namespace am = attacks::membership;

class MembershipTrainVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "membership train",
        .group = "Attack",
        .summary = "train targets and shadows for an audit of membership, from one plan",
        .example =
            "offramp membership train --data locations:data/bangkok --net fcn-18-1 --exits 1,2,3,4,5,6",
        .details =
            "Cuts the whole set into four equal parts: what targets are trained on (members) and what they have never\n"
            "seen, and the same for shadows, the nets that an attacker trains to learn what members look like. For each\n"
            "number of exits one target and one shadow are trained, 1 being the plain net; --references N adds N nets on\n"
            "halves of the target's data, for the attacks lira and rmia. No augmentation: overfitting is what is measured.\n"
            "A killed run goes on with --resume at the last net and epoch. Then: offramp membership attack.",
        .run_folder = true};
  }
  void declare(Options& o) override {
    o.add("train.data", data_, "data set; all parts of it are pooled and split anew").required();
    o.add("train.net", plan_.net.name, "which net");
    o.add("train.exits", plan_.exits, "numbers of exits, the end included; 1: plain").range(1, 16);
    o.add_as<std::string>(
         "train.placement",
         plan_.net.placement,
         [](nets::Placement p) { return nets::to_text(p); },
         nets::placement_from,
         "where exits stand; ccs: the first of the paper's code's list")
        .choices({"equal-cost", "sdn", "ccs"});
    o.add_as<std::string>(
         "train.form",
         plan_.net.form,
         [](nets::ExitForm f) { return nets::to_text(f); },
         nets::exit_form_from,
         "of an exit")
        .choices({"linear", "two-layer"});
    o.add("train.width_divisor", plan_.net.width_divisor, "divide all widths: small nets for trials")
        .range(1, 64);
    o.add(
         "train.references", plan_.references, "nets on halves of the target's data, for lira and rmia; even")
        .range(0, 1000);
    o.add("train.reference_exits", plan_.reference_exits, "numbers of exits of these; default: the largest")
        .range(1, 16)
        .distinct();
    o.add_as<std::string>(
         "train.precision",
         plan_.net.precision,
         [](nets::Precision p) { return nets::to_text(p); },
         nets::precision_from,
         "bf16: mixed precision, and the attacked nets answer in it")
        .choices({"f32", "bf16"});
    o.add("train.epochs", plan_.train.epochs, "passes over a part").range(1, 100000);
    o.add("train.batch", plan_.train.batch_size, "samples a step").range(1, 65536);
    o.add("train.optimizer", optimizer_, "the paper says adam, its code has sgd").choices({"sgd", "adam"});
    o.add("train.learning_rate", learning_rate_, "default 0.1 with sgd, 0.001 with adam");
    o.add_as<std::string>(
         "train.schedule",
         plan_.train.schedule,
         [](nets::RateSchedule r) { return nets::to_text(r); },
         nets::rate_schedule_from,
         "of the rate: steps after 35, 60 and 85 % of the epochs (code), or half a cosine")
        .choices({"steps", "cosine"});
    o.add("train.weight_decay", weight_decay_, "default 5e-4 for vgg and wrn, 1e-4 else").range(0, 1);
    o.add_as<std::string>(
         "train.loss_weights",
         plan_.sdn_loss_weights,
         [](bool sdn) { return sdn ? "sdn" : "cost"; },
         [](const std::string& word) { return word == "sdn"; },
         "final weights of the internal losses")
        .choices({"sdn", "cost"});
    o.add(
        "train.normalise", plan_.normalise, "pixels, as is usual for the set; the paper's code seems not to");
    o.add("train.max_drop",
          plan_.max_drop,
          "accuracy that a target with exits may lose to the plain one; sets the threshold of its exits")
        .range(0, 1);
  }
  int run(Session& session) override {
    complete(session);
    const am::Samples samples(open_set(data_, "all", open_options(session)));
    const auto takes = samples.pixels() ? nets::Takes::kPixels : nets::Takes::kRows;
    if (nets::known_family(plan_.net.name).takes != takes)
      throw UsageError(
          fmt::format("--net {}: {} takes {}", plan_.net.name, data_, nets::forms_that_take(takes)));
    const auto parts = data::four_parts(samples.labels(), samples.class_names(), session.seed());
    static_cast<void>(am::models_of(plan_, parts, samples.labels()));  // wrong use is found before any work
    RunFolder& folder = session.folder();
    data::write_manifest(folder.file("split.json"), parts, samples.set(), data_);
    write_plan(folder.path(), plan_, data_);
    SessionListener listener(session);
    const auto models =
        am::train_models(plan_, samples, parts, Device::by_name(session.device()), folder.path(), listener);
    Table table({"model", "tau", "members %", "others %", "gap %", "cost", "leave at exit"});
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const am::TrainedModel& m : models) {
      table.row({m.spec.name,
                 m.spec.exits == 1 ? "-" : fmt::format("{:.2f}", m.threshold),
                 fmt::format("{:.2f}", 100 * m.policy_train_accuracy),
                 fmt::format("{:.2f}", 100 * m.policy_test_accuracy),
                 fmt::format("{:.2f}", 100 * (m.policy_train_accuracy - m.policy_test_accuracy)),
                 fmt::format("{:.3f}", m.relative_macs),
                 fmt::format("{}", fmt::join(m.histogram, " "))});
      json.push_back({{"model", m.spec.name},
                      {"exits", m.spec.exits},
                      {"threshold", m.threshold},
                      {"members", m.spec.members.size()},
                      {"accuracy_members", m.policy_train_accuracy},
                      {"accuracy_others", m.policy_test_accuracy},
                      {"exit_accuracy_members", m.train_accuracy},
                      {"exit_accuracy_others", m.test_accuracy},
                      {"relative_macs", m.relative_macs},
                      {"others_leave_at", m.histogram}});
    }
    table.write_csv(folder.file("models.csv"));
    const nlohmann::ordered_json results{{"data", data_}, {"net", plan_.net.name}, {"models", json}};
    folder.results(results);
    folder.done();
    session.answer(table.text() + "cost: mean MACs of a query, to the plain net\n", results);
    return kDone;
  }

 private:
  void complete(const Session& session) {
    nets::TrainOptions reference = nets::reference_options(plan_.net.name, nets::TrainKind::kJoint);
    plan_.seed = session.seed();
    plan_.train.weight_decay = weight_decay_.value_or(reference.weight_decay);
    plan_.train.optimizer = nets::optimizer_from(optimizer_);
    plan_.train.learning_rate =
        learning_rate_.value_or(plan_.train.optimizer == nets::OptimizerKind::kAdam ? 1e-3 : 0.1);
  }

  am::ModelPlan plan_;
  std::string data_, optimizer_ = "sgd";
  std::optional<double> learning_rate_, weight_decay_;
};

}  // namespace

std::unique_ptr<Verb> make_membership_train_verb() { return std::make_unique<MembershipTrainVerb>(); }

}  // namespace offramp::tools
