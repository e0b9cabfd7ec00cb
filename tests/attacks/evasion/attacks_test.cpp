// Each attack on victims where the right answer is known.
#include "attacks/evasion/attack.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/attacks/evasion/victims.h"

namespace offramp::test {
namespace {

constexpr nets::Extent kSquare{1, 4, 4};
constexpr double kAttackEps = 8.0 / 255;

// For two classes of a linear net the loss of class y rises along sign(w_other - w_y) everywhere: the corner of the box is
// the best that any L-inf attack can do.
TEST(EvasionAttacks, ReachTheBestCornerOfALinearVictim) {
  const std::vector<float> w = weights(32, 3, 1.f);
  const LinearNet net(kSquare, 2, {w});
  const Images images = noise_images(kSquare, 4, 2, 2);
  for (const char* name : {"fgsm", "pgd", "mi-fgsm", "apgd-ce", "pgd-avg", "max-average"}) {
    SCOPED_TRACE(name);
    const Attack& attack = attack_named(name);
    const Examples made = craft(victim_on(net), attack, images, attack.defaults);
    const LinfBox box = box_around(images.pixels, kAttackEps);
    for (std::size_t i = 0; i < made.images.pixels.size(); ++i) {
      const std::size_t k = i % 16;
      const auto y = static_cast<std::size_t>(images.labels[i / 16]);
      const float slope = w[(1 - y) * 16 + k] - w[y * 16 + k];
      EXPECT_EQ(made.images.pixels[i], slope > 0 ? box.high[i] : box.low[i]) << "pixel " << i;
    }
  }
}

// logit_1 - logit_0 = 8 (x - a)(b - x), one pixel; label 0. From x = a + h the slope points up until (a + b) / 2.
FunctionNet hill(float a, float b) {
  return {{1, 1, 1}, 2, [a, b](const Tensor& x) {
            const Tensor row = flatten(x);
            const Tensor one = Tensor::full({x.shape().n(), 1}, 1.f, one_thread());
            const Tensor rise = scale(multiply(axpby(1.f, row, -a, one), axpby(b, one, -1.f, row)), 8.f);
            const Tensor parts[] = {scale(rise, 0.f), rise};
            return concat_channels(parts);
          }};
}

TEST(EvasionAttacks, MomentumIsSummedOverNormalisedGradients) {
  const FunctionNet net = hill(0.f, 1.f);  // top at 0.5
  Images images{.n = 1, .extent = {1, 1, 1}, .pixels = {0.45f}, .labels = {0}, .numbers = {0}};
  Settings s = attack_named("mi-fgsm").defaults;
  s.eps = 0.5;
  s.step = 0.1;
  s.steps = 2;
  // Without momentum: up to .55, and back. With mu = 1 the second gradient, of opposite sign, cancels the first.
  s.momentum = 0;
  EXPECT_NEAR(craft(victim_on(net), attack_named("mi-fgsm"), images, s).images.pixels[0], 0.45, 1e-6);
  s.momentum = 1;
  EXPECT_NEAR(craft(victim_on(net), attack_named("mi-fgsm"), images, s).images.pixels[0], 0.55, 1e-6);
  s.momentum = 2;
  EXPECT_NEAR(craft(victim_on(net), attack_named("mi-fgsm"), images, s).images.pixels[0], 0.65, 1e-6);
}

TEST(EvasionAttacks, ApgdHalvesItsStepToTheTop) {
  const FunctionNet net = hill(0.f, 1.f);
  Images images{.n = 1, .extent = {1, 1, 1}, .pixels = {0.41f}, .labels = {0}, .numbers = {0}};
  Settings s = attack_named("apgd-ce").defaults;
  s.eps = 0.35;
  const double found = craft(victim_on(net), attack_named("apgd-ce"), images, s).images.pixels[0];
  EXPECT_NEAR(found, 0.5, 0.01);
  s.step = 0.2;  // PGD with its fixed step swings around it
  const double swings = craft(victim_on(net), attack_named("pgd"), images, s).images.pixels[0];
  EXPECT_GT(std::abs(swings - 0.5), std::abs(found - 0.5));
}

TEST(EvasionAttacks, ApgdIsAtLeastAsStrongAsPgdAndOneStep) {
  const auto net = tiny_net(11);
  const Victim victim = victim_of("tiny", *net, nets::ExitPolicy::uniform(3, 2));  // all to the last exit
  const Images images = tiny_images(24, 3);
  const auto loss_after = [&](const char* name) {
    const Attack& attack = attack_named(name);
    const Examples made = craft(victim, attack, images, attack.defaults);
    double sum = 0;
    const Gradients g = gradients(
        victim, made.images, {Through::kOneExit, 2}, labelled(LossKind::kCrossEntropy, images.labels));
    for (const double l : g.loss) sum += l / images.n;
    return sum;
  };
  const double apgd = loss_after("apgd-ce"), pgd_loss = loss_after("pgd"), one_step = loss_after("fgsm");
  EXPECT_GE(apgd, pgd_loss - 1e-6);
  EXPECT_GT(pgd_loss, 0);
  EXPECT_GE(apgd, one_step - 1e-6);
}

TEST(EvasionAttacks, DlrMakesTheSameMistakes) {
  const std::vector<float> w = weights(48, 3, 1.f);
  const LinearNet net(kSquare, 3, {w});
  Images images = noise_images(kSquare, 20, 3, 2);
  const Victim victim = victim_on(net);
  images.labels = judge(victim, images).label;  // all right when clean
  const auto wrong = [&](const char* name) {
    Settings s = attack_named(name).defaults;
    s.eps = 0.1;
    const Judgement j = judge(victim, craft(victim, attack_named(name), images, s).images);
    int count = 0;
    for (std::size_t i = 0; i < j.n(); ++i) count += j.label[i] != images.labels[i] ? 1 : 0;
    return count;
  };
  EXPECT_GT(wrong("apgd-ce"), 2);
  EXPECT_GE(wrong("apgd-dlr"), wrong("apgd-ce"));
}

// Exit 1 is the surer one of two that never stop a sample, so it answers; exit 2 says the opposite.
TEST(EvasionAttacks, ApgdIsJudgedByTheAnswerOfTheNet) {
  const LinearNet net({2, 1, 1}, 2, {{4.f, 0.f, 0.f, 4.f}, {0.f, 2.f, 2.f, 0.f}});
  Victim victim = victim_on(net, 2);
  victim.policy.fallback = nets::Fallback::kMostConfident;
  const Images images{.n = 1, .extent = {2, 1, 1}, .pixels = {.55f, .45f}, .labels = {0}, .numbers = {0}};
  ASSERT_EQ(judge(victim, images).label[0], 0);
  for (const char* name : {"fgsm", "pgd", "mi-fgsm", "apgd-ce"}) {
    Settings s = attack_named(name).defaults;
    s.eps = 0.2;
    s.step = 0.1;
    EXPECT_EQ(judge(victim, craft(victim, attack_named(name), images, s).images).label[0], 1) << name;
  }
}

// What the table says an attack reads changes its examples, and nothing else does.
TEST(EvasionAttacks, TheTableSaysWhatIsRead) {
  const auto net = tiny_net(5);
  const Victim victim = victim_of("tiny", *net, nets::ExitPolicy::uniform(3, 2));
  const Images images = tiny_images(4, 8);
  const auto other = [](unsigned setting, Settings& s) {
    switch (setting) {
      case kReadsEps:
        s.eps *= 0.5;
        break;
      case kReadsStep:
        s.step *= 0.3;
        break;
      case kReadsSteps:
        s.steps = 1;
        break;
      case kReadsMomentum:
        s.momentum = -2;  // a gradient hardly turns from step to step
        break;
      case kReadsRandomStart:
        s.random_start = false;
        break;
      case kReadsPath:
        s.path = {Through::kOneExit, 0};
        break;
      default:
        s.early.c = 1;
    }
  };
  for (const Attack& attack : all_attacks()) {
    Settings own = attack.defaults;
    own.steps = std::min(own.steps, 6);
    own.step = attack.norm == Norm::kLinf ? own.eps / 5 : own.step;
    const std::vector<float> made = attack.run(victim, images, own).pixels;
    for (unsigned setting = kReadsEps; setting <= kReadsEarly; setting *= 2) {
      Settings changed = own;
      other(setting, changed);
      EXPECT_EQ(attack.run(victim, images, changed).pixels != made, (attack.reads & setting) != 0)
          << attack.name << ", setting " << setting;
    }
  }
}

// Exit 1 looks at the first pixel, exit 2 at the second: the one can be moved without the other.
LinearNet two_pixels() {
  return {{2, 1, 1}, 2, {{6.f, 0.f, 0.f, 0.f}, {0.f, 6.f, 0.f, 0.f}}};  // logit 0 = 6 pixel e, logit 1 = 0
}

// With logits (6 x, 0) class 1 can never win; a shifted form that can: logit 0 = 6 (x_e - x_2), the third value fixed.
class SplitNet final : public LinearNet {
 public:
  SplitNet() : LinearNet({3, 1, 1}, 2, {{6.f, 0.f, -6.f, 0.f, 0.f, 0.f}, {0.f, 6.f, -6.f, 0.f, 0.f, 0.f}}) {}
};

TEST(EvasionEarlyAttack, ChangesTheEarlyExitAndKeepsTheLast) {
  const SplitNet net;
  const Victim victim = victim_on(net);
  Images images{.n = 2,
                .extent = {3, 1, 1},
                .pixels = {.8f, .9f, .4f, .3f, .2f, .6f},
                .labels = {0, 1},
                .numbers = {0, 1}};
  const Attack& attack = attack_named("early-attack");
  const Judgement clean = judge(victim, images);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(clean.outputs.predicted[clean.outputs.at(i, 0)], images.labels[static_cast<std::size_t>(i)]);
    EXPECT_EQ(clean.outputs.predicted[clean.outputs.at(i, 1)], images.labels[static_cast<std::size_t>(i)]);
  }
  std::vector<double> nearest;
  for (const EarlyReturn returns : {EarlyReturn::kNearest, EarlyReturn::kAfter200}) {
    for (const EarlyStart start : {EarlyStart::kImage, EarlyStart::kRandom}) {
      for (const EarlyDistance metric :
           {EarlyDistance::kSquaredL2, EarlyDistance::kL2, EarlyDistance::kSquaredL2Normalised}) {
        Settings s = attack.defaults;
        s.steps = 600;
        // The plain norm pulls with slope 1 from the start: a small c never leaves the image.
        s.early.c = metric == EarlyDistance::kL2 ? 4 : 1;
        s.early.start = start;
        s.early.returns = returns;
        s.early.distance = metric;
        const Examples made = craft(victim, attack, images, s);
        const Judgement after = judge(victim, made.images);
        for (int i = 0; i < 2; ++i) {
          const std::int32_t p = images.labels[static_cast<std::size_t>(i)];
          EXPECT_NE(after.outputs.predicted[after.outputs.at(i, 0)], p)
              << "returns " << static_cast<int>(returns) << ", start " << static_cast<int>(start)
              << ", distance " << static_cast<int>(metric) << ", image " << i;
          EXPECT_EQ(after.outputs.predicted[after.outputs.at(i, 1)], p);
        }
        if (metric == EarlyDistance::kSquaredL2 && start == EarlyStart::kImage) {
          nearest.push_back(distance(Norm::kL2, images.image(0), made.images.image(0)));
        }
      }
    }
  }
  // Nearest point: x_0 meets x_2 half way, sqrt(.4^2 / 2).
  EXPECT_GE(nearest[0], std::sqrt(0.08) - 1e-6);
  EXPECT_LE(nearest[0], std::sqrt(0.08) + 0.02);
  EXPECT_LT(nearest[0], nearest[1]);
}

TEST(EvasionEarlyAttack, SaysSoWhereItCannotSucceed) {
  const LinearNet net = two_pixels();  // class 1 never wins
  Images images{.n = 1, .extent = {2, 1, 1}, .pixels = {.8f, .9f}, .labels = {0}, .numbers = {0}};
  Settings s = attack_named("early-attack").defaults;
  s.steps = 50;
  const Judgement after =
      judge(victim_on(net), craft(victim_on(net), attack_named("early-attack"), images, s).images);
  EXPECT_EQ(after.outputs.predicted[0], 0);
}

TEST(EvasionSloth, KeepsInternalClassifiersUnsure) {
  const LinearNet net(kSquare, 3, {weights(48, 3, 2.f), weights(48, 4, 2.f), weights(48, 5, 2.f)});
  const Victim victim = victim_on(net, 0.6);
  const Images images = noise_images(kSquare, 20, 3, 2);
  const Judgement clean = judge(victim, images);
  const auto mean = [&](const Judgement& j) {
    double sum = 0;
    for (int i = 0; i < images.n; ++i)
      sum += j.outputs.confidence[j.outputs.at(i, 0)] + j.outputs.confidence[j.outputs.at(i, 1)];
    return sum / (2 * images.n);
  };
  for (const char* name : {"sloth-linf", "sloth-l2", "sloth-l1"}) {
    const Attack& attack = attack_named(name);
    const Judgement slow = judge(victim, craft(victim, attack, images, attack.defaults).images);
    EXPECT_LT(mean(slow), mean(clean) - 0.01) << name;
    EXPECT_GE(std::count(slow.exit.begin(), slow.exit.end(), 2),
              std::count(clean.exit.begin(), clean.exit.end(), 2))
        << name;
  }
}

}  // namespace
}  // namespace offramp::test
