// offramp extract score: how good a copy is, measured by the owner who knows the victim.
#include "attacks/extraction/stages.h"
#include "nets/graph/state_dict.h"
#include "tools/verbs/extract/score_text.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace offramp::tools {
namespace {

class ExtractScoreVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "extract score",
            .group = "Attack",
            .summary = "accuracy, agreement and cost of a copy beside its victim",
            .example = "offramp extract score --victim out/demo --copy out/demo --data fashion-mnist",
            .details =
                "The only stage that looks at the victim's own exits. --split auto: the test part; of a set "
                "without one the\nsamples that the victim's training held out.\n" +
                query_image_forms(),
            .run_folder = true};
  }
  void declare(Options& options) override {
    options.add("score.victim", victim_, "checkpoint, or run folder with one").required();
    options.add("score.copy", copy_, "checkpoint of the copy, or run folder with one").required();
    options.add(
        "score.thresholds", thresholds_, "JSON of extract search; default: those in the copy's checkpoint");
    options.add("score.data", data_, "labelled data set; default: that of the victim's checkpoint");
    options.add("score.split", split_, "which part of it")
        .choices({"auto", "train", "test", "held-out", "all"});
    options.add("score.images", images_, "query images, for agreement on them");
    options.add("score.assignment", assignment_, "CSV of extract estimate, for the accuracy of the exits");
    options.add("score.timed_images", timed_, "images whose time is measured, 0: none").range(0, 1e7);
  }
  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    auto victim = nets::load_net(checkpoint_of(victim_), device);
    auto copy = nets::load_net(copy_checkpoint_of(copy_), device);
    if (!thresholds_.empty()) {
      copy.policy = {.thresholds = attacks::read_thresholds(thresholds_), .rule = nets::ExitRule::kAbove};
      copy.policy.check(copy.net->num_exits());
    }
    victim.policy.check(victim.net->num_exits());
    if (copy.policy.thresholds.empty() && copy.net->num_exits() > 1)
      throw UsageError(copy_.string() +
                       ": has no thresholds yet; give those of extract search with --thresholds");
    if (!assignment_.empty() && images_.empty())
      throw UsageError("--assignment is of query images: which, --images says");
    say_single_exit(session, victim);
    const TrainedOn trained = trained_on(victim.metadata);
    const Samples samples =
        samples_for(session, trained, victim.net->input(), {.set = data_, .split = split_});
    const auto test = open_pictures(session, trained, samples, victim.net->input());
    std::optional<data::ImageSet> queries;
    if (!images_.empty()) queries = open_query_images(session, images_, victim.net->input());
    RunFolder& folder = session.folder();
    SessionListener listener(session);
    const auto rows = attacks::score_stage(
        {{"victim", victim.net.get(), victim.policy}, {"copy", copy.net.get(), copy.policy}},
        test,
        queries ? &*queries : nullptr,
        {.timed_images = timed_, .seed = session.seed()},
        listener);
    nlohmann::ordered_json results = {{"nets", scores_json(rows)}, {"scored_on", samples.text()}};
    std::string text = "scored on the " + samples.text() + "\n" + scores_text(rows);
    if (queries && !assignment_.empty()) {
      const auto exits = attacks::read_assignment(assignment_);
      const auto score = attacks::score_exits(
          rows[0].on_queries.exit, rows[0].num_exits, exits, *std::max_element(exits.begin(), exits.end()));
      results["exit_accuracy"] = score.accuracy;
      results["exit_count_right"] = score.count_right;
      results["exit_confusion"] = score.counts;
      text += fmt::format("exits: right for {:.2f} % of the query images\n", 100 * score.accuracy);
    }
    folder.results(results);
    folder.done();
    session.answer(text, results);
    return kDone;
  }

 private:
  std::filesystem::path victim_, copy_, thresholds_, assignment_;
  std::string data_, split_ = "auto";
  std::vector<std::string> images_;
  int timed_ = 500;
};

}  // namespace

std::unique_ptr<Verb> make_extract_score_verb() { return std::make_unique<ExtractScoreVerb>(); }

}  // namespace offramp::tools
