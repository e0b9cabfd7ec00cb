// Lab 8: against stats/mutual_information.h, tables where the answer is known, and the divergence of each exit.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"
#include "stats/mutual_information.h"

#include <algorithm>
#include <limits>

namespace offramp::labs {

const char* const kLab = "lab 8, a leaky exit";

namespace {

double entropy(const std::vector<double>& n) {
  double all = 0, sum = 0;
  for (const double v : n) all += v;
  for (const double v : n)
    if (v > 0) sum -= v / all * std::log2(v / all);
  return sum;
}

// p(e) times the divergence of the classes of exit e from those of all.
double of_exit(int classes, const std::vector<long>& counts, std::size_t e) {
  const auto width = static_cast<std::size_t>(classes);
  double all = 0, here = 0, sum = 0;
  for (const long n : counts) all += static_cast<double>(n);
  for (std::size_t c = 0; c < width; ++c) here += static_cast<double>(counts[e * width + c]);
  for (std::size_t c = 0; c < width; ++c) {
    double total = 0;
    for (std::size_t row = 0; row < counts.size() / width; ++row)
      total += static_cast<double>(counts[row * width + c]);
    const auto n = static_cast<double>(counts[e * width + c]);
    if (n > 0) sum += n / here * std::log2(n / here / (total / all));
  }
  return here / all * sum;
}

}  // namespace

void grade(std::uint64_t seed) {
  const auto leaked = reinterpret_cast<decltype(&leaked_bits)>(symbol("leaked_bits"));
  Random random(seed);
  for (int kind = 0; kind < 4; ++kind) {
    const int exits = random.from(2, 5), classes = exits + random.from(1, 3);
    const auto width = static_cast<std::size_t>(classes);
    std::vector<long> counts(static_cast<std::size_t>(exits) * width);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const std::size_t e = i / width, c = i % width;
      counts[i] = kind == 0   ? static_cast<long>((e + 1) * (c + 2))  // independent: tells nothing
                  : kind == 1 ? (c % static_cast<std::size_t>(exits) == e ? 20 + 5 * static_cast<long>(c)
                                                                          : 0)  // the class tells the exit
                  : kind == 2 ? random.from(0, 3)                               // many cells empty or single
                              : random.from(1, 400);
    }
    if (kind == 2) std::fill_n(counts.begin(), width, 0L);  // an exit that nobody takes
    if (kind == 2) counts.back() += 3;
    std::vector<std::size_t> x, y;
    std::vector<double> exit_counts(static_cast<std::size_t>(exits)), class_counts(width);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      x.insert(x.end(), static_cast<std::size_t>(counts[i]), i / width);
      y.insert(y.end(), static_cast<std::size_t>(counts[i]), i % width);
      exit_counts[i / width] += static_cast<double>(counts[i]);
      class_counts[i % width] += static_cast<double>(counts[i]);
    }
    Output<double> bits(static_cast<std::size_t>(exits), std::numeric_limits<double>::quiet_NaN());
    const double got = leaked(exits, classes, counts.data(), bits.data()),
                 want = stats::mutual_information(x, y).plug_in;
    bits.check_guards("bits");
    if (!close(got, want, 1e-9, 1))
      wrong(
          !std::isfinite(got) ? "0 log 0 counts as 0: a cell without queries adds nothing."
          : close(got, want * std::log(2.0), 1e-9, 1) ? "That is in nats. A bit is log2."
          : kind == 0 ? "Exit and class are independent in this table: knowing the exit tells nothing, so 0."
          : close(got, entropy(exit_counts), 1e-9, 1)
              ? "That is the entropy of the exit: how unsure one is of it, not what it tells."
          : close(got, entropy(class_counts) - want, 1e-9, 1)
              ? "That is what stays unknown of the class. What was learnt is its entropy minus that."
              : "I = sum over e, c of p(e,c) log2( p(e,c) / (p(e) p(c)) ), with both shares taken from the table.",
          "{} exits, {} classes, {} queries: {:.6f} bits, wanted {:.6f}",
          exits,
          classes,
          x.size(),
          got,
          want);
    for (std::size_t e = 0; e < bits.size(); ++e) {
      const double part = exit_counts[e] > 0 ? of_exit(classes, counts, e) : 0;
      if (!close(bits[e], part, 1e-9, 1))
        wrong(
            "The part of an exit is its share times the divergence of its classes from those of all; without queries 0.",
            "{} exits, {} classes: exit {} has {:.6f} bits, wanted {:.6f}",
            exits,
            classes,
            e + 1,
            bits[e],
            part);
    }
  }
}

}  // namespace offramp::labs
