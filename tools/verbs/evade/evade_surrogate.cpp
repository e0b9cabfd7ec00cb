// offramp evade surrogate: what a black-box surrogate trains on: held-out images and corrupted copies, labelled by the victim.
#include "base/atomic_file.h"
#include "nets/data/corrupt.h"
#include "nets/data/npy.h"
#include "tools/verbs/evade/text.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

namespace offramp::tools::evade {
namespace {

using namespace attacks::evasion;

class EvadeSurrogateVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "evade surrogate",
        .group = "Attack",
        .summary = "a training set for a black-box surrogate: natural corruptions, labelled by a victim",
        .example = "offramp evade surrogate out/victim --data cifar10:DIR --count 5000",
        .details =
            "Clean images (grey or RGB), and copies with Gaussian noise and brightness at severities 1 to 5 (5,000\n"
            "images give 55,000). The victim says the label, under its policy. Writes surrogate.npz, which `offramp train --data\n"
            "RUN/surrogate.npz --held-out 1000` takes; attack images that are not among them (--first 5000).",
        .run_folder = true};
  }

  void declare(Options& o) override {
    o.add("surrogate.victim",
          checkpoint_,
          "checkpoint, or run folder of train; PATH@last: its last exit alone")
        .positional()
        .required();
    evade::declare(o, "surrogate", images_);
    o.add("surrogate.table", table_, "strengths of the corruptions").choices({"cifar", "tiny-imagenet"});
    o.add("surrogate.corruptions", corruptions_, "which; several: again")
        .flag("--corruption")
        .choices({"gaussian-noise", "brightness"});
    o.add("surrogate.severities", severities_, "which").range(1, 5);
    evade::declare(o, "surrogate", policy_);
  }

  int run(Session& session) override {
    for (auto s = severities_.begin(); s != severities_.end(); ++s)
      if (std::find(severities_.begin(), s, *s) != s)
        throw UsageError(fmt::format("--severities: {} is given twice", *s));
    const Device device = Device::by_name(session.device());
    const OpenVictim open = open_victim(checkpoint_, device, policy_);
    const data::ImageSet clean = held_out(session, open, device);
    RunFolder& folder = session.folder();
    folder.bind(open.file);
    data::ImageSet all = clean;
    const auto table =
        table_ == "cifar" ? data::CorruptionTable::kCifar : data::CorruptionTable::kTinyImagenet;
    for (const std::string& name : corruptions_) {
      const auto kind =
          name == "brightness" ? data::Corruption::kBrightness : data::Corruption::kGaussianNoise;
      for (const int severity : severities_) {
        all = data::concat(all, data::corrupt(clean, kind, table, severity, session.seed()));
      }
    }
    const int wrong = relabel(session, open, all);
    data::NpzFile arrays{{"images", {{all.n, all.h, all.w, all.c}, all.pixels}},
                         {"labels", {{all.n}, all.labels}}};
    arrays["class_names"] = {{static_cast<std::int64_t>(all.class_names.size())}, all.class_names};
    const std::vector<std::uint8_t> bytes = data::encode_npz(arrays, true);
    const std::filesystem::path file = folder.file("surrogate.npz");
    write_file_atomically(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    const nlohmann::ordered_json results{{"file", file.string()},
                                         {"victim", json_of(open)},
                                         {"clean", clean.n},
                                         {"images", all.n},
                                         {"labels_other_than_true", wrong}};
    folder.results(results);
    folder.done();
    session.answer(
        fmt::format("{}: {} images, {} of them clean; the victim's label is not the true one for {}\n",
                    file.string(),
                    all.n,
                    clean.n,
                    wrong),
        results);
    return kDone;
  }

 private:
  data::ImageSet held_out(Session& session, const OpenVictim& open, const Device& device) const {
    const TrainedOn trained = trained_on(open.loaded.metadata);
    const nets::Extent input = open.loaded.net->input();
    const Samples samples =
        samples_for(session, trained, input, {.set = images_.data, .split = images_.split});
    NetData fits(session, trained, samples);
    fits.fit_to(*open.loaded.net, trained.class_names, samples.set);
    data::ImageSet set = open_pictures(session, trained, samples, input);
    if (set.c != 1 && set.c != 3)
      throw UsageError(fmt::format(
          "{}: corruptions are of grey or RGB images, these have {} channels", samples.set, set.c));
    set.class_names = fits.class_names();
    const std::vector<std::int32_t> rows = rows_of(images_, set.n);
    set = data::subset(set, rows);
    const auto source = fits.evaluation(device, 250, rows);  // labels as the net counts them
    source->start(1, 0);
    set.labels.clear();
    for (int b = 0; b < source->batches(); ++b) {
      const std::vector<std::int32_t> labels = source->next().labels.to_host<std::int32_t>();
      set.labels.insert(set.labels.end(), labels.begin(), labels.end());
    }
    return set;
  }

  // The victim's answers instead of the labels; how many differ.
  static int relabel(Session& session, const OpenVictim& open, data::ImageSet& set) {
    constexpr int kChunk = 500;
    Progress progress(session.log, "labels", static_cast<std::uint64_t>(set.n), "img");
    int changed = 0;
    for (int first = 0; first < set.n; first += kChunk) {
      const int count = std::min(kChunk, set.n - first);
      Images images{
          .n = count, .extent = open.loaded.net->input(), .pixels = {}, .labels = {}, .numbers = {}};
      for (int i = first; i < first + count; ++i) {
        for (const std::uint8_t p : set.image(i)) images.pixels.push_back(static_cast<float>(p) / 255.0f);
        images.labels.push_back(set.labels[static_cast<std::size_t>(i)]);
        images.numbers.push_back(i);
      }
      const Judgement answers = judge(open.victim, images);
      for (int i = 0; i < count; ++i) {
        std::int32_t& label = set.labels[static_cast<std::size_t>(first + i)];
        changed += label != answers.label[static_cast<std::size_t>(i)] ? 1 : 0;
        label = answers.label[static_cast<std::size_t>(i)];
      }
      progress.update(static_cast<std::uint64_t>(first + count));
    }
    return changed;
  }

  std::string checkpoint_, table_ = "cifar";
  ImageOptions images_{.data = {}, .split = "auto", .first = 0, .count = 5000};
  std::vector<std::string> corruptions_ = {"gaussian-noise", "brightness"};
  std::vector<int> severities_ = {1, 2, 3, 4, 5};
  PolicyOptions policy_;
};

}  // namespace
}  // namespace offramp::tools::evade

namespace offramp::tools {

std::unique_ptr<Verb> make_evade_surrogate_verb() { return std::make_unique<evade::EvadeSurrogateVerb>(); }

}  // namespace offramp::tools
