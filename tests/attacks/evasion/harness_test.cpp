// Bounds, eps = 0, batches, flags, and what the harness refuses.
#include "attacks/evasion/harness.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "tests/attacks/evasion/victims.h"

namespace offramp::test {
namespace {

Settings quick_settings(const Attack& attack) {
  Settings s = attack.defaults;
  s.steps = std::min(s.steps, 8);
  return s;
}

std::string state_of_net(const nets::Network& net) {
  std::string bytes;
  for (const Tensor& t : {net.parameters().values(), net.parameters().buffers()}) {
    const std::vector<float> values = t.to_host<float>();
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  return bytes;
}

TEST(EvasionHarness, EveryAttackKeepsItsBoundAndTheNetAndTheRestOfTheBatch) {
  const auto net = tiny_net(5);
  const Victim victim = victim_of("tiny", *net, nets::ExitPolicy::uniform(3, 0.36));
  const Images images = tiny_images(5, 8);
  const std::string before = state_of_net(*net);
  for (const Attack& attack : all_attacks()) {
    SCOPED_TRACE(attack.name);
    const Settings settings = quick_settings(attack);
    const Examples together = craft(victim, attack, images, settings, {.batch = 5});
    check_bounds(attack.norm, settings.eps, images, together.images);  // throws
    EXPECT_NE(together.images.pixels, images.pixels);
    const Examples apart = craft(victim, attack, images, settings, {.batch = 2});
    EXPECT_EQ(together.images.pixels, apart.images.pixels);
    EXPECT_EQ(together.exit, apart.exit);
    EXPECT_EQ(together.macs, apart.macs);
    const std::vector<int> backwards = {4, 2, 0};
    const Examples some = craft(victim, attack, chosen(images, backwards), settings, {.batch = 3});
    for (int i = 0; i < 3; ++i) {
      const auto a = some.images.image(i), b = together.images.image(backwards[static_cast<std::size_t>(i)]);
      EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
    }
    EXPECT_EQ(craft(victim, attack, images, settings).images.pixels, together.images.pixels) << "same seed";
  }
  EXPECT_EQ(state_of_net(*net), before);
}

TEST(EvasionHarness, NoRadiusGivesTheImageBitForBit) {
  const auto net = tiny_net(5);
  const Victim victim = victim_of("tiny", *net, nets::ExitPolicy::uniform(3, 0.36));
  const Images images = tiny_images(3, 8);
  int checked = 0;
  for (const Attack& attack : all_attacks()) {
    if (attack.norm == Norm::kNone) continue;
    Settings settings = quick_settings(attack);
    settings.eps = 0;
    EXPECT_EQ(craft(victim, attack, images, settings).images.pixels, images.pixels) << attack.name;
    // The attack itself, without the harness's short cut.
    EXPECT_EQ(attack.run(victim, images, settings).pixels, images.pixels) << attack.name;
    ++checked;
  }
  EXPECT_EQ(checked, 10);
  Settings of_one_step = attack_named("fgsm").defaults;  // its step is eps
  of_one_step.eps = of_one_step.step = 0;
  EXPECT_EQ(craft(victim, attack_named("fgsm"), images, of_one_step).images.pixels, images.pixels);
}

TEST(EvasionDistance, BoundsHoldForTheFloatsThatComeBack) {
  const Images images = noise_images({3, 8, 8}, 4, 10, 1);
  for (const double eps : {8.0 / 255, 0.1, 1e-9, 0.03125}) {
    const LinfBox box = box_around(images.pixels, eps);
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      const double x = images.pixels[i];
      EXPECT_LE(x - static_cast<double>(box.low[i]), eps);
      EXPECT_LE(static_cast<double>(box.high[i]) - x, eps);
      // The next float is outside.
      if (box.high[i] < 1) {
        EXPECT_GT(static_cast<double>(std::nextafter(box.high[i], 2.f)) - x, eps);
      }
    }
  }
  for (const Norm norm : {Norm::kL2, Norm::kL1}) {
    for (const double radius : {0.35, 8.0, 1e-12}) {
      std::vector<double> delta(images.size());
      for (std::size_t k = 0; k < delta.size(); ++k) delta[k] = 0.01 * static_cast<double>(k % 7);
      std::vector<float> image(images.size());
      place(norm, radius, images.image(1), delta, image);
      EXPECT_LE(distance(norm, images.image(1), image), radius);
    }
  }
  // Every value is rounded by up to a hundredth of the radius: together they lie outside until the step is shortened.
  std::vector<double> delta(images.size());
  for (std::size_t k = 0; k < delta.size(); ++k) delta[k] = 0.01 * static_cast<double>(k % 7 + 1);
  std::vector<float> image(images.size());
  constexpr double kTiny = 3e-6;
  place(Norm::kL2, kTiny, images.image(1), delta, image);
  EXPECT_LE(distance(Norm::kL2, images.image(1), image), kTiny);
  EXPECT_GT(distance(Norm::kL2, images.image(1), image), 0.9 * kTiny);
}

TEST(EvasionDistance, PsnrOfAFullSignStep) {
  std::vector<float> x(300, 0.5f), y(300, 0.5f + 8.f / 255);
  EXPECT_NEAR(psnr_db(x, y), 30.07, 0.005);  // specs: robustness 2
  EXPECT_NEAR(psnr_db(x, std::vector<float>(300, 0.5692f)), 23.20, 0.01);
  EXPECT_TRUE(std::isinf(psnr_db(x, x)));
}

constexpr nets::Extent kFlagPicture{1, 4, 4};

Tensor stair_logits(const Tensor& x) {  // logits that the tape does not see; steps of 1/256 in each pixel
  std::vector<float> v = x.to_host<float>(), z;
  for (std::size_t i = 0; i < v.size(); i += 16) {
    float sum = 0;
    for (std::size_t k = 0; k < 16; ++k) sum += (k % 2 ? 1.f : -1.f) * std::floor(v[i + k] * 256) / 4;
    z.insert(z.end(), {sum, 0.f, -sum});
  }
  return Tensor::from<float>({x.shape().n(), 3}, z, one_thread());
}

TEST(EvasionFlags, TellVictimsThatGradientsCannotAttack) {
  const Images images = noise_images(kFlagPicture, 6, 3, 2);
  const LinearNet smooth(kFlagPicture, 3, {weights(48, 3, 1.f), weights(48, 4, 1.f)});
  const VictimFlags none = flags_of(victim_on(smooth), images);
  EXPECT_FALSE(none.any());
  EXPECT_EQ(none.zero_gradient + none.random + none.discontinuous, 0);
  EXPECT_EQ(none.probed, 6);

  const FunctionNet constant(kFlagPicture, 3, [](const Tensor& x) {
    return Tensor::zeros({x.shape().n(), 3}, one_thread());
  });
  const VictimFlags flat = flags_of(victim_on(constant), images);
  EXPECT_NEAR(flat.zero_gradient, 1, 1e-12);
  EXPECT_EQ(flat.discontinuous, 0);
  EXPECT_TRUE(flat.any());

  const FunctionNet stairs(kFlagPicture, 3, stair_logits);
  const VictimFlags steps = flags_of(victim_on(stairs), images);
  EXPECT_NEAR(steps.zero_gradient, 1, 1e-12);
  EXPECT_GT(steps.discontinuous, 0.5);
  EXPECT_EQ(steps.random, 0);

  // Smooth and steep: the loss of an image that it is sure of grows twelve times as much over the first step as its gradient
  // says. Rounded to 256 levels behind the gradient's back: no step does what it says.
  std::vector<float> first_row(48, 0);
  std::fill(first_row.begin(), first_row.begin() + 16, 250.f);
  const auto steep_logits = [&](const Tensor& x) {
    return linear(flatten(x),
                  Tensor::from<float>({3, 16}, first_row, one_thread()),
                  Tensor::from<float>({3}, std::vector<float>{-1993, 0, 0}, one_thread()));
  };
  Images grey = images;
  std::fill(grey.pixels.begin(), grey.pixels.end(), 0.5f);
  std::fill(grey.labels.begin(), grey.labels.end(), 0);
  const FunctionNet steep(kFlagPicture, 3, steep_logits);
  EXPECT_FALSE(flags_of(victim_on(steep), grey).any());
  const FunctionNet rounding(kFlagPicture, 3, [&](const Tensor& x) {
    std::vector<float> off = x.to_host<float>();
    for (float& v : off) v = std::round(v * 256) / 256 - v;
    return steep_logits(add(x, Tensor::from<float>(x.shape(), off, one_thread())));
  });
  EXPECT_NEAR(flags_of(victim_on(rounding), grey).discontinuous, 1, 1e-12);

  int calls = 0;
  const FunctionNet dice(kFlagPicture, 3, [&](const Tensor& x) {
    return linear(
        flatten(x),
        Tensor::from<float>({3, 16}, weights(48, static_cast<std::uint64_t>(++calls), 1.f), one_thread()),
        {});
  });
  EXPECT_NEAR(flags_of(victim_on(dice), images).random, 1, 1e-12);
}

TEST(EvasionHarness, RefusesWhatIsOutsideItsDomain) {
  const LinearNet net(kFlagPicture, 3, {weights(48, 3, 1.f), weights(48, 4, 1.f)});
  const LinearNet plain(kFlagPicture, 3, {weights(48, 3, 1.f)});
  const Victim victim = victim_on(net);
  const Images images = noise_images(kFlagPicture, 2, 3, 2);
  const auto with = [&](const char* name, const std::function<void(Settings&)>& change) {
    const Attack& attack = attack_named(name);
    Settings settings = attack.defaults;
    change(settings);
    return error_of([&] { craft(victim, attack, images, settings); });
  };
  EXPECT_EQ(with("pgd", [](Settings& s) { s.eps = -0.1; }), "evade: expected eps in [0,1], got -0.100000");
  EXPECT_EQ(with("pgd", [](Settings& s) { s.eps = 1.5; }), "evade: expected eps in [0,1], got 1.500000");
  EXPECT_EQ(with("sloth-l2", [](Settings& s) { s.eps = -1; }),
            "evade: expected eps of at least 0, got -1.000000");
  EXPECT_EQ(with("pgd", [](Settings& s) { s.eps = std::nan(""); }).substr(0, 30),
            "evade: expected eps in [0,1], ");
  EXPECT_EQ(with("pgd", [](Settings& s) { s.step = 0; }), "evade: expected a step above 0, got 0.000000");
  EXPECT_EQ(with("pgd", [](Settings& s) { s.steps = 0; }), "evade: expected at least one step, got 0.000000");
  EXPECT_EQ(with("early-attack", [](Settings& s) { s.early.alpha = -1; }),
            "evade: expected alpha of at least 0, got -1.000000");
  EXPECT_EQ(with("fgsm",
                 [](Settings& s) {
                   s.path = {Through::kOneExit, 2};
                 }),
            "evade: victim has exits 1 to 2, asked for exit 3");
  EXPECT_EQ(error_of([&] { attack_named("deepfool"); }).substr(0, 63),
            "evade: no attack is called 'deepfool'; there are fgsm, pgd, mi-");
  EXPECT_EQ(error_of([&] { craft(victim_on(plain), attack_named("sloth-linf"), images, {}); }),
            "evade: sloth-linf needs a victim with internal classifiers, victim has one exit");

  const auto bad = [&](const std::function<void(Images&)>& change) {
    Images wrong = images;
    change(wrong);
    const std::string crafted = error_of([&] { craft(victim, attack_named("fgsm"), wrong, {}); });
    EXPECT_EQ(error_of([&] { judge(victim, wrong); }), crafted);
    return crafted;
  };
  EXPECT_EQ(bad([](Images& i) { i.pixels[20] = 1.25f; }),
            "evade: expected pixels in [0,1], image 101 has 1.250000");
  EXPECT_EQ(bad([](Images& i) { i.pixels[3] = std::nanf(""); }).substr(0, 47),
            "evade: expected pixels in [0,1], image 100 has ");
  EXPECT_EQ(bad([](Images& i) { i.labels[1] = 3; }), "evade: expected labels in 0..2, image 101 has 3");
  EXPECT_EQ(bad([](Images& i) { i.labels[0] = -1; }), "evade: expected labels in 0..2, image 100 has -1");
  EXPECT_EQ(bad([](Images& i) { i = part(i, 0, 0); }), "evade: expected at least one image, got none");
  EXPECT_EQ(bad([](Images& i) {
              i.extent = {1, 2, 8};
            }).substr(0, 38),
            "evade: victim takes samples of [1,4,4]");
  EXPECT_EQ(bad([](Images& i) { i.labels.pop_back(); }).substr(0, 25), "evade: expected 2 images ");
}

}  // namespace
}  // namespace offramp::test
