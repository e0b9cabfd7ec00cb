// offramp extract query: ask a victim about images and record answers and times.
#include "attacks/extraction/victim.h"
#include "attacks/query/remote.h"
#include "attacks/query/shown.h"
#include "nets/graph/state_dict.h"
#include "tools/verbs/extract/options.h"
#include "tools/verbs/extract/served_victim.h"
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
            "Run nothing else meanwhile.\n"
            "A victim behind the Open Inference Protocol (offramp serve, Triton, MLServer) is named by its URL: "
            "http://HOST:PORT,\nhttp://HOST:PORT/v2/models/NAME or unix:/PATH/OF/SOCKET. Its times have the "
            "network's in them: give it more\nrepetitions. A server that goes away is waited for; after that the run "
            "stops and --resume goes on.\n" +
            query_image_forms(),
        .run_folder = true};
  }
  void declare(Options& options) override {
    options.add("query.victim", victim_, "checkpoint, run folder with one, or URL of a served net")
        .positional()
        .required();
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
    served_.declare(options, "query");
    tools::declare_answers(options, "query", answers_);
    tools::declare(options, query_);
  }
  int run(Session& session) override {
    if (attacks::is_remote(victim_)) return ask_server(session);
    if (served_.named())
      throw UsageError("--model, --shape, --input and --output are about a served net; " + victim_ +
                       " is a file");
    return ask_own(session);
  }

 private:
  int ask_server(Session& session) {
    if (!defence_.empty())
      throw UsageError("--defence goes before a net of yours: offramp serve --defence puts it there");
    const auto remote = served_.connect(session, victim_);
    attacks::RemoteBlackBox& victim = *remote;
    query_.victim = victim.description();
    attacks::choose_for_network(query_);
    return ask(session, victim, input_of(victim), [&](nlohmann::ordered_json& results) {
      results["requests"] = victim.requests();
      results["repeated"] = victim.repeated();
    });
  }

  int ask_own(Session& session) {
    const auto checkpoint = checkpoint_of(victim_);
    nets::Extent input;
    {
      const auto loaded = nets::load_net(checkpoint, Device::cpu());
      loaded.policy.check(loaded.net->num_exits());
      say_single_exit(session, loaded);
      input = loaded.net->input();
    }
    own_ = checkpoint;
    query_.victim = checkpoint.string() + (defence_.empty() ? "" : " behind " + defence_.string());
    std::optional<attacks::Defence> defence;
    if (!defence_.empty()) defence = attacks::read_defence(defence_);
    auto victim = attacks::own_victim(checkpoint, defence ? &*defence : nullptr);
    return ask(session, victim, input, [](nlohmann::ordered_json&) {});
  }

  template <class Tell>
  int ask(Session& session, attacks::BlackBox& victim, const nets::Extent& input, Tell tell) {
    const auto images = open_query_images(session, images_, input);
    set_session(session, query_);
    describe_images(images_, images, query_);
    if (query_.near_duplicates > 0)
      query_.images += fmt::format(", near-duplicates within {}", query_.near_duplicates);
    if (answers_ != "full") query_.victim += ", answers " + answers_;
    attacks::ShownBlackBox shown(victim, attacks::shown_from(answers_));
    RunFolder& folder = session.folder();
    if (!own_.empty()) folder.bind(own_);
    SessionListener listener(session);
    const auto trace = attacks::query_stage(shown, images, query_, folder.path() / "trace", listener);
    nlohmann::ordered_json results = {{"trace", (folder.path() / "trace").string()},
                                      {"images", trace.samples},
                                      {"repetitions", trace.repetitions},
                                      {"repetitions_because", trace.info.repetitions_because}};
    tell(results);
    folder.results(results);
    folder.done();
    session.answer(fmt::format("{}: {} images, {}\n",
                               (folder.path() / "trace").string(),
                               trace.samples,
                               trace.info.repetitions_because),
                   results);
    return kDone;
  }

  std::string victim_, answers_ = "full";
  std::filesystem::path defence_, own_;  // the victim's file, where it is no server
  std::vector<std::string> images_;
  ServedVictim served_;
  attacks::QueryOptions query_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_query_verb() { return std::make_unique<ExtractQueryVerb>(); }

}  // namespace offramp::tools
