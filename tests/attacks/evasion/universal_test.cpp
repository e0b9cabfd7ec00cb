// One perturbation for many images.
#include "attacks/evasion/universal.h"

#include <gtest/gtest.h>

#include "attacks/evasion/measures.h"
#include "tests/attacks/evasion/victims.h"

namespace offramp::test {
namespace {

constexpr nets::Extent kUniversalPicture{1, 4, 4};

double mean_confidence(const Victim& victim, const Images& images) {
  const Judgement j = judge(victim, images);
  double sum = 0;
  for (int i = 0; i < images.n; ++i) sum += j.outputs.confidence[j.outputs.at(i, 0)];
  return sum / images.n;
}

TEST(EvasionUniversal, SlothKeepsClassifiersUnsureOnImagesItHasNotSeen) {
  // One class is favoured everywhere: a common direction takes that away.
  std::vector<float> w(32, 0.f);
  for (std::size_t k = 0; k < 16; ++k) w[k] = 0.3f;
  const LinearNet net(kUniversalPicture, 2, {w, w});
  const Victim victim = victim_on(net);
  const Images training = noise_images(kUniversalPicture, 30, 2, 3),
               images = noise_images(kUniversalPicture, 10, 2, 4);
  for (const Norm norm : {Norm::kLinf, Norm::kL2, Norm::kL1}) {
    SCOPED_TRACE(to_text(norm));
    UniversalSettings s = universal_defaults(norm);
    s.eps = norm == Norm::kLinf ? 0.2 : norm == Norm::kL2 ? 2 : 3;
    s.batch = 10;
    s.batches = 3;
    s.steps = 100;
    const auto delta = universal_sloth(victim, training, norm, s);
    const Images moved = apply_universal(images, norm, s.eps, delta);
    check_bounds(norm, s.eps, images, moved);
    EXPECT_LT(mean_confidence(victim, moved), mean_confidence(victim, images) - 0.02);
    EXPECT_EQ(universal_sloth(victim, training, norm, s), delta);
    s.eps = 0;
    EXPECT_EQ(apply_universal(images, norm, 0, universal_sloth(victim, training, norm, s)).pixels,
              images.pixels);
  }
}

TEST(EvasionUniversal, AClassHasItsOwnPerturbation) {
  const LinearNet net(kUniversalPicture, 2, {weights(32, 1, 1.f), weights(32, 2, 1.f)});
  const Victim victim = victim_on(net);
  Images training = noise_images(kUniversalPicture, 12, 2, 3);
  for (std::size_t i = 0; i < 12; ++i) training.labels[i] = i < 8 ? 0 : 1;
  UniversalSettings s = universal_defaults(Norm::kLinf);
  const auto by_class = class_universal_sloth(victim, training, Norm::kLinf, s);
  ASSERT_EQ(by_class.size(), 2u);
  EXPECT_EQ(by_class.at(1), universal_sloth(victim, part(training, 8, 4), Norm::kLinf, s));
  const Images both = part(training, 7, 2);
  const Images moved = apply_universal(both, Norm::kLinf, s.eps, by_class);
  EXPECT_EQ(part(moved, 0, 1).pixels,
            apply_universal(part(both, 0, 1), Norm::kLinf, s.eps, by_class.at(0)).pixels);
  EXPECT_EQ(part(moved, 1, 1).pixels,
            apply_universal(part(both, 1, 1), Norm::kLinf, s.eps, by_class.at(1)).pixels);
}

TEST(EvasionUniversal, UapFoolsTheLargerSide) {
  std::vector<float> w(32, 0.f);
  for (std::size_t k = 0; k < 16; ++k) w[k] = 1.f;
  for (std::size_t k = 16; k < 32; ++k) w[k] = 0.9f;  // class 0 wins by 0.1 sum x: no image is of class 1
  const LinearNet none(kUniversalPicture, 2, {w});
  const Images images = noise_images(kUniversalPicture, 8, 2, 3);
  const Uap stuck =
      universal_adversarial(victim_on(none), images, {.eps = 0.1, .passes = 2, .iterations = 5});
  EXPECT_EQ(stuck.fooled, 0);
  EXPECT_EQ(stuck.passes, 2);

  // The sign of sum (x - .5) decides; the last pixel, held at 1, carries the constant.
  Images fixed = images;
  for (std::size_t i = 0; i < 8; ++i) fixed.pixels[i * 16 + 15] = 1.f;
  std::vector<float> v(32, 0.f);
  for (std::size_t k = 0; k < 15; ++k) v[k] = 1.f;
  v[15] = -6.f;
  const LinearNet net(kUniversalPicture, 2, {v});
  const Victim victim = victim_on(net);
  const Uap uap = universal_adversarial(victim, fixed, {.eps = 0.5});
  EXPECT_GE(uap.fooled, 0.5);
  const Images moved = apply_universal(fixed, Norm::kLinf, 0.5, uap.delta);
  check_bounds(Norm::kLinf, 0.5, fixed, moved);
  const Judgement before = judge(victim, fixed), after = judge(victim, moved);
  int changed = 0;
  for (std::size_t i = 0; i < 8; ++i) changed += before.label[i] != after.label[i] ? 1 : 0;
  EXPECT_NEAR(uap.fooled, changed / 8.0, 1e-12);
}

TEST(EvasionUniversal, RefusesWhatIsOutsideItsDomain) {
  const LinearNet plain(kUniversalPicture, 2, {weights(32, 1, 1.f)});
  const Images images = noise_images(kUniversalPicture, 2, 2, 3);
  EXPECT_EQ(error_of([&] { universal_sloth(victim_on(plain), images, Norm::kLinf, {}); }),
            "evade: expected a victim with internal classifiers, victim has one exit");
  const LinearNet net(kUniversalPicture, 2, {weights(32, 1, 1.f), weights(32, 2, 1.f)});
  EXPECT_NE(error_of([&] {
              universal_sloth(victim_on(net), images, Norm::kLinf, {.eps = -1});
            }).find("universal: "),
            std::string::npos);
  EXPECT_NE(error_of([&] { universal_adversarial(victim_on(net), images, {.eps = 2}); }).find("uap: "),
            std::string::npos);
}

}  // namespace
}  // namespace offramp::test
