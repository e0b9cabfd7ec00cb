// offramp defend check: what the clock still tells when a defence stands before a net of ours, beside what was promised.
#include "attacks/defences/defence_file.h"
#include "attacks/extraction/exit_times.h"
#include "attacks/extraction/images.h"
#include "attacks/extraction/victim.h"
#include "attacks/query/pilot.h"
#include "nets/graph/state_dict.h"
#include "stats/mutual_information.h"
#include "stats/padding/half_normal.h"
#include "stats/padding/padding.h"
#include "tools/frame/interrupt.h"
#include "tools/frame/table.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

namespace offramp::tools {
namespace {

using nlohmann::ordered_json;

// Times [images][repetitions] of a victim, each pass in a new random order.
std::vector<std::vector<double>> asked(Session& session,
                                       attacks::InProcessBlackBox victim,
                                       const attacks::ImageSource& images,
                                       int repetitions,
                                       const std::string& what) {
  std::vector<std::vector<double>> times(static_cast<std::size_t>(images.count));
  constexpr int kBlock = 100;
  std::uint64_t done = 0;
  Progress progress(session.log,
                    what,
                    static_cast<std::uint64_t>(images.count) * static_cast<std::uint64_t>(repetitions),
                    "queries");
  for (int pass = 0; pass < repetitions; ++pass) {
    const auto order = attacks::shuffled(images.count, session.seed(), static_cast<std::uint32_t>(pass));
    for (int first = 0; first < images.count; first += kBlock) {
      throw_if_interrupted();
      const std::span rows(order.data() + first,
                           static_cast<std::size_t>(std::min(kBlock, images.count - first)));
      const attacks::Answer answer = victim.query(images.load(rows), attacks::Timing::kPerQuery);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        times[static_cast<std::size_t>(rows[i])].push_back(static_cast<double>(answer.nanoseconds[i]));
      }
      progress.update(done += rows.size());
    }
  }
  return times;
}

struct Leak {
  double mean_ns = 0, bits = 0, p_value = 0;
};

// Of one time per image: the first that was taken, or the least of all.
Leak leak_of(const std::vector<std::vector<double>>& times,
             const std::vector<int>& exits,
             bool least,
             std::uint64_t seed) {
  std::vector<double> one;
  for (const auto& all : times)
    one.push_back(least ? *std::min_element(all.begin(), all.end()) : all.front());
  const std::vector<std::size_t> labels(exits.begin(), exits.end());
  return {std::accumulate(one.begin(), one.end(), 0.0) / static_cast<double>(one.size()),
          stats::mutual_information(one, labels).corrected,
          stats::independence_p_value(one, labels, 0, 199, seed)};
}

class DefendCheckVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "defend check",
        .group = "Defences",
        .summary = "what the clock still tells with a defence before a net of yours",
        .example =
            "offramp defend check --victim out/small --defence out/defend/defence.json --images "
            "fashion-mnist@test[0:2000]",
        .details =
            "Asks every image with and without the defence, one at a time on one pinned core, and compares the "
            "times with the exits that were really taken: bits that one answer's time tells about the exit "
            "(Miller-Madow), a permutation p value for 'nothing', and the same for the least of several "
            "answers to one image. Promised: what the plan leaves where answers keep their deadlines.\n"
            "Run nothing else meanwhile."};
  }
  void declare(Options& o) override {
    o.add("check.victim", victim_, "checkpoint, or run folder with one").required();
    o.add("check.defence", defence_, "defence.json of defend plan --choose").required();
    o.add("check.images", images_, "what to ask: DATASET[@SPLIT][[FIRST:COUNT]]").required();
    o.add("check.repetitions", repetitions_, "answers to each image").range(1, 1000);
  }
  int run(Session& session) override {
    const attacks::Defence defence = attacks::read_defence(defence_);
    const nets::LoadedNet loaded = nets::load_net(checkpoint_of(victim_), Device::make_cpu({.threads = 1}));
    const nets::Network& net = *loaded.net;
    attacks::check(defence, net.num_exits());
    const data::ImageSet set = open_labelled_images(session, images_, net.input());
    const attacks::ImageSource images = attacks::image_source(set);
    const std::vector<int> exits = attacks::exits_taken(net, loaded.policy, images);
    const auto plain = attacks::early_exit_victim(net, loaded.policy);
    const auto without = asked(session, {plain, net.classes()}, images, repetitions_, "without");
    const auto with =
        asked(session,
              {attacks::defended(plain, attacks::exit_victim(net, loaded.policy), defence), net.classes()},
              images,
              repetitions_,
              "with");

    std::vector<double> shares(static_cast<std::size_t>(net.num_exits()));
    for (const int exit : exits)
      shares[static_cast<std::size_t>(exit)] += 1 / static_cast<double>(exits.size());
    const std::optional<double> promised = promised_bits(defence, shares, exits, without);
    Table table({"answers",
                 "mean ms",
                 "bits, one answer",
                 "p",
                 "bits, least of " + std::to_string(repetitions_),
                 "p"});
    ordered_json json{
        {"defence", defence.name}, {"images", set.n}, {"shares", shares}, {"promised_bits", nullptr}};
    if (promised) json["promised_bits"] = *promised;
    const auto row = [&](const char* name, const std::vector<std::vector<double>>& times) {
      const Leak one = leak_of(times, exits, false, session.seed()),
                 least = leak_of(times, exits, true, session.seed());
      table.row({name,
                 fmt::format("{:.4f}", one.mean_ns / 1e6),
                 fmt::format("{:.4f}", one.bits),
                 fmt::format("{:.3f}", one.p_value),
                 fmt::format("{:.4f}", least.bits),
                 fmt::format("{:.3f}", least.p_value)});
      json[name] = {{"mean_ns", one.mean_ns},
                    {"bits", one.bits},
                    {"p_value", one.p_value},
                    {"bits_of_least", least.bits},
                    {"p_value_of_least", least.p_value}};
    };
    row("without", without);
    row("with", with);
    std::string text = table.text();
    text +=
        promised
            ? fmt::format("promised by '{}': {:.4f} bits\n", defence.name, *promised)
            : fmt::format(
                  "promised by '{}': not known, a later exit was no slower here (more images, or a quieter "
                  "machine, would tell)\n",
                  defence.name);
    if (defence.padding) text += late_text(*defence.padding, images, exits, with, json);
    session.answer(text, json);
    return kDone;
  }

 private:
  // Nothing where the exits' times without the defence do not ascend, as noise makes of rare ones.
  static std::optional<double> promised_bits(const attacks::Defence& defence,
                                             const std::vector<double>& shares,
                                             const std::vector<int>& exits,
                                             const std::vector<std::vector<double>>& times) {
    // Exits that nobody took here tell nothing and have no time.
    std::vector<std::size_t> taken;
    for (std::size_t k = 0; k < shares.size(); ++k) {
      if (shares[k] > 0) taken.push_back(k);
    }
    if (defence.time_guard) {
      stats::PaddedExits clean;
      for (const std::size_t k : taken) {
        std::vector<double> all;
        for (std::size_t i = 0; i < exits.size(); ++i)
          if (static_cast<std::size_t>(exits[i]) == k)
            all.insert(all.end(), times[i].begin(), times[i].end());
        std::sort(all.begin(), all.end());
        clean.times.push_back(all[all.size() / 2]);
        clean.shares.push_back(shares[k]);
        if (clean.times.size() > 1 && clean.times.back() <= clean.times[clean.times.size() - 2])
          return std::nullopt;
      }
      return stats::half_normal_leak(clean, defence.time_guard->sigma_ns, defence.time_guard->cap_ns).bits;
    }
    // The shares of the plan are not those of these images: exits without any get a share that adds nothing.
    stats::PaddedExits exits_now{defence.padding->deadlines_ns, shares};
    for (double& share : exits_now.shares) share = std::max(share, 1e-12);
    return stats::evaluate_padding(exits_now, defence.padding->channel).bits;
  }

  // Answers that were ready only behind their deadline: these tell more than was promised.
  static std::string late_text(const attacks::PaddingPlan& plan,
                               const attacks::ImageSource& images,
                               const std::vector<int>& exits,
                               const std::vector<std::vector<double>>& times,
                               ordered_json& json) {
    constexpr double kReturnNs = 3000;  // reading the clock and coming back
    std::int64_t late = 0, all = 0;
    for (std::int32_t i = 0; i < images.count; ++i) {
      const auto row = static_cast<std::size_t>(i);
      const double u = attacks::draws(plan) ? attacks::input_uniform(images.load({&i, 1}), plan.seed) : 0.5;
      const auto at = static_cast<std::size_t>(attacks::deadline_of(plan, exits[row], u));
      for (const double t : times[row]) late += t > plan.deadlines_ns[at] + kReturnNs;
      all += static_cast<std::int64_t>(times[row].size());
    }
    json["late"] = late;
    json["answers"] = all;
    return fmt::format("{} of {} answers were ready only after their deadline{}\n",
                       late,
                       all,
                       late * 100 > all ? ": plan with a higher --quantile, on the machine that serves" : "");
  }

  std::filesystem::path victim_, defence_;
  std::string images_;
  int repetitions_ = 5;
};

}  // namespace

std::unique_ptr<Verb> make_defend_check_verb() { return std::make_unique<DefendCheckVerb>(); }

}  // namespace offramp::tools
