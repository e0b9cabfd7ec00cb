// offramp extract query: ask a victim about images and record answers and times.
#include "tools/verbs/extract/extract_files.h"
#include "tools/verbs/extract/extract_options.h"
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
    options.add("query.images", images_, "what to ask").required();
    query_.declare(options);
  }
  int run(Session& session) override {
    const auto checkpoint = victim_checkpoint(victim_);
    const auto input = nets::load_net(checkpoint, Device::cpu()).net->input();
    const auto images = open_query_images(images_, input, session.seed());
    RunFolder& folder = session.folder();
    const auto trace = query_stage(
        session,
        checkpoint,
        images,
        query_.resolve(session, checkpoint.string(), fmt::format("{}", fmt::join(images_, " + "))),
        folder.path() / "trace");
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
    return 0;
  }

 private:
  std::filesystem::path victim_;
  std::vector<std::string> images_;
  QuerySettings query_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_query_verb() { return std::make_unique<ExtractQueryVerb>(); }

}  // namespace offramp::tools
