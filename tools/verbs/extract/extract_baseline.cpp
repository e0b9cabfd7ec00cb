// offramp extract baseline: the thefts that the paper compares itself with, at a budget of queries.
#include "attacks/baselines/baselines.h"
#include "attacks/extraction/victim.h"
#include "attacks/query/shown.h"
#include "nets/graph/state_dict.h"
#include "tools/verbs/extract/options.h"
#include "tools/verbs/extract/score_text.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

namespace offramp::tools {
namespace {

class ExtractBaselineVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "extract baseline",
        .group = "Attack",
        .summary = "a theft that ignores the exits: Knockoff, noise or ES attack, at a budget",
        .example =
            "offramp extract baseline out/train --method es-opt --budget 20000 --images cifar100 --net vgg-16",
        .details =
            "Every picture is asked once and counts once. The copy is trained on the answers as a multi-exit net is, and "
            "scored with the\nvictim's own thresholds. --images are what Knockoff asks about; the other methods take the "
            "size of their\npictures from the victim and make them.\n" +
            query_image_forms(),
        .run_folder = true};
  }
  void declare(Options& options) override {
    options.add("baseline.victim", victim_, "checkpoint, or run folder with one").positional().required();
    options.add_choice("baseline.method",
                       plan_.method,
                       attacks::kBaselines,
                       "which theft; es-opt makes pictures by OPT-SYN, es-dnn by a generator (DNN-SYN)");
    options
        .add("baseline.budget",
             plan_.budget,
             "pictures the victim is asked about, in all; 0: as many as --images")
        .range(0, 1e8);
    options.add(
        "baseline.images", images_, "what Knockoff asks about, of part train unless @test or @all says else");
    options.add(
        "baseline.data", data_, "labelled data set for the score; default: that of the victim's checkpoint");
    options.add("baseline.like_victim",
                like_victim_,
                "the copy has the victim's own architecture and exits, as version 1 of the paper grants it");
    options.add("baseline.exits", exits_, "of the copy; 0: as many as the victim").range(0, 16);
    options.add("baseline.timed_images", score_.timed_images, "images whose time is measured for the score")
        .range(0, 1e7);
    tools::declare_answers(options, "baseline", answers_);
    options.add_choice(
        "knockoff.reward", plan_.reward, attacks::kRewards, "what the adaptive policy learns from");
    options.add("noise.beta", plan_.ising.beta, "Ising: coupling over temperature; 0.4407 is critical")
        .range(0, 100);
    options.add("noise.sweeps", plan_.ising.sweeps, "Ising: sweeps of Gibbs sampling").range(0, 100000);
    attacks::EsOptions& es = plan_.es;
    options.add("es.rounds", es.rounds, "stealing epochs; each asks its share of the budget").range(1, 10000);
    options.add("es.rate", es.learning_rate, "of the copy, in every round").range(1e-9, 100);
    options
        .add(
            "es.steps", es.synthesis.steps, "of Adam for each picture, or passes of the generator's training")
        .range(0, 100000);
    options.add("es.image_rate", es.synthesis.image_rate, "OPT-SYN: rate of Adam on the pixels")
        .range(1e-9, 100);
    options.add("es.from_noise", es.synthesis.from_noise, "OPT-SYN: every round starts from noise");
    options.add("es.generator_rate", es.synthesis.generator_rate, "DNN-SYN: rate of Adam on the generator")
        .range(1e-9, 100);
    options.add("es.lambda_ms", es.synthesis.lambda_ms, "DNN-SYN: weight of the mode-seeking term")
        .range(0, 1e6);
    options.add("es.latent", es.latent, "DNN-SYN: numbers that a picture is made from").range(1, 4096);
    options.add("es.width", es.width, "DNN-SYN: channels before the last layer").range(1, 4096);
    tools::declare(options, plan_.copy);
  }
  int run(Session& session) override {
    const auto checkpoint = checkpoint_of(victim_);
    const Device device = Device::by_name(session.device());
    auto victim = nets::load_net(checkpoint, device);
    victim.policy.check(victim.net->num_exits());
    const nets::Extent input = victim.net->input();
    const TrainedOn trained = trained_on(victim.metadata);
    const Samples samples = samples_for(session, trained, input, {.set = data_});
    const bool asks_images =
        plan_.method == attacks::Baseline::kKnockoff || plan_.method == attacks::Baseline::kKnockoffAdaptive;
    data::ImageSet queries;
    if (!images_.empty()) {
      queries = plan_.method == attacks::Baseline::kKnockoffAdaptive
                    ? open_grouped_images(session, images_, input)
                    : open_query_images(session, images_, input);
    } else if (asks_images) {
      throw UsageError("baseline: Knockoff asks about --images, name some");
    } else {
      // The size of the victim's pictures, and what the copy normalises with.
      queries = attacks::noise_images(attacks::NoiseKind::kUniform, 64, input.c, input.h, session.seed());
    }
    if (plan_.budget == 0) {
      if (images_.empty()) throw UsageError("baseline: --budget says how many queries may be made");
      plan_.budget = queries.n;
    }
    const auto test = open_pictures(session, trained, samples, input);
    set_session(session, plan_.copy);
    plan_.seed = session.seed();
    score_.seed = session.seed();
    plan_.num_exits = exits_ > 0 ? exits_ : victim.net->num_exits();
    if (like_victim_) {
      plan_.copy.net = victim.net->options();
      plan_.copy.exact_net = true;
      plan_.num_exits = victim.net->num_exits();
    }
    plan_.images = &queries;
    plan_.copy.check(queries);

    RunFolder& folder = session.folder();
    folder.bind(checkpoint);
    plan_.folder = folder.path();
    SessionListener listener(session);
    auto box = attacks::own_victim(checkpoint);
    attacks::ShownBlackBox shown(box, attacks::shown_from(answers_));
    const auto outcome = attacks::run_baseline(shown, plan_, device, listener);
    const auto policy = attacks::policy_for(victim.policy, outcome.net->num_exits());
    nets::save_checkpoint(folder.path() / "copy.safetensors", *outcome.net, policy);
    const std::string name = attacks::to_text(plan_.method);
    const auto rows =
        attacks::score_stage({{"victim", victim.net.get(), victim.policy}, {name, outcome.net.get(), policy}},
                             test,
                             nullptr,
                             score_,
                             listener);
    nlohmann::ordered_json results = {{"method", name},
                                      {"queries", outcome.queries},
                                      {"answers", answers_},
                                      {"nets", scores_json(rows)},
                                      {"scored_on", samples.text()}};
    if (!outcome.action_probabilities.empty()) results["action_probabilities"] = outcome.action_probabilities;
    folder.results(results);
    folder.done();
    session.answer(
        fmt::format("{}{}: {} queries, answers {}\n", scores_text(rows), name, outcome.queries, answers_),
        results);
    return kDone;
  }

 private:
  std::filesystem::path victim_;
  std::vector<std::string> images_;
  std::string data_, answers_ = "full";
  bool like_victim_ = false;
  int exits_ = 0;
  attacks::BaselinePlan plan_;
  attacks::ScoreOptions score_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_baseline_verb() { return std::make_unique<ExtractBaselineVerb>(); }

}  // namespace offramp::tools
