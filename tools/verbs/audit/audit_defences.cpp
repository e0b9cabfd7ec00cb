// Audit: what padding of the answers costs and leaves, by plan (stats/padding) and, where there is a model, measured
// behind a real one.
#include "attacks/defences/defence_file.h"
#include "attacks/extraction/exit_times.h"
#include "attacks/extraction/images.h"
#include "attacks/extraction/victim.h"
#include "attacks/query/pilot.h"
#include "stats/padding/padding.h"
#include "tools/frame/interrupt.h"
#include "tools/frame/table.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/defend/frontier.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace offramp::tools::audit {
namespace {

constexpr double kDeadlineQuantile = 0.99;
constexpr std::size_t kCheckedImages = 400;
constexpr std::size_t kLeastChecked = 100;
constexpr int kCheckedRepetitions = 5;
constexpr double kCheckShare = 0.1;  // of the budget

double quantile_in(std::vector<double> values, double level) {
  const auto at = static_cast<std::size_t>(level * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

// Nothing to hide: one exit in the net, or one in use.
std::string why_none(const Target& target, const Measured& m) {
  if (m.exit.empty() || (target.loaded && target.loaded->net->num_exits() < 2))
    return "there is one exit only";
  return fmt::format("all inputs left at exit {}{}, so the time tells nothing of the exit",
                     m.exit.front(),
                     target.loaded ? fmt::format(" of {}", target.loaded->net->num_exits()) : "");
}

std::string us(double ns) { return fmt::format("{:.2f}", ns / 1e3); }

}  // namespace

Section audit_defences(Work& work, const Target& target, const Measured& m) {
  Section s{.name = "defences", .title = "What defences cost"};
  const int exits = m.exit.empty() ? 0 : *std::max_element(m.exit.begin(), m.exit.end());
  if (exits < 2) return skipped(s.name, s.title, "defence", why_none(target, m));
  // Deadlines: of the exits' own times, exits that nobody took left out.
  stats::PaddedExits padded;
  std::vector<int> kept;
  for (int e = 1; e <= exits; ++e) {
    std::vector<double> times;
    double inputs = 0;
    for (std::size_t i = 0; i < m.inputs(); ++i) {
      if (m.exit[i] != e) continue;
      inputs += 1;
      times.insert(times.end(),
                   m.ns.begin() + static_cast<std::ptrdiff_t>(i * m.repetitions),
                   m.ns.begin() + static_cast<std::ptrdiff_t>((i + 1) * m.repetitions));
    }
    if (inputs == 0) continue;
    const double deadline = quantile_in(std::move(times), kDeadlineQuantile);
    if (!padded.times.empty() && deadline <= padded.times.back())
      return skipped(
          s.name,
          s.title,
          "defence",
          fmt::format(
              "the machine is too busy: {:.0f} % of the answers of exit {} take as long as those of exit {}",
              100 * kDeadlineQuantile,
              e,
              kept.back()));
    padded.times.push_back(deadline);
    padded.shares.push_back(inputs / static_cast<double>(m.inputs()));
    kept.push_back(e);
  }
  if (kept.size() < 2) return skipped(s.name, s.title, "defence", why_none(target, m));
  padded = stats::checked(padded);
  std::optional<stats::AttributeExits> attribute;
  if (!m.attribute.empty()) {
    attribute = stats::AttributeExits{padded.times, {}, 0};
    std::vector<int> values(m.attribute);
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    attribute->attributes = values.size();
    attribute->joint.assign(values.size() * kept.size(), 0);
    for (std::size_t i = 0; i < m.inputs(); ++i) {
      const auto a = static_cast<std::size_t>(std::lower_bound(values.begin(), values.end(), m.attribute[i]) -
                                              values.begin());
      const auto k = static_cast<std::size_t>(std::find(kept.begin(), kept.end(), m.exit[i]) - kept.begin());
      attribute->joint[a * kept.size() + k] += 1 / static_cast<double>(m.inputs());
    }
  }
  const double span = padded.times.back() - padded.times.front();
  const Frontier frontier = frontier_of(padded, attribute ? &*attribute : nullptr, 6, {.25 * span, span});
  report::Table table{
      .columns = {{"padding", report::Align::kLeft},
                  {"mean delay us"},
                  {"bits of the exit"},
                  {"no padding of this delay leaves less"},
                  {"bits of the attribute"}},
      .caption = fmt::format(
          "Promised, with each exit's {:.0f} % quantile as its deadline; answers at the deadline of their own exit take {} us on average",
          100 * kDeadlineQuantile,
          us(frontier.mean_ns))};
  for (const auto* rows : {&frontier.groupings, &frontier.optimum, &frontier.time_guard}) {
    for (const FrontierRow& row : *rows)
      table.rows.push_back({row.padding,
                            us(row.delay_ns),
                            fmt::format("{:.4f}", row.bits),
                            fmt::format("{:.4f}", row.bound_bits),
                            row.attribute_bits ? fmt::format("{:.4f}", *row.attribute_bits) : "-"});
  }
  s.tables.push_back(table);
  s.data["frontier"] = json_of(frontier);
  s.figures.push_back({plot_of(frontier, "promised by the plan"),
                       "Delay against what one answer's time tells about the exit."});
  if (!target.loaded) {
    s.findings.push_back(
        {"defence",
         Kind::kOpen,
         "none",
         target.source == Source::kServed
             ? "planned only: nothing can be put behind a defence from outside; offramp serve --defence does, and an audit of that measures it"
             : "planned only: with recorded times nothing can be measured behind a defence"});
    return s;
  }

  // Constant time, for real: deadlines for every exit, all answers at the last.
  const nets::Network& net = *target.loaded->net;
  const attacks::ImageSource all = attacks::image_source(target.images);
  const auto exit_times =
      attacks::exit_times(net, all, {.images = 100, .repetitions = 5, .seed = work.settings.seed});
  attacks::PaddingPlan plan;
  double deadline = 0;
  for (const auto& ns : exit_times.ns)
    plan.deadlines_ns.push_back(deadline = std::max(deadline + 1, quantile_in(ns, 0.995)));
  const std::size_t k = plan.deadlines_ns.size();
  plan.channel.assign(k * k, 0);
  for (std::size_t e = 0; e < k; ++e) plan.channel[e * k + k - 1] = 1;
  plan.seed.secret = "not used by a padding that draws nothing";
  attacks::Defence defence;
  defence.name = "constant time";
  defence.padding = plan;
  const auto plain = attacks::early_exit_victim(net, target.loaded->policy);
  attacks::InProcessBlackBox box(
      attacks::defended(plain, attacks::exit_victim(net, target.loaded->policy), defence), net.classes());
  Measured after;
  const double room =
      kCheckShare * work.budget.total() / (plan.deadlines_ns.back() / 1e9 * kCheckedRepetitions);
  const auto n =
      std::min({kCheckedImages, m.inputs(), std::max(kLeastChecked, static_cast<std::size_t>(room))});
  after.repetitions = kCheckedRepetitions;
  after.ns.resize(n * kCheckedRepetitions);
  after.order.resize(after.ns.size());
  after.exit.assign(m.exit.begin(), m.exit.begin() + static_cast<std::ptrdiff_t>(n));
  Progress progress(work.session.log, "behind constant time", n * kCheckedRepetitions, "queries");
  for (int pass = 0; pass < kCheckedRepetitions; ++pass) {
    throw_if_interrupted();
    const auto order =
        attacks::shuffled(static_cast<int>(n), work.settings.seed, 900u + static_cast<std::uint32_t>(pass));
    const attacks::Answer answer = box.query(all.load(order), attacks::Timing::kPerQuery);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at =
          static_cast<std::size_t>(order[i]) * kCheckedRepetitions + static_cast<std::size_t>(pass);
      after.ns[at] = static_cast<double>(answer.nanoseconds[i]);
      after.order[at] = static_cast<std::int32_t>(i);
    }
    progress.update(static_cast<std::uint64_t>(pass + 1) * n);
  }
  Section measured = audit_exit_timing(work, after);
  const double before_us =
                   std::accumulate(m.ns.begin(), m.ns.end(), 0.0) / static_cast<double>(m.ns.size()) / 1e3,
               after_us = std::accumulate(after.ns.begin(), after.ns.end(), 0.0) /
                          static_cast<double>(after.ns.size()) / 1e3;
  s.data["constant_time"] = {
      {"mean_us_before", before_us}, {"mean_us_after", after_us}, {"timing", measured.data}};
  s.paragraphs.push_back(fmt::format(
      "Constant time, measured on {} inputs: an answer takes {:.2f} us instead of {:.2f} us on average.",
      n,
      after_us,
      before_us));
  if (!measured.skipped.empty()) {
    s.findings.push_back({"defence", Kind::kOpen, "none", "behind constant time: " + measured.skipped});
    return s;
  }
  measured.tables[0].caption = "Behind constant time. " + measured.tables[0].caption;
  s.tables.push_back(measured.tables[0]);
  Finding finding = measured.findings[0];
  finding.rule = "defence";
  finding.message = fmt::format(
      "behind constant time (answers {:.2f} times as late): {}", after_us / before_us, finding.message);
  s.findings.push_back(finding);
  return s;
}

}  // namespace offramp::tools::audit
