// offramp extract run: the whole attack on a victim of ours, beside the Knockoff baseline, with a report.
#include "attacks/extraction/names.h"
#include "nets/data/text.h"
#include "nets/graph/state_dict.h"
#include "tools/verbs/extract/extract_report.h"
#include "tools/verbs/extract/options.h"
#include "tools/verbs/extract/score_text.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <functional>

namespace offramp::tools {
namespace {

class ExtractRunVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "extract run",
        .group = "Attack",
        .summary = "the whole attack: query, estimate, fit, search, score, report",
        .example =
            "offramp extract run --victim out/train --images synthetic:leaves:8000 --net resnet-56 --epochs 20",
        .details = query_image_forms(),
        .run_folder = true};
  }
  void declare(Options& options) override {
    plan_.estimate.options.method = stats::EstimationMethod::kMixture;  // as `extract estimate`
    options.add("run.victim", victim_, "checkpoint, or run folder with one").positional().required();
    options.add("run.images", images_, "query images, of part train unless @test or @all says else")
        .required();
    options.add(
        "run.data",
        data_,
        "labelled data set for the score: its test part, or what its training held out; default: that of "
        "the victim's checkpoint");
    options.add_as<bool>("run.no_knockoff",
                         plan_.with_knockoff,
                         std::logical_not<>(),
                         std::logical_not<>(),
                         "leave the baseline out");
    options
        .add("run.knockoff_rate",
             plan_.knockoff_learning_rate,
             "learning rate of the baseline; default: that of the copy. The losses differ in size: the demo "
             "trains the copy with 0.03, the baseline with 0.1")
        .range(1e-9, 100);
    options.add("run.from_knockoff",
                plan_.from_knockoff,
                "the copy goes on from the baseline's weights instead of new ones; for deep nets, which the "
                "copy's loss may lead astray from the start");
    options.add(
        "run.baselines",
        baselines_,
        "further thefts beside it, each asking as many queries as there are images: knockoff-adaptive, "
        "noise-bernoulli, noise-uniform, noise-ising, es-opt, es-dnn");
    options.add("es.rounds", plan_.baseline.es.rounds, "of the ES attack; each asks its share of the queries")
        .range(1, 10000);
    options.add("es.steps", plan_.baseline.es.synthesis.steps, "of the ES attack for each picture")
        .range(0, 100000);
    options
        .add(
            "run.paper",
            paper_,
            "v1: changepoints and joint search; v2: valleys of a density and separable search, as the two versions "
            "of the paper have it, whatever --method and --objective say; none: they do")
        .choices({"none", "v1", "v2"});
    options.add("run.true_exits",
                plan_.true_exits,
                "ablation: the copy learns and searches with the exits that the victim really took");
    options.add_as<bool>("run.no_search",
                         plan_.searched,
                         std::logical_not<>(),
                         std::logical_not<>(),
                         "ablation: the copy has the victim's thresholds");
    tools::declare_answers(options, "run", answers_);
    options.add("run.timed_images", plan_.score.timed_images, "images whose time is measured for the score")
        .range(0, 1e7);
    tools::declare(options, plan_.query);
    tools::declare(options, plan_.estimate);
    tools::declare(options, plan_.copy);
    tools::declare(options, plan_.search);
    options.add_choice("search.counts",
                       plan_.counts,
                       attacks::kCounts,
                       "what makes a sample count: the exit, or the exit and the victim's class there");
  }
  int run(Session& session) override {
    if (plan_.from_knockoff && !plan_.with_knockoff)
      throw UsageError("--from-knockoff needs the baseline that --no-knockoff leaves out");
    plan_.victim = checkpoint_of(victim_);
    const auto victim = nets::load_net(plan_.victim, Device::cpu());
    victim.policy.check(victim.net->num_exits());
    say_single_exit(session, victim);
    const TrainedOn trained = trained_on(victim.metadata);
    const Samples samples = samples_for(session, trained, victim.net->input(), {.set = data_});
    if (paper_ != "none")
      attacks::as_published(paper_ == "v1" ? attacks::Version::kV1 : attacks::Version::kV2, plan_);
    plan_.shown = attacks::shown_from(answers_);
    bool groups = false;  // the adaptive policy chooses among the classes of the attacker's own pictures
    for (const std::string& text : baselines_)
      for (const auto name : data::split_fields(text, ',')) {
        const auto baseline =
            nets::text::value_of(attacks::kBaselines, "--baselines", std::string(data::trimmed(name)));
        if (std::ranges::find(plan_.baselines, baseline) != plan_.baselines.end())
          throw UsageError(fmt::format("--baselines: {} is given twice", data::trimmed(name)));
        plan_.baselines.push_back(baseline);
        groups = groups || plan_.baselines.back() == attacks::Baseline::kKnockoffAdaptive;
      }
    plan_.queries = groups ? open_grouped_images(session, images_, victim.net->input())
                           : open_query_images(session, images_, victim.net->input());
    plan_.test = open_pictures(session, trained, samples, victim.net->input());
    plan_.device = Device::by_name(session.device());
    set_session(session, plan_.query);
    set_session(session, plan_.estimate);
    set_session(session, plan_.copy);
    set_session(session, plan_.search);
    plan_.query.victim = plan_.victim.string();
    describe_images(images_, plan_.queries, plan_.query);
    plan_.score.seed = session.seed();
    plan_.baseline.seed = session.seed();
    plan_.copy.check(plan_.queries, static_cast<int>(plan_.estimate.options.known_exits.value_or(1)));
    if (plan_.search.first > plan_.queries.n)
      throw UsageError(fmt::format("--first: thresholds are wanted from the first {} images, there are {}",
                                   plan_.search.first,
                                   plan_.queries.n));

    RunFolder& folder = session.folder();
    folder.bind(plan_.victim);
    plan_.folder = folder.path();
    SessionListener listener(session);
    const auto outcome = attacks::run_extraction(plan_, listener);
    write_extraction_report(
        folder.file("report.html"),
        outcome,
        plan_.queries,
        plan_.test,
        {.title = "Extraction of " + victim.net->options().name,
         .subtitle = plan_.query.images,
         .class_names = plan_.test.class_names,
         .config = data::read_text(folder.file("config.toml")),
         .environment = data::read_text(folder.file("env.json")),
         .victim_accuracy = {},
         .victim_text = fmt::format("{} with {} exits, {}",
                                    victim.net->options().name,
                                    victim.net->num_exits(),
                                    plan_.victim.string()),
         .queries_text = fmt::format("{} images: {}", plan_.queries.n, plan_.query.images),
         .test_text = fmt::format("{} images: {}", plan_.test.n, samples.text())});
    folder.results(score_json(outcome));
    folder.done();
    session.answer(score_text(outcome) + "\n" + verdict(outcome) +
                       "\n\nreport: " + folder.file("report.html").string() + "\n",
                   score_json(outcome));
    return kDone;
  }

 private:
  std::filesystem::path victim_;
  std::vector<std::string> images_, baselines_;
  std::string data_, paper_ = "none", answers_ = "full";
  attacks::ExtractionPlan plan_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_run_verb() { return std::make_unique<ExtractRunVerb>(); }

}  // namespace offramp::tools
