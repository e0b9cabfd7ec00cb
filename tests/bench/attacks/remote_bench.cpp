// The number of exits and the exit of every query, found through HTTP and a network with jitter: a served net of random
// weights, a proxy that holds each answer back for a time of its own, uniform up to --jitter-us, and the black box that
// knows the URL alone. Every run has other weights, pictures and delays.
//
//   remote_bench [--runs 50] [--queries 300] [--net small-cnn] [--side 112] [--exits 4] [--jitter-us 1000] [--repetitions 0]
//                [--seed 1] [--method mixture|kde] [--keep FOLDER]
//
// --keep: times, order and true exit of each run as CSV files, for `extract estimate --times` and for looking at.
// repetitions 0: as the pilot asks for. Exit code 1 where a run finds another number of exits. Run nothing else meanwhile.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "attacks/query/query_run.h"
#include "attacks/query/remote.h"
#include "stats/exits/exit_estimation.h"
#include "tests/support/jitter_proxy.h"
#include "tests/tools/serve/served.h"
#include "tools/serve/net_server.h"

int main(int argc, char** argv) {
  using namespace offramp;
  std::map<std::string, std::string> given = {{"--runs", "50"},
                                              {"--queries", "300"},
                                              {"--net", "small-cnn"},
                                              {"--method", "mixture"},
                                              {"--side", "112"},
                                              {"--exits", "4"},
                                              {"--jitter-us", "1000"},
                                              {"--repetitions", "0"},
                                              {"--seed", "1"},
                                              {"--keep", ""}};
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!given.contains(argv[i])) {
      std::fprintf(stderr, "remote_bench: unknown option %s\n", argv[i]);
      return 2;
    }
    given[argv[i]] = argv[i + 1];
  }
  const auto number = [&](const char* name) { return std::atoi(given[name].c_str()); };
  const int runs = number("--runs"), queries = number("--queries");
  int counted = 0;
  std::int64_t right = 0, all = 0;
  for (int run = 0; run < runs; ++run) {
    const std::uint64_t seed = static_cast<std::uint64_t>(number("--seed") + run);
    nets::NetOptions net;
    net.name = given["--net"];
    net.side = number("--side");
    net.num_exits = number("--exits");
    const test::Served victim_net(net, queries, seed);
    tools::NetServer server({.checkpoint = victim_net.checkpoint});
    server.listen_tcp("127.0.0.1", 0);
    server.start();
    const test::JitterProxy proxy(server.port(), std::chrono::microseconds(number("--jitter-us")), seed);
    attacks::RemoteOptions remote;
    remote.on_wait = [](const std::string& why) { fmt::print(stderr, "remote_bench: {}\n", why); };
    attacks::RemoteBlackBox victim("http://127.0.0.1:" + std::to_string(proxy.port()), remote);
    test::TempFolder folder;
    attacks::QueryOptions query;
    query.repetitions = number("--repetitions");
    query.seed = seed;
    attacks::choose_for_network(query);
    const attacks::Trace trace = attacks::query_victim(victim, victim_net.source(), folder.path(), query);
    if (!given["--keep"].empty()) {
      const auto kept = std::filesystem::path(given["--keep"]) / std::to_string(run + 1);
      std::filesystem::create_directories(kept);
      for (const char* file : {"times.csv", "order.csv"})
        std::filesystem::copy_file(
            folder / file, kept / file, std::filesystem::copy_options::overwrite_existing);
      test::write_text(kept / "exits.csv", fmt::format("exit\n{}\n", fmt::join(victim_net.truth.exit, "\n")));
    }
    stats::EstimationOptions how{.order = trace.order};
    if (given["--method"] == "kde") how.method = stats::EstimationMethod::kDensity;
    const auto estimate =
        stats::estimate_exits(trace.times_as_double(), static_cast<std::size_t>(trace.repetitions), how);
    // Random weights may send nobody to some exit.
    const std::set<int> taken(victim_net.truth.exit.begin(), victim_net.truth.exit.end());
    int same = 0;
    for (std::size_t i = 0; i < victim_net.truth.exit.size(); ++i)
      same += static_cast<int>(estimate.exits[i]) == victim_net.truth.exit[i] ? 1 : 0;
    counted += estimate.num_exits == taken.size() ? 1 : 0;
    right += same;
    all += queries;
    fmt::print(
        "run {:2}: {} exits of {}, {} of {} queries right, {} repetitions, {} of their times, {:.0f} ns noise\n",
        run + 1,
        estimate.num_exits,
        taken.size(),
        same,
        queries,
        trace.repetitions,
        stats::name_of(estimate.statistic),
        estimate.sigma_ns);
    std::fflush(stdout);
  }
  fmt::print("number of exits right in {} of {} runs; {:.3f} % of {} queries right\n",
             counted,
             runs,
             100.0 * static_cast<double>(right) / static_cast<double>(all),
             all);
  return counted == runs ? 0 : 1;
}
