#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

TEST(Png, WrittenPicturesComeBackExactly) {
  for (const int c : {1, 3}) {
    const Picture p = pattern(5, 7, c);
    const Picture q = decode_picture(encode_png(p), "x.png");
    EXPECT_EQ(q.h, 5);
    EXPECT_EQ(q.w, 7);
    EXPECT_EQ(q.c, c);
    EXPECT_EQ(q.pixels, p.pixels);
  }
}

TEST(Jpeg, SmoothPicturesComeBackNearly) {
  // A gradient at quality 100: only rounding in the colour transform and the DCT is lost, a few grey levels.
  Picture p{.h = 16, .w = 24, .c = 3};
  for (int y = 0; y < 16; ++y)
    for (int x = 0; x < 24; ++x)
      for (int ch = 0; ch < 3; ++ch)
        p.pixels.push_back(static_cast<std::uint8_t>(40 + 4 * y + 3 * x + 20 * ch));
  const Picture q = decode_picture(encode_jpeg(p, 100), "x.jpg");
  ASSERT_EQ(q.pixels.size(), p.pixels.size());
  constexpr int kLevels = 3;
  for (std::size_t i = 0; i < p.pixels.size(); ++i)
    EXPECT_LE(std::abs(q.pixels[i] - p.pixels[i]), kLevels) << i;
  const Picture grey = decode_picture(encode_jpeg(pattern(8, 8, 1), 95), "g.jpg");
  EXPECT_EQ(grey.c, 1);
}

TEST(Jpeg, StrayBytesBeforeTheEndAreCountedAndLostDataIsRefused) {
  const auto good = encode_jpeg(pattern(16, 16, 3), 90);
  auto stray = good;
  stray.insert(stray.end() - 2, 12, 0x11);
  const Picture p = decode_picture(stray, "x.jpg");
  EXPECT_EQ(p.pixels, decode_picture(good, "x.jpg").pixels);
  EXPECT_EQ(p.warnings, 1);
  EXPECT_EQ(decode_picture(good, "x.jpg").warnings, 0);
  auto cut = good;
  cut.erase(cut.end() - 40, cut.end() - 2);
  EXPECT_MESSAGE(decode_picture(cut, "x.jpg"), "premature end of data segment");
}

// A seed of tests/fuzz: ink in the complemented form of Adobe's programs, no black: its values are red, green and blue.
TEST(Jpeg, CmykBecomesRgb) {
  const Picture p = read_picture(std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests/fuzz/corpus/jpeg/cmyk");
  ASSERT_EQ(p.c, 3);
  ASSERT_EQ(p.pixels.size(), 8u * 8u * 3u);
  constexpr int kLevels = 3;
  EXPECT_NEAR(p.pixels[0], 51, kLevels);
  EXPECT_NEAR(p.pixels[1], 102, kLevels);
  EXPECT_NEAR(p.pixels[2], 204, kLevels);
}

TEST(Pictures, AHeaderThatPromisesMoreThanTheFileHoldsIsRefusedBeforeMemory) {
  auto jpeg = encode_jpeg(pattern(16, 16, 1), 90);
  const std::vector<std::uint8_t> start = {0xff, 0xc0, 0, 11, 8, 0, 16, 0, 16};  // SOF0: height, width
  const auto at = std::search(jpeg.begin(), jpeg.end(), start.begin(), start.end());
  ASSERT_NE(at, jpeg.end());
  at[5] = at[7] = 0x20;  // 8208 x 8208
  EXPECT_MESSAGE(decode_picture(jpeg, "x"), "2^26 pixels");
  at[5] = at[7] = 0x10;  // 4112 x 4112
  EXPECT_MESSAGE(decode_picture(jpeg, "x"), "more pixels than the file can hold");
}

TEST(Ppm, HeaderWithCommentsAndBothKinds) {
  const std::string text = "P6 # made by hand\n2 # width\n 1\n255\nabcdef";
  const Picture p = decode_picture(std::vector<std::uint8_t>(text.begin(), text.end()), "x.ppm");
  EXPECT_EQ(p.h, 1);
  EXPECT_EQ(p.w, 2);
  EXPECT_EQ(p.pixels, (std::vector<std::uint8_t>{'a', 'b', 'c', 'd', 'e', 'f'}));
  const std::string grey = "P5\n2 1\n255\nab";
  const Picture q = to_rgb(decode_picture(std::vector<std::uint8_t>(grey.begin(), grey.end()), "x.pgm"));
  EXPECT_EQ(q.pixels, (std::vector<std::uint8_t>{'a', 'a', 'a', 'b', 'b', 'b'}));
}

TEST(Ppm, BrokenHeadersAreNamed) {
  const auto decode = [](const std::string& text) {
    decode_picture(std::vector<std::uint8_t>(text.begin(), text.end()), "bad.ppm");
  };
  EXPECT_MESSAGE(decode("P6\n2 1\n255\nabcde"), "ppm: expected 6 pixel bytes, found 5 (bad.ppm, byte 11)");
  EXPECT_MESSAGE(decode("P6\n2 1\n65535\nabcdef"), "expected maximum 255, found 65535");
  EXPECT_MESSAGE(decode("P6\n0 1\n255\n"), "expected a number in 1..65536");
  EXPECT_MESSAGE(decode("P6\n2"), "expected a number");
  EXPECT_MESSAGE(decode("P6\n65536 65536\n255\na"), "more than 2^26 pixels");
  EXPECT_MESSAGE(decode("GIF89a"), "image: expected JPEG, PNG or PPM");
  EXPECT_MESSAGE(decode(""), "image: expected JPEG, PNG or PPM");
}

// libjpeg's and libpng's own handlers would end the process or return half a picture.
TEST(BrokenPictures, EveryCutOfAFileThrowsWithItsPlace) {
  for (const auto& good : {encode_png(pattern(9, 11, 3)), encode_jpeg(pattern(9, 11, 3), 90)})
    for (std::size_t size = 8; size + 2 < good.size(); size += 5) {
      const std::vector<std::uint8_t> cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_MESSAGE(decode_picture(cut, "dir/cut"), "(dir/cut, byte ") << size;
    }
}

TEST(BrokenPictures, FlippedBytesNeverEndTheProcess) {
  int png_thrown = 0;
  const auto png = encode_png(pattern(9, 11, 3)), jpeg = encode_jpeg(pattern(9, 11, 3), 90);
  for (std::size_t i = 0; i < png.size(); ++i) {
    auto bad = png;
    bad[i] ^= 0x55;
    png_thrown += message_of([&] { decode_picture(bad, "x"); }) != "(nothing was thrown)" ? 1 : 0;
  }
  EXPECT_EQ(png_thrown, static_cast<int>(png.size()));  // every PNG byte is under a CRC or the signature
  for (std::size_t i = 0; i < jpeg.size(); ++i) {
    auto bad = jpeg;
    bad[i] ^= 0x55;
    message_of([&] { decode_picture(bad, "x"); });
  }
}

}  // namespace
}  // namespace offramp::data
