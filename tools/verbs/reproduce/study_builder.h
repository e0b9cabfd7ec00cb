// What the declarations of the studies are built from: numbers read out of the results of a verb, and stages that
// several studies share.
#pragma once
#include "tools/verbs/reproduce/study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <utility>

namespace offramp::tools::reproduce {

using Json = nlohmann::json;
using Values = std::vector<std::pair<const char*, double>>;

// ---- reading results

inline std::optional<double> number(const Json& at) {
  return at.is_number() ? std::optional(at.get<double>()) : std::nullopt;
}
// The object of a list whose `key` says `value`.
inline const Json* find(const Json& list, const char* key, const std::string& value) {
  if (!list.is_array()) return nullptr;
  for (const Json& entry : list)
    if (entry.value(key, std::string()) == value) return &entry;
  return nullptr;
}
inline auto reading(const std::string& pointer, double factor = 1) {
  return [at = Json::json_pointer(pointer), factor](const Json& results) -> std::optional<double> {
    if (!results.contains(at)) return std::nullopt;
    const auto value = number(results[at]);
    return value ? std::optional(*value * factor) : std::nullopt;
  };
}
// Of the net called `net` in the table of an extraction.
inline auto of_net(const std::string& net, const std::string& pointer, double factor = 1) {
  return [net, inner = reading(pointer, factor)](const Json& results) -> std::optional<double> {
    const Json* row = results.contains("nets") ? find(results["nets"], "name", net) : nullptr;
    return row ? inner(*row) : std::nullopt;
  };
}

// ---- building

class Builder {
 public:
  explicit Builder(const Settings& settings) : s_(settings), scale_(settings.scale) {}
  std::vector<Study> take() { return std::move(studies_); }

  void study(std::string name, std::string source, std::string summary) {
    studies_.push_back({std::move(name), std::move(source), std::move(summary)});
  }
  std::string path(const std::string& id) const { return (s_.folder / id).string(); }
  const Scale& scale() const { return scale_; }
  std::string stage(const std::string& id, Words words, bool has_folder = true) {
    auto& stages = studies_.back().stages;
    for (const Stage& s : stages)
      if (s.id == id) return id;
    stages.push_back({id, std::move(words), has_folder});
    return id;
  }
  void row(std::string cell, std::string name, const std::string& stage_id, std::vector<Metric> metrics) {
    studies_.back().rows.push_back({std::move(cell), std::move(name), stage_id, std::move(metrics)});
  }

  std::string data(const std::string& set) const {
    return scale_.small ? "npz:" + path("pictures.npz") : s_.data.at(set);
  }
  // Options that name a net, under the prefix of nothing.
  Words net(const std::string& name) const {
    return scale_.small ? Words{"--net", "small-cnn", "--width-divisor", "4"} : Words{"--net", name};
  }
  int exits(int wanted) const { return wanted; }

  // A trained net, and where it has exits with thresholds that lose at most half a point on samples of its own.
  std::string victim(const std::string& name,
                     const std::string& set,
                     int num_exits,
                     const Words& more = {},
                     const std::string& mark = "") {
    const bool msdnet = name.starts_with("msdnet");
    const std::string id = fmt::format("victims/{}-{}-{}{}", name, set, num_exits, mark);
    Words words{"train",
                "--data",
                data(set),
                "--exits",
                std::to_string(num_exits),
                "--epochs",
                std::to_string(msdnet ? scale_.msdnet_epochs : scale_.victim_epochs),
                "--held-out",
                scale_.small ? "80" : "5000"};
    append(words, net(name));
    append(words, more);
    if (!scale_.small) append(words, {"--augment"});
    if (msdnet) append(words, {"--recipe", "msdnet", "--batch", scale_.small ? "16" : "64"});
    if (scale_.small) append(words, {"--batch", "16"}, msdnet);
    stage(id, words);
    if (num_exits > 1)
      stage(id + "-tuned.json",
            {"tune", path(id), scale_.small ? "--threshold" : "--drop", scale_.small ? "0.6" : "0.5"},
            false);
    return id;
  }

  Words queries(const std::string& set, int count, bool related) const {
    if (scale_.small) return {"--images", fmt::format("npz:{}@train[0:{}]", path("pictures.npz"), count)};
    const int own = related ? count / 10 : 0;  // v1: 10,000 of 100,000 are the victim's training pictures
    Words words;
    if (own > 0) words = {"--images", fmt::format("{}[0:{}]", s_.data.at(set) + "@train", own)};
    append(words, {"--images", fmt::format("{}@train[0:{}]", s_.data.at("unrelated"), count - own)});
    return words;
  }
  Words copy(const std::string& net) const {
    Words words{"--epochs",
                std::to_string(scale_.copy_epochs),
                "--repetitions",
                std::to_string(scale_.repetitions),
                "--timed-images",
                std::to_string(scale_.timed_images)};
    // Every exit of the strategy loss has weight 1, those of the baseline begin near 0: a smaller step.
    if (!scale_.small)
      append(words, {"--learning-rate", net == "resnet-56" ? "0.01" : "0.03", "--knockoff-rate", "0.1"});
    if (scale_.small) append(words, {"--batch", "16", "--learning-rate", "0.05"});
    return words;
  }
  // One extraction; `mark` tells it from others of the same victim.
  std::string extraction(const std::string& victim_id,
                         const std::string& set,
                         const std::string& copy_net,
                         const std::string& mark,
                         const Words& more,
                         bool related = true,
                         int count = 0) {
    const std::string id =
        fmt::format("extractions/{}-by-{}{}", victim_id.substr(victim_id.find('/') + 1), copy_net, mark);
    Words words{"extract", "run", path(victim_id)};
    append(words, queries(set, count > 0 ? count : scale_.queries, related));
    append(words, net(copy_net));
    append(words, copy(copy_net));
    append(words, more);
    return stage(id, words);
  }
  static void append(Words& to, const Words& more, bool unless = false) {
    if (!unless) to.insert(to.end(), more.begin(), more.end());
  }

 private:
  const Settings& s_;
  Scale scale_;
  std::vector<Study> studies_;
};

struct Net {
  const char *name, *label;
};
inline constexpr std::array<Net, 3> kNets{
    {{"vgg-16", "VGG"}, {"resnet-56", "ResNet"}, {"mobilenet", "MobileNet"}}};
struct Set {
  const char *name, *label;
};
inline constexpr std::array<Set, 4> kSets{
    {{"cifar10", "CIFAR10"}, {"gtsrb", "GTSRB"}, {"svhn", "SVHN"}, {"fmnist", "FMNIST"}}};

void extraction_studies(Builder& b);
void membership_studies(Builder& b);
void robustness_studies(Builder& b);

}  // namespace offramp::tools::reproduce
