// Audit: what the clock tells about the exit and about an attribute of the input (specs/audit.md 2 and 4).
#include "attacks/extraction/exit_times.h"
#include "attacks/extraction/images.h"
#include "attacks/extraction/score.h"
#include "attacks/extraction/stages.h"
#include "attacks/query/pilot.h"
#include "attacks/query/query_run.h"
#include "base/json_file.h"
#include "stats/exits/exit_estimation.h"
#include "stats/membership/attribute_leak.h"
#include "tools/report/figures.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/stats/timing_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace offramp::tools::audit {
namespace {

constexpr int kRepetitions = 10;
constexpr std::size_t kMostInputs = 2000, kLeastInputs = 200;
constexpr double kTimingShare = 0.1;  // of the budget

std::string ns_or_us(double ns) {
  if (std::abs(ns) >= 1e6) return fmt::format("{:.4g} ms", ns / 1e6);
  return std::abs(ns) >= 1e4 ? fmt::format("{:.4g} us", ns / 1e3) : fmt::format("{:.4g} ns", ns);
}
// A figure of the verdict's effect.
std::string of_effect(const stats::TimingVerdict& v, double ns) { return v.compared ? ns_or_us(ns) : "-"; }

// Exits that enough inputs took, from 1.
std::vector<int> common_exits(const Measured& m, std::size_t least) {
  std::vector<std::size_t> count;
  for (const int e : m.exit) {
    if (static_cast<std::size_t>(e) > count.size()) count.resize(static_cast<std::size_t>(e), 0);
    ++count[static_cast<std::size_t>(e) - 1];
  }
  std::vector<int> out;
  for (std::size_t e = 0; e < count.size(); ++e)
    if (count[e] >= least) out.push_back(static_cast<int>(e) + 1);
  return out;
}

stats::TimingTestOptions test_options(const Settings& s, double limit, std::size_t tests) {
  stats::TimingTestOptions o{.limit_ns = limit,
                             .alpha = s.alpha / static_cast<double>(tests),
                             .resamples = s.resamples,
                             .seed = s.seed,
                             .threads = s.threads};
  o.resamples = std::max(o.resamples, static_cast<std::size_t>(std::ceil(2 / o.alpha)));
  return o;
}

// The worst thing said to an attacker, and what of the four it is for all.
Finding finding_of(const std::string& rule,
                   const std::vector<std::pair<stats::Attacker, std::vector<stats::TimingVerdict>>>& said,
                   const std::string& what) {
  using stats::TimingOutcome;
  const char* levels[] = {"note", "warning", "error"};
  for (auto at = said.rbegin(); at != said.rend(); ++at) {
    const stats::TimingVerdict* largest = nullptr;
    for (const auto& v : at->second)
      if (v.outcome == TimingOutcome::kLeaks &&
          (largest == nullptr || std::abs(v.effect.estimate) > std::abs(largest->effect.estimate)))
        largest = &v;
    if (largest == nullptr) continue;
    return {rule,
            Kind::kFail,
            levels[static_cast<int>(at->first)],
            fmt::format("{}: tells to an attacker as far as '{}' ({}): up to {} ({} to {})",
                        what,
                        stats::to_text(at->first),
                        ns_or_us(stats::limit_ns(at->first)),
                        ns_or_us(largest->effect.estimate),
                        ns_or_us(largest->effect.low),
                        ns_or_us(largest->effect.high))};
  }
  bool smaller = !said.empty();
  for (const auto& [attacker, verdicts] : said)
    for (const auto& v : verdicts) smaller = smaller && v.outcome == TimingOutcome::kSmaller;
  if (smaller) return {rule, Kind::kPass, "none", what + ": smaller than every attacker's limit"};
  const bool none = !said.empty() && std::all_of(said.begin(), said.end(), [](const auto& at) {
    return std::all_of(at.second.begin(), at.second.end(), [](const auto& v) {
      return v.outcome == TimingOutcome::kNotMeasured;
    });
  });
  if (none)
    return {
        rule, Kind::kOpen, "none", what + ": could not be measured: " + said.front().second.front().reason};
  return {
      rule,
      Kind::kOpen,
      "none",
      what +
          ": no leak shown, and not shown to be smaller for every attacker; the table says what would decide"};
}

// The passes first, first + 2, .. of all inputs.
Measured every_second_pass(const Measured& m, std::size_t first) {
  Measured out = m;
  out.ns.clear(), out.order.clear();
  for (std::size_t i = 0; i < m.inputs(); ++i)
    for (std::size_t pass = first; pass < m.repetitions; pass += 2) {
      out.ns.push_back(m.ns[i * m.repetitions + pass]);
      if (!m.order.empty()) out.order.push_back(m.order[i * m.repetitions + pass]);
    }
  out.repetitions = (m.repetitions - first + 1) / 2;
  return out;
}

// The second, fourth, .. pass, the exits being those that the first, third, .. show.
Measured grouped_by_other_passes(const Measured& m, unsigned threads) {
  const Measured grouping = every_second_pass(m, 0);
  Measured out = every_second_pass(m, 1);
  const stats::ExitEstimate estimate = exits_shown(grouping, threads);
  out.exit.assign(estimate.exits.begin(), estimate.exits.end());
  return out;
}

// Inputs that are timed: as many as a tenth of the budget has time for. Chosen once, since a clock never says the same
// twice: an audit that goes on takes the number that it began with.
std::size_t timed_inputs(const Work& work, const nets::Network& net, const attacks::ImageSource& all) {
  const std::filesystem::path file = work.folder / "timed_inputs.json";
  if (std::filesystem::exists(file)) {
    const auto kept = json_member<std::size_t>(read_json_file(file), "inputs", file);
    if (kept >= 1 && kept <= static_cast<std::size_t>(all.count)) return kept;
    throw FileError(file.string(), fmt::format("expected 1 to {} inputs, got {}", all.count, kept));
  }
  const auto pilot =
      attacks::exit_times(net, all, {.images = 20, .repetitions = 3, .seed = work.settings.seed});
  std::vector<double> last = pilot.ns.back();
  std::nth_element(last.begin(), last.begin() + static_cast<std::ptrdiff_t>(last.size() / 2), last.end());
  const double each_s = last[last.size() / 2] / 1e9;
  const double room = kTimingShare * work.budget.total() / (each_s * kRepetitions);
  const auto n = std::min<std::size_t>(static_cast<std::size_t>(all.count),
                                       std::clamp(static_cast<std::size_t>(room), kLeastInputs, kMostInputs));
  write_json_file(file, {{"inputs", n}});
  return n;
}

}  // namespace

stats::ExitEstimate exits_shown(const Measured& m, unsigned threads) {
  return stats::estimate_exits(
      m.ns,
      m.repetitions,
      {.method = stats::EstimationMethod::kMixture, .order = m.order, .threads = threads});
}

stats::ClassifiedTimes classified(const Measured& m, const std::vector<int>& side) {
  const std::size_t n = m.inputs();
  stats::ClassifiedTimes t;
  std::vector<std::size_t> at(n);
  for (std::size_t pass = 0; pass < m.repetitions; ++pass) {
    std::iota(at.begin(), at.end(), std::size_t{0});
    if (!m.order.empty())
      for (std::size_t i = 0; i < n; ++i) at[static_cast<std::size_t>(m.order[i * m.repetitions + pass])] = i;
    for (const std::size_t i : at) {
      if (side[i] < 0) continue;
      t.ns.push_back(m.ns[i * m.repetitions + pass]);
      t.is_b.push_back(side[i] != 0 ? 1 : 0);
      if (m.repetitions > 1) t.input.push_back(static_cast<std::int64_t>(i));
    }
  }
  return t;
}

Measured measure(Work& work, const Target& target) {
  const auto& net = *target.loaded->net;
  const std::size_t n = timed_inputs(work, net, attacks::image_source(target.images));
  std::vector<std::int32_t> rows(n);
  std::iota(rows.begin(), rows.end(), 0);
  const data::ImageSet images = data::subset(target.images, rows);
  const attacks::ImageSource source = attacks::image_source(images);
  SessionListener listener(work.session);
  attacks::QueryOptions query;
  query.repetitions = kRepetitions;
  query.seed = work.settings.seed;
  query.victim = target.name;
  query.images = target.images_text;
  const attacks::Trace trace =
      attacks::query_stage(*target.box, images, query, work.folder / "trace", listener);
  Measured m;
  m.ns = trace.times_as_double();
  m.repetitions = static_cast<std::size_t>(trace.repetitions);
  m.order = trace.order;
  for (const int e : attacks::exits_taken(net, target.loaded->policy, source)) m.exit.push_back(e + 1);
  m.attribute.assign(images.labels.begin(), images.labels.end());
  m.attribute_name = "class";
  m.attribute_names = images.class_names;
  return m;
}

Section audit_exit_timing(Work& work, const Measured& m) {
  Section s{.name = "timing", .title = "The exit in the time"};
  const stats::ExitEstimate estimate = exits_shown(m, work.settings.threads);
  s.data["estimated_exits"] = estimate.num_exits;
  if (m.exits_estimated && m.repetitions < 2) {
    s.paragraphs.push_back(fmt::format(
        "The exits are not given. One time of each input shows {} {} ({}), but groups that are made of times cannot be tested on the same times: {}.",
        estimate.num_exits,
        estimate.num_exits == 1 ? "group" : "groups",
        estimate.reliable ? "a reliable estimate" : "not a reliable estimate",
        estimate.advice));
    s.findings.push_back(
        {"exit-timing",
         Kind::kOpen,
         "none",
         "the exit in the time: whether it is the input that decides takes two times of each, or its exit"});
    return s;
  }
  // Groups made of times are tested on other times of the same inputs.
  const Measured judged = m.exits_estimated ? grouped_by_other_passes(m, work.settings.threads) : m;
  const std::vector<int> exits = common_exits(judged, stats::kLeastMeasurements);
  if (exits.size() < 2 && m.exits_estimated) {  // looked for, not left out
    s.paragraphs.push_back("The exits are not given, and the times show no two groups: " + estimate.advice +
                           ".");
    s.findings.push_back({"exit-timing",
                          Kind::kOpen,
                          "none",
                          fmt::format("the exit in the time: no two groups of {} inputs or more are seen",
                                      stats::kLeastMeasurements)});
    return s;
  }
  if (exits.size() < 2)
    return skipped(s.name,
                   s.title,
                   "exit-timing",
                   fmt::format("fewer than two exits answered {} inputs or more", stats::kLeastMeasurements));
  const std::size_t pairs = exits.size() - 1;
  report::Table table{
      .columns = {{"exits", report::Align::kLeft},
                  {"attacker", report::Align::kLeft},
                  {"limit"},
                  {"verdict", report::Align::kLeft},
                  {"effect"},
                  {"from"},
                  {"to"},
                  {"measurements for 90 %"}},
      .caption = fmt::format(
          "Neighbouring exits, alpha {:g} for all together; the decile that differs most. Measurements of each exit find this effect beyond the limit in nine runs of ten",
          work.settings.alpha)};
  std::vector<std::pair<stats::Attacker, std::vector<stats::TimingVerdict>>> said;
  nlohmann::ordered_json verdicts = nlohmann::ordered_json::array();
  stats::TimingVerdict first;
  std::set<std::string> reasons;  // why something could not be measured
  for (const auto& [attacker, name] : stats::kAttackerNames) {
    said.emplace_back(attacker, std::vector<stats::TimingVerdict>{});
    const auto options = test_options(work.settings, stats::limit_ns(attacker), pairs);
    for (std::size_t p = 0; p < pairs; ++p) {
      std::vector<int> side;
      for (const int e : judged.exit) side.push_back(e == exits[p] ? 0 : e == exits[p + 1] ? 1 : -1);
      const stats::ClassifiedTimes times = classified(judged, side);
      const stats::TimingVerdict v = stats::timing_verdict(times, options);
      const bool beyond = v.outcome == stats::TimingOutcome::kLeaks;
      double needed = v.more_needed;
      if (beyond) needed = stats::measurements_needed(times, v.effect.estimate, options);
      table.rows.push_back({fmt::format("{} and {}", exits[p], exits[p + 1]),
                            name,
                            ns_or_us(options.limit_ns),
                            to_text(v.outcome),
                            of_effect(v, v.effect.estimate),
                            of_effect(v, v.effect.low),
                            of_effect(v, v.effect.high),
                            needed > 0 && std::isfinite(needed) ? fmt::format("{:.0f}", needed) : "-"});
      nlohmann::ordered_json json{{"exits", {exits[p], exits[p + 1]}}, {"attacker", name}};
      json.update(tools::json_of(v, options));
      verdicts.push_back(json);
      if (attacker == stats::Attacker::kLan && p == 0) first = v;
      if (v.outcome == stats::TimingOutcome::kNotMeasured) reasons.insert(v.reason);
      said.back().second.push_back(v);
    }
  }
  s.tables.push_back(table);
  for (const auto& reason : reasons) s.paragraphs.push_back("Could not be measured: " + reason + ".");
  s.data["verdicts"] = verdicts;
  s.figures.push_back({decile_chart(fmt::format("Exit {} against exit {}", exits[1], exits[0]),
                                    sentence(first),
                                    first,
                                    stats::limit_ns(stats::Attacker::kLan)),
                       "Differences of the nine deciles of the times, with their common region."});
  s.findings.push_back(finding_of("exit-timing", said, "the exit in the time"));

  // What an attacker makes of it who knows no exit.
  const auto most = *std::max_element(m.exit.begin(), m.exit.end());
  if (!m.exits_estimated) {
    const std::vector<std::int32_t> truth(m.exit.begin(), m.exit.end()),
        found(estimate.exits.begin(), estimate.exits.end());
    const auto score = attacks::score_exits(truth, most, found, static_cast<int>(estimate.num_exits));
    s.data["estimate_accuracy"] = score.accuracy;
    s.paragraphs.push_back(fmt::format(
        "Who knows nothing but the times of {} inputs, {} of each, finds {} exits ({} answered here) and puts {:.2f} % of the inputs to the right one.",
        m.inputs(),
        m.repetitions,
        estimate.num_exits,
        std::set<int>(m.exit.begin(), m.exit.end()).size(),
        100 * score.accuracy));
  } else {
    s.paragraphs.push_back(fmt::format(
        "The exits are not given: all times together show {} ({}). Every second time of each input put the inputs into {} groups, the other times are compared.",
        estimate.num_exits,
        estimate.reliable ? "a reliable estimate" : "not a reliable estimate",
        exits.size()));
  }
  if (m.repetitions >= 2 && m.repetitions % 2 == 0) {
    const auto choice = attacks::choose_repetitions(m.ns, static_cast<int>(m.repetitions), {}, m.order);
    s.data["repetitions_for_single_inputs"] = choice.repetitions;
    s.paragraphs.push_back("To put single inputs to their exits: " + choice.because + ".");
  }
  report::TimeDensity density;
  density.title = "Times by exit";
  density.subtitle = fmt::format("{} inputs, {} each", m.inputs(), stats::name_of(estimate.statistic));
  density.x_label = "time, us";
  density.times_ns = estimate.statistic_ns;
  std::vector<double> sorted = estimate.statistic_ns;
  std::sort(sorted.begin(), sorted.end());
  const double low = sorted.front(),
               high = sorted[static_cast<std::size_t>(0.995 * static_cast<double>(sorted.size() - 1))];
  density.begin_ns = std::max(0.0, low - 0.05 * (high - low));
  density.end_ns = high + 0.05 * (high - low) + 1;
  density.exit = m.exit;
  for (int e = 1; e <= most; ++e) density.exit_names.push_back(fmt::format("exit {}", e));
  density.thresholds_ns = estimate.thresholds_ns;
  s.figures.push_back(
      {report::time_density(density), "What the clock shows; lines: the borders that an attacker finds."});
  return s;
}

Section audit_attribute(Work& work, const Measured& m) {
  Section s{.name = "attribute", .title = "An attribute of the input in exit and time"};
  if (m.attribute.empty())
    return skipped(s.name, s.title, "attribute-timing", "no attribute of the inputs is given (--attribute)");
  std::vector<std::size_t> count(m.attribute_names.size());
  for (const int a : m.attribute) ++count[static_cast<std::size_t>(a)];
  if (std::count_if(count.begin(), count.end(), [](auto c) { return c > 0; }) < 2)
    return skipped(s.name, s.title, "attribute-timing", "all inputs have one " + m.attribute_name);
  const std::vector<std::size_t> attribute(m.attribute.begin(), m.attribute.end());
  const bool exits_known = !m.exits_estimated && !m.exit.empty();
  // Of the exit, of the time, and of each value's difference in time: alpha for all together.
  const double alpha = work.settings.alpha / (exits_known ? 3 : 2);
  stats::AttributeLeakOptions options{.seed = work.settings.seed, .threads = work.settings.threads};
  options.permutations = std::max(options.permutations, static_cast<std::size_t>(std::ceil(2 / alpha)));
  const stats::ExitEstimate estimate = exits_shown(m, work.settings.threads);
  report::Table bits{
      .columns = {{"seen", report::Align::kLeft},
                  {"bits"},
                  {"from"},
                  {"to"},
                  {"p"},
                  {"guess right %"},
                  {"gain"},
                  {"from"},
                  {"to"}},
      .caption = fmt::format(
          "What is learnt about the {} of an input; gain: the best guess beside always naming the commonest",
          m.attribute_name)};
  std::string least_seen;
  double least_p = 1,
         gain = 0;  // of what is named: that with the smaller p, of equal ones that with the larger gain
  const auto row = [&](const char* seen, const std::vector<std::size_t>& observed) {
    const stats::AttributeLeak leak = stats::attribute_leak(observed, attribute, options);
    bits.rows.push_back({seen,
                         fmt::format("{:.4f}", leak.corrected.estimate),
                         fmt::format("{:.4f}", leak.corrected.low),
                         fmt::format("{:.4f}", leak.corrected.high),
                         fmt::format("{:.3g}", leak.p_value),
                         fmt::format("{:.2f}", 100 * leak.accuracy.estimate),
                         fmt::format("{:.3f}", leak.gain.estimate),
                         fmt::format("{:.3f}", leak.gain.low),
                         fmt::format("{:.3f}", leak.gain.high)});
    s.data[seen] = {{"bits", leak.corrected.estimate},
                    {"p_value", leak.p_value},
                    {"gain", leak.gain.estimate},
                    {"gain_low", leak.gain.low}};
    if (least_seen.empty() || leak.p_value < least_p || (leak.p_value == least_p && leak.gain.low > gain))
      least_seen = seen, least_p = leak.p_value, gain = leak.gain.low;
  };
  if (exits_known) row("the exit", {m.exit.begin(), m.exit.end()});
  row("the time", estimate.exits);
  s.tables.push_back(bits);

  // Each value against the rest, for an attacker in the LAN.
  std::size_t tests = 0;
  for (const auto c : count) tests += c >= stats::kLeastMeasurements ? 1 : 0;
  std::vector<std::pair<stats::Attacker, std::vector<stats::TimingVerdict>>> said;
  if (tests > 0 && tests <= 50) {
    report::Table table{
        .columns = {{m.attribute_name, report::Align::kLeft},
                    {"inputs"},
                    {"verdict", report::Align::kLeft},
                    {"effect"},
                    {"from"},
                    {"to"}},
        .caption = fmt::format("Each {} against the rest, LAN (100 ns), alpha {:.3g} for all together",
                               m.attribute_name,
                               alpha)};
    Settings of_values = work.settings;
    of_values.alpha = alpha;
    const auto test = test_options(of_values, stats::limit_ns(stats::Attacker::kLan), tests);
    said.emplace_back(stats::Attacker::kLan, std::vector<stats::TimingVerdict>{});
    for (std::size_t a = 0; a < count.size(); ++a) {
      if (count[a] < stats::kLeastMeasurements) continue;
      std::vector<int> side;
      for (const int of : m.attribute) side.push_back(static_cast<std::size_t>(of) == a ? 1 : 0);
      said.back().second.push_back(stats::timing_verdict(classified(m, side), test));
      const auto& v = said.back().second.back();
      table.rows.push_back({m.attribute_names[a],
                            std::to_string(count[a]),
                            to_text(v.outcome),
                            of_effect(v, v.effect.estimate),
                            of_effect(v, v.effect.low),
                            of_effect(v, v.effect.high)});
    }
    s.tables.push_back(table);
  }
  const bool shown =
      !said.empty() && std::any_of(said[0].second.begin(), said[0].second.end(), [](const auto& v) {
        return v.outcome == stats::TimingOutcome::kLeaks;
      });
  if (least_p <= alpha || shown) {
    s.findings.push_back(
        {"attribute-timing",
         Kind::kFail,
         gain > 1.5 ? "error" : "warning",
         fmt::format(
             "the {} in {}: bits p {:.3g}, {}{}",
             m.attribute_name,
             least_seen,
             least_p,
             gain > 1 ? fmt::format("a guess is right at least {:.3g} times as often as naming the commonest",
                                    gain)
                      : "and yet a guess need not be right more often than naming the commonest",
             shown ? "; some values differ in time beyond 100 ns" : "")});
  } else if (!said.empty() && std::all_of(said[0].second.begin(), said[0].second.end(), [](const auto& v) {
               return v.outcome == stats::TimingOutcome::kSmaller;
             })) {
    s.findings.push_back(
        {"attribute-timing",
         Kind::kPass,
         "none",
         fmt::format(
             "the {} in exit and time: no value differs by more than 100 ns, and no information was found",
             m.attribute_name)});
  } else {
    s.findings.push_back({"attribute-timing",
                          Kind::kOpen,
                          "none",
                          fmt::format("the {} in exit and time: nothing was shown at alpha {:g}",
                                      m.attribute_name,
                                      work.settings.alpha)});
  }
  return s;
}

}  // namespace offramp::tools::audit
