// offramp extract run: the whole attack on a victim of ours, beside the Knockoff baseline, with a report.
#include "nets/data/open_dataset.h"
#include "nets/data/text.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/extract/extract_files.h"
#include "tools/verbs/extract/extract_options.h"
#include "tools/verbs/extract/extract_report.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <optional>

namespace offramp::tools {
namespace {

class ExtractRunVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "extract run",
            .group = "Attack",
            .summary = "the whole attack: query, estimate, fit, search, score, report",
            .example =
                "offramp extract run --victim out/train --images synthetic:leaves:8000 --data fashion-mnist "
                "--net "
                "resnet-56 --epochs 20",
            .details = query_image_forms(),
            .run_folder = true};
  }
  void declare(Options& options) override {
    options.add("run.victim", victim_, "checkpoint, or run folder with one").positional().required();
    options.add("run.images", images_, "query images").required();
    options.add("run.data", data_, "labelled data set for the score (split test)").required();
    options.add("run.no_knockoff", no_knockoff_, "leave the baseline out");
    options
        .add("run.knockoff_rate",
             knockoff_rate_,
             "learning rate of the baseline; default: that of the copy. The losses differ in size: the demo "
             "trains the copy with 0.03, the baseline with 0.1")
        .range(1e-9, 100);
    options.add("run.from_knockoff",
                from_knockoff_,
                "the copy goes on from the baseline's weights instead of new ones; for deep nets, which the "
                "copy's loss may lead astray from the start");
    options.add("run.timed_images", timed_, "images whose time is measured for the score").range(0, 1e7);
    query_.declare(options);
    estimate_.declare(options);
    fit_.declare(options);
    search_.declare(options);
  }
  int run(Session& session) override {
    if (from_knockoff_ && no_knockoff_)
      throw UsageError("--from-knockoff needs the baseline that --no-knockoff leaves out");
    const auto checkpoint = victim_checkpoint(victim_);
    const auto victim = nets::load_net(checkpoint, Device::cpu());
    ExtractionPlan plan;
    plan.victim = checkpoint;
    plan.queries_text = fmt::format("{}", fmt::join(images_, " + "));
    plan.queries = open_query_images(images_, victim.net->input(), session.seed());
    data::OpenOptions open;
    open.seed = session.seed();
    checked_spec(data_, open);
    plan.test = fit_to(data::open_images(data_, "test", open), victim.net->input());
    plan.test_text = data_;
    plan.substitute = fit_.net_options(victim.net->classes(), plan.queries);
    plan.fit = fit_.resolve(session, attacks::FitMethod::kStrategy);
    plan.knockoff = fit_.resolve(session, attacks::FitMethod::kKnockoff);
    if (knockoff_rate_) plan.knockoff.learning_rate = *knockoff_rate_;
    plan.pretrained = fit_.pretrained;
    plan.with_knockoff = !no_knockoff_;
    plan.from_knockoff = from_knockoff_;
    plan.query = query_.resolve(session, checkpoint.string(), plan.queries_text);
    plan.estimation = estimate_.resolve(session);
    plan.search = search_.resolve(session);
    if (plan.search.first_images > plan.queries.n)
      throw UsageError(
          fmt::format("--search-first: thresholds are wanted from the first {} images, there are {}",
                      plan.search.first_images,
                      plan.queries.n));
    plan.score = {.timed_images = timed_, .seed = session.seed()};

    RunFolder& folder = session.folder();
    const auto outcome = run_extraction(session, plan);
    write_extraction_report(folder.file("report.html"),
                            outcome,
                            plan.queries,
                            plan.test,
                            {.title = "Extraction of " + victim.net->options().name,
                             .subtitle = plan.queries_text,
                             .class_names = plan.test.class_names,
                             .config = data::read_text(folder.file("config.toml")),
                             .environment = data::read_text(folder.file("env.json")),
                             .victim_accuracy = {},
                             .victim_text = fmt::format("{} with {} exits, {}",
                                                        victim.net->options().name,
                                                        victim.net->num_exits(),
                                                        checkpoint.string()),
                             .queries_text = fmt::format("{} images: {}", plan.queries.n, plan.queries_text),
                             .test_text = fmt::format("{} images: {}", plan.test.n, plan.test_text)});
    folder.results(score_json(outcome));
    folder.done();
    session.answer(score_text(outcome) + "\n" + verdict(outcome) +
                       "\n\nreport: " + folder.file("report.html").string() + "\n",
                   score_json(outcome));
    return 0;
  }

 private:
  std::filesystem::path victim_;
  std::vector<std::string> images_;
  std::string data_;
  bool no_knockoff_ = false, from_knockoff_ = false;
  std::optional<double> knockoff_rate_;
  int timed_ = 500;
  QuerySettings query_;
  EstimateSettings estimate_;
  FitSettings fit_;
  SearchOptionsSettings search_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_run_verb() { return std::make_unique<ExtractRunVerb>(); }

}  // namespace offramp::tools
