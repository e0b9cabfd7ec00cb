// Lab 12: nested spans with ops that call themselves, against a walk of the tree that made them; Amdahl's law by its definition.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"

#include <limits>

namespace offramp::labs {

const char* const kLab = "lab 12, reading a profile";

namespace {

struct Profile {
  std::vector<double> begin, end, self;
  std::vector<int> op;
};

// A span of a random op from `at`, with what lies within; returns where it ends. Times are whole numbers: sums are exact.
double span(Random& random, int depth, double at, int ops, Profile& p, int parent) {
  const std::size_t me = p.begin.size();
  const int op = parent >= 0 && random.from(0, 4) == 0 ? parent : random.from(0, ops - 1);
  p.begin.push_back(at);
  p.end.push_back(0);
  p.op.push_back(op);
  double own = random.from(0, 3), now = at + own;  // 0: the first inner span begins with it
  const int within = depth > 0 ? random.from(0, 3) : 0;
  for (int inner = within; inner > 0; --inner) {
    now = span(random, depth - 1, now, ops, p, op);
    const double gap = random.from(0, 2);  // 0: the next one begins where this one ended
    own += gap;
    now += gap;
  }
  const double rest = random.from(within > 0 ? 0 : 1, 4);  // 0: it ends with the last inner span
  p.self[static_cast<std::size_t>(op)] += own + rest;
  return p.end[me] = now + rest;
}

}  // namespace

void grade(std::uint64_t seed) {
  const auto self_of = reinterpret_cast<decltype(&self_times)>(symbol("self_times"));
  const auto speedup = reinterpret_cast<decltype(&whole_speedup)>(symbol("whole_speedup"));
  Random random(seed);
  for (int instance = 0; instance < 6; ++instance) {
    const int ops = random.from(2, 6);
    Profile p;
    p.self.resize(static_cast<std::size_t>(ops));
    double now = random.from(0, 9);
    for (int roots = instance == 0 ? 0 : random.from(1, 4); roots > 0; --roots)
      now = span(random, instance == 1 ? 0 : 4, now, ops, p, -1) + random.from(0, 2);
    Output<double> self(static_cast<std::size_t>(ops), std::numeric_limits<double>::quiet_NaN());
    self_of(static_cast<int>(p.begin.size()), p.begin.data(), p.end.data(), p.op.data(), ops, self.data());
    self.check_guards("self");
    double got = 0, want = 0, inclusive = 0;
    for (std::size_t o = 0; o < self.size(); ++o) got += self[o], want += p.self[o];
    for (std::size_t i = 0; i < p.begin.size(); ++i) inclusive += p.end[i] - p.begin[i];
    for (std::size_t o = 0; o < self.size(); ++o)
      if (!(self[o] == p.self[o]))
        wrong(
            std::isnan(self[o]) ? "Every op has a time, 0 where it does not occur."
            : got == inclusive && inclusive > want
                ? "Spans within spans are counted in both: the time of the inner one belongs to it alone."
            : got < want
                ? "More is taken away than there was: from an outer span only what lies directly within it, "
                  "once; what lies deeper has been taken from the inner one."
            : got == want
                ? "The total is right, so a span was taken from the wrong one: the innermost that is still "
                  "open when it begins. One that ends in that moment is not."
                : "An inner span must be taken from the one around it, also where both are of one op.",
            "{} spans of {} ops: op {} has {} itself, wanted {}",
            p.begin.size(),
            ops,
            o,
            self[o],
            p.self[o]);
    if (want == 0) continue;
    for (std::size_t o = 0; o < self.size(); ++o)
      for (const double factor : {1.0, 1.5, 4.0, 1e6}) {
        double after = 0;
        for (std::size_t other = 0; other < self.size(); ++other)
          after += other == o ? p.self[other] / factor : p.self[other];
        const double s = speedup(ops, p.self.data(), static_cast<int>(o), factor);
        if (after > 0 && !close(s, want / after, 1e-12))
          wrong(
              "Amdahl: time before over time after. The op's time is divided by the factor, all else stays.",
              "an op with {} of {}, {} times faster: the whole {:.6f} times faster, wanted {:.6f}",
              p.self[o],
              want,
              factor,
              s,
              want / after);
      }
  }
}

}  // namespace offramp::labs
