// The hypotheses of the papers against what was measured (specs/extraction.md 9, membership.md 10, robustness.md 5).
#include "tools/verbs/reproduce/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace offramp::tools::reproduce {
namespace {

using Holds = Verdict::Holds;

class Numbers {
 public:
  explicit Numbers(const std::vector<Measured>& measured) : measured_(measured) {}
  std::optional<double> at(const std::string& study,
                           const std::string& cell,
                           const std::string& row,
                           const std::string& metric) const {
    for (const Measured& m : measured_)
      if (m.study == study && m.cell == cell && m.row == row && m.metric == metric) return m.ours;
    return std::nullopt;
  }
  // Cells of a study that have such a row, in order.
  std::vector<std::string> cells(const std::string& study) const {
    std::vector<std::string> all;
    for (const Measured& m : measured_)
      if (m.study == study && (all.empty() || all.back() != m.cell)) all.push_back(m.cell);
    return all;
  }
  std::vector<std::string> rows(const std::string& study, const std::string& cell) const {
    std::vector<std::string> all;
    for (const Measured& m : measured_)
      if (m.study == study && m.cell == cell && (all.empty() || all.back() != m.row)) all.push_back(m.row);
    return all;
  }

 private:
  const std::vector<Measured>& measured_;
};

// Comparisons that were possible, and those that held.
struct Count {
  int of = 0, held = 0;
  std::string against;  // the first that did not hold
  void add(bool holds, const std::string& what) {
    ++of;
    held += holds;
    if (!holds && against.empty()) against = what;
  }
  Verdict verdict(std::string name, std::string claim, const char* studies) const {
    if (of == 0)
      return {
          std::move(name), std::move(claim), Holds::kOpen, fmt::format("nothing measured yet: {}", studies)};
    return {std::move(name),
            std::move(claim),
            held == of ? Holds::kYes : Holds::kNo,
            fmt::format("{} of {} comparisons{}", held, of, against.empty() ? "" : "; not " + against)};
  }
};

constexpr const char* kMainStudies[] = {"extraction-v2", "extraction-v1"};
constexpr const char* kBaselineRows[] = {"Knock", "Noise", "ESA"};

void extraction(const Numbers& t, std::vector<Verdict>& out) {
  Count cost, agreement, accuracy;
  for (const char* study : kMainStudies)
    for (const std::string& cell : t.cells(study)) {
      const auto our = [&](const char* metric) { return t.at(study, cell, "Ours", metric); };
      for (const char* row : kBaselineRows) {
        const auto its = [&](const char* metric) { return t.at(study, cell, row, metric); };
        const std::string where = fmt::format("{} {} against {}", study, cell, row);
        if (our("CC ratio") && its("CC ratio"))
          cost.add(*our("CC ratio") < *its("CC ratio"),
                   fmt::format("{}: {:.3f}, {:.3f}", where, *our("CC ratio"), *its("CC ratio")));
        if (our("CLO %") && its("CLO %"))
          agreement.add(*our("CLO %") > *its("CLO %") + 15,
                        fmt::format("{}: {:.1f}, {:.1f}", where, *our("CLO %"), *its("CLO %")));
      }
      const auto knock = t.at(study, cell, "Knock", "ACC %");
      if (our("ACC %") && knock)
        accuracy.add(*our("ACC %") >= *knock - 1.15,
                     fmt::format("{} {}: {:.2f}, {:.2f}", study, cell, *our("ACC %"), *knock));
    }
  out.push_back(
      cost.verdict("H1", "our copy's cost ratio is below every baseline's", "extraction-v1, extraction-v2"));
  out.push_back(agreement.verdict("H2",
                                  "our copy agrees in class and exit on 15 points more than every baseline",
                                  "extraction-v1, extraction-v2"));
  out.push_back(accuracy.verdict(
      "H3", "our copy is at most 1.15 points less accurate than Knockoff's", "extraction-v1, extraction-v2"));
  Count lambda;
  const auto of_lambda = [&](const char* which, const char* metric) {
    return t.at("extraction-lambda", which, "Ours", metric);
  };
  const auto low = of_lambda("lambda 0.5", "CLO %"), high = of_lambda("lambda 5", "CLO %");
  const auto right = of_lambda("lambda 0.5", "ACC %"), less = of_lambda("lambda 5", "ACC %");
  if (low && high) lambda.add(*high > *low, fmt::format("CLO {:.2f} at 0.5, {:.2f} at 5", *low, *high));
  if (right && less) lambda.add(*less < *right, fmt::format("ACC {:.2f} at 0.5, {:.2f} at 5", *right, *less));
  out.push_back(
      lambda.verdict("H4", "from lambda 0.5 to 5 agreement rises and accuracy falls", "extraction-lambda"));
  Count joint;
  const auto whole = t.at("extraction-ablation", "search alone", "joint", "J"),
             apart = t.at("extraction-ablation", "search alone", "separable", "J");
  if (whole && apart) joint.add(*whole >= *apart, fmt::format("{} and {}", *whole, *apart));
  out.push_back(joint.verdict(
      "H5", "joint thresholds put at least as many queries right as separable ones", "extraction-ablation"));
}

void membership(const Numbers& t, std::vector<Verdict>& out) {
  Count plain, deeper, hybrid, told, shadow, gap, by_depth, others;
  for (const std::string& cell : t.cells("membership-exits")) {
    const auto rows = t.rows("membership-exits", cell);
    const auto at = [&](const std::string& row, const char* metric) {
      return t.at("membership-exits", cell, row, metric);
    };
    std::vector<std::string> exits;
    for (const std::string& row : rows)
      if (row != "1 exits") exits.push_back(row);
    for (const std::string& row : exits) {
      for (const char* asr : {"ASR", "ASR, confidence"}) {
        const auto base = at("1 exits", asr), here = at(row, asr);
        if (base && here)
          plain.add(*here < *base,
                    fmt::format("{} {} {}: {:.4f}, plain {:.4f}", cell, row, asr, *here, *base));
      }
      // Less what as many losses of one kind give: exits of few records would have the most.
      const auto above_chance = [&](const std::string& exit) -> std::optional<double> {
        const auto js = at(row, ("JS bits, " + exit).c_str()),
                   chance = at(row, ("JS bits by chance, " + exit).c_str());
        if (!js || !chance) return std::nullopt;
        return *js - *chance;
      };
      const auto first = above_chance("first exit"), last = above_chance("last exit");
      constexpr double kLeastRecords = 200;
      const auto enough = [&](const char* metric) { return at(row, metric).value_or(0) >= kLeastRecords; };
      if (first && last && enough("records a side, first exit") && enough("records a side, last exit"))
        by_depth.add(*last > *first,
                     fmt::format("{} {}: {:.3f} at the first, {:.3f} at the last", cell, row, *first, *last));
      const auto early = at(row, "others, first exit"), late = at(row, "others, last exit");
      if (early && late)
        others.add(*late > *early, fmt::format("{} {}: {:.3f}, {:.3f}", cell, row, *early, *late));
      const auto in = at(row, "accuracy members"), out_ = at(row, "accuracy others");
      const auto plain_in = at("1 exits", "accuracy members"), plain_out = at("1 exits", "accuracy others");
      if (in && out_ && plain_in && plain_out)
        gap.add(
            std::abs((*in - *out_) - (*plain_in - *plain_out)) <= 0.05,
            fmt::format("{} {}: gap {:.3f}, plain {:.3f}", cell, row, *in - *out_, *plain_in - *plain_out));
    }
    if (exits.size() > 1)
      for (const char* metric : {"ASR", "JS bits"}) {
        const auto few = at(exits.front(), metric), many = at(exits.back(), metric);
        if (few && many)
          deeper.add(*many < *few, fmt::format("{} {}: {:.4f} to {:.4f}", cell, metric, *few, *many));
      }
  }
  for (const std::string& cell : t.cells("membership-hybrid"))
    for (const std::string& row : t.rows("membership-hybrid", cell)) {
      const auto at = [&](const std::string& metric) { return t.at("membership-hybrid", cell, row, metric); };
      for (const char* of : {"", ", confidence"}) {
        const auto original = at(fmt::format("ASR original{}", of)), with = at(fmt::format("ASR told{}", of));
        if (original && with)
          hybrid.add(*with > *original,
                     fmt::format("{} {}{}: {:.4f}, {:.4f}", cell, row, of, *with, *original));
      }
      if (at("ASR told") && at("ASR timed") && at("exits right") && *at("exits right") >= 0.99)
        told.add(std::abs(*at("ASR told") - *at("ASR timed")) <= 0.005,
                 fmt::format("{} {}: {:.4f}, {:.4f}", cell, row, *at("ASR told"), *at("ASR timed")));
    }
  for (const std::string& cell : t.cells("membership-shadow"))
    for (const std::string& row : t.rows("membership-shadow", cell)) {
      const auto original = t.at("membership-shadow", cell, row, "ASR original"),
                 with = t.at("membership-shadow", cell, row, "ASR told");
      if (original && with)
        shadow.add(*with > *original, fmt::format("{}: {:.4f}, {:.4f}", row, *with, *original));
    }
  out.push_back(
      plain.verdict("M1",
                    "nets with exits leak less than plain ones, to attacks by scores and by confidence",
                    "membership-exits"));
  out.push_back(deeper.verdict("M2", "success and divergence fall as exits are added", "membership-exits"));
  out.push_back(
      by_depth.verdict("M3",
                       "losses of members and others differ more at the last exit than at the first",
                       "membership-exits"));
  out.push_back(others.verdict(
      "M4", "non-members are a larger share at the last exit than at the first", "membership-exits"));
  out.push_back(hybrid.verdict(
      "M5", "knowing the exit helps the attacks by scores and by confidence", "membership-hybrid"));
  out.push_back(told.verdict("M6",
                             "exits read from times serve as well as exits told, where 99 % are read right",
                             "membership-hybrid"));
  Count repeated;
  for (const std::string& cell : t.cells("membership-channel")) {
    const auto once = t.at("membership-channel", cell, "1 queries", "exits right"),
               often = t.at("membership-channel", cell, "100 queries", "exits right"),
               clean = t.at("membership-channel", "no channel", "as measured", "exits right"),
               bound = t.at("membership-channel", cell, "100 queries", "bound");
    const auto asr_once = t.at("membership-channel", cell, "1 queries", "ASR timed"),
               asr_often = t.at("membership-channel", cell, "100 queries", "ASR timed"),
               asr_clean = t.at("membership-channel", "no channel", "as measured", "ASR timed");
    // Nothing is claimed of fewer queries than the bound.
    if (!once || !often || !clean || !bound || *bound > 100) continue;
    repeated.add(
        *often >= *once && *often >= *clean - 0.05,
        fmt::format(
            "{}: exits {:.4f} once, {:.4f} of 100, {:.4f} without a channel", cell, *once, *often, *clean));
    if (asr_once && asr_often && asr_clean)
      repeated.add(*asr_often >= *asr_once - 0.01 && *asr_often >= *asr_clean - 0.02,
                   fmt::format("{}: success {:.4f} once, {:.4f} of 100, {:.4f} without a channel",
                               cell,
                               *asr_once,
                               *asr_often,
                               *asr_clean));
  }
  out.push_back(repeated.verdict(
      "M7",
      "with a noisy clock exits and success come back where queries are repeated beyond the bound",
      "membership-channel"));
  out.push_back(
      shadow.verdict("M8", "the gain survives shadows of another architecture", "membership-shadow"));
  out.push_back({"M9",
                 "TimeGuard takes the gain away, in less time than the naive defence",
                 Holds::kOpen,
                 "no study here: offramp membership attack --defence, results/membership.md"});
  out.push_back(
      gap.verdict("M10", "the accuracy gap is that of the plain net within 5 points", "membership-exits"));
}

void robustness(const Numbers& t, std::vector<Verdict>& out) {
  Count d2s, efficient, slow, confidence, larger, dense, transfer;
  const auto at = [&](const std::string& cell, const std::string& row, const char* metric) {
    return t.at("robustness-transfer", cell, row, metric);
  };
  for (const std::string& cell : t.cells("robustness-transfer"))
    for (const std::string& row : t.rows("robustness-transfer", cell)) {
      const std::string where = cell + " " + row;
      if (const auto low = at(cell, row, "D2S - S2D low"))
        d2s.add(*low > 0, fmt::format("{}: interval begins at {:.1f}", where, *low));
      const auto d = at(cell, row, "D2S successes per 1e12 MACs"),
                 s = at(cell, row, "S2D successes per 1e12 MACs");
      if (d && s) efficient.add(*d > *s, fmt::format("{}: {:.1f}, {:.1f}", where, *d, *s));
      if (const auto more = at(cell, row, "cost increase S2D %"))
        slow.add(*more < 15, fmt::format("{}: {:.1f} %", where, *more));
      if (const auto r = at(cell, row, "correlation"))
        confidence.add(*r < 0, fmt::format("{}: correlation {:.2f}", where, *r));
    }
  for (const std::string& cell : t.cells("robustness-transfer")) {
    const auto fgsm = at(cell, "fgsm", "Delta S2D"), pgd = at(cell, "pgd", "Delta S2D");
    if (fgsm && pgd)
      confidence.add(*fgsm > *pgd, fmt::format("{}: Delta {:.2f} of FGSM, {:.2f} of PGD", cell, *fgsm, *pgd));
  }
  for (const char* attack : {"fgsm", "pgd"}) {
    const auto ten = at("CIFAR10", attack, "Delta S2D"), hundred = at("CIFAR100", attack, "Delta S2D");
    if (ten && hundred)
      larger.add(*hundred > *ten, fmt::format("{}: {:.2f}, {:.2f}", attack, *hundred, *ten));
  }
  const auto few = t.at("robustness-exit-count", "3 exits", "Early Attack", "success %"),
             many = t.at("robustness-exit-count", "6 exits", "Early Attack", "success %");
  if (few && many) dense.add(*many < *few, fmt::format("{:.0f} % at 3 exits, {:.0f} % at 6", *few, *many));
  for (const std::string& cell : t.cells("robustness-early-transfer")) {
    const auto t1 = t.at("robustness-early-transfer", cell, "mean of pairs", "T1 %"),
               t2 = t.at("robustness-early-transfer", cell, "mean of pairs", "T2"),
               half = t.at("robustness-early-transfer", cell, "mean of pairs", "half of the inner exits");
    if (t1 && t2 && half)
      transfer.add(!(*t1 > 50 && *t2 > *half), fmt::format("{}: T1 {:.0f} %, T2 {:.2f}", cell, *t1, *t2));
  }
  out.push_back(d2s.verdict("F1",
                            "examples of nets with exits fool plain ones more than the other way round",
                            "robustness-transfer"));
  out.push_back(efficient.verdict("F2", "and cost less for each success", "robustness-transfer"));
  out.push_back(
      slow.verdict("F3", "attacks on accuracy raise the cost by less than 15 %", "robustness-transfer"));
  out.push_back(
      confidence.verdict("F4", "unsure examples slow more: FGSM's more than PGD's", "robustness-transfer"));
  out.push_back(
      larger.verdict("F5", "examples on CIFAR100 slow more than those on CIFAR10", "robustness-transfer"));
  out.push_back({"F6",
                 "an earlier first exit makes early exits more robust",
                 Holds::kOpen,
                 "no study here: train --exits-after, evade transfer"});
  out.push_back({"F7",
                 "black-box attacks fool early exits less than white-box ones",
                 Holds::kOpen,
                 "no study here: evade surrogate, evade transfer"});
  out.push_back({"F8",
                 "early exits resist examples of smaller surrogates better",
                 Holds::kOpen,
                 "no study here: train --width-divisor, evade transfer"});
  out.push_back(dense.verdict("F9", "more exits make Early Attack fail more often", "robustness-exit-count"));
  out.push_back(transfer.verdict(
      "F10",
      "Early Attack transfers poorly: same final class and most exits wrong do not come together",
      "robustness-early-transfer"));
}

}  // namespace

const char* to_text(Holds holds) {
  return holds == Holds::kYes ? "holds" : holds == Holds::kNo ? "does not hold" : "open";
}

std::vector<Verdict> judge(const std::vector<Measured>& measured) {
  const Numbers table(measured);
  std::vector<Verdict> verdicts;
  extraction(table, verdicts);
  membership(table, verdicts);
  robustness(table, verdicts);
  return verdicts;
}

}  // namespace offramp::tools::reproduce
