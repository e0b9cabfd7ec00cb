#include "attacks/defences/defence_file.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <numbers>
#include <random>

#include "attacks/defences/image_hash.h"
#include "attacks/defences/release.h"
#include "attacks/query/query_run.h"
#include "base/errors.h"
#include "tests/attacks/message.h"
#include "tests/support/temp_folder.h"

#define EXPECT_SAYS(statement, part)                                                               \
  EXPECT_NE(test::message_of([&] { static_cast<void>(statement); }).find(part), std::string::npos) \
      << test::message_of([&] { static_cast<void>(statement); })

namespace offramp::attacks {
namespace {

using test::TempFolder;

Picture grey_picture(int height, int width, const auto& value) {
  Picture picture{height, width, 1, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) picture.pixels.push_back(static_cast<std::uint8_t>(value(y, x) % 256));
  }
  return picture;
}

// The picture of tests/bench/peers/image_hash.py, whose hashes ImageHash computed.
Picture colour_picture(int height, int width) {
  Picture picture{height, width, 3, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (const int v : {7 * x + 13 * y + (x * y) % 17, 3 * x * x + 5 * y, 251 * x + y * y + (x ^ y)}) {
        picture.pixels.push_back(static_cast<std::uint8_t>(v % 256));
      }
    }
  }
  return picture;
}

TEST(ImageHash, CheckValuesOfTheSpec) {  // specs/membership.md 7
  EXPECT_EQ(hex_of(perceptual_hash(
                grey_picture(32, 32, [](int y, int x) { return 7 * x + 13 * y + (x * y) % 17; }))),
            "88b38c376ce12d5b");
  EXPECT_EQ(hex_of(average_hash(grey_picture(8, 8, [](int y, int x) { return 31 * x + 17 * y; }))),
            "070f0f1e3e3c7878");
}

TEST(ImageHash, TheLibrarysHashesOfColourPicturesOfAnySize) {  // values: tests/bench/peers/image_hash.py
  struct Row {
    int height, width;
    const char *perceptual, *average;
  };
  for (const Row row : {Row{32, 32, "800397356de62f5b", "2f3c78e44303fcf8"},
                        Row{28, 28, "8007962bec6e5bba", "273f3e70c20157de"},
                        Row{64, 64, "826582b6c7752d5e", "77cc11e298674c3d"},
                        Row{97, 41, "fd00d900aadfdb8a", "7846f9a51d529ea1"},
                        Row{8, 200, "c4561817a8f4d74f", "5252525272d2d2d2"},
                        Row{300, 224, "dc247e667f245826", "806b534aaf889588"},
                        Row{5, 7, "ab41731d0ea2d9e3", "07070f0f1f0f0f0f"}}) {
    const Picture picture = colour_picture(row.height, row.width);
    EXPECT_EQ(hex_of(perceptual_hash(picture)), row.perceptual) << row.height << " x " << row.width;
    EXPECT_EQ(hex_of(average_hash(picture)), row.average) << row.height << " x " << row.width;
  }
}

// findings/imagehash-phash-symmetric.sh: the library's hashes of a bar in the middle, of flat pictures, and of the bar with
// one corner pixel one level brighter, which is another picture to it.
TEST(ImageHash, ZerosOfSymmetricPicturesAreExact) {
  const auto bar = [](int y, int x) { return y >= 8 && y < 20 && x >= 10 && x < 18 ? 255 : 0; };
  EXPECT_EQ(hex_of(perceptual_hash(grey_picture(28, 28, bar))), "8800220088008800");
  EXPECT_EQ(
      hex_of(perceptual_hash(grey_picture(28, 28, [&](int y, int x) { return bar(y, x) + (x + y == 0); }))),
      "dcfc76fcd8f08800");
  for (const int level : {0, 1, 77, 255}) {
    EXPECT_EQ(hex_of(perceptual_hash(grey_picture(32, 32, [&](int, int) { return level; }))),
              level == 0 ? "0000000000000000" : "8000000000000000");
  }
}

TEST(ImageHash, PublishedPictureReadsPlanesAsPixels) {
  // [1,3,1,2] planes r = (.1, .2), g = (.3, .4), b = (.5, .6): the first "pixel" is r0 r1 g0.
  const Tensor image =
      Tensor::from_nchw({1, 3, 1, 2}, std::vector<float>{.1f, .2f, .3f, .4f, .5f, .6f}, Device::cpu());
  EXPECT_EQ(picture_as_published(image).pixels, (std::vector<std::uint8_t>{25, 51, 76, 102, 127, 153}));
  EXPECT_EQ(picture_of(image).pixels, (std::vector<std::uint8_t>{26, 77, 128, 51, 102, 153}));
  EXPECT_SAYS(picture_of(Tensor::zeros({2, 3, 4, 4}, Device::cpu())), "one float32 image");
}

TEST(InputSeed, HkdfAndShaCheckValues) {
  std::string salt, info;
  for (int i = 0; i <= 12; ++i) salt += static_cast<char>(i);
  for (int i = 0xf0; i <= 0xf9; ++i) info += static_cast<char>(i);
  std::string hex;
  for (const std::uint8_t byte : hkdf_sha256(std::string(22, '\x0b'), salt, info, 42)) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  EXPECT_EQ(
      hex,
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");  // RFC 5869, 1
  EXPECT_EQ(hkdf_sha256("asecretseed", std::string(512, 'o'), "ff81818181818181", 1).at(0), 0x6f);
  EXPECT_EQ(
      sha512_hex("0101"),
      "a4e709497bd88e9987529eca36bd3e5249d7ecd178c90c5999871b36f1016a7f040b4646665e49d8a344a77be6935af17282e7"
      "e57ae64c9bb487ad8a46666561");
  EXPECT_SAYS(hkdf_sha256("a", "b", "c", 0), "1 to 8160 bytes");
}

TEST(InputSeed, NumbersBelongToInputAndSecret) {
  const Tensor table = Tensor::from<float>({1, 4}, std::vector<float>{0, 1, 0, 1}, Device::cpu());
  EXPECT_EQ(input_hash(table, InputHash::kExact), sha512_hex("0101"));
  const InputSeedOptions options{.hash = InputHash::kExact, .secret = "a"};
  const double first = input_uniform(table, options);
  EXPECT_EQ(first, input_uniform(table, options));
  EXPECT_NE(first, input_uniform(table, {.hash = InputHash::kExact, .secret = "b"}));
  EXPECT_EQ(input_uniform("ff81818181818181", published_seed_options()), (0x6f + .5) / 256);
  // The first byte is the highest.
  const auto bytes = hkdf_sha256(options.label, options.secret, "an input", 8);
  double value = .5;
  for (std::size_t i = 8; i-- > 0;) value = (value + bytes[i]) / 256;
  EXPECT_EQ(input_uniform("an input", options), value);
  EXPECT_EQ(std::floor(256 * input_uniform("an input", options)), bytes[0]);
  EXPECT_SAYS(input_uniform(table, {.hash = InputHash::kExact}), "secret must not be empty");
  // Uniform: 4,000 inputs in ten cells, chi-squared of 9 degrees below its 1e-6 quantile.
  std::vector<int> cells(10);
  for (int i = 0; i < 4000; ++i) {
    ++cells[static_cast<std::size_t>(10 * input_uniform(std::to_string(i), options))];
  }
  double chi = 0;
  for (const int c : cells) chi += (c - 400.) * (c - 400.) / 400;
  EXPECT_LT(chi, 45);
}

TimeGuardOptions guard(double sigma_ns) {
  TimeGuardOptions options;
  options.sigma_ns = sigma_ns;
  options.seed = {.hash = InputHash::kExact, .secret = "secret"};
  return options;
}

Tensor random_image(std::mt19937_64& rng) {
  std::uniform_real_distribution<float> uniform;
  std::vector<float> values(3 * 8 * 8);
  for (float& v : values) v = uniform(rng);
  return Tensor::from<float>({1, 3, 8, 8}, values, Device::cpu());
}

TEST(TimeGuard, HalfNormalOncePerInput) {
  std::mt19937_64 rng(1);
  constexpr int kImages = 4000;
  constexpr double kSigma = 5e5;
  double sum = 0, squares = 0;
  for (int i = 0; i < kImages; ++i) {
    const Tensor image = random_image(rng);
    const double delay = time_guard_release_ns(image, 1e6, guard(kSigma)) - 1e6;
    ASSERT_GE(delay, 0);
    ASSERT_EQ(delay, time_guard_release_ns(image, 1e6, guard(kSigma)) - 1e6);
    sum += delay;
    squares += delay * delay;
  }
  const double mean = kSigma * std::sqrt(2 / std::numbers::pi);
  EXPECT_NEAR(sum / kImages, mean, 5 * kSigma * .603 / std::sqrt(kImages));
  EXPECT_NEAR(squares / kImages / (kSigma * kSigma), 1, 5 * std::sqrt(2.0 / kImages));
}

// The known weakness: repetitions of an input wait alike, near-duplicates do not, and the least of many is near the
// clean time. What `extract query --near-duplicates` does to a defence whose hash tells near-duplicates apart.
TEST(TimeGuard, RepetitionsDoNotAverageItOutNearDuplicatesDo) {
  std::mt19937_64 rng(9);
  constexpr double kClean = 1e6, kSigma = 5e5;
  constexpr int kPasses = 64;
  double repeated = 0, moved = 0;
  for (int i = 0; i < 50; ++i) {
    const Tensor image = random_image(rng);
    double least_repeated = HUGE_VAL, least_moved = HUGE_VAL;
    for (int pass = 1; pass <= kPasses; ++pass) {
      const std::int32_t index = i;
      const Tensor near = near_duplicates(image, {&index, 1}, .01, 7, pass);
      least_repeated = std::min(least_repeated, time_guard_release_ns(image, kClean, guard(kSigma)));
      least_moved = std::min(least_moved, time_guard_release_ns(near, kClean, guard(kSigma)));
    }
    repeated += (least_repeated - kClean) / 50;
    moved += (least_moved - kClean) / 50;
  }
  const double mean = kSigma * std::sqrt(2 / std::numbers::pi);
  EXPECT_GT(repeated, mean / 2);
  EXPECT_LT(moved, mean / 20);  // the least of 64 half-normal draws: about 1.25 sigma / 65
}

TEST(NearDuplicates, StayInReachAndBelongToSeedPassAndImage) {
  std::mt19937_64 rng(10);
  const Tensor image = random_image(rng);
  const std::int32_t first = 0, second = 1;
  const auto values = [&](const Tensor& t) { return t.to_host<float>(); };
  const auto moved = values(near_duplicates(image, {&first, 1}, .05, 1, 1));
  const auto original = values(image);
  double largest = 0;
  for (std::size_t i = 0; i < moved.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(moved[i]) - original[i]));
    EXPECT_TRUE(moved[i] >= 0 && moved[i] <= 1);
  }
  EXPECT_LE(largest, .05 + 1e-6);
  EXPECT_GT(largest, .04);
  EXPECT_EQ(moved, values(near_duplicates(image, {&first, 1}, .05, 1, 1)));
  EXPECT_NE(moved, values(near_duplicates(image, {&first, 1}, .05, 1, 2)));
  EXPECT_NE(moved, values(near_duplicates(image, {&first, 1}, .05, 2, 1)));
  EXPECT_NE(moved, values(near_duplicates(image, {&second, 1}, .05, 1, 1)));
}

TEST(TimeGuard, CapOfThePublishedCode) {
  std::mt19937_64 rng(2);
  TimeGuardOptions options = guard(1e9);
  options.cap_ns = 2e6;
  const Tensor image = random_image(rng);
  EXPECT_EQ(time_guard_release_ns(image, 1e6, options), 2e6);      // sigma is far beyond the cap
  EXPECT_EQ(time_guard_release_ns(image, 2.5e6, options), 2.5e6);  // who is late already is not delayed
}

TEST(TimeGuard, TheAnswerIsTheVictimsAndWaits) {
  std::mt19937_64 rng(3);
  const VictimFunction victim = [](const Tensor&, std::span<float> p) {
    p[0] = .25f;
    p[1] = .75f;
  };
  const VictimFunction guarded = time_guarded(victim, guard(3e6));
  const Tensor image = random_image(rng);
  std::vector<float> p(2);
  const auto start = std::chrono::steady_clock::now();
  guarded(image, p);
  const double took =
      std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(p, (std::vector<float>{.25f, .75f}));
  EXPECT_GE(took, time_guard_release_ns(image, 0, guard(3e6)));
  EXPECT_SAYS(time_guarded(victim, guard(0)), "above 0");
}

TEST(PaddedVictim, RowsOfTheChannelAreDrawnFrom) {
  const PaddingPlan plan{{1e5, 2e5, 3e5}, {.5, .2, .3, 0, .25, .75, 0, 0, 1}, {.secret = "s"}};
  EXPECT_EQ(deadline_of(plan, 0, .49), 0);
  EXPECT_EQ(deadline_of(plan, 0, .51), 1);
  EXPECT_EQ(deadline_of(plan, 0, .71), 2);
  EXPECT_EQ(deadline_of(plan, 0, 1), 2);
  EXPECT_EQ(deadline_of(plan, 1, 0), 1);
  EXPECT_EQ(deadline_of(plan, 2, .3), 2);
  EXPECT_SAYS(deadline_of(plan, 3, .3), "the plan has 3 exits");
}

TEST(PaddedVictim, NoAnswerBeforeItsDeadlineAndTheSameForARepetition) {
  std::mt19937_64 rng(4);
  const PaddingPlan plan{
      {1e6, 2e6, 4e6}, {.5, .2, .3, 0, .25, .75, 0, 0, 1}, {.hash = InputHash::kExact, .secret = "s"}};
  const ExitVictim one = [](const Tensor&, std::span<float> p) {
    p[0] = 1;
    return 0;
  };
  bool batched = false;
  const VictimFunction plain = [&](const Tensor&, std::span<float>) { batched = true; };
  const VictimFunction victim = padded(plain, one, plan);
  std::vector<float> p(1);
  std::vector<int> drawn(3);
  for (int i = 0; i < 16; ++i) {
    const Tensor image = random_image(rng);
    const int at = deadline_of(plan, 0, input_uniform(image, plan.seed));
    ++drawn[static_cast<std::size_t>(at)];
    for (int repetition = 0; repetition < 2; ++repetition) {
      const auto start = std::chrono::steady_clock::now();
      victim(image, p);
      EXPECT_GE(std::chrono::steady_clock::now() - start,
                std::chrono::nanoseconds(
                    static_cast<std::int64_t>(plan.deadlines_ns[static_cast<std::size_t>(at)])));
    }
  }
  EXPECT_GT(drawn[0], 0);
  EXPECT_GT(drawn[2], 0);  // who waits for the middle always answers these too early
  EXPECT_FALSE(batched);
  victim(Tensor::zeros({2, 3, 8, 8}, Device::cpu()), p);
  EXPECT_TRUE(batched);
  EXPECT_SAYS(padded(plain, one, {{1, 2}, {1, 0, .5, .5}, {.secret = "s"}}), "cannot be answered");
  EXPECT_SAYS(padded(plain, one, {{1, 2}, {.5, .5, 0, 1}, {}}), "secret must not be empty");
}

// A padding's deadline counts from when the request began and is moved by the server's own work; TimeGuard's delay from now.
TEST(ReleaseTime, IsTheDeadlineOfTheExitOrTheDelayOfTheInput) {
  using namespace std::chrono_literals;
  std::mt19937_64 rng(5);
  const Tensor image = random_image(rng);
  const auto start = std::chrono::steady_clock::now();
  const Defence padding{"padding", {}, PaddingPlan{{1e6, 2e6}, {0, 1, 0, 1}, {}}};
  EXPECT_EQ(release_time(padding, image, 0, start, 30us), start + 2ms + 30us);
  const Defence none{"padding", {}, PaddingPlan{{1e6, 2e6}, {1, 0, 0, 1}, {}}};
  EXPECT_EQ(release_time(none, image, 0, start, 0us), start + 1ms);
  EXPECT_EQ(release_time(none, image, 1, start, 0us), start + 2ms);
  EXPECT_SAYS(release_time(none, image, 2, start, 0us), "the plan has 2 exits");
  const Defence guarded{"time-guard", guard(5e6), {}};
  const double delay = time_guard_release_ns(image, 0, guard(5e6));
  const auto before = std::chrono::steady_clock::now();
  const auto at = release_time(guarded, image, 0, start, 1h);
  EXPECT_GE(at, before + std::chrono::nanoseconds(static_cast<std::int64_t>(delay)));
  EXPECT_LT(at, std::chrono::steady_clock::now() + std::chrono::nanoseconds(std::llround(delay)) + 2ns);
  EXPECT_SAYS(release_time({}, image, 0, start, 0us), "neither TimeGuard nor a padding");
}

TEST(DefenceFile, ComesBackAndNamesWhatIsWrong) {
  const TempFolder folder;
  const auto path = folder.path() / "defence.json";
  Defence guarded{"time-guard", guard(5e5), {}};
  guarded.time_guard->cap_ns = 3e6;
  write_defence(path, guarded);
  const Defence read = read_defence(path);
  ASSERT_TRUE(read.time_guard && !read.padding);
  EXPECT_EQ(read.time_guard->sigma_ns, 5e5);
  EXPECT_EQ(read.time_guard->cap_ns, 3e6);
  EXPECT_EQ(read.time_guard->seed.hash, InputHash::kExact);
  EXPECT_EQ(read.time_guard->seed.secret, "secret");

  Defence padding{"padding", {}, PaddingPlan{{1.5, 2.5}, {.5, .5, 0, 1}, {.secret = "s", .bytes = 4}}};
  write_defence(path, padding);
  EXPECT_EQ(read_defence(path).padding->channel, padding.padding->channel);
  EXPECT_EQ(read_defence(path).padding->seed.bytes, 4);
  check(padding, 2);
  EXPECT_SAYS(check(padding, 4), "is for 2 exits, the net has 4");
  check(guarded, 4);  // asks about no exits

  const auto say = [&](const std::string& text) { std::ofstream(path) << text; };
  say("{}");
  EXPECT_SAYS(read_defence(path), "format");
  say(R"({"format":"offramp defence","version":1,"kind":"moat","name":"x"})");
  EXPECT_SAYS(read_defence(path), "found 'moat'");
  say(R"({"format":"offramp defence","version":1,"kind":"padding","name":"x","deadlines_ns":[2,1],
          "channel":[1,0,0,1],"seed":{"hash":"exact","secret":"s","label":"l","bytes":8}})");
  EXPECT_SAYS(read_defence(path), "ascend");
  say(R"({"format":"offramp defence","version":1,"kind":"time-guard","name":"x","sigma_ns":1,
          "seed":{"hash":"md5","secret":"s","label":"l","bytes":8}})");
  EXPECT_SAYS(read_defence(path), "got 'md5'");
  EXPECT_SAYS(read_defence(folder.path() / "none.json"), "cannot be read");
}

}  // namespace
}  // namespace offramp::attacks
