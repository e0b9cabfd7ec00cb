// offramp dataset info: what is in a data set, as the nets would get it.
#include "tools/frame/table.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/trained_on.h"
#include "tools/verbs/verbs.h"

#include <algorithm>
#include <cmath>

namespace offramp::tools {
namespace {

struct Moments {
  std::vector<double> mean, deviation;  // per channel, of pixels in [0,1]
};

Moments moments_of(const data::ImageSet& set) {
  const auto channels = static_cast<std::size_t>(set.c);
  std::vector<std::uint64_t> sum(channels), squares(channels);  // exact: 255^2 * 10^9 pixels fit
  for (std::size_t i = 0; i < set.pixels.size(); ++i) {
    const std::uint64_t v = set.pixels[i];
    sum[i % channels] += v;
    squares[i % channels] += v * v;
  }
  Moments out;
  const double count = static_cast<double>(set.pixels.size()) / static_cast<double>(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    const double mean = static_cast<double>(sum[c]) / count;
    out.mean.push_back(mean / 255);
    out.deviation.push_back(std::sqrt(std::max(0.0, static_cast<double>(squares[c]) / count - mean * mean)) /
                            255);
  }
  return out;
}

template <class Set>
std::vector<std::int64_t> class_counts(const Set& set) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(set.num_classes()));
  for (const std::int32_t label : set.labels) ++counts[static_cast<std::size_t>(label)];
  return counts;
}

class DatasetInfoVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "dataset info",
            .group = "Look at the machine and the data",
            .summary = "size, classes and pixel statistics of a data set",
            .example = "offramp dataset info fashion-mnist",
            .details = dataset_forms(),
            .first_step = true};
  }

  void declare(Options& options) override {
    options.add("dataset", dataset_, "which data set").positional().required();
    options.add("split", split_, "which part").choices({"train", "test", "all", "both"});
    options.add("side", side_, "resize pictures to a square, 0: the family's own size").range(0, 4096);
    options.add("as_stored", as_stored_, "Fashion-MNIST as 28x28 grey instead of 32x32 RGB");
    options.add("cache", cache_, "folder for decoded picture folders");
  }

  int run(Session& session) override {
    data::OpenOptions open;
    open.side = side_;
    open.as_stored = as_stored_;
    open.seed = session.seed();
    open.threads = session.threads();
    open.cache_dir = cache_;
    const data::DatasetSpec spec = checked_spec(dataset_, open);
    say_what_is_found(session, dataset_, open);
    std::string text;
    nlohmann::ordered_json splits = nlohmann::ordered_json::object();
    const std::vector<std::string> wanted = split_ != "both" ? std::vector{split_} : data::splits_of(spec);
    for (const std::string& split : wanted) {
      const data::Dataset set = data::open_dataset(dataset_, split, open);
      std::visit([&](const auto& s) { splits[split] = describe(split, s, text); }, set);
    }
    session.answer(text, {{"dataset", dataset_}, {"splits", splits}});
    return kDone;
  }

 private:
  nlohmann::ordered_json describe(const std::string& split, const data::ImageSet& set, std::string& text) {
    const Moments moments = moments_of(set);
    text += fmt::format("{}: {} images of {}x{} pixels, {} channel{}\n",
                        split,
                        with_thousands(set.n),
                        set.h,
                        set.w,
                        set.c,
                        set.c == 1 ? "" : "s");
    text += fmt::format("  mean       {:.4f}\n  deviation  {:.4f}\n",
                        fmt::join(moments.mean, " "),
                        fmt::join(moments.deviation, " "));
    nlohmann::ordered_json object{{"images", set.n},
                                  {"height", set.h},
                                  {"width", set.w},
                                  {"channels", set.c},
                                  {"mean", moments.mean},
                                  {"deviation", moments.deviation}};
    describe_classes(set, text, object);
    return object;
  }

  nlohmann::ordered_json describe(const std::string& split, const data::TableSet& set, std::string& text) {
    text += fmt::format("{}: {} rows of {} features\n", split, with_thousands(set.n), set.d);
    if (!set.left_out.empty())
      text += fmt::format("  columns of text are passed over: {}\n", fmt::join(set.left_out, ", "));
    nlohmann::ordered_json object{{"rows", set.n}, {"features", set.d}};
    describe_classes(set, text, object);
    return object;
  }

  template <class Set>
  void describe_classes(const Set& set, std::string& text, nlohmann::ordered_json& object) {
    constexpr std::size_t kMostNames = 12;  // longer lists are in the JSON
    const std::vector<std::int64_t> counts = class_counts(set);
    object["class_names"] = set.class_names;
    object["class_counts"] = counts;
    object["source"] = set.source;
    text += "  from       " + set.source + "\n";
    if (counts.empty()) return;
    const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
    text += fmt::format(
        "  classes    {}, {} to {} each\n", counts.size(), with_thousands(*least), with_thousands(*most));
    std::string names;
    for (std::size_t i = 0; i < std::min(kMostNames, counts.size()); ++i)
      names += (i > 0 ? ", " : "") + set.class_names[i];
    text += "             " + names + (counts.size() > kMostNames ? ", ..." : "") + "\n";
  }

  std::string dataset_, split_ = "both";
  int side_ = 0;
  bool as_stored_ = false;
  std::filesystem::path cache_;
};

}  // namespace

std::unique_ptr<Verb> make_dataset_info_verb() { return std::make_unique<DatasetInfoVerb>(); }

}  // namespace offramp::tools
