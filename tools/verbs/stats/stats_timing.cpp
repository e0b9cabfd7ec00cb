// offramp stats timing: can an attacker tell two classes of inputs apart by time? And how many measurements would show it.
#include "base/atomic_file.h"
#include "base/number_table.h"
#include "tools/report/svg_writer.h"
#include "tools/verbs/stats/timing_text.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace offramp::tools {
namespace {

class StatsTimingVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "stats timing",
        .group = "Statistics",
        .summary = "a verdict on the times of two classes of inputs, or how many measurements it takes",
        .example = "offramp stats timing times.csv --class exit --a 1 --b 2 --attacker lan",
        .details =
            "The CSV file has a row a measurement, in the order measured, the classes mixed at random: a column of the class\n"
            "(any words) and one of the time. Verdicts: leaks (some decile of the times differs by more than the attacker's\n"
            "limit; effect in ns with an interval), smaller (none does), inconclusive (with the number of measurements that\n"
            "would decide), could not be measured (the clock's step is larger than the limit, the times drift or were not\n"
            "mixed, a class differs from itself). Both first ones are wrong with probability alpha at most, all deciles\n"
            "together. Classes in random order are drawn again over the same times; with --input, where inputs were measured\n"
            "several times, over whole inputs. In another order neighbouring times are resampled in blocks. Beside it the\n"
            "decile test of RTLF (USENIX Security 2024), which takes measurements for independent and any difference for a\n"
            "leak.\n"
            "Attackers: same-core 1 ns, lan 100 ns, internet 50 us; or --limit-ns. Before measuring: --plan NS on a pilot (of\n"
            "both classes or one) prints how many measurements of each class find a difference of NS."};
  }
  void declare(Options& o) override {
    o.add("timing.table", table_, "CSV file").positional().required();
    o.add("timing.class", class_, "column of the class; without it the file is a pilot of one class");
    o.add("timing.time", time_, "column of the time");
    o.add("timing.input", input_, "column that names the input, where inputs were measured several times");
    o.add("timing.a", a_, "one class; default: the first in the alphabet");
    o.add("timing.b", b_, "the other; default: all the rest");
    o.add("timing.unit_ns", unit_ns_, "of the time, in nanoseconds; seconds: 1e9").range(1e-3, 1e12);
    o.add_choice("timing.attacker", attacker_, stats::kAttackerNames, "who looks at the clock");
    o.add("timing.limit_ns", limit_ns_, "instead: differences up to it are of no use to the attacker")
        .range(0, 1e12);
    o.add("timing.alpha", test_.alpha, "chance of a wrong verdict").range(1e-4, 0.4);
    o.add("timing.resamples", resamples_, "of the bootstrap").range(99, 1e6);
    o.add("timing.plan", plan_ns_, "plan for a difference of so many ns instead of judging").range(0, 1e12);
    o.add("timing.power", test_.power, "of the plan").range(0.01, 0.999);
    o.add("timing.plot", plot_, "SVG file of the deciles").not_in_config().written();
  }
  int run(Session& session) override {
    test_.seed = session.seed();
    test_.threads = static_cast<unsigned>(session.threads());
    test_.limit_ns = limit_ns_.value_or(stats::limit_ns(attacker_));
    test_.resamples = static_cast<std::size_t>(resamples_);
    if (test_.alpha * static_cast<double>(resamples_ + 1) < 1)
      throw UsageError(fmt::format(
          "--resamples: alpha {} takes {} at least", test_.alpha, std::ceil(1 / test_.alpha) - 1));
    std::string name_a, name_b;
    const stats::ClassifiedTimes times = read(name_a, name_b);
    return plan_ns_ ? plan(session, times) : judge(session, times, name_a, name_b);
  }

 private:
  stats::ClassifiedTimes read(std::string& name_a, std::string& name_b) const {
    const NumberTable table = read_number_table(table_);
    stats::ClassifiedTimes t;
    const std::vector<double> ns = table.numbers(time_);
    std::vector<std::int64_t> input;
    if (!input_.empty()) {
      std::map<std::string, std::int64_t> of;
      for (const std::string& word : table.words(input_))
        input.push_back(of.try_emplace(word, static_cast<std::int64_t>(of.size())).first->second);
    }
    std::vector<std::string> words(table.rows());
    if (class_.empty()) {
      if (!plan_ns_)
        throw UsageError(
            "stats timing: name the column of the class with --class, or --plan for a pilot of one");
    } else {
      words = table.words(class_);
      const std::set<std::string> known(words.begin(), words.end());
      name_a = a_.empty() ? *known.begin() : a_;
      name_b =
          b_.empty()
              ? (known.size() == 2
                     ? *std::find_if(known.begin(), known.end(), [&](const auto& w) { return w != name_a; })
                     : "the rest")
              : b_;
      for (const std::string& name : {a_, b_}) {
        if (name.empty() || known.count(name) != 0) continue;
        std::string list;
        for (const auto& word : known) list += (list.empty() ? "'" : ", '") + word + "'";
        throw UsageError(
            fmt::format("{}: no '{}' in column {}; there are {}", table_.string(), name, class_, list));
      }
      if (name_a == name_b) throw UsageError("stats timing: --a and --b name the same class");
    }
    for (std::size_t i = 0; i < table.rows(); ++i) {
      const bool is_a = words[i] == name_a;
      if (!is_a && !b_.empty() && words[i] != b_) continue;
      if (!(ns[i] >= 0 && std::isfinite(ns[i])))
        throw FileError(
            table_.string(),
            fmt::format("line {}: expected a time of at least 0, found {}", table.line_of(i), ns[i]));
      t.ns.push_back(ns[i] * unit_ns_);
      t.is_b.push_back(is_a ? 0 : 1);
      if (!input.empty()) t.input.push_back(input[i]);
    }
    return t;
  }

  int plan(Session& session, const stats::ClassifiedTimes& pilot) const {
    const double n = stats::measurements_needed(pilot, *plan_ns_, test_);
    nlohmann::ordered_json json{{"effect_ns", *plan_ns_},
                                {"limit_ns", test_.limit_ns},
                                {"alpha", test_.alpha},
                                {"power", test_.power},
                                {"pilot", pilot.ns.size()}};
    json["measurements_of_each_class"] =
        std::isfinite(n) ? nlohmann::ordered_json(n) : nlohmann::ordered_json(nullptr);
    session.answer(
        std::isfinite(n)
            ? fmt::format(
                  "{:.0f} measurements of each class find a difference of {:g} ns beyond {:g} ns with probability {:g}, alpha {:g}\n",
                  n,
                  *plan_ns_,
                  test_.limit_ns,
                  test_.power,
                  test_.alpha)
            : fmt::format("no number of measurements shows that {:g} ns is more than {:g} ns\n",
                          *plan_ns_,
                          test_.limit_ns),
        json);
    return kDone;
  }

  int judge(Session& session,
            const stats::ClassifiedTimes& times,
            const std::string& name_a,
            const std::string& name_b) const {
    const stats::TimingVerdict verdict = stats::timing_verdict(times, test_);
    nlohmann::ordered_json json{
        {"a", name_a}, {"b", name_b}, {"attacker", limit_ns_ ? "limit given" : stats::to_text(attacker_)}};
    json.update(json_of(verdict, test_));
    std::string text = sentence(verdict) + "\n";
    text += fmt::format("a: {} ({} measurements), b: {} ({}); limit {:g} ns, alpha {:g}",
                        name_a,
                        verdict.n_a,
                        name_b,
                        verdict.n_b,
                        test_.limit_ns,
                        test_.alpha);
    if (verdict.compared)
      text += fmt::format(", p {:.4g}{}; {}\n",
                          verdict.p_value,
                          verdict.tick_ns > test_.limit_ns
                              ? fmt::format(" beyond the clock's step of {:g} ns", verdict.tick_ns)
                              : "",
                          verdict.classes_drawn ? "classes drawn again"
                                                : fmt::format("blocks of {}", verdict.block)) +
              decile_table(verdict);
    else
      text += "\n";
    std::vector<double> of[2];
    for (std::size_t i = 0; i < times.ns.size(); ++i) of[times.is_b[i] != 0 ? 1 : 0].push_back(times.ns[i]);
    json["rtlf"] = nullptr;
    if (std::min(of[0].size(), of[1].size()) >= stats::kLeastMeasurements) {
      const stats::DecileTest rtlf =
          stats::decile_test(of[0], of[1], {.alpha = 0.09, .seed = test_.seed, .threads = test_.threads});
      std::string flagged;
      json["rtlf"] = {{"alpha", 0.09},
                      {"leaks", rtlf.leaks},
                      {"difference_ns", rtlf.difference},
                      {"threshold_ns", rtlf.threshold}};
      for (std::size_t j = 0; j < stats::kDeciles; ++j)
        if (rtlf.flagged[j]) flagged += (flagged.empty() ? "" : ", ") + std::to_string(j + 1);
      text += fmt::format("RTLF's decile test, alpha 9 %: {}\n",
                          rtlf.leaks ? "differences at deciles " + flagged : "no difference");
    }
    if (!plot_.empty() && verdict.compared) {
      write_file_atomically(
          plot_,
          report::standalone_svg(decile_chart(
              sentence(verdict), fmt::format("{} against {}", name_b, name_a), verdict, test_.limit_ns)));
      json["plot"] = plot_.string();
    }
    session.answer(text, json);
    return kDone;
  }

  std::filesystem::path table_, plot_;
  std::string class_, time_ = "nanoseconds", input_, a_, b_;
  double unit_ns_ = 1;
  std::int64_t resamples_ = 2000;
  stats::Attacker attacker_ = stats::Attacker::kLan;
  std::optional<double> limit_ns_, plan_ns_;
  stats::TimingTestOptions test_;
};

}  // namespace

std::unique_ptr<Verb> make_stats_timing_verb() { return std::make_unique<StatsTimingVerb>(); }

}  // namespace offramp::tools
