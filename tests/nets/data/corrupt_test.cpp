#include "nets/data/corrupt.h"

#include <cmath>

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

ImageSet pixels(std::vector<std::uint8_t> values) {
  ImageSet set{.n = 1, .h = 1, .w = static_cast<int>(values.size()) / 3, .c = 3};
  set.pixels = std::move(values);
  set.labels = {0};
  set.class_names = {"x"};
  return set;
}

TEST(Corrupt, BrightnessCheckValuesOfTheSpec) {  // specs/training.md section 8
  const ImageSet in = pixels({100, 150, 200, 10, 10, 10, 250, 20, 30});
  const std::vector<std::uint8_t> want[5] = {{106, 159, 212, 22, 22, 22, 255, 20, 30},
                                             {112, 169, 225, 35, 35, 35, 255, 20, 30},
                                             {119, 178, 238, 48, 48, 48, 255, 20, 30},
                                             {125, 188, 251, 61, 61, 61, 255, 20, 30},
                                             {127, 191, 255, 86, 86, 86, 255, 20, 30}};
  for (int severity = 1; severity <= 5; ++severity)
    EXPECT_EQ(corrupt(in, Corruption::kBrightness, CorruptionTable::kCifar, severity, 1).pixels,
              want[severity - 1])
        << severity;
}

TEST(Corrupt, BrightnessKeepsEveryHueAndDoesNothingAtZero) {
  for (int r = 0; r < 256; r += 51)
    for (int g = 0; g < 256; g += 51)
      for (int b = 0; b < 256; b += 51) {
        double rgb[3] = {r / 255., g / 255., b / 255.};
        brighten(std::span<double, 3>(rgb), 0);
        // Back and forth through HSV: about eight roundings of numbers up to 6.
        const double bound = 8 * 6 * 0x1p-53;
        EXPECT_NEAR(rgb[0], r / 255., bound);
        EXPECT_NEAR(rgb[1], g / 255., bound);
        EXPECT_NEAR(rgb[2], b / 255., bound);
      }
}

TEST(Corrupt, NoiseHasItsStrengthAndDependsOnSeedImageAndSeverity) {
  const ImageSet in = pixels(std::vector<std::uint8_t>(30000, 128));
  for (const auto table : {CorruptionTable::kCifar, CorruptionTable::kTinyImagenet})
    for (const int severity : {1, 3, 5}) {
      const ImageSet out = corrupt(in, Corruption::kGaussianNoise, table, severity, 4);
      double sum = 0, squares = 0;
      for (const std::uint8_t v : out.pixels) {
        sum += v + .5 - 128;  // truncation takes half a level on average
        squares += (v + .5 - 128) * (v + .5 - 128);
      }
      const double n = 30000, sigma = corruption_strength(Corruption::kGaussianNoise, table, severity) * 255;
      EXPECT_NEAR(sum / n, 0, 6 * sigma / std::sqrt(n)) << severity;
      // Variance of the sample variance: 2 sigma^4 / n; truncation adds 1/12. Clipping lies at 2.8 sigma or
      // more.
      const double clipped =
          .02;  // at the strongest noise .5 % of values lose at most this share of the variance
      EXPECT_NEAR(squares / n / (sigma * sigma), 1, 6 * std::sqrt(2 / n) + clipped) << severity;
    }
  const auto noisy = [&](int severity, std::uint64_t seed) {
    return corrupt(in, Corruption::kGaussianNoise, CorruptionTable::kCifar, severity, seed).pixels;
  };
  EXPECT_EQ(noisy(1, 4), noisy(1, 4));
  EXPECT_NE(noisy(1, 4), noisy(1, 5));
  EXPECT_NE(noisy(1, 4), noisy(2, 4));
}

TEST(Corrupt, AGreyPictureBrightensAsTheSameGreyInThreeChannels) {
  ImageSet grey{.n = 1, .h = 1, .w = 256, .c = 1}, rgb{.n = 1, .h = 1, .w = 256, .c = 3};
  for (int v = 0; v < 256; ++v) {
    grey.pixels.push_back(static_cast<std::uint8_t>(v));
    rgb.pixels.insert(rgb.pixels.end(), 3, static_cast<std::uint8_t>(v));
  }
  for (int severity = 1; severity <= 5; ++severity) {
    const auto corrupted = [&](const ImageSet& set) {
      return corrupt(set, Corruption::kBrightness, CorruptionTable::kCifar, severity, 1).pixels;
    };
    const auto of_grey = corrupted(grey), of_rgb = corrupted(rgb);
    for (std::size_t v = 0; v < 256; ++v) EXPECT_EQ(of_grey[v], of_rgb[3 * v]) << v;
  }
  EXPECT_NE(corrupt(grey, Corruption::kGaussianNoise, CorruptionTable::kCifar, 1, 1).pixels, grey.pixels);
}

TEST(Corrupt, WrongUseIsRefused) {
  const ImageSet in = pixels({1, 2, 3});
  EXPECT_MESSAGE(corrupt(in, Corruption::kBrightness, CorruptionTable::kCifar, 0, 1),
                 "corrupt: expected a severity of 1..5, found 0");
  ImageSet two{.n = 1, .h = 1, .w = 1, .c = 2};
  two.pixels = {1, 2};
  EXPECT_MESSAGE(corrupt(two, Corruption::kBrightness, CorruptionTable::kCifar, 1, 1),
                 "expected grey or RGB images, found 2 channels");
}

}  // namespace
}  // namespace offramp::data
