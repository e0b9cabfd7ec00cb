#include "kernels/losses.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "kernels/ref/losses.h"
#include "kernels/softmax.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kRange = 5.f;  // logits lie in [-5, 5)
constexpr TargetLoss kKinds[] = {TargetLoss::kCrossEntropy,
                                 TargetLoss::kSoftCrossEntropy,
                                 TargetLoss::kKlTargetFirst,
                                 TargetLoss::kKlOutputFirst};
constexpr TargetLoss kTargetKinds[] = {
    TargetLoss::kSoftCrossEntropy, TargetLoss::kKlTargetFirst, TargetLoss::kKlOutputFirst};

// A log probability is at most 10 + ln(classes) in size, a logarithm of the clamped target at most 18.4;
// terms are weighted by probabilities that sum to 1. Logit differences (10 eps), the sum over classes and a
// few more roundings of such values.
double loss_bound(int classes) {
  const double largest = 2 * static_cast<double>(kRange) + std::log(classes) + 18.4;
  return kEps<float> * (8 + std::sqrt(classes)) * largest;
}

std::vector<float> logits_of(int rows, int classes, std::uint32_t stream) {
  return random_vector<float>(static_cast<std::size_t>(rows * classes), stream, -kRange, kRange);
}

// Rows that sum to 1, some entries exactly 0 and some below the clamp.
std::vector<float> targets_of(int rows, int classes) {
  std::vector<float> v = random_vector<float>(static_cast<std::size_t>(rows * classes), 50, 0, 1);
  for (std::size_t row = 0; row < v.size(); row += static_cast<std::size_t>(classes)) {
    const auto width = static_cast<std::size_t>(classes);
    if (classes > 3 && row % 2 == 0) v[row + 1] = 0.f;
    if (classes > 3) v[row + 2] = 1e-10f;
    double sum = 0;
    for (std::size_t k = 0; k < width; ++k) sum += static_cast<double>(v[row + k]);
    for (std::size_t k = 0; k < width; ++k)
      v[row + k] = static_cast<float>(static_cast<double>(v[row + k]) / sum);
  }
  return v;
}

template <class B>
class Losses : public BackendTest<B> {};
TYPED_TEST_SUITE(Losses, FloatBackends, BackendNames);

struct Shape {
  int rows, classes;
};
constexpr Shape kShapes[] = {{1, 2}, {5, 10}, {3, 16}, {37, 17}, {300, 43}, {2, 200}, {0, 10}};

TYPED_TEST(Losses, CrossEntropyMatchesTheReference) {
  using Device = typename TypeParam::Device;
  for (const Shape s : kShapes) {
    const auto x = logits_of(s.rows, s.classes, 1);
    const auto labels = random_ints(static_cast<std::size_t>(s.rows), 2, 0, s.classes - 1);
    const Fenced<float, Device> logits(x, 1);
    const Fenced<std::int32_t, Device> d_labels(labels);
    Fenced<float, Device> loss(labels.size(), 1), loss_alone(labels.size()), dlogits(x.size(), 1);
    cross_entropy(Device::context(),
                  s.rows,
                  s.classes,
                  logits.data(),
                  d_labels.data(),
                  loss.data(),
                  0.25f,
                  dlogits.data());
    cross_entropy(Device::context(),
                  s.rows,
                  s.classes,
                  logits.data(),
                  d_labels.data(),
                  loss_alone.data(),
                  0.25f,
                  nullptr);
    std::vector<double> expected(labels.size()), gradient(x.size());
    ref::cross_entropy(
        s.rows, s.classes, to_double(x).data(), labels.data(), expected.data(), 0.25, gradient.data());
    EXPECT_CLOSE(loss.values(), expected, loss_bound(s.classes)) << s.classes;
    EXPECT_CLOSE(dlogits.values(), gradient, 0.25 * loss_bound(s.classes)) << s.classes;
    EXPECT_SAME_BITS(loss_alone.values(), loss.values());
  }
}

TYPED_TEST(Losses, TargetLossesMatchTheReference) {
  using Device = typename TypeParam::Device;
  for (const Shape s : kShapes) {
    for (const TargetLoss kind : kTargetKinds) {
      const auto x = logits_of(s.rows, s.classes, 1), v = targets_of(s.rows, s.classes);
      const Fenced<float, Device> logits(x, 1), target(v, 1);
      const auto rows = static_cast<std::size_t>(s.rows);
      Fenced<float, Device> loss(rows, 1), loss_alone(rows), dlogits(x.size(), 1);
      target_loss(Device::context(),
                  kind,
                  s.rows,
                  s.classes,
                  logits.data(),
                  target.data(),
                  loss.data(),
                  -0.5f,
                  dlogits.data());
      target_loss(Device::context(),
                  kind,
                  s.rows,
                  s.classes,
                  logits.data(),
                  target.data(),
                  loss_alone.data(),
                  1.f,
                  nullptr);
      std::vector<double> expected(rows), gradient(x.size());
      ref::target_loss(kind,
                       s.rows,
                       s.classes,
                       to_double(x).data(),
                       to_double(v).data(),
                       expected.data(),
                       -0.5,
                       gradient.data());
      const std::string name =
          std::to_string(s.classes) + " classes, kind " + std::to_string(static_cast<int>(kind));
      EXPECT_CLOSE(loss.values(), expected, loss_bound(s.classes)) << name;
      EXPECT_CLOSE(dlogits.values(), gradient, 0.5 * loss_bound(s.classes)) << name;
      EXPECT_SAME_BITS(loss_alone.values(), loss.values());
    }
  }
}

TYPED_TEST(Losses, DivergencesOfEqualDistributionsVanish) {
  using Device = typename TypeParam::Device;
  const auto x = logits_of(5, 10, 1);
  const Fenced<float, Device> logits(x);
  Fenced<float, Device> p(x.size());
  softmax_rows(Device::context(), 5, 10, logits.data(), p.data());
  for (const TargetLoss kind : {TargetLoss::kKlTargetFirst, TargetLoss::kKlOutputFirst}) {
    Fenced<float, Device> loss(5), dlogits(x.size());
    target_loss(Device::context(), kind, 5, 10, logits.data(), p.data(), loss.data(), 1.f, dlogits.data());
    EXPECT_CLOSE(loss.values(), std::vector<double>(5, 0.), loss_bound(10));
    EXPECT_CLOSE(dlogits.values(), std::vector<double>(x.size(), 0.), loss_bound(10));
  }
}

TYPED_TEST(Losses, ALabelOutsideTheClassesMakesTheLossNan) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> logits(logits_of(3, 4, 1));
  const Fenced<std::int32_t, Device> labels(std::vector<std::int32_t>{4, -1, 3});
  Fenced<float, Device> loss(3), dlogits(12);
  cross_entropy(Device::context(), 3, 4, logits.data(), labels.data(), loss.data(), 1.f, dlogits.data());
  EXPECT_TRUE(std::isnan(loss.values()[0]));
  EXPECT_TRUE(std::isnan(loss.values()[1]));
  EXPECT_TRUE(std::isfinite(loss.values()[2]));
}

// Extraction 3.2: c = (.97, .92, .80): .24 for e = 3 (.15 + .07 + .02), 0 for e = 1; c = (.60, .93, .99), e =
// 3: .03; without the last exit's term .09 and .03.
TYPED_TEST(Losses, StrategyLossHasTheCheckValuesOfTheSpec) {
  using Device = typename TypeParam::Device;
  const auto loss_of = [](std::vector<float> confidence, std::int32_t exit, bool last_exit_term) {
    const Fenced<float, Device> c(confidence);
    const Fenced<std::int32_t, Device> exits(std::vector<std::int32_t>{exit});
    Fenced<float, Device> loss(1);
    strategy_loss(Device::context(),
                  3,
                  1,
                  c.data(),
                  exits.data(),
                  StrategyParams{.phi1 = 0.95f, .phi2 = 0.90f, .last_exit_term = last_exit_term},
                  loss.data(),
                  nullptr);
    return static_cast<double>(loss.values()[0]);
  };
  constexpr double kBound = 6 * kEps<float>;  // three differences of numbers below 1
  EXPECT_NEAR(loss_of({.97f, .92f, .80f}, 3, true), .24, kBound);
  EXPECT_EQ(loss_of({.97f, .92f, .80f}, 1, true), 0);
  EXPECT_NEAR(loss_of({.60f, .93f, .99f}, 3, true), .03, kBound);
  EXPECT_NEAR(loss_of({.97f, .92f, .80f}, 3, false), .09, kBound);
  EXPECT_NEAR(loss_of({.60f, .93f, .99f}, 3, false), .03, kBound);
}

TYPED_TEST(Losses, StrategyLossMatchesTheReference) {
  using Device = typename TypeParam::Device;
  for (const int num_exits : {1, 3, kMaxExits}) {
    for (const int n : {0, 1, 37}) {
      auto c = random_vector<float>(static_cast<std::size_t>(num_exits * n), 1, 0.7f, 1);
      for (const float corner : {0.95f, 0.90f}) keep_off(c, corner, 1e-4f);
      const auto exits = random_ints(static_cast<std::size_t>(n), 2, 1, num_exits);
      for (const HingeMean mean : {HingeMean::kBatch, HingeMean::kPerExit}) {
        for (const bool last_exit_term : {false, true}) {
          const StrategyParams p{.last_exit_term = last_exit_term, .mean = mean};
          const Fenced<float, Device> confidence(c, 1);
          const Fenced<std::int32_t, Device> d_exits(exits);
          Fenced<float, Device> loss(1), dconfidence(c.size(), 1), alone(1);
          strategy_loss(Device::context(),
                        num_exits,
                        n,
                        confidence.data(),
                        d_exits.data(),
                        p,
                        loss.data(),
                        dconfidence.data());
          strategy_loss(
              Device::context(), num_exits, n, confidence.data(), d_exits.data(), p, alone.data(), nullptr);
          double expected = 0;
          std::vector<double> gradient(c.size());
          ref::strategy_loss(num_exits, n, to_double(c).data(), exits.data(), p, &expected, gradient.data());
          // Hinges below 0.25, at most num_exits of them a sample, weights that sum to at most num_exits.
          EXPECT_CLOSE(loss.values(), {expected}, 4 * kEps<float> * (1 + num_exits * num_exits));
          EXPECT_CLOSE(dconfidence.values(), gradient, kEps<float>);
          EXPECT_SAME_BITS(alone.values(), loss.values());
        }
      }
    }
  }
}

TYPED_TEST(Losses, HingesAreFlatAtTheirCorners) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> c(std::vector<float>{0.90f, 0.95f});
  const Fenced<std::int32_t, Device> exits(std::vector<std::int32_t>{2});
  Fenced<float, Device> loss(1), dconfidence(2);
  strategy_loss(
      Device::context(), 2, 1, c.data(), exits.data(), StrategyParams{}, loss.data(), dconfidence.data());
  EXPECT_EQ(loss.values()[0], 0.f);
  EXPECT_EQ(dconfidence.values(), (std::vector<float>{0.f, 0.f}));
}

// Sample losses .2 (exit 1), .1 (exit 1), .3 (exit 2): mean .2 over the batch, .15 + .3 by exit.
TYPED_TEST(Losses, MeanPerExitGivesRareExitsTheSameWeight) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> c(std::vector<float>{.75f, .85f, .95f, .5f, .5f, .7f});
  const Fenced<std::int32_t, Device> exits(std::vector<std::int32_t>{1, 1, 2});
  for (const HingeMean mean : {HingeMean::kBatch, HingeMean::kPerExit}) {
    Fenced<float, Device> loss(1), dconfidence(6);
    strategy_loss(Device::context(),
                  2,
                  3,
                  c.data(),
                  exits.data(),
                  StrategyParams{.mean = mean},
                  loss.data(),
                  dconfidence.data());
    const bool batch = mean == HingeMean::kBatch;
    EXPECT_CLOSE(loss.values(), {batch ? .2 : .45}, 8 * kEps<float>);
    const double first = batch ? 1. / 3 : .5, second = batch ? 1. / 3 : 1;
    EXPECT_CLOSE(
        dconfidence.values(), (std::vector<double>{-first, -first, second, 0, 0, -second}), kEps<float>);
  }
}

// All inputs and outputs of multi_exit_loss on a device.
template <class Device>
struct MultiExit {
  int num_exits, n, classes;
  std::vector<std::vector<float>> logits;
  std::vector<float> target, exit_weight;
  std::vector<std::int32_t> labels, exits;
  std::vector<std::unique_ptr<Fenced<float, Device>>> d_logits, d_dlogits;
  Fenced<float, Device> d_target, d_weight, loss, confidence;
  Fenced<std::int32_t, Device> d_labels, d_exits, argmax;
  Fenced<StepState, Device> state;

  static std::vector<std::vector<float>> make_logits(int k, int n, int classes) {
    std::vector<std::vector<float>> out;
    for (int e = 0; e < k; ++e) out.push_back(logits_of(n, classes, 60 + static_cast<std::uint32_t>(e)));
    return out;
  }
  MultiExit(int k, int samples, int c, std::vector<std::vector<float>> values)
      : num_exits(k),
        n(samples),
        classes(c),
        logits(std::move(values)),
        target(targets_of(n, c)),
        exit_weight(random_vector<float>(static_cast<std::size_t>(k), 40, 0.2f, 1)),
        labels(random_ints(static_cast<std::size_t>(n), 41, 0, c - 1)),
        exits(random_ints(static_cast<std::size_t>(n), 42, 1, k)),
        d_target(target, 1),
        d_weight(exit_weight),
        loss(static_cast<std::size_t>(k) + 2, 1),
        confidence(static_cast<std::size_t>(k * n), 1),
        d_labels(labels),
        d_exits(exits),
        argmax(static_cast<std::size_t>(k * n), 1),
        state(std::vector<StepState>{StepState{.learning_rate = 0.5f, .step = 4}}) {
    for (const auto& l : logits) {
      d_logits.push_back(std::make_unique<Fenced<float, Device>>(l, 1));
      d_dlogits.push_back(std::make_unique<Fenced<float, Device>>(l.size(), 1));
    }
  }
  MultiExit(int k, int samples, int c) : MultiExit(k, samples, c, make_logits(k, samples, c)) {}

  MultiExitLoss args(TargetLoss kind, float lambda, StrategyParams strategy) {
    MultiExitLoss a{.num_exits = num_exits,
                    .n = n,
                    .classes = classes,
                    .kind = kind,
                    .labels = kind == TargetLoss::kCrossEntropy ? d_labels.data() : nullptr,
                    .target = kind == TargetLoss::kCrossEntropy ? nullptr : d_target.data(),
                    .exit_weight = d_weight.data(),
                    .lambda = lambda,
                    .strategy = strategy,
                    .exits = lambda == 0 ? nullptr : d_exits.data(),
                    .loss = loss.data(),
                    .confidence = confidence.data(),
                    .argmax = argmax.data(),
                    .state = state.data()};
    for (int e = 0; e < num_exits; ++e) {
      a.logits[e] = d_logits[static_cast<std::size_t>(e)]->data();
      a.dlogits[e] = d_dlogits[static_cast<std::size_t>(e)]->data();
    }
    return a;
  }
  std::vector<float> gradients() const {
    std::vector<float> all;
    for (const auto& d : d_dlogits) {
      const std::vector<float> values = d->values();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }
};

TYPED_TEST(Losses, AllExitsAtOnceMatchTheReference) {
  using Device = typename TypeParam::Device;
  struct Case {
    int num_exits, n, classes;
  };
  for (const Case c : {Case{3, 37, 10}, Case{1, 5, 17}, Case{7, 50, 20}, Case{kMaxExits, 3, 2}}) {
    for (const TargetLoss kind : kKinds) {
      for (const float lambda : {0.f, 0.5f}) {
        for (const HingeMean mean : {HingeMean::kBatch, HingeMean::kPerExit}) {
          for (const bool last_exit_term : {false, true}) {
            MultiExit<Device> m(c.num_exits, c.n, c.classes);
            // Corners away from every confidence of this data (checked below), so that rounding flips no
            // hinge.
            const StrategyParams strategy{
                .phi1 = 0.7123f, .phi2 = 0.5217f, .last_exit_term = last_exit_term, .mean = mean};
            multi_exit_loss(Device::context(), m.args(kind, lambda, strategy));

            std::vector<std::vector<double>> logits, dlogits;
            std::vector<const double*> logits_at;
            std::vector<double*> dlogits_at;
            for (const auto& l : m.logits) {
              logits.push_back(to_double(l));
              dlogits.emplace_back(l.size());
            }
            for (std::size_t e = 0; e < logits.size(); ++e) {
              logits_at.push_back(logits[e].data());
              dlogits_at.push_back(dlogits[e].data());
            }
            std::vector<double> loss(static_cast<std::size_t>(c.num_exits) + 2);
            ref::multi_exit_loss(c.num_exits,
                                 c.n,
                                 c.classes,
                                 kind,
                                 logits_at.data(),
                                 m.labels.data(),
                                 to_double(m.target).data(),
                                 to_double(m.exit_weight).data(),
                                 static_cast<double>(lambda),
                                 strategy,
                                 m.exits.data(),
                                 loss.data(),
                                 dlogits_at.data());
            const std::string name = std::to_string(c.num_exits) + " exits, kind " +
                                     std::to_string(static_cast<int>(kind)) + ", lambda " +
                                     std::to_string(lambda);
            const double bound = loss_bound(c.classes);
            EXPECT_CLOSE(m.loss.values(), loss, (1 + 2 * c.num_exits) * bound) << name;
            std::vector<double> gradient;
            for (const auto& d : dlogits) gradient.insert(gradient.end(), d.begin(), d.end());
            // Row gradients are scaled by at most 1 / n, the hinge's by at most lambda.
            EXPECT_CLOSE(m.gradients(), gradient, (1. / c.n + static_cast<double>(lambda)) * bound) << name;
            EXPECT_EQ(m.state.values()[0].nonfinite, 0);
            EXPECT_EQ(m.state.values()[0].step, 4);

            const std::vector<float> got = m.confidence.values();
            for (int e = 0; e < c.num_exits; ++e) {
              const auto n = static_cast<std::size_t>(c.n), at = static_cast<std::size_t>(e) * n;
              Fenced<float, Device> confidence(n);
              Fenced<std::int32_t, Device> argmax(n);
              row_confidence(Device::context(),
                             c.n,
                             c.classes,
                             m.d_logits[static_cast<std::size_t>(e)]->data(),
                             confidence.data(),
                             argmax.data());
              const std::vector<float> expected = confidence.values();
              const std::vector<std::int32_t> place = argmax.values(), got_place = m.argmax.values();
              for (std::size_t i = 0; i < n; ++i) {
                ASSERT_EQ(got[at + i], expected[i]);
                ASSERT_EQ(got_place[at + i], place[i]);
                ASSERT_GT(std::fabs(expected[i] - strategy.phi1), 1e-6f);
                ASSERT_GT(std::fabs(expected[i] - strategy.phi2), 1e-6f);
              }
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(Losses, OutputsThatAreNotWantedChangeNothing) {
  using Device = typename TypeParam::Device;
  MultiExit<Device> all(3, 37, 10), some(3, 37, 10);
  multi_exit_loss(Device::context(), all.args(TargetLoss::kKlTargetFirst, 0.5f, {}));
  MultiExitLoss a = some.args(TargetLoss::kKlTargetFirst, 0.5f, {});
  a.dlogits[0] = a.dlogits[2] = nullptr;
  a.confidence = nullptr;
  a.argmax = nullptr;
  a.state = nullptr;
  multi_exit_loss(Device::context(), a);
  EXPECT_SAME_BITS(some.loss.values(), all.loss.values());
  EXPECT_SAME_BITS(some.d_dlogits[1]->values(), all.d_dlogits[1]->values());
  EXPECT_TRUE(std::isnan(some.d_dlogits[0]->values()[0]));  // still poison
}

// The check values of the spec through logits: two classes with logits (ln(c / (1 - c)), 0) have confidence
// c.
TYPED_TEST(Losses, AllExitsAtOnceHaveTheStrategyLossOfTheSpec) {
  using Device = typename TypeParam::Device;
  std::vector<std::vector<float>> logits;
  for (const double c : {.97, .92, .80}) {
    const auto logit = static_cast<float>(std::log(c / (1 - c)));
    logits.push_back({logit, 0.f, 0.f, logit});
  }
  MultiExit<Device> m(3, 2, 2, logits);
  m.d_exits.assign({3, 1});
  multi_exit_loss(Device::context(), m.args(TargetLoss::kCrossEntropy, 2.f, {}));
  EXPECT_NEAR(static_cast<double>(m.loss.values()[4]), .24 / 2, 32 * kEps<float>);
  EXPECT_CLOSE(m.confidence.values(), (std::vector<double>{.97, .97, .92, .92, .80, .80}), 16 * kEps<float>);
  EXPECT_EQ(m.argmax.values(), (std::vector<std::int32_t>{0, 1, 0, 1, 0, 1}));
}

TYPED_TEST(Losses, ANonfiniteLossRaisesTheFlag) {
  using Device = typename TypeParam::Device;
  const auto flag_after = [](auto change, float lambda) {
    MultiExit<Device> m(3, 5, 4);
    change(m);
    multi_exit_loss(Device::context(), m.args(TargetLoss::kCrossEntropy, lambda, {}));
    return m.state.values()[0].nonfinite;
  };
  using Case = MultiExit<Device>;
  EXPECT_EQ(flag_after([](Case&) {}, 0.5f), 0);
  EXPECT_EQ(flag_after([](Case& m) { m.d_labels.assign({0, 1, 2, 3, 4}); }, 0), 1);
  EXPECT_EQ(flag_after([](Case& m) { m.d_exits.assign({1, 2, 3, 1, 4}); }, 0.5f), 1);
  EXPECT_EQ(flag_after([](Case& m) { m.d_exits.assign({1, 2, 3, 1, 0}); }, 0.5f), 1);
  EXPECT_EQ(flag_after([](Case& m) { m.d_weight.assign({1, kNan, 1}); }, 0), 1);
  const auto poisoned = [](Case& m, float value) {
    std::vector<float> l = m.logits[1];
    l[7] = value;
    m.d_logits[1]->assign(l);
  };
  EXPECT_EQ(flag_after([&](Case& m) { poisoned(m, kNan); }, 0), 1);
  EXPECT_EQ(flag_after([&](Case& m) { poisoned(m, std::numeric_limits<float>::infinity()); }, 0), 1);
  // An exit that weighs nothing still counts.
  EXPECT_EQ(flag_after(
                [&](Case& m) {
                  poisoned(m, kNan);
                  m.d_weight.assign({1, 0, 1});
                },
                0),
            1);
  for (const TargetLoss kind : kTargetKinds) {
    MultiExit<Device> m(3, 5, 4);
    std::vector<float> targets = m.target;
    targets[6] = kNan;
    m.d_target.assign(targets);
    multi_exit_loss(Device::context(), m.args(kind, 0, {}));
    EXPECT_EQ(m.state.values()[0].nonfinite, 1) << static_cast<int>(kind);
  }
}

TYPED_TEST(Losses, NoSamplesGiveZeroLosses) {
  using Device = typename TypeParam::Device;
  MultiExit<Device> m(3, 0, 4);
  multi_exit_loss(Device::context(), m.args(TargetLoss::kKlOutputFirst, 0.5f, {}));
  EXPECT_EQ(m.loss.values(), std::vector<float>(5, 0.f));
  EXPECT_EQ(m.state.values()[0].nonfinite, 0);
}

TEST(LossesReference, GradientsMatchCentralDifferences) {
  constexpr int kExits = 3, kCount = 4, kClasses = 5;
  constexpr auto kSize = static_cast<std::size_t>(kCount * kClasses);
  const std::vector<std::int32_t> labels = {0, 4, 2, 1}, exits = {3, 1, 2, 2};
  std::vector<double> target(kSize);
  ref::softmax_rows(kCount, kClasses, to_double(random_vector<float>(kSize, 7, -2, 2)).data(), target.data());
  const std::vector<double> weight = {0.3, 0.7, 1};
  const std::vector<double> x = to_double(random_vector<float>(kExits * kSize, 8, -2, 2));
  for (const TargetLoss kind : kKinds) {
    for (const HingeMean mean : {HingeMean::kBatch, HingeMean::kPerExit}) {
      for (const bool last_exit_term : {false, true}) {
        const StrategyParams strategy{
            .phi1 = 0.7f, .phi2 = 0.3f, .last_exit_term = last_exit_term, .mean = mean};
        const auto run = [&](const std::vector<double>& in, std::vector<double>* gradient) {
          std::vector<double> loss(kExits + 2);
          const double* logits[kExits];
          double* dlogits[kExits];
          for (std::size_t e = 0; e < kExits; ++e) {
            logits[e] = in.data() + e * kSize;
            dlogits[e] = gradient == nullptr ? nullptr : gradient->data() + e * kSize;
          }
          ref::multi_exit_loss(kExits,
                               kCount,
                               kClasses,
                               kind,
                               logits,
                               labels.data(),
                               target.data(),
                               weight.data(),
                               0.5,
                               strategy,
                               exits.data(),
                               loss.data(),
                               dlogits);
          return std::vector<double>{loss[0]};
        };
        std::vector<double> gradient(x.size());
        run(x, &gradient);
        expect_gradient([&](const auto& in) { return run(in, nullptr); }, x, {1.}, gradient);
      }
    }
  }
  // The row losses alone, with a cotangent per row.
  for (const TargetLoss kind : kKinds) {
    const std::vector<double> one(x.begin(), x.begin() + kSize), cotangent = {0.9, -0.4, 0.3, 1.2};
    const auto run = [&](const std::vector<double>& in, double* gradient) {
      std::vector<double> loss(kCount);
      if (kind == TargetLoss::kCrossEntropy) {
        ref::cross_entropy(kCount, kClasses, in.data(), labels.data(), loss.data(), 1., gradient);
      } else {
        ref::target_loss(kind, kCount, kClasses, in.data(), target.data(), loss.data(), 1., gradient);
      }
      return loss;
    };
    std::vector<double> gradient(kSize);
    run(one, gradient.data());
    for (std::size_t i = 0; i < kSize; ++i) gradient[i] *= cotangent[i / kClasses];
    expect_gradient([&](const auto& in) { return run(in, nullptr); }, one, cotangent, gradient);
  }
}

TEST(LossesCpu, BitsDoNotDependOnTheThreadCount) {
  MultiExit<CpuDevice> m(5, 131, 43);
  expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
    multi_exit_loss(ctx, m.args(TargetLoss::kKlOutputFirst, 0.5f, {}));
    std::vector<float> out = m.gradients();
    const std::vector<float> loss = m.loss.values(), confidence = m.confidence.values();
    out.insert(out.end(), loss.begin(), loss.end());
    out.insert(out.end(), confidence.begin(), confidence.end());
    return out;
  });
}

}  // namespace
}  // namespace offramp::test
