// How often the exit of a query is recovered from its real running time (specs/extraction.md 9, E1).
//
//   exit_time_bench [--queries N] [--seed S] [--nets a,b,..] [--exits 2,3,..] [--checkpoints a,b,..]
//
// Victims are the given checkpoints, or nets with random weights, a fresh seed each: the running time of a
// net depends on the layers that it computes, not on what it has learnt. Thresholds are put at the quantiles
// of its confidences that send given shares of the queries to each exit (even, or uneven with at least 4 % at
// the rarest). Each victim is asked behind the black box with as many repetitions as the pilot asks for; then
// both estimators run on the same trace. Nothing is tuned here: every line is the default of `offramp extract
// run`.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "attacks/extraction/images.h"
#include "attacks/extraction/score.h"
#include "attacks/extraction/strategy_search.h"
#include "attacks/extraction/victim.h"
#include "attacks/query/query_run.h"
#include "nets/data/leaves.h"
#include "nets/exits/early_exit.h"
#include "nets/graph/state_dict.h"
#include "stats/exits/exit_estimation.h"

namespace {

using namespace offramp;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

// Share of all queries that should leave at each exit.
std::vector<double> shares(int exits, bool even) {
  std::vector<double> s(static_cast<std::size_t>(exits), 1.0);
  if (!even)
    for (std::size_t e = 1; e < s.size(); ++e) s[e] = s[e - 1] * 0.5;
  const double sum = std::accumulate(s.begin(), s.end(), 0.0);
  for (double& share : s) share = std::max(share / sum, 0.04);
  return s;
}

nets::ExitPolicy policy_with(const nets::ExitOutputs& table, const std::vector<double>& share) {
  const auto width = static_cast<std::size_t>(table.num_exits);
  const std::size_t n = table.confidence.size() / width;
  std::vector<std::size_t> here(n);
  std::iota(here.begin(), here.end(), std::size_t{0});
  nets::ExitPolicy policy{.thresholds = {}, .rule = nets::ExitRule::kAbove};
  for (std::size_t e = 0; e + 1 < width; ++e) {
    const auto leave = std::min(here.size() - 1, static_cast<std::size_t>(share[e] * static_cast<double>(n)));
    std::sort(here.begin(), here.end(), [&](std::size_t a, std::size_t b) {
      return table.confidence[a * width + e] > table.confidence[b * width + e];
    });
    policy.thresholds.push_back(table.confidence[here[leave] * width + e]);
    here.erase(here.begin(), here.begin() + static_cast<std::ptrdiff_t>(leave));
  }
  return policy;
}

// Whether at least 2 % of the queries left at each exit: a net with random weights may be as sure of one
// image as of any other, and then no threshold makes the mix.
bool every_exit_used(const std::vector<std::int32_t>& exits, int num_exits) {
  for (int e = 1; e <= num_exits; ++e)
    if (50 * std::count(exits.begin(), exits.end(), e) < static_cast<std::ptrdiff_t>(exits.size()))
      return false;
  return true;
}

struct Settings {
  int queries = 1000;
  std::uint64_t seed = 20;
  std::vector<std::string> nets = {"small-cnn", "resnet-56", "mobilenet", "vgg-16"}, exits = {"2", "4", "6"},
                           checkpoints;
};

// Empty where the command line is not understood.
std::optional<Settings> settings_of(int argc, char** argv) {
  Settings s;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (i + 1 == argc) return std::nullopt;
    const std::string value = argv[i + 1];
    if (flag == "--queries") {
      s.queries = std::atoi(value.c_str());
    } else if (flag == "--seed") {
      s.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (flag == "--nets") {
      s.nets = split(value);
    } else if (flag == "--exits") {
      s.exits = split(value);
    } else if (flag == "--checkpoints") {
      s.checkpoints = split(value);
    } else {
      return std::nullopt;
    }
  }
  return s.queries > 0 ? std::optional(s) : std::nullopt;
}

// One line of the table: this net as the victim of `images`.
void attack(const nets::Network& net,
            const std::string& name,
            bool even,
            const data::ImageSet& images,
            std::uint64_t seed) {
  fmt::print("{:<10} {:>5} {:<7} ", name, net.num_exits(), even ? "even" : "uneven");
  const auto policy = policy_with(attacks::exit_table(net, images), shares(net.num_exits(), even));
  const auto truth = attacks::behaviour_of(net, policy, images).exit;
  if (!every_exit_used(truth, net.num_exits())) {
    fmt::print("left out: its confidences hardly differ\n");
    return;
  }
  attacks::InProcessBlackBox box(attacks::early_exit_victim(net, policy), net.classes());
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("exit_time_bench.{}", seed);
  const auto trace = attacks::query_victim(
      box, attacks::image_source(images), folder, {.max_repetitions = 60, .seed = seed});
  std::filesystem::remove_all(folder);
  const auto times = trace.times_as_double();
  fmt::print(
      "{:>9.1f} {:>8.1f} {:>4} |", trace.info.gap_ns * 1e-3, trace.info.sigma1_ns * 1e-3, trace.repetitions);
  for (const auto method : {stats::EstimationMethod::kDensity, stats::EstimationMethod::kChangepoints}) {
    const auto found = stats::estimate_exits(
        times, static_cast<std::size_t>(trace.repetitions), {.method = method, .order = trace.order});
    const std::vector<std::int32_t> exits(found.exits.begin(), found.exits.end());
    const auto score = attacks::score_exits(truth, net.num_exits(), exits, static_cast<int>(found.num_exits));
    fmt::print(" {:>9} {:>8.2f} {}",
               found.num_exits,
               100 * score.accuracy,
               method == stats::EstimationMethod::kDensity ? "|" : "\n");
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const auto settings = settings_of(argc, argv);
  if (!settings) {
    fmt::print(stderr,
               "usage: {} [--queries N] [--seed S] [--nets a,b,..] [--exits 2,3,..] [--checkpoints a,b,..]\n",
               argv[0]);
    return 2;
  }
  std::uint64_t seed = settings->seed;
  const auto images = data::synthetic_leaves(settings->queries, 32, seed);
  const Device device = Device::make_cpu({.threads = 1});
  fmt::print("{:<10} {:>5} {:<7} {:>9} {:>8} {:>4} | {:>9} {:>8} | {:>9} {:>8}\n",
             "net",
             "exits",
             "mix",
             "gap us",
             "noise us",
             "r",
             "KDE exits",
             "right %",
             "BCD exits",
             "right %");
  for (const auto& checkpoint : settings->checkpoints) {
    const auto loaded = nets::load_net(checkpoint, device);
    for (const bool even : {true, false})
      attack(*loaded.net, loaded.net->options().name, even, images, ++seed);
  }
  if (!settings->checkpoints.empty()) return 0;
  for (const auto& name : settings->nets) {
    for (const auto& count : settings->exits) {
      for (const bool even : {true, false}) {
        nets::NetOptions options;
        options.name = name;
        options.classes = 10;
        options.channels = 3;
        options.side = 32;
        options.num_exits = std::atoi(count.c_str());
        nets::Network net(options, device);
        nets::initialize(net, ++seed);
        attack(net, name, even, images, seed);
      }
    }
  }
}
