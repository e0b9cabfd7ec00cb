#include "nets/data/augment.h"

#include <cmath>

#include "nets/data/streams.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

ImageView view(const Picture& p) { return {p.pixels.data(), p.h, p.w, p.c}; }

// The header's text, written down again: pad first, mirror, then cut, all in double.
std::vector<double> reference(
    const Picture& p, const Augmentation& a, std::uint64_t seed, std::uint32_t epoch, int index) {
  const PhiloxBlock words = PhiloxKey{.seed = seed, .stream = kAugmentStream, .op = 0, .step = epoch}.block(
      static_cast<std::uint64_t>(index));
  const std::uint32_t w0 = words.v[0], w1 = words.v[1], w2 = words.v[2];
  const int pad = a.crop_pad, hp = p.h + 2 * pad, wp = p.w + 2 * pad;
  std::vector<double> padded(static_cast<std::size_t>(hp * wp * p.c));
  const auto at = [&](int y, int x, int ch) -> double& {
    return padded[static_cast<std::size_t>((y * wp + x) * p.c + ch)];
  };
  for (int y = 0; y < p.h; ++y)
    for (int x = 0; x < p.w; ++x)
      for (int ch = 0; ch < p.c; ++ch) {
        const int to = a.flip && w0 >= 0x80000000u ? p.w - 1 - x : x;
        at(y + pad, to + pad, ch) = p.pixels[static_cast<std::size_t>((y * p.w + x) * p.c + ch)] / 255.;
      }
  const int dy = static_cast<int>(std::floor(w1 * 0x1p-32 * (2 * pad + 1))),
            dx = static_cast<int>(std::floor(w2 * 0x1p-32 * (2 * pad + 1)));
  std::vector<double> out;
  for (int y = 0; y < p.h; ++y)
    for (int x = 0; x < p.w; ++x)
      for (int ch = 0; ch < p.c; ++ch) out.push_back(at(y + dy, x + dx, ch));
  return out;
}

TEST(Augment, FlipAndCropMatchTheReferenceExactly) {
  for (const int c : {1, 3})
    for (const Augmentation a : {Augmentation{.flip = true, .crop_pad = 2},
                                 Augmentation{.crop_pad = 3},
                                 Augmentation{.flip = true}}) {
      const Picture p = pattern(5, 7, c);
      for (int index = 0; index < 40; ++index) {
        std::vector<float> out(p.pixels.size(), NAN);
        augment(view(p), a, 9, 3, index, out.data());
        const auto want = reference(p, a, 9, 3, index);
        for (std::size_t i = 0; i < out.size(); ++i)
          ASSERT_EQ(out[i], static_cast<float>(want[i])) << index << " " << i;
      }
    }
}

TEST(Augment, NothingAskedForGivesTheBytesOver255) {
  const Picture p = pattern(4, 3, 3);
  std::vector<float> out(p.pixels.size()), plain(p.pixels.size());
  augment(view(p), {}, 1, 2, 3, out.data());
  to_unit_range(std::span<const std::uint8_t>(p.pixels), plain.data());
  EXPECT_EQ(out, plain);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], static_cast<float>(p.pixels[i]) / 255.0f);
  EXPECT_MESSAGE(augment(view(p), {.crop_pad = -1}, 1, 2, 3, out.data()),
                 "augment: expected crop_pad >= 0, found -1");
}

TEST(Augment, EverySeedEpochAndIndexDrawsAnew) {
  const Picture p = pattern(8, 8, 3);
  const Augmentation a{.flip = true, .crop_pad = 4, .colour_jitter = true};
  const auto run = [&](std::uint64_t seed, std::uint32_t epoch, int index) {
    std::vector<float> out(p.pixels.size());
    augment(view(p), a, seed, epoch, index, out.data());
    return out;
  };
  EXPECT_EQ(run(1, 2, 3), run(1, 2, 3));
  EXPECT_NE(run(1, 2, 3), run(2, 2, 3));
  EXPECT_NE(run(1, 2, 3), run(1, 3, 3));
  EXPECT_NE(run(1, 2, 3), run(1, 2, 4));
}

TEST(Augment, FlipsHalfAndCropsEvenly) {
  Picture p{.h = 1, .w = 2, .c = 1};
  p.pixels = {255, 51};
  int flips = 0;
  std::vector<int> shifts(3);
  const int draws = 4000;
  for (int i = 0; i < draws; ++i) {
    float out[2];
    augment(view(p), {.flip = true}, 4, 0, i, out);
    flips += out[0] < .5f ? 1 : 0;
    augment(view(p), {.crop_pad = 1}, 4, 0, i, out);
    // Rows -1 and +1 are empty; in row 0 the shift shows.
    if (out[0] != 0 || out[1] != 0) ++shifts[out[0] == 1.f ? 1 : (out[1] == 1.f ? 0 : 2)];
  }
  // Binomial: six standard deviations.
  EXPECT_NEAR(flips, draws / 2, 6 * std::sqrt(draws * .25));
  for (const int s : shifts) EXPECT_NEAR(s, draws / 9., 6 * std::sqrt(draws * (1 / 9.) * (8 / 9.)));
}

// Colour jitter in double from the formula; the order of the three is taken from the header's list.
TEST(Augment, ColourJitterMatchesTheFormula) {
  const Picture p = pattern(6, 5, 3);
  int orders = 0;
  bool seen[6] = {};
  for (int index = 0; index < 60; ++index) {
    std::vector<float> out(p.pixels.size());
    augment(view(p), {.colour_jitter = true}, 21, 1, index, out.data());
    const PhiloxBlock j = PhiloxKey{.seed = 21, .stream = kAugmentStream, .op = 1, .step = 1}.block(
        static_cast<std::uint64_t>(index));
    std::vector<double> v;
    for (const std::uint8_t b : p.pixels) v.push_back(b / 255.);
    const auto grey = [&](std::size_t i) { return .299 * v[i] + .587 * v[i + 1] + .114 * v[i + 2]; };
    const char* names[6] = {"bcs", "bsc", "cbs", "csb", "sbc", "scb"};
    const auto order = static_cast<std::size_t>(j.v[3] * 0x1p-32 * 6);
    orders += seen[order] ? 0 : 1;
    seen[order] = true;
    for (const char what : std::string(names[order])) {
      const int word = what == 'b' ? 0 : what == 'c' ? 1 : 2;
      const double f = .8 + .4 * ((j.v[word] >> 8) * 0x1p-24);
      double mean = 0;
      for (std::size_t i = 0; i < v.size(); i += 3) mean += grey(i) / (static_cast<double>(v.size()) / 3);
      for (std::size_t i = 0; i < v.size(); i += 3) {
        const double rest = what == 'b' ? 0 : (1 - f) * (what == 'c' ? mean : grey(i));
        for (std::size_t ch = 0; ch < 3; ++ch) v[i + ch] = std::clamp(f * v[i + ch] + rest, 0., 1.);
      }
    }
    // Three steps of at most four roundings each of numbers up to 1.2, and the mean's grid of 2^-17.
    const double bound = 3 * 4 * 1.2 * 0x1p-24 + 0x1p-17;
    for (std::size_t i = 0; i < v.size(); ++i) ASSERT_NEAR(out[i], v[i], bound) << index << " " << i;
  }
  EXPECT_EQ(orders, 6);
}

TEST(Augment, Bf16IsTheFloatResultRoundedOnce) {
  const Picture p = pattern(6, 5, 3);
  for (const bool jitter : {false, true}) {
    std::vector<float> wide(p.pixels.size());
    std::vector<bf16> narrow(p.pixels.size());
    const Augmentation a{.flip = true, .crop_pad = 2, .colour_jitter = jitter};
    augment(view(p), a, 5, 6, 7, wide.data());
    augment(view(p), a, 5, 6, 7, narrow.data());
    for (std::size_t i = 0; i < wide.size(); ++i) EXPECT_EQ(narrow[i], bf16(wide[i]));
  }
}

TEST(Augment, RecommendationsFollowTheTable) {
  const auto of = [](const std::string& family, int side) {
    ImageSet set{.n = 0, .h = side, .w = side, .c = 3};
    set.family = family;
    return recommended_augmentation(set);
  };
  EXPECT_TRUE(of("cifar10", 32).flip);
  EXPECT_EQ(of("cifar100", 32).crop_pad, 4);
  EXPECT_EQ(of("tiny-imagenet", 64).crop_pad, 8);
  EXPECT_TRUE(of("tiny-imagenet", 64).colour_jitter);
  EXPECT_FALSE(of("gtsrb", 32).flip);
  EXPECT_FALSE(of("svhn", 32).flip);
  EXPECT_EQ(of("synthetic", 32).crop_pad, 0);
}

}  // namespace
}  // namespace offramp::data
