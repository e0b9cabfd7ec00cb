// The thefts that ignore exits: their parts against what is known, and each of them whole on a tiny victim, where the meter
// counts what was asked.
#include "attacks/baselines/baselines.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <numeric>
#include <set>

#include "attacks/baselines/draws.h"
#include "attacks/extraction/victim.h"
#include "attacks/query/metered.h"
#include "base/errors.h"
#include "nets/graph/state_dict.h"
#include "tests/attacks/message.h"
#include "tests/attacks/tiny.h"
#include "tests/support/temp_folder.h"

namespace offramp::attacks {
namespace {

TEST(GradientBandit, FollowsTheFormula) {
  GradientBandit bandit(2);
  bandit.update(0, 1);  // the mean reward is the reward: nothing is learnt
  EXPECT_EQ(bandit.preferences(), (std::vector<double>{0, 0}));
  bandit.update(1, 0);  // mean 1/2, N = 1: H(1) -= 1/4, H(0) += 1/4
  EXPECT_EQ(bandit.preferences(), (std::vector<double>{0.25, -0.25}));
  EXPECT_NEAR(bandit.probabilities()[0], 1 / (1 + std::exp(-0.5)), 1e-12);
  EXPECT_EQ(bandit.draw(0.62), 0);
  EXPECT_EQ(bandit.draw(0.63), 1);
  EXPECT_EQ(bandit.draw(0.9999999), 1);
}

// The second time that an action is chosen its step is half as long.
TEST(GradientBandit, StepsShortenWithEveryChoiceOfAnAction) {
  GradientBandit bandit(2);
  bandit.update(0, 0);
  bandit.update(0, 1);  // mean 1/2, N = 2
  EXPECT_EQ(bandit.preferences(), (std::vector<double>{0.125, -0.125}));
}

TEST(GradientBandit, FindsTheActionThatPays) {
  GradientBandit bandit(3);
  const PhiloxKey key{5, 900};
  for (std::uint64_t t = 0; t < 1000; ++t) {
    const int z = bandit.draw(static_cast<double>(key.uniform(t)));
    bandit.update(z, z == 2 ? 1 : 0);
  }
  EXPECT_GT(bandit.probabilities()[2], 0.8);
  EXPECT_NEAR(std::accumulate(bandit.probabilities().begin(), bandit.probabilities().end(), 0.0), 1, 1e-12);
}

TEST(Reward, IsThatOfTheSpec) {
  const std::vector<float> v{.7f, .2f, .1f}, w{.1f, .8f, .1f}, p{.5f, .25f, .25f};
  EXPECT_NEAR(RewardMeter(Reward::kCertainty, 3).of(v, p), .5, 1e-6);
  EXPECT_NEAR(RewardMeter(Reward::kLoss, 3).of(v, p), -.7 * std::log(.5) - .3 * std::log(.25), 1e-6);
  RewardMeter diversity(Reward::kDiversity, 3);
  EXPECT_NEAR(diversity.of(v, p), 0, 1e-6);   // the mean is the answer itself
  EXPECT_NEAR(diversity.of(w, p), .3, 1e-6);  // means .4 .5 .1
  RewardMeter all(Reward::kAll, 3);
  EXPECT_NEAR(all.of(v, p), (.5 + 0 + .9010913) / 3, 1e-6);  // clipped the first time
  // Of two values the second is one mean away: mean += d/2, variance = d^2/4 * (1/2) after the first's 0.
  EXPECT_NEAR(all.of(w, p), std::sqrt(2.0), 1e-4);
}

TEST(Noise, HasTheDistributionThatItIsNamedAfter) {
  const auto bernoulli = noise_images(NoiseKind::kBernoulli, 20, 3, 32, 1),
             uniform = noise_images(NoiseKind::kUniform, 20, 3, 32, 1);
  double ones = 0, sum = 0;
  for (const auto p : bernoulli.pixels) {
    ASSERT_TRUE(p == 0 || p == 255);
    ones += p == 255;
  }
  for (const auto p : uniform.pixels) sum += p;
  const double n = static_cast<double>(bernoulli.pixels.size());
  EXPECT_NEAR(ones / n, .5, 5 * .5 / std::sqrt(n));
  EXPECT_NEAR(sum / n, 127.5, 5 * 73.9 / std::sqrt(n));
  EXPECT_EQ(std::set<int>(uniform.pixels.begin(), uniform.pixels.end()).size(), 256u);
  // A shorter call gives the first pictures of a longer one; another seed others.
  const auto fewer = noise_images(NoiseKind::kBernoulli, 7, 3, 32, 1);
  EXPECT_TRUE(std::equal(fewer.pixels.begin(), fewer.pixels.end(), bernoulli.pixels.begin()));
  EXPECT_NE(noise_images(NoiseKind::kBernoulli, 7, 3, 32, 2).pixels, fewer.pixels);
}

// N(0.5, 0.25) within [0,1]: at each end what lies beyond two deviations, less or more half a level.
TEST(Noise, GaussianPicturesAreGreyWithAQuarterDeviation) {
  const auto set = gaussian_images(20, 3, 32, 5);
  const double n = static_cast<double>(set.pixels.size());
  double sum = 0, ends = 0;
  for (const auto p : set.pixels) sum += p, ends += p == 0 || p == 255;
  EXPECT_NEAR(sum / n, 127.5, 5 * 64 / std::sqrt(n));
  EXPECT_NEAR(ends / n, std::erfc((2 - .5 / 255 / .25) / std::numbers::sqrt2), 5 * std::sqrt(.0455 / n));
}

// Mean product of neighbouring spins.
double neighbours(double beta) {
  constexpr int kSide = 64, kPictures = 8;
  const auto set = noise_images(NoiseKind::kIsing, kPictures, 1, kSide, 3, {.beta = beta, .sweeps = 100});
  double sum = 0;
  for (int i = 0; i < kPictures; ++i)
    for (int y = 0; y < kSide; ++y)
      for (int x = 0; x < kSide; ++x) {
        const auto at = [&](int r, int c) {
          return set.image(i)[static_cast<std::size_t>(r % kSide * kSide + c % kSide)] == 255 ? 1 : -1;
        };
        sum += at(y, x) * (at(y + 1, x) + at(y, x + 1));
      }
  return sum / (2.0 * kPictures * kSide * kSide);
}

TEST(Noise, IsingSpinsAgreeWithTheirNeighboursAsOnsagerFound) {
  for (const double beta : {0.0, 0.2, 0.3}) {
    // Energy of a bond of the infinite lattice (Onsager 1944).
    double exact = 0;
    if (beta > 0) {
      const double k = 2 * std::sinh(2 * beta) / std::pow(std::cosh(2 * beta), 2);
      exact = 0.5 / std::tanh(2 * beta) *
              (1 + 2 / std::numbers::pi * (2 * std::pow(std::tanh(2 * beta), 2) - 1) * std::comp_ellint_1(k));
    }
    // 65,536 bonds; those of a cluster move together, which a factor of 3 covers at these temperatures.
    EXPECT_NEAR(neighbours(beta), exact, 3 * 3 / std::sqrt(65536.0)) << beta;
  }
  EXPECT_THROW(noise_images(NoiseKind::kIsing, 1, 1, 7, 1), ValueError);
}

TEST(Draws, HaveTheirMoments) {
  const PhiloxKey key{11, 901};
  for (const double shape : {0.3, 1.0, 2.5}) {
    std::uint64_t at = 0;
    double sum = 0, squares = 0;
    constexpr int kDraws = 40000;
    for (int i = 0; i < kDraws; ++i) {
      const double g = gamma(key, at, shape);
      sum += g, squares += g * g;
    }
    const double mean = sum / kDraws;
    EXPECT_NEAR(mean, shape, 5 * std::sqrt(shape / kDraws)) << shape;
    // Fourth central moment of a gamma: 3 shape^2 + 6 shape.
    EXPECT_NEAR(
        squares / kDraws - mean * mean, shape, 5 * std::sqrt((2 * shape * shape + 6 * shape) / kDraws));
  }
  std::uint64_t at = 0;
  const auto point = dirichlet(key, at, {0.5, 1, 3});
  EXPECT_NEAR(std::accumulate(point.begin(), point.end(), 0.0), 1, 1e-6);
}

TEST(Generator, MakesPicturesOfItsSizeAndSaysWhatItCannot) {
  Generator generator(
      {.classes = 3, .channels = 2, .side = 16, .latent = 5, .width = 4}, test::one_thread(), 1);
  const std::vector<float> z(10, 0.5f);
  const std::vector<std::int32_t> labels{0, 2};
  const Tensor pictures = generator.images(z, labels, false);
  EXPECT_EQ(pictures.shape(), (Shape{2, 2, 16, 16}));
  for (const float p : pictures.to_host<float>()) EXPECT_TRUE(p >= 0 && p <= 1);
  // The class makes a difference, the place in the batch none.
  const auto one =
      generator.images(std::span(z).subspan(0, 5), std::vector<std::int32_t>{2}, false).to_host<float>();
  const auto both = pictures.to_host<float>();
  EXPECT_TRUE(std::equal(one.begin(), one.end(), both.begin() + 512));
  EXPECT_FALSE(std::equal(one.begin(), one.end(), both.begin()));
  EXPECT_EQ(test::message_of([&] { Generator({.side = 28}, test::one_thread(), 1); }),
            "generator: it doubles 4x4 maps, so pictures are 8x8, 16x16, 32x32, ...; got 28x28");
}

TEST(Generator, ModeSeekingGradientMatchesDifferences) {
  const std::vector<float> z{0, 1, 2, 1, 4, 1, 2, 2};  // two pairs of two latents: distances 2 and 1/2
  std::vector<float> pictures{.1f, .2f, .3f, .4f, .5f, .7f, .35f, .8f, .6f, .9f, .2f, .1f};
  const ModeSeeking at = mode_seeking(z, pictures, 4);
  const double apart1 = (.25 + .6 + .3) / 3, apart2 = (.5 + .3 + .6) / 3;
  EXPECT_NEAR(at.loss, (2 / apart1 + .5 / apart2) / 2, 1e-5);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    auto up = pictures, down = pictures;
    up[i] += 0x1p-9f, down[i] -= 0x1p-9f;
    const double slope = (mode_seeking(z, up, 4).loss - mode_seeking(z, down, 4).loss) / 0x1p-8;
    EXPECT_NEAR(static_cast<double>(at.gradient[i]), slope, 1e-2 * std::abs(slope) + 1e-3) << i;
    EXPECT_GT(std::abs(slope), 0.1);
  }
  // Equal pictures: far apart latents are punished, but nobody knows in which direction.
  const std::vector<float> same(6, .5f), two{0, 1, 3, 1};
  const ModeSeeking equal = mode_seeking(two, same, 2);
  EXPECT_NEAR(equal.loss, 1.5 / kClosest, 1);
  EXPECT_EQ(equal.gradient, std::vector<float>(6, 0.0f));
}

std::vector<float> all_values_of(const nets::Network& net) {
  std::vector<float> all;
  for (const auto& entry : net.parameters().entries()) {
    const auto values = entry.value.to_host<float>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

// A net that knows the bars.
std::unique_ptr<nets::Network> taught(const data::ImageSet& train) {
  auto net = test::tiny_net(5);
  std::vector<float> truth;
  for (const auto label : train.labels)
    for (int c = 0; c < 3; ++c) truth.push_back(label == c ? 1.0f : 0.0f);
  Fit fit(*net,
          {.method = FitMethod::kKnockoff, .epochs = 6, .batch_size = 50, .learning_rate = 0.05},
          train,
          {truth, {}});
  while (!fit.trainer().done()) fit.trainer().step();
  return net;
}

TEST(Synthesis, LowersTheLossOfTheCopyAndLeavesTheCopyAlone) {
  const auto copy = taught(test::bars(400, 1));
  const auto before = all_values_of(*copy);
  const auto start = gaussian_images(20, 1, 8, 3);
  const auto same = optimised_images(*copy, start, {.steps = 0}, 4);
  EXPECT_EQ(same.images.pixels, start.pixels);
  const auto made = optimised_images(*copy, start, {.steps = 30, .batch_size = 8}, 4);
  EXPECT_LT(made.last_loss, 0.8 * made.first_loss);
  EXPECT_NE(made.images.pixels, start.pixels);
  // Each picture by itself: the batch does not matter but for rounding.
  const auto whole = optimised_images(*copy, start, {.steps = 30, .batch_size = 20}, 4);
  int apart = 0;
  for (std::size_t i = 0; i < made.images.pixels.size(); ++i)
    apart = std::max(apart, std::abs(int{made.images.pixels[i]} - int{whole.images.pixels[i]}));
  EXPECT_LE(apart, 1);

  Generator generator(
      {.classes = 3, .channels = 1, .side = 8, .latent = 8, .width = 16}, test::one_thread(), 2);
  const auto drawn = generated_images(
      *copy, generator, 60, {.steps = 60, .batch_size = 20, .generator_rate = 5e-3, .lambda_ms = 0.01}, 6);
  EXPECT_LT(drawn.last_loss, 0.8 * drawn.first_loss);
  EXPECT_EQ(drawn.images.n, 60);
  EXPECT_EQ(all_values_of(*copy), before);
}

// Counts what reaches the victim and may die.
class Counting final : public BlackBox {
 public:
  explicit Counting(const nets::Network& net)
      : inner_(early_exit_victim(net, nets::ExitPolicy::uniform(net.num_exits(), 0.8)), net.classes()) {}
  int classes() const override { return inner_.classes(); }
  Answer query(const Tensor& images, Timing timing) override {
    EXPECT_EQ(timing, Timing::kNone);  // a theft that ignores exits needs no clock
    asked += images.shape()[0];
    return inner_.query(images, timing);
  }
  std::int64_t asked = 0;

 private:
  InProcessBlackBox inner_;
};

TEST(Metered, CountsRefusesAndRemembers) {
  const auto net = test::tiny_net(5);
  const auto images = test::bars(30, 2);
  const ImageSource source = image_source(images);
  const auto some = [&](std::int32_t first, int n) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(n));
    std::iota(rows.begin(), rows.end(), first);
    return source.load(rows);
  };
  test::TempFolder folder;
  Counting victim(*net);
  std::vector<float> first;
  {
    MeteredBlackBox meter(victim, 20, folder / "log.safetensors");
    first = meter.query(some(0, 12), Timing::kPerQuery).probabilities.to_host<float>();
    EXPECT_EQ(meter.left(), 8);
    EXPECT_EQ(test::message_of([&] { meter.query(some(12, 9), Timing::kNone); }),
              "queries: 9 more are wanted, 8 of 20 are left");
    EXPECT_EQ(victim.asked, 12);
    meter.flush();
  }
  MeteredBlackBox again(victim, 20, folder / "log.safetensors");
  const auto replayed = again.query(some(0, 20), Timing::kNone).probabilities.to_host<float>();
  EXPECT_TRUE(std::equal(first.begin(), first.end(), replayed.begin()));
  EXPECT_EQ(victim.asked, 20);  // eight new ones
  EXPECT_EQ(again.spent(), 20);
  again.flush();
  MeteredBlackBox other(victim, 20, folder / "log.safetensors");
  EXPECT_NE(test::message_of([&] {
              other.query(some(1, 5), Timing::kNone);
            }).find("query 0 was another image: the log belongs to another run"),
            std::string::npos);
}

class Stopping final : public Listener {
 public:
  explicit Stopping(int after) : left_(after) {}
  bool stop_requested() override { return left_-- <= 0; }

 private:
  int left_;
};

class EveryBaseline : public ::testing::TestWithParam<std::pair<Baseline, const char*>> {};

TEST_P(EveryBaseline, SpendsItsBudgetAndGoesOnAfterAStop) {
  const auto train = test::bars(300, 1), pictures = test::bars(90, 2), unseen = test::bars(200, 3);
  const auto net = taught(train);
  test::TempFolder folder;
  BaselinePlan plan;
  plan.method = GetParam().first;
  plan.budget = 62;  // no multiple of the rounds
  plan.images = &pictures;
  plan.copy.net = test::tiny_options(1);
  plan.copy.fit = {.epochs = 2, .batch_size = 16, .seed = 9, .learning_rate = 0.05};
  plan.num_exits = 3;
  plan.es = {.rounds = 4,
             .learning_rate = 0.05,
             .latent = 4,
             .width = 4,
             .synthesis = {.steps = 3, .batch_size = 8}};
  const auto run = [&](const std::filesystem::path& where, Listener& listener, Counting& victim) {
    plan.folder = where;
    return run_baseline(victim, plan, test::one_thread(), listener);
  };
  Counting whole(*net), cut(*net);
  Listener nobody;
  const auto outcome = run(folder / "whole", nobody, whole);
  EXPECT_EQ(outcome.queries, 62);
  EXPECT_EQ(whole.asked, 62);
  EXPECT_EQ(outcome.net->num_exits(), 3);
  int stops = 0;
  for (int after = 0;; after += 3) {
    Stopping listener(after);
    try {
      const auto same = run(folder / "cut", listener, cut);
      EXPECT_EQ(all_values_of(*same.net), all_values_of(*outcome.net));
      EXPECT_EQ(same.queries, 62);
      break;
    } catch (const Stopped&) {
      ++stops;
    }
  }
  EXPECT_GT(stops, 1);
  EXPECT_EQ(cut.asked, 62);  // a stop costs no query
  if (plan.method == Baseline::kKnockoffAdaptive) {
    EXPECT_NEAR(
        std::accumulate(outcome.action_probabilities.begin(), outcome.action_probabilities.end(), 0.0),
        1,
        1e-9);
  }
}

INSTANTIATE_TEST_SUITE_P(Baselines, EveryBaseline, ::testing::ValuesIn(kBaselines), [](const auto& baseline) {
  std::string name = baseline.param.second;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// What a theft asked: the mean brightness of each picture. Sure of bright pictures, of others it says nothing.
class Bright final : public BlackBox {
 public:
  int classes() const override { return 3; }
  Answer query(const Tensor& images, Timing) override {
    const auto pixels = images.to_host<float>();
    const auto n = static_cast<std::size_t>(images.shape()[0]), size = pixels.size() / n;
    std::vector<float> values;
    for (std::size_t i = 0; i < n; ++i) {
      const auto* from = &pixels[i * size];
      asked.push_back(std::accumulate(from, from + size, 0.0) / static_cast<double>(size));
      const bool sure = asked.back() > 0.7;
      values.insert(values.end(), {sure ? .98f : .34f, sure ? .01f : .33f, sure ? .01f : .33f});
    }
    Answer answer;
    answer.probabilities = Tensor::from<float>({images.shape()[0], 3}, values, Device::cpu());
    answer.labels = labels_of(answer.probabilities);
    return answer;
  }
  std::vector<double> asked;
};

// n even pictures, each of a grey of its own; those of the last class are bright.
data::ImageSet greys(int n) {
  auto set = test::bars(n, 1);
  for (int i = 0; i < n; ++i) {
    set.labels[static_cast<std::size_t>(i)] = i * 3 / n;
    std::fill(set.image(i).begin(), set.image(i).end(), static_cast<std::uint8_t>(i * 255 / (n - 1)));
  }
  return set;
}

BaselinePlan plan_for(const data::ImageSet& pictures, const std::filesystem::path& folder) {
  BaselinePlan plan;
  plan.folder = folder;
  plan.images = &pictures;
  plan.budget = pictures.n;
  plan.copy.net = test::tiny_options(1);
  plan.copy.fit = {.epochs = 1, .batch_size = 16, .seed = 9, .learning_rate = 0.05};
  plan.num_exits = 3;
  return plan;
}

TEST(Baselines, KnockoffAsksEachPictureOnceBeforeAnyTwiceInRandomOrder) {
  const auto pictures = greys(50);
  test::TempFolder folder;
  auto plan = plan_for(pictures, folder.path());
  plan.budget = 70;
  Bright victim;
  Listener nobody;
  run_baseline(victim, plan, test::one_thread(), nobody);
  ASSERT_EQ(victim.asked.size(), 70u);
  EXPECT_EQ(std::set<double>(victim.asked.begin(), victim.asked.begin() + 50).size(), 50u);
  EXPECT_EQ(std::set<double>(victim.asked.begin() + 50, victim.asked.end()).size(), 20u);
  EXPECT_FALSE(std::is_sorted(victim.asked.begin(), victim.asked.begin() + 50));
}

TEST(Baselines, TheAdaptivePolicyAsksMoreOfWhatItIsRewardedFor) {
  const auto pictures = greys(60);
  test::TempFolder folder;
  auto plan = plan_for(pictures, folder.path());
  plan.method = Baseline::kKnockoffAdaptive;
  plan.reward = Reward::kCertainty;
  plan.budget = 200;
  Bright victim;
  Listener nobody;
  const auto outcome = run_baseline(victim, plan, test::one_thread(), nobody);
  ASSERT_EQ(outcome.action_probabilities.size(), 3u);
  EXPECT_GT(outcome.action_probabilities[2], 0.5);
  EXPECT_GT(std::count_if(victim.asked.begin(), victim.asked.end(), [](double g) { return g > 0.67; }), 100);
}

// Without a step of synthesis the pictures of a round are those it starts from: the round before's, or noise of its own.
TEST(Baselines, RoundsOfTheEsAttackGoOnFromTheOneBefore) {
  const auto pictures = greys(24);
  for (const bool from_noise : {false, true}) {
    test::TempFolder folder;
    auto plan = plan_for(pictures, folder.path());
    plan.method = Baseline::kEsOptimised;
    plan.copy.fit.epochs = 2;
    plan.es = {.rounds = 2, .learning_rate = 0.02, .synthesis = {.steps = 0, .from_noise = from_noise}};
    Bright victim;
    Listener nobody;
    const auto outcome = run_baseline(victim, plan, test::one_thread(), nobody);
    ASSERT_EQ(outcome.history.size(), 4u);
    for (const FitEpoch& epoch : outcome.history) EXPECT_EQ(epoch.learning_rate, 0.02);
    if (!from_noise) {  // the copy of round 1 on the same pictures, not a new one
      EXPECT_LT(outcome.history[2].loss, outcome.history[0].loss);
    }
    const std::vector<double> first(victim.asked.begin(), victim.asked.begin() + 12),
        second(victim.asked.begin() + 12, victim.asked.end());
    EXPECT_EQ(first == second, !from_noise);
  }
}

// With pictures of the victim's kind an ordinary theft works; with noise it does not on this victim.
TEST(Baselines, RelatedPicturesTeachMoreThanNoise) {
  const auto train = test::bars(400, 1), pictures = test::bars(300, 2), unseen = test::bars(300, 3);
  const auto net = taught(train);
  test::TempFolder folder;
  BaselinePlan plan;
  plan.budget = 300;
  plan.images = &pictures;
  plan.copy.net = test::tiny_options(1);
  plan.copy.fit = {.epochs = 15, .batch_size = 16, .seed = 9, .learning_rate = 0.05};
  plan.num_exits = 3;
  const auto policy = nets::ExitPolicy::uniform(3, 0.8);
  const auto victim_says = behaviour_of(*net, policy, unseen);
  double agreement[2];
  for (const auto method : {Baseline::kKnockoff, Baseline::kNoiseBernoulli}) {
    Counting victim(*net);
    Listener nobody;
    plan.method = method;
    plan.folder = folder / to_text(method);
    const auto outcome = run_baseline(victim, plan, test::one_thread(), nobody);
    agreement[method == Baseline::kKnockoff ? 0 : 1] =
        agreement_of(victim_says, behaviour_of(*outcome.net, policy, unseen)).only_class;
  }
  EXPECT_GT(agreement[0], 0.8);
  EXPECT_GT(agreement[0], agreement[1] + 0.1);
}

TEST(Baselines, SayWhatIsWrongWithAPlan) {
  const auto net = test::tiny_net(5);
  Counting victim(*net);
  Listener nobody;
  BaselinePlan plan;
  test::TempFolder folder;
  plan.folder = folder.path();
  const auto message = [&] {
    return test::message_of([&] { run_baseline(victim, plan, test::one_thread(), nobody); });
  };
  EXPECT_EQ(message(), "baseline: pictures are wanted, of the size that the victim takes");
  const auto pictures = test::bars(9, 2);
  plan.images = &pictures;
  EXPECT_EQ(message(), "baseline: the budget is 1 to 10^8 queries, got 0");
  plan.budget = 5;
  plan.method = Baseline::kEsOptimised;
  EXPECT_EQ(message(), "ES attack: 1 round to one for each query can be made, got 10");
  plan.es.rounds = 2;
  plan.es.synthesis.batch_size = 7;
  EXPECT_EQ(message(),
            "synthesis: steps and lambda_ms are at least 0, rates above 0, the batch is even and at least 2");
  EXPECT_EQ(victim.asked, 0);
}

}  // namespace
}  // namespace offramp::attacks
