// offramp dataset verify: reads every byte of a data set before a run depends on it. Picture folders: every
// file is decoded and every bad one is named, not only the first.
#include "tools/frame/interrupt.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/verbs.h"

#include "nets/data/inspect.h"

namespace offramp::tools {
namespace {

class DatasetVerifyVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "dataset verify",
            .group = "Look at the machine and the data",
            .summary = "read every file of a data set and name what is damaged",
            .example = "offramp dataset verify cifar10:/data/cifar10",
            .details =
                dataset_forms() +
                "\n\nThe fingerprint of the contents is the same for equal samples in equal order, whatever "
                "files hold them.\nExit code 1 if something is damaged."};
  }

  void declare(Options& options) override {
    options.add("dataset", dataset_, "which data set").positional().required();
    options.add("split", split_, "which part").choices({"train", "test", "all", "both"});
    options.add("show", show_, "name at most this many damaged files").range(1, 1e6);
  }

  int run(Session& session) override {
    data::VerifyOptions options;
    options.open.seed = session.seed();
    options.open.threads = session.threads();
    options.split = split_;
    std::unique_ptr<Progress> progress;
    std::string shown;
    options.progress = [&](const std::string& split, int done, int total) {
      throw_if_interrupted();
      if (split != shown) {
        progress.reset();  // its last line before the next one's first
        progress = std::make_unique<Progress>(
            session.log, "verify " + split, static_cast<std::uint64_t>(total), "files");
        shown = split;
      }
      progress->update(static_cast<std::uint64_t>(done));
    };
    checked_spec(dataset_, options.open);
    const data::Verification found = data::verify_dataset(dataset_, options);
    progress.reset();
    const std::vector<std::string>& bad = found.problems;
    std::string text = fmt::format("{}: {} samples are good, {} damaged\n", dataset_, found.good, bad.size());
    const auto most = static_cast<std::size_t>(show_);
    for (std::size_t i = 0; i < std::min(bad.size(), most); ++i) text += "  " + bad[i] + "\n";
    if (bad.size() > most) text += fmt::format("  and {} more\n", bad.size() - most);
    for (const std::string& note : found.notes) text += note + "\n";
    for (const auto& [split, contents] : found.contents)
      text += fmt::format("{}: contents {}\n", split, contents);
    session.answer(text,
                   {{"dataset", dataset_},
                    {"good", found.good},
                    {"damaged", bad},
                    {"notes", found.notes},
                    {"contents", found.contents}});
    return found.sound() ? kDone : kFailed;
  }

 private:
  std::string dataset_, split_ = "both";
  int show_ = 20;
};

}  // namespace

std::unique_ptr<Verb> make_dataset_verify_verb() { return std::make_unique<DatasetVerifyVerb>(); }

}  // namespace offramp::tools
