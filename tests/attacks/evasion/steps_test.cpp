// What each attack does in a step, beside numbers worked out by hand. Most victims look at one pixel.
#include <gtest/gtest.h>

#include <cmath>

#include "attacks/evasion/sloth.h"
#include "attacks/evasion/universal.h"
#include "tests/attacks/evasion/victims.h"

namespace offramp::test {
namespace {

constexpr nets::Extent kPixel{1, 1, 1};

Images one_pixel(float value, std::int64_t number = 0) {
  return {.n = 1, .extent = kPixel, .pixels = {value}, .labels = {0}, .numbers = {number}};
}

// Exits of two classes, logits (slope x, 0): with slopes below 0 the loss of class 0 rises with x.
LinearNet slopes(const std::vector<float>& of_exits) {
  std::vector<std::vector<float>> weights;
  for (const float slope : of_exits) weights.push_back({slope, 0.f});
  return {kPixel, 2, weights};
}

Settings short_settings(const char* name, double eps, double step, int steps) {
  Settings s = attack_named(name).defaults;
  s.eps = eps;
  s.step = step;
  s.steps = steps;
  return s;
}

// --- PGD and its kin

TEST(EvasionSteps, PgdStartsAtRandomInsideItsBox) {
  const LinearNet net(kPixel, 2, {{1.f, 0.f}});
  const WatchedNet watched(net);
  const Images images = one_pixel(0.5f, 7);
  Settings s = short_settings("pgd", 0.25, 0.01, 2);
  std::vector<double> delta(1);
  for (const std::uint64_t seed : {1, 2}) {
    s.seed = seed;
    watched.seen.clear();
    pgd(victim_on(watched), images, s);
    uniform_start(seed, 0, 7, 0.25, delta);
    EXPECT_NEAR(watched.seen[0][0], 0.5 + delta[0], 1e-6);
    EXPECT_GT(std::abs(delta[0]), 0.01);
  }
  s.random_start = false;
  watched.seen.clear();
  pgd(victim_on(watched), images, s);
  EXPECT_EQ(watched.seen[0][0], 0.5f);
}

// The mean over exits, and the exit that harms all most, both go by the second exit, which pulls eight times as hard.
TEST(EvasionSteps, AttacksOnAllExitsWeighAllExits) {
  const LinearNet net = slopes({-0.1f, 0.8f, -0.1f});
  const Victim victim = victim_on(net);
  const Images images = one_pixel(0.5f);
  EXPECT_NEAR(pgd_average(victim, images, short_settings("pgd-avg", 0.25, 0.1, 10)).pixels[0], 0.25, 1e-6);
  const Crafted most = max_average(victim, images, short_settings("max-average", 0.25, 0.1, 10));
  EXPECT_NEAR(most.pixels[0], 0.25, 1e-6);
  EXPECT_EQ(most.exit[0], 1);
}

// --- APGD

TEST(EvasionSteps, ApgdHasThePublishedCheckpoints) {
  const auto at = [](int steps) {
    const std::vector<bool> is = apgd_checkpoints(steps);
    EXPECT_EQ(is.size(), static_cast<std::size_t>(steps) + 1);
    std::vector<int> found;
    for (std::size_t t = 0; t < is.size(); ++t) {
      if (is[t]) found.push_back(static_cast<int>(t));
    }
    return found;
  };
  // p_j = 0, .22, .41, .57, .70, .80, .87, .93, .99
  EXPECT_EQ(at(100), (std::vector<int>{22, 41, 57, 70, 80, 87, 93, 99}));
  EXPECT_EQ(at(10), (std::vector<int>{3, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(at(1), (std::vector<int>{1}));
}

// At its t-th forward pass the net of one pixel has a loss that grows with `rise[t]` and a gradient of the sign `sign[t]`,
// whatever the pixel is; behind the end the last of each stands.
struct Script {
  std::vector<float> rise, sign;
};
std::vector<float> apgd_path(const Script& script, Crafted* made = nullptr) {
  std::vector<float> seen;
  const FunctionNet net(kPixel, 2, [&](const Tensor& x) {
    const auto now = [&](const std::vector<float>& of) { return of[std::min(seen.size(), of.size() - 1)]; };
    const float rise = now(script.rise), sign = now(script.sign);
    seen.push_back(x.to_host<float>()[0]);
    const Tensor one = Tensor::full({1, 1}, 1.f, one_thread());
    const Tensor z = axpby(sign, flatten(x), rise - sign * seen.back(), one);
    const Tensor parts[] = {scale(z, 0.f), z};
    return concat_channels(parts);
  });
  Settings s = short_settings("apgd-ce", 0.1, 1, 18);  // checkpoints 4, 8, 11, ...
  s.random_start = false;
  const Crafted crafted = apgd_ce(victim_on(net), one_pixel(0.5f), s);
  if (made) *made = crafted;
  EXPECT_EQ(seen.size(), 19u);
  return seen;
}
void expect_path(const std::vector<float>& seen, const std::vector<double>& expected) {
  for (std::size_t t = 0; t < expected.size(); ++t)
    EXPECT_NEAR(seen[t], expected[t], 1e-6) << "iterate " << t;
}

// x_1 = .6; x_2 = .6 + .75 (.4 - .6) + .25 (.6 - .5); x_3 = .475 + .75 (.6 - .475) + .25 (.475 - .6); and so on.
const std::vector<float> kSigns = {1, -1, 1, -1, -1, -1, 1, -1, 1};
constexpr double kX4 = 0.45;

TEST(EvasionSteps, ApgdMovesWithMomentum) {
  // The loss rises at every step: nothing is halved at t = 4.
  const auto seen = apgd_path({{1, 2, 3, 4, 5, 6}, {1, -1, 1, -1, 1, 1}});
  expect_path(seen, {0.5, 0.6, 0.475, 0.5375, kX4, kX4 + 0.75 * 0.15 + 0.25 * (kX4 - 0.5375)});
}

TEST(EvasionSteps, ApgdHalvesWhereFewerThanThreeQuartersRise) {
  // Two of four rise, the best is x_3: from there with half the step, .5375 + .75 (.4375 - .5375).
  expect_path(apgd_path({{1, 2, 1.5f, 3, 2.5f, 0}, kSigns}), {0.5, 0.6, 0.475, 0.5375, kX4, 0.4625});
  // Three of four rise, to the best so far: it goes on, .45 + .75 (.4 - .45) + .25 (.45 - .5375), clipped.
  expect_path(apgd_path({{1, 2, 3, 2.5f, 4, 0}, kSigns}), {0.5, 0.6, 0.475, 0.5375, kX4, 0.4});
}

TEST(EvasionSteps, ApgdHalvesWhereItsBestStaysAndTheStepDidToo) {
  // Three of four rise, but x_0 stays the best: from there with half the step, .5 + .75 (.6 - .5). At t = 8 the same, but the
  // step has changed since t = 4: it goes on.
  const auto seen = apgd_path({{5, 1, 2, 3, 4, 1, 2, 3, 4, 0}, kSigns});
  expect_path(seen,
              {0.5, 0.6, 0.475, 0.5375, kX4, 0.575, 0.51875, 0.565625, 0.50234375, 0.50234375 + 0.057421875});
}

TEST(EvasionSteps, ApgdReturnsTheWrongIterateOfLargestLoss) {
  Crafted made;
  apgd_path({{-3, -2, -1, -2, -3}, kSigns}, &made);  // never wrong: that of largest loss
  EXPECT_NEAR(made.pixels[0], 0.475, 1e-6);
  apgd_path({{-3, 1, -1, 2, -3}, kSigns}, &made);
  EXPECT_NEAR(made.pixels[0], 0.5375, 1e-6);
}

// --- Early Attack

// Both exits say class 0 and grow surer with x: the first wants x lower, the last, by twice that, higher.
TEST(EvasionSteps, EarlyAttackWeighsTheLastExitByAlpha) {
  const LinearNet net = slopes({2, 2});
  Settings s = short_settings("early-attack", 1, 1, 1);
  for (const double alpha : {0.1, 0.4, 0.6, 10.0}) {
    s.early.alpha = alpha;
    const float made = early_attack(victim_on(net), one_pixel(0.5f), s).pixels[0];
    EXPECT_EQ(made > 0.5f, alpha > 0.5) << "alpha " << alpha;
    EXPECT_NEAR(std::abs(made - 0.5f), 0.005, 1e-4);  // Adam's first step is its rate, in atanh
  }
}

TEST(EvasionSteps, EarlyAttackFromNoiseStartsBetweenAHalfAndNineTenths) {
  const LinearNet net = slopes({2, 2});
  const WatchedNet watched(net);
  Settings s = short_settings("early-attack", 1, 1, 1);
  for (const EarlyStart start : {EarlyStart::kImage, EarlyStart::kRandom}) {
    s.early.start = start;
    watched.seen.clear();
    early_attack(victim_on(watched), one_pixel(0.3f, 5), s);
    std::vector<double> w(1);
    uniform_start(s.seed, 0, 5, 0.5, w);
    const double expected =
        start == EarlyStart::kImage ? 0.5 + 0.999 * -0.2 : (std::tanh(w[0] + 0.5) + 1) / 2;
    EXPECT_NEAR(watched.seen[1][0], expected, 1e-6);  // the first pass is of the clean image
  }
}

// Images are normalised by 1/10: the distance counts a hundred times, and wins against c that it lost to.
TEST(EvasionSteps, EarlyAttackNormalisesTheDistanceOfImages) {
  const LinearNet net = slopes({-2, -2});  // class 1; the first exit loses it with a lower x
  Victim victim = victim_on(net);
  victim.inverse_deviation = {10.f};
  Settings s = short_settings("early-attack", 1, 1, 1);
  s.early.start = EarlyStart::kRandom;
  s.early.alpha = 0;
  const WatchedNet watched(net);
  victim.net = &watched;
  const Images images = one_pixel(0.9f);
  for (const EarlyDistance metric : {EarlyDistance::kSquaredL2, EarlyDistance::kSquaredL2Normalised}) {
    s.early.distance = metric;
    // Towards the image at .9: 2 * 100 * difference against c * .4.
    s.early.c = 30;
    watched.seen.clear();
    early_attack(victim, images, s);
    const double difference = 0.9 - static_cast<double>(watched.seen[1][0]);
    ASSERT_GT(difference, 0.1);
    ASSERT_LT(difference, 0.4);
    EXPECT_EQ(watched.seen[2][0] > watched.seen[1][0], metric == EarlyDistance::kSquaredL2Normalised);
  }
}

TEST(EvasionSteps, EarlyAttackOfTheCodeReturnsFromIteration200On) {
  const LinearNet net(kPixel, 2, {{-1.f, 0.f}, {1.f, 0.f}});  // every iterate succeeds
  Settings s = short_settings("early-attack", 1, 1, 250);
  s.early.returns = EarlyReturn::kAfter200;
  const Victim victim = victim_on(net);
  const Crafted made = early_attack(victim, one_pixel(0.5f), s);
  EXPECT_EQ(made.macs[0], 202.0 * static_cast<double>(gradient_macs(victim, 1)));  // x_0 to x_201
}

// --- DeepSloth

TEST(EvasionSteps, SlothsRadiusShrinksByATenthEveryFiftySteps) {
  EXPECT_EQ(shrinking_radius(2, 0), 2);
  EXPECT_EQ(shrinking_radius(2, 49), 2);
  EXPECT_NEAR(shrinking_radius(2, 50), 1.8, 1e-12);
  EXPECT_NEAR(shrinking_radius(1, 549), 0.349, 5e-4);  // specs: robustness 6
}

TEST(EvasionSteps, SlothsStartHasItsNorm) {
  std::vector<double> delta(50);
  sloth_start(1, 3, Norm::kLinf, 0.002, delta);
  double largest = 0, squares = 0, sum = 0;
  for (const double d : delta) largest = std::max(largest, std::abs(d));
  EXPECT_LE(largest, 0.002);
  EXPECT_GT(largest, 0.0018);
  sloth_start(1, 3, Norm::kL2, 3, delta);
  for (const double d : delta) squares += d * d;
  EXPECT_NEAR(squares, 9, 1e-9);
  sloth_start(1, 3, Norm::kL1, 8, delta);
  for (const double d : delta) sum += std::abs(d);
  EXPECT_NEAR(sum, 8, 1e-9);
}

TEST(EvasionSteps, L2StepsAreOfAGradientOfNormOneAtMost) {
  std::vector<double> delta = {1, 1};
  l2_step(std::vector<float>{3, -4}, 0.5, delta);
  EXPECT_NEAR(delta[0], 1 - 0.5 * 0.6, 1e-12);
  EXPECT_NEAR(delta[1], 1 + 0.5 * 0.8, 1e-12);
  delta = {0, 0};
  l2_step(std::vector<float>{0.25f, 0.5f}, 0.5, delta);
  EXPECT_EQ(delta, (std::vector<double>{-0.125, -0.25}));
}

TEST(EvasionSteps, SparseStepsGoAlongTheLargestEntries) {
  std::vector<float> gradient(200, 0.01f);
  gradient[3] = -2;
  gradient[150] = 1;
  std::vector<double> delta(200, 0), expected(200, 0);
  sparse_sign_step(gradient, 0.01, 0.5, delta);
  expected[3] = 0.25;
  expected[150] = -0.25;
  EXPECT_EQ(delta, expected);
  delta.assign(200, 0);
  sparse_sign_step(gradient, 1, 0.5, delta);
  EXPECT_NEAR(delta[3], 0.5 / 200, 1e-15);
  EXPECT_NEAR(delta[0], -0.5 / 200, 1e-15);
}

TEST(EvasionSteps, SlothLinfStartsOneStepAroundTheImage) {
  const LinearNet net({1, 4, 4}, 2, {weights(32, 1, 1.f), weights(32, 2, 1.f)});
  const WatchedNet watched(net);
  Images images = noise_images({1, 4, 4}, 1, 2, 3);
  for (float& p : images.pixels) p = 0.25f + 0.5f * p;
  sloth_linf(victim_on(watched), images, short_settings("sloth-linf", 0.2, 0.01, 1));
  EXPECT_LE(distance(Norm::kLinf, images.image(0), watched.seen[0]), 0.01 + 1e-6);
  EXPECT_GT(distance(Norm::kLinf, images.image(0), watched.seen[0]), 0.005);
}

// Internal classifiers with logits (16 x, 0): the gradient leads down and is above 1 for all x from .3 on.
TEST(EvasionSteps, SlothL2StepsFallAsACosine) {
  const LinearNet net = slopes({16, 16});
  const WatchedNet watched(net);
  sloth_l2(victim_on(watched), one_pixel(0.5f, 1), short_settings("sloth-l2", 0.4, 0.02, 10));
  ASSERT_NEAR(watched.seen[0][0], 0.9, 1e-6) << "another number starts below the image";
  for (std::size_t t = 0; t + 1 < watched.seen.size(); ++t) {
    const double rate = 0.0002 + 0.0198 * (1 + std::cos(3.14159265358979 * static_cast<double>(t) / 10)) / 2;
    EXPECT_NEAR(
        static_cast<double>(watched.seen[t][0]) - static_cast<double>(watched.seen[t + 1][0]), rate, 1e-6)
        << "step " << t;
  }
}

TEST(EvasionSteps, SlothL2EndsInsideTheShrunkenRadius) {
  const LinearNet net = slopes({16, 16});
  const Settings s = short_settings("sloth-l2", 0.2, 1, 51);
  EXPECT_NEAR(sloth_l2(victim_on(net), one_pixel(0.9f), s).pixels[0], 0.9 - 0.9 * 0.2, 1e-6);
}

// The two largest entries lie where the start already goes up, so that a step down stays inside the radius.
TEST(EvasionSteps, SlothL1MovesOneEntryInAHundred) {
  constexpr nets::Extent kWide{1, 10, 20};
  Images images{
      .n = 1, .extent = kWide, .pixels = std::vector<float>(200, 0.5f), .labels = {0}, .numbers = {4}};
  std::vector<double> start(200);
  sloth_start(1, 4, Norm::kL1, 1, start);
  std::vector<std::size_t> order(200);
  for (std::size_t k = 0; k < 200; ++k) order[k] = k;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return start[a] > start[b]; });
  ASSERT_GT(start[order[1]], 0.01);
  std::vector<float> w(400, 0.01f);
  std::fill(w.begin() + 200, w.end(), 0.f);
  w[order[0]] = 4;
  w[order[1]] = 3;
  const LinearNet net(kWide, 2, {w, w});
  const WatchedNet watched(net);
  const Crafted made = sloth_l1(victim_on(watched), images, short_settings("sloth-l1", 1, 0.02, 1));
  for (std::size_t k = 0; k < 200; ++k) {
    EXPECT_NEAR(made.pixels[k] - watched.seen[0][k], k == order[0] || k == order[1] ? -0.01 : 0, 1e-6) << k;
  }
}

// --- one perturbation for many images

TEST(EvasionSteps, UniversalL2StepsFallByATenthEveryFifty) {
  const LinearNet net = slopes({16, 16});
  const WatchedNet watched(net);
  UniversalSettings s = universal_defaults(Norm::kL2);
  s.eps = 0.4;
  s.step = 0.002;
  s.steps = 52;
  s.seed = 1;
  universal_sloth(victim_on(watched), one_pixel(0.5f), Norm::kL2, s);
  ASSERT_EQ(watched.seen.size(), 52u);
  ASSERT_NEAR(watched.seen[0][0], 0.9, 1e-6) << "another seed starts below the image";
  const auto moved = [&](std::size_t t) {
    return static_cast<double>(watched.seen[t][0]) - static_cast<double>(watched.seen[t + 1][0]);
  };
  EXPECT_NEAR(moved(0), 0.002, 1e-6);
  EXPECT_NEAR(moved(49), 0.002, 1e-6);
  EXPECT_NEAR(moved(50), 0.0018, 1e-6);
}

TEST(EvasionSteps, UniversalSlothGoesRoundItsBatches) {
  const LinearNet net = slopes({1, 1});
  const WatchedNet watched(net);
  Images images{.n = 5,
                .extent = kPixel,
                .pixels = {.1f, .2f, .3f, .4f, .5f},
                .labels = {0, 0, 0, 0, 0},
                .numbers = {0, 1, 2, 3, 4}};
  UniversalSettings s = universal_defaults(Norm::kLinf);
  s.eps = 0.01;
  s.step = 0.001;
  s.steps = 5;
  s.batch = 2;
  s.batches = 2;  // of three that there are
  universal_sloth(victim_on(watched), images, Norm::kLinf, s);
  ASSERT_EQ(watched.seen.size(), 5u);
  for (std::size_t t = 0; t < 5; ++t) {
    ASSERT_EQ(watched.seen[t].size(), 2u);
    EXPECT_NEAR(watched.seen[t][0], t % 2 == 0 ? .1 : .3, 0.011) << "step " << t;
  }
  s.batches = 9;
  watched.seen.clear();
  universal_sloth(victim_on(watched), images, Norm::kLinf, s);
  EXPECT_EQ(watched.seen[2].size(), 1u);
  EXPECT_EQ(watched.seen[3].size(), 2u);
}

TEST(EvasionSteps, UapStaysInsideItsRadius) {
  const LinearNet net(kPixel, 2, {{-1.f, -2.f}});  // class 0 for every x above 0
  const Uap uap =
      universal_adversarial(victim_on(net), one_pixel(0.5f), {.eps = 0.1, .passes = 3, .iterations = 5});
  EXPECT_EQ(uap.fooled, 0);
  EXPECT_EQ(uap.passes, 3);
  EXPECT_NEAR(std::abs(uap.delta[0]), 0.1, 1e-12);
}

}  // namespace
}  // namespace offramp::test
