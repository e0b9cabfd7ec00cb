// offramp dataset verify: reads every byte of a data set before a run depends on it. Picture folders: every
// file is decoded and every bad one is named, not only the first.
#include "tools/frame/interrupt.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/verbs.h"

#include "nets/data/image_file.h"

namespace offramp::tools {
namespace {

class DatasetVerifyVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "dataset verify",
            .group = "Look at the machine and the data",
            .summary = "read every file of a data set and name what is damaged",
            .example = "offramp dataset verify cifar10:/data/cifar10",
            .details = dataset_forms() + "\n\nExit code 1 if something is damaged."};
  }

  void declare(Options& options) override {
    options.add("dataset", dataset_, "which data set").positional().required();
    options.add("split", split_, "which part").choices({"train", "test", "all", "both"});
    options.add("show", show_, "name at most this many damaged files").range(1, 1e6);
  }

  int run(Session& session) override {
    data::OpenOptions open;
    open.seed = session.seed();
    open.threads = session.threads();
    const data::DatasetSpec spec = checked_spec(dataset_, open);
    nlohmann::ordered_json object{{"dataset", dataset_}};
    std::int64_t good = 0;
    std::vector<std::string> bad;
    const std::vector<std::string> wanted =
        split_ == "both" ? std::vector<std::string>{"train", "test"} : std::vector{split_};
    for (const std::string& split : wanted) {
      try {
        if (data::is_listed(spec)) {
          verify_files(session, split, data::list_files(spec, split), good, bad);
        } else {
          good += std::visit([](const auto& set) { return std::int64_t{set.n}; },
                             data::open_dataset(dataset_, split, open));
        }
      } catch (const DataError& error) {  // one finding; the other split is still looked at
        bad.emplace_back(error.what());
      }
    }
    std::string text = fmt::format("{}: {} samples are good, {} damaged\n", dataset_, good, bad.size());
    for (std::size_t i = 0; i < std::min(bad.size(), static_cast<std::size_t>(show_)); ++i)
      text += "  " + bad[i] + "\n";
    if (bad.size() > static_cast<std::size_t>(show_))
      text += fmt::format("  and {} more\n", bad.size() - static_cast<std::size_t>(show_));
    object["good"] = good;
    object["damaged"] = bad;
    session.answer(text, object);
    return bad.empty() ? kDone : kFailed;
  }

 private:
  static void verify_files(Session& session,
                           const std::string& split,
                           const data::ImageList& list,
                           std::int64_t& good,
                           std::vector<std::string>& bad) {
    Progress progress(session.log, "verify " + split, list.files.size(), "files");
    for (std::size_t i = 0; i < list.files.size(); ++i) {
      throw_if_interrupted();
      try {
        data::read_picture(list.root / list.files[i]);
        ++good;
      } catch (const DataError& error) {
        bad.emplace_back(error.what());
      }
      progress.update(i + 1, {{"damaged", bad.size()}});
    }
  }

  std::string dataset_, split_ = "both";
  int show_ = 20;
};

}  // namespace

std::unique_ptr<Verb> make_dataset_verify_verb() { return std::make_unique<DatasetVerifyVerb>(); }

}  // namespace offramp::tools
