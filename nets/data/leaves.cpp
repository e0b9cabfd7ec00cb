#include "nets/data/leaves.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "nets/data/data_error.h"
#include "nets/data/parallel.h"
#include "nets/data/streams.h"

namespace offramp::data {
namespace {

using Colour = std::array<float, 3>;

// Draws in sequence from one picture's Philox stream.
class Draws {
 public:
  explicit Draws(PhiloxKey key) : key_(key) {}
  std::uint32_t word() {
    if (at_ % 4 == 0) block_ = key_.block(at_ / 4);
    return block_.v[at_++ % 4];
  }
  float uniform() { return unit(word()); }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  int integer(int low, int high) {
    return low + static_cast<int>(below(word(), static_cast<std::uint32_t>(high - low + 1)));
  }
  bool chance(float p) { return uniform() < p; }
  // Sum of four uniforms, centred, standard deviation 1: a bell without a logarithm.
  float bell() { return (uniform() + uniform() + uniform() + uniform() - 2.f) * 1.7320508f; }
  // A direction, uniform on the circle: a point of the disk, scaled to length 1.
  std::array<float, 2> direction() {
    for (;;) {
      const float x = uniform(-1, 1), y = uniform(-1, 1), d2 = x * x + y * y;
      if (d2 > 1e-3f && d2 <= 1) {
        const float scale = 1 / std::sqrt(d2);
        return {x * scale, y * scale};
      }
    }
  }

 private:
  PhiloxKey key_;
  std::uint64_t at_ = 0;
  PhiloxBlock block_{};
};

// Lightness spread widely, chroma small most of the time: the first principal axis of natural colours is
// grey.
Colour draw_colour(Draws& d, float saturation) {
  const float light = d.uniform(.04f, .96f), warm = d.bell() * saturation,
              green = d.bell() * saturation * .6f;
  return {std::clamp(light + warm + green * .3f, 0.f, 1.f),
          std::clamp(light + green, 0.f, 1.f),
          std::clamp(light - warm + green * .2f, 0.f, 1.f)};
}

Colour mix(const Colour& a, const Colour& b, float t) {
  return {a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t};
}

// Value noise: octaves of random grids, 2, 4, 8, ... cells wide, smoothly interpolated, each octave `fall`
// times the one before. fall = .5 gives an amplitude spectrum of about 1/f. Zero mean, about unit range.
std::vector<float> noise_field(Draws& d, int side, float fall, int octaves) {
  std::vector<float> field(static_cast<std::size_t>(side) * static_cast<std::size_t>(side));
  float amplitude = 1, total = 0;
  std::vector<float> grid;
  for (int octave = 0, cells = 2; octave < octaves && cells <= side; ++octave, cells *= 2) {
    const auto row = static_cast<std::size_t>(cells + 1);
    grid.resize(row * row);
    for (float& g : grid) g = d.uniform(-1, 1);
    const float step = static_cast<float>(cells) / static_cast<float>(side);
    for (int y = 0; y < side; ++y) {
      const float gy = (static_cast<float>(y) + .5f) * step;
      const auto iy = static_cast<std::size_t>(gy);
      float ty = gy - static_cast<float>(iy);
      ty = ty * ty * (3 - 2 * ty);
      for (int x = 0; x < side; ++x) {
        const float gx = (static_cast<float>(x) + .5f) * step;
        const auto ix = static_cast<std::size_t>(gx);
        float tx = gx - static_cast<float>(ix);
        tx = tx * tx * (3 - 2 * tx);
        const float* g = grid.data() + iy * row + ix;
        const float top = g[0] + (g[1] - g[0]) * tx, low = g[row] + (g[row + 1] - g[row]) * tx;
        field[static_cast<std::size_t>(y * side + x)] += amplitude * (top + (low - top) * ty);
      }
    }
    total += amplitude;
    amplitude *= fall;
  }
  for (float& v : field) v *= 1.6f / total;
  return field;
}

enum class Outline { kEllipse, kRectangle, kTriangle, kRing, kCount };

struct Shape {
  Outline outline;
  float cx, cy, a, b;         // centre and half axes, pixels
  std::array<float, 2> turn;  // unit vector of the first axis
  Colour colour, second;      // second: far end of the shading, or the other stripe
  float texture;              // strength of the noise field in it
  float stripes;              // stripes per pixel; 0: shaded
};

// Signed distance to the outline, negative inside; exact enough for one pixel of edge.
float distance(const Shape& s, float u, float v) {
  switch (s.outline) {
    case Outline::kRectangle:
      return std::max(std::abs(u) - s.a, std::abs(v) - s.b);
    case Outline::kTriangle:  // base at v = b/2, tip at v = -b
      return std::max(v - s.b * .5f, std::abs(u) * .866f - (v + s.b) * .5f * s.a / s.b);
    default: {
      const float p = u / s.a, q = v / s.b, r = std::sqrt(p * p + q * q), thin = std::min(s.a, s.b);
      const float d = (r - 1) * thin;
      return s.outline == Outline::kRing ? std::max(d, -d - thin * .55f) : d;
    }
  }
}

class Canvas {
 public:
  Canvas(int side, Draws& d) : side_(side), d_(d), pixels_(static_cast<std::size_t>(side * side)) {}

  void background(const std::vector<Colour>& palette, const std::vector<float>& field, float noise) {
    const auto dir = d_.direction();
    const Colour from = palette[0], to = palette[1], tint = palette[2];
    const float scale = 1 / static_cast<float>(side_), bend = d_.uniform(-.5f, .5f);
    for (int y = 0; y < side_; ++y)
      for (int x = 0; x < side_; ++x) {
        const float px = (static_cast<float>(x) + .5f) * scale - .5f,
                    py = (static_cast<float>(y) + .5f) * scale - .5f;
        float t = .5f + px * dir[0] + py * dir[1] + bend * (px * px + py * py);
        const float n = field[index(x, y)] * noise;
        t = std::clamp(t + n, 0.f, 1.f);
        pixels_[index(x, y)] = mix(mix(from, to, t), tint, std::clamp(n * .8f, 0.f, .7f));
      }
  }

  void paint(const Shape& s, const std::vector<float>& field) {
    const float reach = std::max(s.a, s.b) * 1.3f + 1;
    const int x0 = std::max(0, static_cast<int>(s.cx - reach)),
              x1 = std::min(side_ - 1, static_cast<int>(s.cx + reach)),
              y0 = std::max(0, static_cast<int>(s.cy - reach)),
              y1 = std::min(side_ - 1, static_cast<int>(s.cy + reach));
    for (int y = y0; y <= y1; ++y)
      for (int x = x0; x <= x1; ++x) {
        const float dx = static_cast<float>(x) + .5f - s.cx, dy = static_cast<float>(y) + .5f - s.cy;
        const float u = dx * s.turn[0] + dy * s.turn[1], v = dy * s.turn[0] - dx * s.turn[1];
        const float cover = std::clamp(.5f - distance(s, u, v), 0.f, 1.f);
        if (cover <= 0) continue;
        float t;
        if (s.stripes > 0) {
          const float phase = u * s.stripes + 64;  // a soft square wave
          t = std::clamp(std::abs(phase - std::floor(phase) - .5f) * 8 - 1.5f, 0.f, 1.f);
        } else {
          t = std::clamp(.5f + .5f * (u + v) / (s.a + s.b), 0.f, 1.f);
        }
        Colour c = mix(s.colour, s.second, t);
        const float grain = 1 + s.texture * field[index(x, y)];
        for (float& channel : c) channel *= grain;
        pixels_[index(x, y)] = mix(pixels_[index(x, y)], c, cover);
      }
  }

  void light(float strength) {
    const auto dir = d_.direction();
    const float scale = 1 / static_cast<float>(side_);
    for (int y = 0; y < side_; ++y)
      for (int x = 0; x < side_; ++x) {
        const float px = static_cast<float>(x) * scale - .5f, py = static_cast<float>(y) * scale - .5f;
        const float gain = 1 + strength * (px * dir[0] + py * dir[1]) - strength * .5f * (px * px + py * py);
        for (float& channel : pixels_[index(x, y)]) channel *= gain;
      }
  }

  // One pass of the binomial filter 1 2 1 along rows and columns.
  void blur() {
    for (int pass = 0; pass < 2; ++pass) {
      const std::vector<Colour> before = pixels_;
      const auto at = [&](int along, int across) {
        along = std::clamp(along, 0, side_ - 1);
        return pass == 0 ? index(along, across) : index(across, along);
      };
      for (int across = 0; across < side_; ++across)
        for (int along = 0; along < side_; ++along)
          for (std::size_t ch = 0; ch < 3; ++ch)
            pixels_[at(along, across)][ch] = .25f * before[at(along - 1, across)][ch] +
                                             .5f * before[at(along, across)][ch] +
                                             .25f * before[at(along + 1, across)][ch];
    }
  }

  void finish(float noise, std::span<std::uint8_t> out) {
    std::size_t i = 0;
    for (const Colour& pixel : pixels_) {
      // Two triangular numbers a pixel from one word: luminance noise and a fainter colour noise.
      const std::uint32_t w = d_.word();
      const float grey = static_cast<float>(w & 0xffu) + static_cast<float>((w >> 8) & 0xffu) - 255,
                  tint = static_cast<float>((w >> 16) & 0xffu) + static_cast<float>(w >> 24) - 255;
      const float shift[3] = {grey + .5f * tint, grey, grey - .5f * tint};
      for (std::size_t ch = 0; ch < 3; ++ch) {
        const float v = pixel[ch] + noise * shift[ch] * (1.f / 104.f);  // 104: their standard deviation
        out[i++] = static_cast<std::uint8_t>(std::floor(std::clamp(v, 0.f, 1.f) * 255 + .5f));
      }
    }
  }

 private:
  std::size_t index(int x, int y) const { return static_cast<std::size_t>(y * side_ + x); }
  int side_;
  Draws& d_;
  std::vector<Colour> pixels_;
};

Shape draw_shape(Draws& d, int side, const std::vector<Colour>& palette, float smallest, float largest) {
  Shape s{};
  s.outline = static_cast<Outline>(d.integer(0, static_cast<int>(Outline::kCount) - 1));
  if (s.outline == Outline::kRing && d.chance(.6f)) s.outline = Outline::kEllipse;
  // Radii with density ~ r^-3 between the two ends: r = low / sqrt(1 - u (1 - (low/high)^2)).
  const float ratio = smallest / largest, full = static_cast<float>(side);
  const float r = smallest / std::sqrt(1 - d.uniform() * (1 - ratio * ratio)) * full;
  const float stretch = d.uniform(.4f, 1);
  s.a = std::max(r, .7f);
  s.b = std::max(r * stretch, .6f);
  s.cx = d.uniform(-.1f, 1.1f) * full;
  s.cy = d.uniform(-.1f, 1.1f) * full;
  s.turn = d.direction();
  s.colour = palette[static_cast<std::size_t>(d.integer(0, static_cast<int>(palette.size()) - 1))];
  const float jitter = .12f * d.bell();
  for (float& channel : s.colour) channel = std::clamp(channel + jitter, 0.f, 1.f);
  const float shade = d.uniform(.55f, 1.25f);
  for (std::size_t ch = 0; ch < 3; ++ch) s.second[ch] = std::clamp(s.colour[ch] * shade, 0.f, 1.f);
  s.texture = d.chance(.5f) ? d.uniform(.1f, .6f) : 0;
  if (r > .12f * full && d.chance(.18f)) {
    s.stripes = d.uniform(.08f, .35f) * 32 / full;
    s.second = palette[static_cast<std::size_t>(d.integer(0, static_cast<int>(palette.size()) - 1))];
  }
  return s;
}

}  // namespace

void draw_leaves(std::uint64_t seed, std::uint32_t index, int side, std::span<std::uint8_t> out) {
  Draws d(PhiloxKey{.seed = seed, .stream = kLeavesStream, .op = 0, .step = index});
  const float saturation = d.chance(.15f) ? .35f : d.uniform(.02f, .16f);
  std::vector<Colour> palette;
  for (int i = d.integer(4, 6); i > 0; --i) palette.push_back(draw_colour(d, saturation));

  const float kind = d.uniform();
  const std::vector<float> field = noise_field(d, side, d.uniform(.35f, .75f), 6);
  Canvas canvas(side, d);
  int shapes = 0;
  float smallest = .05f, largest = .5f, noise = .15f;
  if (kind < .45f) {  // dead leaves: everything is covered
    shapes = d.integer(30, 90);
    largest = d.uniform(.25f, .6f);
  } else if (kind < .65f) {  // noise: clouds, grass, stone
    noise = d.uniform(.5f, 1.1f);
    shapes = d.integer(0, 3);
  } else if (kind < .85f) {  // an object before a background
    noise = d.uniform(.05f, .5f);
    shapes = d.integer(2, 8);
    smallest = .15f;
    largest = .45f;
  } else {  // gradients with a few large shapes
    noise = d.uniform(0, .1f);
    shapes = d.integer(1, 5);
    smallest = .1f;
  }
  canvas.background(palette, field, noise);
  for (int i = 0; i < shapes; ++i) canvas.paint(draw_shape(d, side, palette, smallest, largest), field);
  canvas.light(d.uniform(0, .8f));
  if (d.chance(.4f)) canvas.blur();
  canvas.finish(d.uniform(0, .03f), out);
}

ImageSet synthetic_leaves(int n, int side, std::uint64_t seed, std::uint32_t first, int threads) {
  if (n < 1 || n > 10'000'000)
    throw DataError("synthetic:leaves: expected 1..10000000 pictures, asked for " + std::to_string(n));
  if (side < 8 || side > 1024)
    throw DataError("synthetic:leaves: expected a side of 8..1024 pixels, asked for " + std::to_string(side));
  ImageSet set{.n = n, .h = side, .w = side, .c = 3};
  set.pixels.resize(static_cast<std::size_t>(n) * set.image_bytes());
  set.labels.assign(static_cast<std::size_t>(n), 0);
  set.class_names = {"leaves"};
  set.family = "synthetic";
  set.source = "synthetic:leaves, seed " + std::to_string(seed) + ", pictures " + std::to_string(first) +
               ".." + std::to_string(first + static_cast<std::uint32_t>(n) - 1);
  parallel_for(n, threads > 0 ? threads : default_threads(), [&](int i) {
    draw_leaves(seed, first + static_cast<std::uint32_t>(i), side, set.image(i));
  });
  return set;
}

}  // namespace offramp::data
