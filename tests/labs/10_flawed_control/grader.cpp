// Lab 10: tables where the answer is known, and many draws: where there is nothing to find the mean must be one half, where there is
// something it must be found; the control on records whose scores drift with their place.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"

namespace offramp::labs {

const char* const kLab = "lab 10, a flawed control";

namespace {

struct Records {
  std::vector<double> score;
  std::vector<int> member;
};
// Members' scores lie `shift` deviations higher.
Records draw(Random& random, int n, double shift) {
  Records r;
  for (int i = 0; i < n; ++i) {
    r.member.push_back(i % 2);
    r.score.push_back(random.normal() + (i % 2 == 1 ? shift : 0));
  }
  return r;
}

}  // namespace

void grade(std::uint64_t seed) {
  const auto attack = reinterpret_cast<decltype(&attack_accuracy)>(symbol("attack_accuracy"));
  const auto control = reinterpret_cast<decltype(&control_accuracy)>(symbol("control_accuracy"));
  Random random(seed);
  const auto run = [&](const Records& known, const Records& judged) {
    return attack(static_cast<int>(known.score.size()),
                  known.score.data(),
                  known.member.data(),
                  static_cast<int>(judged.score.size()),
                  judged.score.data(),
                  judged.member.data());
  };
  // Members above 5, others below: whoever learns from the known records is right on all like them, and wrong on all that are the
  // other way round.
  Records apart, opposite;
  for (int i = 0; i < 12; ++i) {
    apart.member.push_back(i % 2);
    apart.score.push_back(i % 2 == 1 ? random.between(6, 9) : random.between(1, 4));
  }
  opposite = apart;
  for (int& m : opposite.member) m = 1 - m;
  Records eight{{apart.score.begin(), apart.score.begin() + 8},
                {apart.member.begin(), apart.member.begin() + 8}};
  if (const double got = run(apart, eight); got != 1)
    wrong("Right answers over judged records, and a member is who scores above the threshold.",
          "8 records that the known ones separate: accuracy {}, wanted 1",
          got);
  if (const double got = run(apart, opposite); got != 0)
    wrong(
        "The threshold must come from the known records alone. Who looks at the labels of the judged ones, or turns the rule "
        "round for them, is never much worse than one half, on any data.",
        "12 records that behave opposite to the known ones: accuracy {}, wanted 0",
        got);

  constexpr int kDraws = 300;
  double null = 0, leak = 0, best_fixed = 0;
  for (int i = 0; i < kDraws; ++i) {
    // Far from zero: a threshold that is not learnt is of no use.
    Records known = draw(random, 40, 0), judged = draw(random, 40, 0);
    null += run(known, judged) / kDraws;
    known = draw(random, 200, 1.5);
    judged = draw(random, 100, 1.5);
    const double offset = random.between(-20, 20);
    for (double& s : known.score) s = std::exp(s) + offset;  // skewed: the mean is no good threshold either
    for (double& s : judged.score) s = std::exp(s) + offset;
    leak += run(known, judged) / kDraws;
    int right = 0;  // with the best threshold there is, exp(0.75)
    for (std::size_t j = 0; j < judged.score.size(); ++j)
      right += (judged.score[j] - offset > std::exp(0.75)) == (judged.member[j] == 1);
    best_fixed += right / 100.0 / kDraws;
  }
  if (std::fabs(null - 0.5) > 0.025)
    wrong(
        "Members and others were drawn alike, so nothing can be found. What is found was learnt from the judged records: of "
        "many thresholds the best one fits their noise.",
        "{} draws without any difference: mean accuracy {:.3f}, wanted 0.5",
        kDraws,
        null);
  if (leak < best_fixed - 0.03 || leak > best_fixed + 0.005)
    wrong(
        "Take the threshold that is right most often on the known records; candidates are their scores.",
        "{} draws whose members score 1.5 deviations higher: mean accuracy {:.3f}, the best threshold has {:.3f}",
        kDraws,
        leak,
        best_fixed);

  double drift = 0, drift_square = 0;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<double> score(120);
    for (std::size_t j = 0; j < score.size(); ++j)
      score[j] = random.normal() + 3 * static_cast<double>(j) / 120;
    const double got = control(120, score.data());
    drift += got / kDraws;
    drift_square += got * got / kDraws;
  }
  if (std::fabs(drift - 0.5) > 0.025)
    wrong(
        "All are members. In this data set later records score higher, as in many that were collected over time: halves of it differ "
        "without any leak. Who plays what must not depend on place or score; and no record may be judged by a threshold that has "
        "seen it.",
        "{} controls of 120 members: mean accuracy {:.3f}, wanted 0.5",
        kDraws,
        drift);
  const double deviation = std::sqrt(drift_square - drift * drift);
  if (!(deviation > 0.02 && deviation < 0.12))
    wrong(
        "A control is the same attack on the same number of records: its answer scatters around one half. One that is always one "
        "half, or jumps, judges nothing.",
        "{} controls of 120 members: accuracies have a deviation of {:.4f}, of 60 judged records it is near 0.065",
        kDraws,
        deviation);
}

}  // namespace offramp::labs
