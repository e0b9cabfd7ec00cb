// lab_figures DIR: computes and draws the pictures of docs/labs.
#include "tests/labs/grading.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"

#include "base/atomic_file.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>

namespace {

using offramp::labs::Random;
using offramp::report::Draw;
using offramp::report::Series;
using offramp::report::XyChart;

XyChart chart(std::string title, std::string x, std::string y, bool log) {
  XyChart out;
  out.frame.title = std::move(title);
  out.frame.x = {.label = std::move(x), .log = log};
  out.frame.y = {.label = std::move(y), .log = log};
  out.frame.height = 320;
  return out;
}
Series& add(XyChart& c, std::string name, Draw draw = Draw::kLine) {
  c.series.push_back({.name = std::move(name), .draw = draw});
  return c.series.back();
}
void point(Series& s, double x, double y) {
  s.x.push_back(x);
  s.y.push_back(y);
}

// Error of differences of x s(x) over the step.
XyChart missing_gradient() {
  XyChart c = chart("A difference is right for some steps only", "step h", "error of dy/dx", true);
  const auto f = [](double x) { return x / (1 + std::exp(-x)); };
  const double x = 0.7, s = 1 / (1 + std::exp(-x)), exact = s + x * s * (1 - s);
  Series central{.name = "central"}, forward{.name = "one-sided", .dash = 1},
      missing{.name = "the way through s forgotten", .dash = 2};
  for (double h = 1e-12; h < 0.5; h *= 1.5) {
    point(central, h, std::fabs((f(x + h) - f(x - h)) / (2 * h) - exact) + 1e-14);
    point(forward, h, std::fabs((f(x + h) - f(x)) / h - exact) + 1e-14);
    point(missing, h, std::fabs(s - exact));
  }
  c.series = {central, forward, missing};
  return c;
}

XyChart wrong_tolerance() {
  XyChart c = chart("Right sums, a wrong one, and two bounds", "terms", "error / sum of |a b|", true);
  Series right{.name = "right, in float", .draw = Draw::kPoints},
      wrong{.name = "inputs in bfloat16", .draw = Draw::kPoints}, bound{.name = "8 eps root n"},
      fixed{.name = "1e-4", .dash = 1};
  Random random(1);
  for (int n = 1; n <= 65536; n *= 2)
    for (int draw = 0; draw < 6; ++draw) {
      float sum = 0, rough = 0;
      double exact = 0, sum_abs = 0;
      for (int i = 0; i < n; ++i) {
        const auto a = static_cast<float>(random.normal()), b = static_cast<float>(random.normal());
        int exponent = 0;
        const double mantissa = std::frexp(static_cast<double>(a), &exponent);
        sum += a * b;
        rough += static_cast<float>(std::ldexp(std::nearbyint(mantissa * 256) / 256, exponent)) * b;
        exact += static_cast<double>(a) * static_cast<double>(b);
        sum_abs += std::fabs(static_cast<double>(a) * static_cast<double>(b));
      }
      point(right, n, std::max(std::fabs(static_cast<double>(sum) - exact) / sum_abs, 1e-9));
      point(wrong, n, std::max(std::fabs(static_cast<double>(rough) - exact) / sum_abs, 1e-9));
      if (draw == 0) point(bound, n, 8 * 0x1p-23 * std::sqrt(n));
      if (draw == 0) point(fixed, n, 1e-4);
    }
  c.series = {right, wrong, bound, fixed};
  return c;
}

// By central differences of the loss, and as if mean and variance were constants.
XyChart batch_norm_backward() {
  XyChart c = chart("dx of one channel: mean and variance take back what a shift or a scaling would give",
                    "x",
                    "dx",
                    false);
  Series whole{.name = "all three ways", .draw = Draw::kPoints},
      direct{.name = "direct way alone", .draw = Draw::kPoints};
  Random random(3);
  constexpr int n = 40;
  std::vector<double> x = random.normals(n), dy(n);
  for (int i = 0; i < n; ++i)
    dy[static_cast<std::size_t>(i)] = 1 + x[static_cast<std::size_t>(i)] + 0.3 * random.normal();
  double scale = 0;
  const auto loss = [&](const std::vector<double>& at) {
    double mean = 0, var = 0, sum = 0;
    for (const double v : at) mean += v / n;
    for (const double v : at) var += (v - mean) * (v - mean) / n;
    scale = 1 / std::sqrt(var + 1e-5);
    for (std::size_t i = 0; i < n; ++i) sum += dy[i] * (at[i] - mean) * scale;
    return sum;
  };
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> up = x, down = x;
    up[i] += 1e-5;
    down[i] -= 1e-5;
    point(whole, x[i], (loss(up) - loss(down)) / 2e-5);
    static_cast<void>(loss(x));
    point(direct, x[i], dy[i] * scale);
  }
  c.series = {whole, direct};
  return c;
}

XyChart im2col() {
  XyChart c = chart("How often a pixel of a row of 16 is copied: 3x3, padding 1", "column", "copies", false);
  c.frame.y.min = 0.0;
  for (const int stride : {1, 2, 3}) {
    Series& s = add(c, "stride " + std::to_string(stride), Draw::kLineAndPoints);
    std::vector<int> along(16), down(16);
    for (int i = 0; i * stride - 1 + 3 <= 17; ++i)
      for (int a = 0; a < 3; ++a)
        if (const int at = i * stride - 1 + a; at >= 0 && at < 16)
          ++along[static_cast<std::size_t>(at)], ++down[static_cast<std::size_t>(at)];
    for (int j = 0; j < 16; ++j) point(s, j, along[static_cast<std::size_t>(j)] * down[7]);
  }
  return c;
}

XyChart winograd() {
  XyChart c = chart("Multiplications an output, 3 x 3", "outputs m of a tile side", "multiplications", false);
  c.frame.y.min = 0.0;
  Series direct{.name = "direct", .dash = 1}, tiles{.name = "F(m x m, 3 x 3)", .draw = Draw::kLineAndPoints};
  for (int m = 1; m <= 8; ++m) {
    point(direct, m, 9);
    point(tiles, m, static_cast<double>((m + 2) * (m + 2)) / (m * m));
  }
  c.series = {tiles, direct};
  return c;
}

// Hillis and Steele in place, one thread behind the other, all values 1: what the last place becomes.
XyChart race() {
  XyChart c =
      chart("A scan in place without a barrier: the last place, all values 1", "threads", "sum", true);
  Series right{.name = "right, and from the last thread to the first", .dash = 1},
      forward{.name = "from the first thread to the last"};
  for (int n = 2; n <= 256; n *= 2) {
    std::vector<double> s(static_cast<std::size_t>(n), 1);
    for (std::size_t offset = 1; offset < s.size(); offset *= 2)
      for (std::size_t t = offset; t < s.size(); ++t) s[t] += s[t - offset];
    point(right, n, n);
    point(forward, n, s.back());
  }
  c.series = {right, forward};
  return c;
}

// What thread t reads from s[0] when thread `writer` comes k-th, in random orders: the share of threads that are too late.
XyChart missing_barrier() {
  XyChart c = chart("Who reads s[0] too late, of 64 threads, when thread 0 writes it without a barrier",
                    "place of thread 0 in the order",
                    "threads that read a wrong value",
                    false);
  Series s{.name = "random orders", .draw = Draw::kPoints};
  Random random(1);
  for (int draw = 0; draw < 60; ++draw) {
    std::vector<int> order(64);
    for (int t = 0; t < 64; ++t) order[static_cast<std::size_t>(t)] = t;
    for (std::size_t i = order.size(); i-- > 1;)
      std::swap(order[i], order[static_cast<std::size_t>(random.from(0, static_cast<int>(i)))]);
    int late = 0, place = 0;
    bool written = false;
    for (int i = 0; i < 64; ++i) {
      late += written ? 1 : 0;
      if (order[static_cast<std::size_t>(i)] == 0) written = true, place = i;
    }
    point(s, place, late);
  }
  c.series = {s};
  return c;
}

struct Figure {
  const char* name;
  std::function<XyChart()> draw;
};
const Figure kFigures[] = {{"01_missing_gradient", missing_gradient},
                           {"02_wrong_tolerance", wrong_tolerance},
                           {"03_batch_norm_backward", batch_norm_backward},
                           {"04_im2col", im2col},
                           {"05_winograd", winograd},
                           {"06_race", race},
                           {"07_missing_barrier", missing_barrier}};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: lab_figures DIR\n", stderr);
    return 2;
  }
  try {
    std::filesystem::create_directories(argv[1]);
    for (const Figure& figure : kFigures)
      offramp::write_file_atomically(std::filesystem::path(argv[1]) / (std::string(figure.name) + ".svg"),
                                     offramp::report::standalone_svg(offramp::report::render(figure.draw())));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lab_figures: %s\n", error.what());
    return 1;
  }
  return 0;
}
