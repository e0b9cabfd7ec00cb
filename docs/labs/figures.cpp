// lab_figures DIR: computes and draws the pictures of docs/labs.
#include "stats/padding/groupings.h"
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

// Two classes, one of which leaves at the first of two exits more often: what the exit tells, and what part each exit has.
XyChart leaky_exit() {
  XyChart c = chart("Two classes: a half of the first leaves early, and of the second this share",
                    "share of class 2 that leaves early",
                    "bits",
                    false);
  Series both{.name = "exit and class"}, early{.name = "part of exit 1", .dash = 1},
      late{.name = "part of exit 2", .dash = 2};
  for (int i = 0; i <= 100; ++i) {
    const double q = i / 100.0, p = 0.5;
    const auto part = [](double a, double b) {  // joint shares a / 2, b / 2 of one exit
      const double all = (a + b) / 2;
      double sum = 0;
      for (const double v : {a / 2, b / 2})
        if (v > 0) sum += v * std::log2(v / (all * 0.5));
      return sum;
    };
    point(both, q, part(p, q) + part(1 - p, 1 - q));
    point(early, q, part(p, q));
    point(late, q, part(1 - p, 1 - q));
  }
  c.series = {both, early, late};
  return c;
}

// The count of right samples over the first threshold: with the second one best for it, and with the one that is best alone.
XyChart threshold_search() {
  XyChart c = chart("60 samples, 3 exits: how many leave where they should, over the first threshold",
                    "threshold of exit 1",
                    "samples",
                    false);
  Series joint{.name = "the second threshold best for it"},
      alone{.name = "the second threshold chosen by itself", .dash = 1};
  Random random(4);
  std::vector<double> first, second;
  std::vector<int> wanted;
  for (int i = 0; i < 60; ++i) {
    wanted.push_back(random.from(1, 3));
    first.push_back(random.uniform() * 0.7 + (wanted.back() == 1 ? 0.3 : 0));
    second.push_back(random.uniform() * 0.7 + (wanted.back() <= 2 ? 0.3 : 0));
  }
  const auto right = [&](double a, double b) {
    int count = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i)
      count += (first[i] > a ? 1 : second[i] > b ? 2 : 3) == wanted[i] ? 1 : 0;
    return count;
  };
  double fixed = 0;
  int most = -1;
  for (const double b : second) {
    int count = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) count += (second[i] > b) == (wanted[i] == 2) ? 1 : 0;
    if (count > most) most = count, fixed = b;
  }
  for (double a = 0; a <= 1; a += 0.01) {
    int best = right(a, -1);
    for (const double b : second) best = std::max(best, right(a, b));
    point(joint, a, best);
    point(alone, a, right(a, fixed));
  }
  c.series = {joint, alone};
  return c;
}

// Accuracy where there is nothing to find, over the number of records.
XyChart flawed_control() {
  XyChart c = chart(
      "Members and others drawn alike: mean accuracy of the best threshold", "records", "accuracy", false);
  c.frame.x.log = true;
  Series same{.name = "learnt on the judged records", .draw = Draw::kLineAndPoints},
      other{.name = "learnt on others", .draw = Draw::kLineAndPoints};
  Random random(1);
  for (int n = 4; n <= 256; n *= 2) {
    double on_same = 0, on_other = 0;
    for (int draw = 0; draw < 400; ++draw) {
      const std::vector<double> a = random.normals(static_cast<std::size_t>(n)),
                                b = random.normals(static_cast<std::size_t>(n));
      const auto right = [n](const std::vector<double>& score, double t) {
        int count = 0;
        for (std::size_t i = 0; i < score.size(); ++i) count += (score[i] > t) == (i % 2 == 1) ? 1 : 0;
        return static_cast<double>(count) / n;
      };
      double best = -1, t = -100;
      for (const double candidate : a)
        if (right(a, candidate) > best) best = right(a, candidate), t = candidate;
      on_same += right(a, t) / 400;
      on_other += right(b, t) / 400;
    }
    point(same, n, on_same);
    point(other, n, on_other);
  }
  c.series = {same, other};
  return c;
}

// Every grouping of five exits.
XyChart padding() {
  XyChart c = chart("Every grouping of five exits that answer after 1, 2, 3, 4 and 5 ms",
                    "mean delay, ms",
                    "bits that the time tells",
                    false);
  Series neighbours{.name = "groups of neighbours", .draw = Draw::kPoints},
      others{.name = "others", .draw = Draw::kPoints};
  const double share[] = {0.35, 0.05, 0.3, 0.05, 0.25};
  offramp::stats::each_grouping(5, [&](const std::vector<int>& group) {
    double latest[5] = {}, total[5] = {}, delay = 0, bits = 0;
    bool ascending = true;
    for (std::size_t k = 0; k < 5; ++k) {
      const auto g = static_cast<std::size_t>(group[k]);
      latest[g] = static_cast<double>(k + 1);
      total[g] += share[k];
      ascending = ascending && (k == 0 || group[k] >= group[k - 1]);
    }
    for (std::size_t k = 0; k < 5; ++k)
      delay += share[k] * (latest[static_cast<std::size_t>(group[k])] - static_cast<double>(k + 1));
    for (const double t : total)
      if (t > 0) bits -= t * std::log2(t);
    point(ascending ? neighbours : others, delay, bits);
  });
  c.series = {neighbours, others};
  return c;
}

XyChart profile() {
  XyChart c = chart("What the whole gains where one op becomes faster",
                    "how many times faster the op",
                    "the whole, times",
                    false);
  c.frame.x.log = true;
  for (const int percent : {10, 30, 60, 90}) {
    Series& s = add(c, std::to_string(percent) + " % of the time");
    for (double f = 1; f < 101; f *= 1.1) point(s, f, 1 / (1 - percent / 100.0 + percent / 100.0 / f));
  }
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
                           {"07_missing_barrier", missing_barrier},
                           {"08_leaky_exit", leaky_exit},
                           {"09_threshold_search", threshold_search},
                           {"10_flawed_control", flawed_control},
                           {"11_padding", padding},
                           {"12_profile", profile}};

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
