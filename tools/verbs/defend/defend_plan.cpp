// offramp defend plan: what padding a server's answers would cost and leave, and a defence for `extract query`.
#include "attacks/defences/defence_file.h"
#include "attacks/extraction/exit_times.h"
#include "attacks/extraction/images.h"
#include "base/atomic_file.h"
#include "nets/graph/state_dict.h"
#include "stats/padding/optimum.h"
#include "tools/frame/table.h"
#include "tools/verbs/defend/frontier.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

namespace offramp::tools {
namespace {

using nlohmann::ordered_json;

double quantile_of(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(std::ceil(q * static_cast<double>(values.size() - 1)))];
}

// 256 bits of the system's randomness: a secret must not follow from the seed of a run.
std::string random_secret() {
  std::random_device device;
  std::string secret;
  for (int i = 0; i < 8; ++i) secret += fmt::format("{:08x}", device());
  return secret;
}

class DefendPlanVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "defend plan",
        .group = "Defences",
        .summary = "what padding answers in time costs and leaves, and the least that any padding can leave",
        .example = "offramp defend plan --times 1,2,3,4 --shares 0.4,0.3,0.2,0.1",
        .details =
            "The exits: their times in ms and shares, or a net of yours, whose exits are timed on --images "
            "(one part, with labels: DATASET[@SPLIT][[FIRST:COUNT]]).\n"
            "Shown: every useful way of answering exits in groups, each at its latest exit's time; the "
            "optimum over all random paddings, with a proof that nothing leaks less; TimeGuard's half-normal "
            "delays. Bits: what the time of one answer tells about the exit, or the class of the input.\n"
            "--choose writes defence.json into the run folder, for extract query --defence and defend check:\n"
            "  constant            every answer at the last exit's time\n"
            "  groups:12|34        exits 1 and 2 together, 3 and 4 together\n"
            "  optimal:0.5         the optimum at a mean delay of 0.5 ms\n"
            "  timeguard:0.5       a half-normal delay of sigma 0.5 ms",
        .run_folder = true};
  }

  void declare(Options& o) override {
    o.add("defend.times", times_ms_, "of the exits, in ms");
    o.add("defend.shares", shares_, "of the queries that leave at each exit; sum 1");
    o.add("defend.victim", victim_, "instead: checkpoint or run folder of a net of yours");
    o.add("defend.images", images_, "with --victim: what it is asked");
    o.add("defend.timed_images", timing_.images, "with --victim: images timed through every exit")
        .range(1, 1e6);
    o.add("defend.repetitions", timing_.repetitions, "of each timed image").range(1, 1e4);
    o.add("defend.quantile", quantile_, "of an exit's times that its deadline covers").range(0.5, 1);
    o.add("defend.points", points_, "steps that the optimum's curve is cut into").range(1, 1000);
    o.add("defend.sigmas", sigmas_ms_, "of TimeGuard, in ms; default: shares of the span of the times");
    o.add("defend.choose", choose_, "write this defence to defence.json");
    o.add("defend.hash", hash_, "what tells inputs apart: near-duplicates share a perceptual hash")
        .choices({"perceptual", "average", "average-published", "exact"});
    o.add("defend.secret", secret_, "of the random draws; default: drawn from the system").not_in_config();
  }

  int run(Session& session) override {
    const bool typed = !times_ms_.empty() || !shares_.empty();
    if (typed == !victim_.empty()) throw UsageError("give either --times and --shares or --victim");
    if (typed) refuse_timing_options();
    const std::optional<Choice> choice = parsed_choice();  // before anything is timed
    const attacks::InputSeedOptions seed = seed_options();
    timing_.seed = session.seed();
    // A padding that draws computes a hash for each answer: its deadlines must leave time for that.
    if (choice && choice->kind == "optimal") {
      timing_.also = [seed](const Tensor& image) { attacks::input_uniform(image, seed); };
    }
    std::optional<stats::AttributeExits> by_class;
    stats::PaddedExits exits = typed ? typed_exits() : measured_exits(session, by_class);
    exits = stats::checked(exits);
    std::vector<double> sigmas_ns;
    for (const double sigma : sigmas_ms_) sigmas_ns.push_back(sigma * 1e6);
    const double span = exits.times.back() - exits.times.front();
    for (const double share : {.1, .25, .5, 1., 2.}) {
      if (sigmas_ms_.empty() && span > 0) sigmas_ns.push_back(share * span);
    }
    const Frontier frontier = frontier_of(exits, by_class ? &*by_class : nullptr, points_, sigmas_ns);
    std::optional<attacks::Defence> defence;
    if (choice) defence = chosen(*choice, exits, seed);

    RunFolder& folder = session.folder();
    Table table({"exit", "deadline ms", victim_.empty() ? "share %" : "share %, half a query added"});
    for (std::size_t k = 0; k < exits.times.size(); ++k) {
      table.row({std::to_string(k + 1),
                 fmt::format("{:.6f}", exits.times[k] / 1e6),
                 fmt::format("{:.2f}", 100 * exits.shares[k])});
    }
    ordered_json json{{"deadlines_ns", exits.times}, {"shares", exits.shares}};
    json.update(json_of(frontier));
    std::string text = table.text() + "\n" + text_of(frontier);
    const std::filesystem::path plot = folder.folder("plots") / "padding.svg";
    write_file_atomically(
        plot,
        plot_of(frontier,
                fmt::format("{} exits, mean {:.4g} ms", exits.times.size(), frontier.mean_ns / 1e6)));
    json["plot"] = plot.string();
    if (defence) {
      const std::filesystem::path path = folder.file("defence.json");
      attacks::write_defence(path, *defence);
      json["defence"] = path.string();
      text +=
          fmt::format("\n{}: {}. It holds the secret: keep it to yourself.\n", path.string(), defence->name);
    }
    folder.results(json);
    folder.done();
    session.answer(text, json);
    return kDone;
  }

 private:
  static constexpr double kQuantile = 0.99;

  // By their values: the settings of a run that is resumed name every option.
  void refuse_timing_options() const {
    const attacks::ExitTimeOptions usual;
    const std::pair<const char*, bool> chosen[] = {
        {"--images", !images_.empty()},
        {"--timed-images", timing_.images != usual.images},
        {"--repetitions", timing_.repetitions != usual.repetitions},
        {"--quantile", quantile_ != kQuantile}};
    for (const auto& [flag, is_chosen] : chosen) {
      if (is_chosen)
        throw UsageError(
            fmt::format("{}: says how the exits of --victim are timed, and --times are given", flag));
    }
  }

  struct Choice {
    std::string kind, groups;
    double ns = 0;
  };

  stats::PaddedExits typed_exits() const {
    stats::PaddedExits exits{times_ms_, shares_};
    try {
      static_cast<void>(stats::checked(exits));  // in the unit that was typed
    } catch (const ValueError& error) {
      throw UsageError(std::string("--times in ms, --shares: ") + error.what());
    }
    for (double& time : exits.times) time *= 1e6;
    return exits;
  }

  stats::PaddedExits measured_exits(Session& session, std::optional<stats::AttributeExits>& by_class) const {
    if (images_.empty()) throw UsageError("--victim wants --images");
    const nets::LoadedNet loaded = nets::load_net(checkpoint_of(victim_), Device::make_cpu({.threads = 1}));
    const data::ImageSet set = open_labelled_images(session, images_, loaded.net->input());
    const attacks::ImageSource images = attacks::image_source(set);
    const std::vector<int> exit = attacks::exits_taken(*loaded.net, loaded.policy, images);
    const attacks::ExitTimes times = attacks::exit_times(*loaded.net, images, timing_);
    const std::size_t n = times.ns.size();
    stats::PaddedExits exits{{}, std::vector<double>(n)};
    for (const auto& ns : times.ns) exits.times.push_back(quantile_of(ns, quantile_));
    for (std::size_t k = 1; k < n; ++k) {
      if (exits.times[k] > exits.times[k - 1]) continue;
      throw DataError(fmt::format(
          "exit {} took {:.4g} ms and exit {} {:.4g} ms: the machine is too noisy for these exits; "
          "stop what else runs, or raise --repetitions or lower --quantile",
          k,
          exits.times[k - 1] / 1e6,
          k + 1,
          exits.times[k] / 1e6));
    }
    // Half a query more for each exit: one that nobody took in this sample may be taken tomorrow.
    stats::AttributeExits joint{exits.times, {}, static_cast<std::size_t>(set.num_classes())};
    joint.joint.assign(joint.attributes * n, 0);
    const double total = static_cast<double>(exit.size()) + .5 * static_cast<double>(n);
    for (std::size_t i = 0; i < exit.size(); ++i) {
      const auto k = static_cast<std::size_t>(exit[i]);
      exits.shares[k] += 1 / total;
      joint.joint[static_cast<std::size_t>(set.labels[i]) * n + k] += 1 / total;
    }
    for (std::size_t k = 0; k < n; ++k) {
      exits.shares[k] += .5 / total;
      for (std::size_t a = 0; a < joint.attributes; ++a) {
        joint.joint[a * n + k] += .5 / total / static_cast<double>(joint.attributes);
      }
    }
    by_class = std::move(joint);
    return exits;
  }

  attacks::InputSeedOptions seed_options() const {
    attacks::InputSeedOptions seed;
    seed.hash = attacks::input_hash_from(hash_);
    seed.secret = secret_.empty() ? random_secret() : secret_;
    return seed;
  }

  // --choose, read; nothing where it was not given.
  std::optional<Choice> parsed_choice() const {
    if (choose_.empty()) return std::nullopt;
    const std::size_t colon = choose_.find(':');
    const std::string value = colon == std::string::npos ? "" : choose_.substr(colon + 1);
    Choice choice{choose_.substr(0, colon), value};
    if (choice.kind == "groups" || choose_ == "constant") return choice;
    if (choice.kind != "optimal" && choice.kind != "timeguard") {
      throw UsageError(fmt::format(
          "--choose: expected constant, groups:12|34, optimal:MS or timeguard:MS, got '{}'", choose_));
    }
    double ms = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ms);
    if (error != std::errc{} || end != value.data() + value.size() || !(ms > 0)) {
      throw UsageError(fmt::format("--choose {}: expected a number of ms above 0 behind the colon", choose_));
    }
    choice.ns = ms * 1e6;
    return choice;
  }

  attacks::Defence chosen(const Choice& choice,
                          const stats::PaddedExits& exits,
                          const attacks::InputSeedOptions& seed) const {
    attacks::Defence defence;
    if (choice.kind == "timeguard") {
      defence.time_guard = attacks::TimeGuardOptions{.sigma_ns = choice.ns, .seed = seed};
      defence.name = fmt::format("TimeGuard, sigma {:.6g} ms", choice.ns / 1e6);
      return defence;
    }
    const stats::Padding padding = choice.kind == "constant" ? stats::constant_time(exits)
                                   : choice.kind == "groups"
                                       ? stats::padding_of(exits, stats::parse_grouping(choice.groups, exits))
                                       : stats::optimal_padding_within(exits, choice.ns);
    defence.padding = attacks::PaddingPlan{exits.times, padding.channel, seed};
    defence.name = fmt::format(
        "padding {}, mean delay {:.4g} ms, {:.4f} bits", choose_, padding.delay / 1e6, padding.bits);
    return defence;
  }

  std::vector<double> times_ms_, shares_, sigmas_ms_;
  std::filesystem::path victim_;
  std::string images_, choose_, hash_ = "perceptual", secret_;
  attacks::ExitTimeOptions timing_;
  double quantile_ = kQuantile;
  int points_ = 10;
};

}  // namespace

std::unique_ptr<Verb> make_defend_plan_verb() { return std::make_unique<DefendPlanVerb>(); }

}  // namespace offramp::tools
