#include "attacks/extraction/scoreboard.h"

#include <algorithm>
#include <limits>

#include "attacks/extraction/images.h"
#include "attacks/extraction/victim.h"
#include "attacks/query/query_run.h"
#include "base/errors.h"

namespace offramp::attacks {
namespace {

// Mean over images of the least time over passes, for each contestant.
std::vector<double> mean_times(const std::vector<Contestant>& contestants,
                               const data::ImageSet& test,
                               const ScoreOptions& options) {
  std::vector<InProcessBlackBox> boxes;
  for (const auto& c : contestants)
    boxes.emplace_back(early_exit_victim(*one_thread_copy(*c.net), c.policy), c.net->classes());
  const int count = std::min(options.timed_images, test.n);
  constexpr int kBlock = 50;
  const ImageSource source = image_source(test);
  std::vector<std::vector<double>> least(
      contestants.size(),
      std::vector<double>(static_cast<std::size_t>(count), std::numeric_limits<double>::infinity()));
  for (int pass = 0; pass < options.timed_passes; ++pass) {
    const auto order = query_order(count, options.seed, pass);
    for (int first = 0; first < count; first += kBlock) {
      const std::span indices(order.data() + first,
                              static_cast<std::size_t>(std::min(kBlock, count - first)));
      const Tensor images = source.load(indices);
      for (std::size_t c = 0; c < contestants.size(); ++c) {
        const Answer answer = boxes[c].query(images, Timing::kPerQuery);
        for (std::size_t i = 0; i < indices.size(); ++i) {
          double& time = least[c][static_cast<std::size_t>(indices[i])];
          time = std::min(time, static_cast<double>(answer.nanoseconds[i]));
        }
        if (options.report) options.report(static_cast<int>(indices.size()));
      }
    }
  }
  std::vector<double> means;
  for (const auto& times : least) {
    double sum = 0;
    for (const double t : times) sum += t;
    means.push_back(sum / count);
  }
  return means;
}

}  // namespace

std::unique_ptr<nets::Network> one_thread_copy(const nets::Network& net) {
  auto copy = std::make_unique<nets::Network>(net.options(), Device::make_cpu({.threads = 1}));
  const auto& from = net.parameters().entries();
  auto& to = copy->parameters().entries();
  for (std::size_t i = 0; i < from.size(); ++i) {
    const auto values = from[i].value.to_host<float>();
    Tensor target = to[i].value;
    target.device().upload(target.raw(), values.data(), target.bytes());
  }
  return copy;
}

std::int64_t images_to_score(std::size_t contestants,
                             const data::ImageSet& test,
                             const data::ImageSet* queries,
                             const ScoreOptions& options) {
  const std::int64_t timed =
      std::int64_t{std::min(options.timed_images, test.n)} * std::max(options.timed_passes, 0);
  return static_cast<std::int64_t>(contestants) * (test.n + (queries != nullptr ? queries->n : 0) + timed);
}

std::vector<ContestantScore> scoreboard(const std::vector<Contestant>& contestants,
                                        const data::ImageSet& test,
                                        const data::ImageSet* queries,
                                        const ScoreOptions& options) {
  if (contestants.empty() || test.n < 1) throw ValueError("score: needs a victim and a test set");
  std::vector<ContestantScore> rows;
  for (const auto& c : contestants) {
    ContestantScore row;
    row.name = c.name;
    row.num_exits = c.net->num_exits();
    row.on_test = behaviour_of(*c.net, c.policy, test, options.report);
    row.accuracy = accuracy_of(row.on_test, test.labels);
    row.spending = spending_of(row.on_test, c.net->costs());
    row.plain_ops_profiler = static_cast<double>(c.net->costs().plain.ops_profiler) * test.n;
    if (queries != nullptr) row.on_queries = behaviour_of(*c.net, c.policy, *queries, options.report);
    const ContestantScore& victim = rows.empty() ? row : rows.front();
    row.test = agreement_of(victim.on_test, row.on_test);
    if (queries != nullptr) row.queries = agreement_of(victim.on_queries, row.on_queries);
    row.ratio_macs = row.spending.macs / victim.spending.macs;
    row.ratio_ops_profiler = row.spending.ops_profiler / victim.spending.ops_profiler;
    rows.push_back(std::move(row));
  }
  if (options.timed_images > 0) {
    const auto times = mean_times(contestants, test, options);
    for (std::size_t c = 0; c < rows.size(); ++c) {
      rows[c].mean_ns = times[c];
      rows[c].ratio_time = times[c] / times.front();
    }
  }
  return rows;
}

}  // namespace offramp::attacks
