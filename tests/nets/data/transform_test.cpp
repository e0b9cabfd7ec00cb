#include "nets/data/transform.h"

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

ImageSet one_image(int h, int w, int c, std::vector<std::uint8_t> pixels) {
  ImageSet set{.n = 1, .h = h, .w = w, .c = c};
  set.pixels = std::move(pixels);
  set.labels = {0};
  set.class_names = {"x"};
  return set;
}

TEST(Pad, ZerosAroundAndPixelsInPlace) {
  const ImageSet out = pad_zero(one_image(2, 1, 3, {1, 2, 3, 4, 5, 6}), 1);
  EXPECT_EQ(out.h, 4);
  EXPECT_EQ(out.w, 3);
  std::vector<std::uint8_t> want(36);
  for (int i = 0; i < 3; ++i) {
    want[static_cast<std::size_t>((1 * 3 + 1) * 3 + i)] = static_cast<std::uint8_t>(1 + i);
    want[static_cast<std::size_t>((2 * 3 + 1) * 3 + i)] = static_cast<std::uint8_t>(4 + i);
  }
  EXPECT_EQ(out.pixels, want);
  EXPECT_MESSAGE(pad_zero(out, -1), "pad: expected a border >= 0, found -1");
}

TEST(Resize, Mean2x2RoundsHalfUp) {
  const ImageSet out = resize_mean2x2(one_image(2, 4, 1, {0, 1, 10, 20, 0, 1, 30, 41}));
  EXPECT_EQ(out.pixels, (std::vector<std::uint8_t>{1, 25}));  // 2/4 -> 1, 101/4 -> 25
  EXPECT_MESSAGE(resize_mean2x2(one_image(1, 2, 1, {0, 0})), "a 2x2 mean wants even sizes, found 1x2");
}

TEST(Resize, BilinearUpscalingWeighsHalfPixelCentres) {
  // From 2 to 4: centres at -.25 .25 .75 1.25 of the source: weights (1) (.75 .25) (.25 .75) (1).
  const ImageSet out = resize_bilinear(one_image(1, 2, 1, {0, 100}), 1, 4);
  EXPECT_EQ(out.pixels, (std::vector<std::uint8_t>{0, 25, 75, 100}));
}

TEST(Resize, BilinearShrinkingCountsEveryPixel) {
  // From 4 to 2 with a triangle of half width 2: weights .75 .75 .5(.25 cut off) normalised: 3/7 3/7 1/7.
  const ImageSet out = resize_bilinear(one_image(1, 4, 1, {70, 0, 140, 7}), 1, 2);
  EXPECT_EQ(out.pixels, (std::vector<std::uint8_t>{50, 63}));  // (3*70+0+140)/7; (0+3*140+3*7)/7
  const ImageSet flat = resize_bilinear(one_image(3, 3, 3, std::vector<std::uint8_t>(27, 200)), 2, 5);
  EXPECT_EQ(flat.pixels, std::vector<std::uint8_t>(30, 200));
  EXPECT_MESSAGE(resize_bilinear(flat, 0, 5), "resize: expected a size of at least 1x1, found 0x5");
}

TEST(Resize, ToASideChoosesTheMethod) {
  const auto square = [](int side) { return one_image(side, side, 3, pattern(side, side, 3).pixels); };
  EXPECT_EQ(resize_to(square(32), 32).pixels, square(32).pixels);
  EXPECT_EQ(resize_to(square(28), 32).pixels, pad_zero(square(28), 2).pixels);
  EXPECT_EQ(resize_to(square(64), 32).pixels, resize_mean2x2(square(64)).pixels);
  EXPECT_EQ(resize_to(square(20), 32).pixels, resize_bilinear(square(20), 32, 32).pixels);
  // A single picture follows the rule of sets, or a net would see other pictures in use than in training.
  for (const int side : {20, 28, 32, 64})
    EXPECT_EQ(resize_to(pattern(side, side, 3), 32).pixels, resize_to(square(side), 32).pixels) << side;
}

TEST(Normalisation, MeanAndStdPerChannel) {
  ImageSet set = one_image(1, 2, 3, {0, 255, 51, 255, 255, 153});
  const Normalisation n = compute_normalisation(set);
  EXPECT_FLOAT_EQ(n.mean[0], .5f);
  EXPECT_FLOAT_EQ(n.std[0], .5f);
  EXPECT_FLOAT_EQ(n.mean[1], 1.f);
  EXPECT_FLOAT_EQ(n.std[1], 0.f);
  EXPECT_FLOAT_EQ(n.mean[2], .4f);
  EXPECT_FLOAT_EQ(n.std[2], .2f);
  set.family = "cifar10";
  EXPECT_FLOAT_EQ(recommended_normalisation(set).mean[1], .456f);
  set.family = "folder";
  EXPECT_FLOAT_EQ(recommended_normalisation(set).std[1], 1.f);  // a constant channel is not scaled
  EXPECT_FALSE(published_normalisation("gtsrb").has_value());
  ImageSet three{.n = 3, .h = 1, .w = 1, .c = 1, .pixels = {0, 255, 51}};
  const Normalisation of_two = compute_normalisation(three, std::vector<std::int32_t>{2, 0});
  EXPECT_FLOAT_EQ(of_two.mean[0], .1f);
  EXPECT_FLOAT_EQ(of_two.std[0], .1f);
  EXPECT_EQ(of_two.source, "computed on 2 images");
  EXPECT_MESSAGE(compute_normalisation(ImageSet{.n = 0, .h = 1, .w = 1, .c = 1}),
                 "expected at least one image");
}

TEST(GreyToRgb, CopiesTheChannel) {
  EXPECT_EQ(grey_to_rgb(one_image(1, 2, 1, {5, 9})).pixels, (std::vector<std::uint8_t>{5, 5, 5, 9, 9, 9}));
}

// PIL's convert("L"): (19595 R + 38470 G + 7471 B + 32768) >> 16.
TEST(Grey, IsTheWeightedMeanAndKeepsGrey) {
  ImageSet set{.n = 1, .h = 1, .w = 3, .c = 3};
  set.pixels = {255, 0, 0, 0, 255, 0, 77, 77, 77};
  EXPECT_FALSE(is_grey(set));
  const ImageSet grey = rgb_to_grey(set);
  EXPECT_EQ(grey.pixels, (std::vector<std::uint8_t>{76, 150, 77}));
  EXPECT_TRUE(is_grey(grey));
  EXPECT_TRUE(is_grey(grey_to_rgb(grey)));
  EXPECT_EQ(to_grey({.h = 1, .w = 3, .c = 3, .pixels = set.pixels}).pixels, grey.pixels);
}

TEST(PadZero, OfAPictureIsThatOfASet) {
  const Picture picture = pattern(3, 2, 3);
  ImageSet set{.n = 1, .h = 3, .w = 2, .c = 3};
  set.pixels = picture.pixels;
  EXPECT_EQ(pad_zero(picture, 2).pixels, pad_zero(set, 2).pixels);
}

}  // namespace
}  // namespace offramp::data
