// A victim that is a half space: the distance to the boundary is known.
#include "attacks/membership/hop_skip_jump.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/attacks/message.h"
#include "tests/attacks/tiny.h"

namespace offramp::attacks::membership {
namespace {

constexpr std::size_t kPixels = 48;

struct HalfSpace {
  std::vector<double> normal;  // of length 1
  double at = 0;               // label 1 where normal x > at
  std::int64_t asked = 0;
  double value(std::span<const float> x) const {
    double sum = 0;
    for (std::size_t j = 0; j < x.size(); ++j) sum += normal[j] * static_cast<double>(x[j]);
    return sum - at;
  }
  std::vector<std::int32_t> labels(std::span<const float> images, int count) {
    asked += count;
    std::vector<std::int32_t> out;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      out.push_back(value(images.subspan(i * kPixels, kPixels)) > 0 ? 1 : 0);
    return out;
  }
};

struct Scene {
  HalfSpace victim;
  std::vector<float> images;
  std::vector<std::uint32_t> names;
};
// A boundary through the middle of the box, and images some way off it.
Scene scene(int count, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<float> near(.4f, .6f);
  Scene s;
  double norm = 0, middle = 0;
  for (std::size_t j = 0; j < kPixels; ++j) {
    s.victim.normal.push_back(normal(rng));
    norm += s.victim.normal.back() * s.victim.normal.back();
  }
  for (double& v : s.victim.normal) {
    v /= std::sqrt(norm);
    middle += v / 2;
  }
  s.victim.at = middle;
  for (int i = 0; i < count; ++i) {
    s.names.push_back(static_cast<std::uint32_t>(100 + i));
    for (std::size_t j = 0; j < kPixels; ++j) s.images.push_back(near(rng));
  }
  return s;
}
std::vector<BoundaryPoint> attack(Scene& s, const HopSkipJumpOptions& o) {
  return hop_skip_jump(
      s.images, s.names, [&](std::span<const float> x, int n) { return s.victim.labels(x, n); }, o);
}

TEST(HopSkipJump, ComesCloseToTheKnownDistanceAndNeverBelow) {
  Scene s = scene(12, 1);
  const auto few = attack(s, {.iterations = 3}), many = attack(s, {.iterations = 25});
  double excess_few = 0, excess_many = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    const auto image = std::span<const float>(s.images).subspan(i * kPixels, kPixels);
    const double truth = std::abs(s.victim.value(image));
    EXPECT_GE(many[i].distance, truth * (1 - 1e-5)) << i;
    EXPECT_NE(s.victim.value(many[i].image) > 0, s.victim.value(image) > 0)
        << "the iterate has the other label";
    for (const float v : many[i].image) EXPECT_TRUE(v >= 0 && v <= 1);
    double by_hand = 0;
    for (std::size_t j = 0; j < kPixels; ++j) {
      const double step = static_cast<double>(many[i].image[j]) - static_cast<double>(image[j]);
      by_hand += step * step;
    }
    EXPECT_NEAR(many[i].distance, std::sqrt(by_hand), 1e-9);
    excess_few += few[i].distance - truth;
    excess_many += many[i].distance - truth;
  }
  EXPECT_LT(excess_many, .5 * excess_few);
}

// Every question about one image of four pixels, beside the formulas (specs/membership.md 4.3).
TEST(HopSkipJump, AsksWhatTheFormulasSay) {
  using Point = std::vector<double>;
  constexpr std::size_t kDim = 4;
  std::vector<Point> asked;
  std::vector<int> other;  // 1: another label than the image's
  const LabelsOf victim = [&](std::span<const float> images, int count) {
    std::vector<std::int32_t> labels;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      asked.emplace_back(images.begin() + static_cast<std::ptrdiff_t>(i * kDim),
                         images.begin() + static_cast<std::ptrdiff_t>((i + 1) * kDim));
      const Point& x = asked.back();
      other.push_back(.5 * x[0] + .7 * x[1] - .3 * x[2] + .4 * x[3] > .75 ? 1 : 0);
      labels.push_back(3 + other.back());
    }
    return labels;
  };
  const std::vector<float> image = {.45f, .5f, .5f, .55f};
  const std::vector<std::uint32_t> name = {4};
  constexpr int kDirections = 5, kIterations = 3;  // 5, 7 and 8 directions: of odd counts the mean is not 0
  const auto made = hop_skip_jump(
      image, name, victim, {.iterations = kIterations, .first_directions = kDirections, .seed = 1});
  ASSERT_EQ(static_cast<std::int64_t>(asked.size()), made[0].queries);

  const Point x(image.begin(), image.end());
  const auto far = [&](const Point& from) {
    double sum = 0;
    for (std::size_t j = 0; j < kDim; ++j) sum += (from[j] - x[j]) * (from[j] - x[j]);
    return std::sqrt(sum);
  };
  std::size_t next = 1;
  while (other.at(next) == 0) ++next;
  Point at = asked.at(next++);
  const auto search = [&](int questions) {  // the point of another label that is nearest
    for (int q = 0; q < questions; ++q, ++next)
      if (other.at(next) == 1) at = asked.at(next);
  };
  const double theta = .01 / 2;
  search(10);  // to 2^-10 <= .001
  for (int it = 0; it < kIterations; ++it) {
    const double delta = it == 0 ? .1 : 2 * theta * far(at);
    search(8);  // to 2^-8 <= .005
    const int m = static_cast<int>(kDirections * std::sqrt(it + 1.0));
    Point gradient(kDim, 0);
    double mean = 0;
    for (int b = 0; b < m; ++b) mean += (other.at(next + static_cast<std::size_t>(b)) == 1 ? 1.0 : -1.0) / m;
    ASSERT_LT(std::abs(mean), 1) << "iteration " << it;
    for (int b = 0; b < m; ++b, ++next) {
      double length = 0;
      for (std::size_t j = 0; j < kDim; ++j) {
        const double u = (asked.at(next)[j] - at[j]) / delta;
        length += u * u;
        gradient[j] += ((other.at(next) == 1 ? 1 : -1) - mean) * u;
      }
      EXPECT_NEAR(length, 1, 1e-3) << "iteration " << it << ", direction " << b;
    }
    double norm = 0;
    for (const double g : gradient) norm += g * g;
    double step = far(at) / std::sqrt(it + 1.0);
    const Point from = at;
    for (;; step /= 2, ++next) {
      for (std::size_t j = 0; j < kDim; ++j) {
        EXPECT_NEAR(
            asked.at(next)[j], std::clamp(from[j] + step * gradient[j] / std::sqrt(norm), 0.0, 1.0), 2e-4)
            << "iteration " << it << ", pixel " << j;
      }
      if (other.at(next) == 1) break;
    }
    at = asked.at(next++);
  }
  EXPECT_EQ(next, asked.size());
  EXPECT_NEAR(made[0].distance, far(at), 1e-9);
}

TEST(HopSkipJump, AnImageComesOutTheSameInAnyCompany) {
  Scene s = scene(7, 2);
  const auto whole = attack(s, {.iterations = 4, .together = 7}),
             apart = attack(s, {.iterations = 4, .together = 2, .batch = 3});
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(whole[i].image, apart[i].image) << i;
    EXPECT_EQ(whole[i].queries, apart[i].queries) << i;
  }
  const auto other = attack(s, {.iterations = 4, .seed = 2});
  EXPECT_NE(other[0].image, whole[0].image);
}

TEST(HopSkipJump, QueriesAreCounted) {
  Scene s = scene(5, 3);
  const auto points = attack(s, {.iterations = 10});
  std::int64_t sum = 0;
  for (const auto& p : points) {
    sum += p.queries;
    // 2,247 directions (100 sqrt of 1 .. 10, cut), one label, a start, searches of 10 and 10 x 10 or so, and steps.
    EXPECT_GT(p.queries, 2240 + 1 + 1 + 10 + 10);
    EXPECT_LT(p.queries, 2240 + 500);
  }
  EXPECT_EQ(sum, s.victim.asked);
}

TEST(HopSkipJump, NoOtherLabelIsDistanceZero) {
  Scene s = scene(3, 4);
  s.victim.at = 1e9;  // label 0 everywhere
  for (const auto& p : attack(s, {})) {
    EXPECT_EQ(p.distance, 0);
    EXPECT_TRUE(p.image.empty());
    EXPECT_EQ(p.queries, 101);
  }
}

TEST(HopSkipJump, BadInputIsNamed) {
  Scene s = scene(2, 5);
  EXPECT_EQ(test::message_of([&] { attack(s, {.low = 1, .high = 0}); }),
            "hop_skip_jump: expected counts of at least 1 and a clip range low < high");
  s.images[3] = 1.5f;
  EXPECT_EQ(test::message_of([&] { attack(s, {}); }),
            "hop_skip_jump: images must lie in the clip range, found 1.500000");
  s.images.pop_back();
  EXPECT_EQ(test::message_of([&] { attack(s, {}); }),
            "hop_skip_jump: expected as many values for each of 2 images, got 95");
}

// Class 1 where the first pixel is bright.
class FirstPixel final : public BlackBox {
 public:
  int classes() const override { return 2; }
  Answer query(const Tensor& images, Timing) override {
    const auto v = images.to_host<float>();
    const auto d = v.size() / static_cast<std::size_t>(images.shape()[0]);
    Answer a;
    for (std::size_t i = 0; i < v.size(); i += d) a.labels.push_back(v[i] > .5f ? 1 : 0);
    return a;
  }
};

TEST(BoundaryDistance, IsZeroWithoutAQueryWhereTheClassIsWrong) {
  data::ImageSet set = test::bars(3, 1);
  for (std::size_t i = 0; i < 3; ++i) set.pixels[i * 64] = i == 2 ? 10 : 200;
  const Samples samples{set};
  Records r{.classes = 3, .num_exits = 1};
  r.row = {0, 1, 2};
  r.member = {1, 0, 1};
  r.label = {1, 0, 0};
  r.predicted = {1, 1, 0};
  r.exit = {1, 1, 1};
  FirstPixel victim;
  Listener nobody;
  const std::vector<std::size_t> asked = {0, 1, 2};
  const Signal s = boundary_distance(victim, samples, r, asked, {.iterations = 15}, nobody);
  EXPECT_EQ(s.at(1, 0), 0);
  EXPECT_GE(s.at(0, 0), 200 / 255.0 - .5 - 1e-6);
  EXPECT_LT(s.at(0, 0), 1.5 * (200 / 255.0 - .5));
  EXPECT_GE(s.at(2, 0), .5 - 10 / 255.0 - 1e-6);
  // Clipped to the images' own values a first pixel can still be moved past one half.
  const Signal clipped =
      boundary_distance(victim, samples, r, asked, {.iterations = 5, .clip_to_data = true}, nobody);
  EXPECT_GT(clipped.at(0, 0), 0);
  EXPECT_NE(clipped.at(0, 0),
            boundary_distance(victim, samples, r, asked, {.iterations = 5}, nobody).at(0, 0));
  const std::vector<std::size_t> last = {2};
  EXPECT_EQ(boundary_distance(victim, samples, r, last, {.iterations = 15}, nobody).value[0], s.at(2, 0));
}

}  // namespace
}  // namespace offramp::attacks::membership
