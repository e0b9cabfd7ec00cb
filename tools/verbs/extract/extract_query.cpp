// offramp extract query: ask a victim about images and record answers and times.
#include "attacks/extraction/victim.h"
#include "attacks/query/shown.h"
#include "nets/graph/state_dict.h"
#include "tools/verbs/extract/options.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

namespace offramp::tools {
namespace {

class ExtractQueryVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "extract query",
        .group = "Attack",
        .summary = "ask a victim about images; record answers and running times",
        .example = "offramp extract query --victim out/demo --images fashion-mnist@train[50000:4000]",
        .details =
            "Each image is asked several times, alone, on one pinned core, in a new random order each time. "
            "Run nothing else meanwhile.\n" +
            query_image_forms(),
        .run_folder = true};
  }
  void declare(Options& options) override {
    options.add("query.victim", victim_, "checkpoint, or run folder with one").positional().required();
    options.add("query.images", images_, "what to ask, of part train unless @test or @all says else")
        .required();
    options.add("query.defence", defence_, "defence.json of defend plan --choose, put before the victim");
    options
        .add(
            "query.near_duplicates",
            query_.near_duplicates,
            "each pass but the first asks images changed by up to this much (1: black to white), each on its "
            "own: against defences that answer an input always at the same time")
        .range(0, 1);
    tools::declare_answers(options, "query", answers_);
    tools::declare(options, query_);
  }
  int run(Session& session) override {
    const auto checkpoint = checkpoint_of(victim_);
    nets::Extent input;
    {
      const auto loaded = nets::load_net(checkpoint, Device::cpu());
      loaded.policy.check(loaded.net->num_exits());
      say_single_exit(session, loaded);
      input = loaded.net->input();
    }
    const auto images = open_query_images(session, images_, input);
    set_session(session, query_);
    query_.victim = checkpoint.string() + (defence_.empty() ? "" : " behind " + defence_.string());
    describe_images(images_, images, query_);
    if (query_.near_duplicates > 0)
      query_.images += fmt::format(", near-duplicates within {}", query_.near_duplicates);
    if (answers_ != "full") query_.victim += ", answers " + answers_;
    RunFolder& folder = session.folder();
    SessionListener listener(session);
    std::optional<attacks::Defence> defence;
    if (!defence_.empty()) defence = attacks::read_defence(defence_);
    auto victim = attacks::own_victim(checkpoint, defence ? &*defence : nullptr);
    attacks::ShownBlackBox shown(victim, attacks::shown_from(answers_));
    const auto trace = attacks::query_stage(shown, images, query_, folder.path() / "trace", listener);
    const nlohmann::ordered_json results = {{"trace", (folder.path() / "trace").string()},
                                            {"images", trace.samples},
                                            {"repetitions", trace.repetitions},
                                            {"repetitions_because", trace.info.repetitions_because}};
    folder.results(results);
    folder.done();
    session.answer(fmt::format("{}: {} images, {}\n",
                               (folder.path() / "trace").string(),
                               trace.samples,
                               trace.info.repetitions_because),
                   results);
    return kDone;
  }

 private:
  std::filesystem::path victim_, defence_;
  std::vector<std::string> images_;
  std::string answers_ = "full";
  attacks::QueryOptions query_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_query_verb() { return std::make_unique<ExtractQueryVerb>(); }

}  // namespace offramp::tools
