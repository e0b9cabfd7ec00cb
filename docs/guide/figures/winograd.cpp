// Rounding errors of 3x3 convolutions in float: direct sums, our F(4x4, 3x3) kernel, and F(m x m, 3x3) for m
// = 2, 4, 6 built here from interpolation points alone. The identity is checked in double first.
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "figures.h"
#include "kernels/conv2d.h"
#include "kernels/cpu/context.h"
#include "kernels/philox.h"
#include "kernels/ref/conv2d.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"

namespace offramp::guide {
namespace {

constexpr int kFilter = 3, kWinogradSide = 12, kOutputs = 16;  // kWinogradSide: a multiple of every m

struct Matrix {
  int rows, columns;
  std::vector<double> values;
  Matrix(int r, int c) : rows(r), columns(c), values(static_cast<std::size_t>(r * c)) {}
  double& at(int i, int j) { return values[static_cast<std::size_t>(i * columns + j)]; }
  double at(int i, int j) const { return values[static_cast<std::size_t>(i * columns + j)]; }
};

// m x m^T, every sum in Real.
template <class Real>
std::vector<Real> both_sides(const Matrix& m, const std::vector<Real>& x) {
  const auto index = [](int i) { return static_cast<std::size_t>(i); };
  std::vector<Real> half(index(m.rows * m.columns)), whole(index(m.rows * m.rows));
  for (int i = 0; i < m.rows; ++i)
    for (int j = 0; j < m.columns; ++j)
      for (int k = 0; k < m.columns; ++k)
        half[index(i * m.columns + j)] += static_cast<Real>(m.at(i, k)) * x[index(k * m.columns + j)];
  for (int i = 0; i < m.rows; ++i)
    for (int j = 0; j < m.rows; ++j)
      for (int k = 0; k < m.columns; ++k)
        whole[index(i * m.rows + j)] += half[index(i * m.columns + k)] * static_cast<Real>(m.at(j, k));
  return whole;
}

// The matrices of F(m, 3) from m + 1 finite points and infinity (docs/guide/winograd.md).
struct Winograd {
  int m, n;
  Matrix a, b, g;  // A^T [m, n], B^T [n, n], G [n, 3]

  Winograd(int outputs, const std::vector<double>& points)
      : m(outputs), n(outputs + kFilter - 1), a(m, n), b(n, n), g(n, kFilter) {
    const auto all_but = [&](int left_out) {  // coefficients of the product of (x - p), lowest first
      std::vector<double> c{1};
      for (int l = 0; l < n - 1; ++l) {
        if (l == left_out) continue;
        c.push_back(0);
        for (std::size_t i = c.size(); i-- > 0;)
          c[i] = (i > 0 ? c[i - 1] : 0) - points[static_cast<std::size_t>(l)] * c[i];
      }
      return c;
    };
    for (int j = 0; j < n; ++j) {
      const bool infinity = j == n - 1;
      const double p = infinity ? 0 : points[static_cast<std::size_t>(j)];
      double factor = 1;
      for (int l = 0; l < n - 1; ++l)
        if (!infinity && l != j) factor *= p - points[static_cast<std::size_t>(l)];
      for (int i = 0; i < m; ++i) a.at(i, j) = infinity ? (i == m - 1 ? 1 : 0) : std::pow(p, i);
      for (int i = 0; i < kFilter; ++i)
        g.at(j, i) = infinity ? (i == kFilter - 1 ? 1 : 0) : std::pow(p, i) / factor;
      const std::vector<double> row = all_but(infinity ? -1 : j);
      for (std::size_t i = 0; i < row.size(); ++i) b.at(j, static_cast<int>(i)) = row[i];
    }
  }

  // y of a padded convolution of one image, all arithmetic in Real.
  template <class Real>
  std::vector<Real> convolve(const Conv2dGeom& geom,
                             const std::vector<float>& x,
                             const std::vector<float>& w) const {
    const auto index = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    const int places = n * n;
    std::vector<std::vector<Real>> filters;
    for (int k = 0; k < geom.k; ++k)
      for (int c = 0; c < geom.c; ++c) {
        std::vector<Real> taps(kFilter * kFilter);
        for (int t = 0; t < kFilter * kFilter; ++t)
          taps[index(t)] =
              static_cast<Real>(w[index((std::int64_t{k} * kFilter * kFilter + t) * geom.c + c)]);
        filters.push_back(both_sides(g, taps));
      }
    std::vector<Real> y(index(geom.y_size()));
    for (int top = 0; top < geom.h; top += m)
      for (int left = 0; left < geom.w; left += m) {
        std::vector<std::vector<Real>> tiles;
        for (int c = 0; c < geom.c; ++c) {
          std::vector<Real> tile(index(places));
          for (int t = 0; t < places; ++t) {
            const int i = top - 1 + t / n, j = left - 1 + t % n;
            if (i >= 0 && i < geom.h && j >= 0 && j < geom.w)
              tile[index(t)] = static_cast<Real>(x[index((i * geom.w + j) * geom.c + c)]);
          }
          tiles.push_back(both_sides(b, tile));
        }
        for (int k = 0; k < geom.k; ++k) {
          std::vector<Real> products(index(places));
          for (int c = 0; c < geom.c; ++c)
            for (int t = 0; t < places; ++t)
              products[index(t)] += tiles[index(c)][index(t)] * filters[index(k * geom.c + c)][index(t)];
          const std::vector<Real> out = both_sides(a, products);
          for (int t = 0; t < m * m; ++t)
            y[index(((top + t / m) * geom.w + left + t % m) * geom.k + k)] = out[index(t)];
        }
      }
    return y;
  }
};

std::vector<float> drawn(std::int64_t count, std::uint32_t op, bool positive) {
  const PhiloxKey key{.seed = 1, .op = op};
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = key.uniform(i) - (positive ? 0.f : 0.5f);
  return values;
}

// Root of the mean square of y - exact, over that of exact.
template <class Real>
double relative_error(const std::vector<Real>& y, const std::vector<double>& exact) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double d = static_cast<double>(y[i]) - exact[i];
    error += d * d, size += exact[i] * exact[i];
  }
  return std::sqrt(error / size);
}

}  // namespace

std::string winograd_figure() {
  const Winograd f2(2, {0, 1, -1}), f4(4, {0, 1, -1, 2, -2}), f6(6, {0, 1, -1, 2, -2, 0.5, -0.5});
  report::Series direct{.name = "direct sums, our kernel"}, kernel{.name = "F(4x4), our kernel"},
      two{.name = "F(2x2)", .dash = 1}, four{.name = "F(4x4)", .dash = 2}, six{.name = "F(6x6)", .dash = 3};
  for (report::Series* s : {&direct, &kernel, &two, &four, &six}) s->draw = report::Draw::kLineAndPoints;
  for (const int channels : {16, 32, 64, 128, 256, 512}) {
    const Conv2dGeom g{.n = 1,
                       .h = kWinogradSide,
                       .w = kWinogradSide,
                       .c = channels,
                       .k = kOutputs,
                       .r = kFilter,
                       .s = kFilter,
                       .pad = 1};
    const std::vector<float> x = drawn(g.x_size(), 0, true), w = drawn(g.w_size(), 1, false);
    const std::vector<double> xd(x.begin(), x.end()), wd(w.begin(), w.end());
    std::vector<double> exact(static_cast<std::size_t>(g.y_size()));
    ref::conv2d_forward(g, xd.data(), wd.data(), nullptr, exact.data());
    const auto add = [&](report::Series& series, double error) {
      series.x.push_back(channels);
      series.y.push_back(error);
    };
    for (const bool winograd : {false, true}) {
      cpu::Context context({.threads = 1, .conv = cpu::ConvBackend::kNative, .winograd = winograd});
      std::vector<float> y(exact.size());
      cpu::conv2d_forward<float>(context, g, x.data(), w.data(), nullptr, y.data());
      add(winograd ? kernel : direct, relative_error(y, exact));
    }
    for (const auto& [algorithm, series] : {std::pair{&f2, &two}, {&f4, &four}, {&f6, &six}}) {
      if (relative_error(algorithm->convolve<double>(g, x, w), exact) > 1e-11)
        throw std::logic_error("F(" + std::to_string(algorithm->m) + ", 3) in double is not the convolution");
      add(*series, relative_error(algorithm->convolve<float>(g, x, w), exact));
    }
  }
  report::XyChart chart;
  chart.frame.title = "Rounding error of a 3x3 convolution in float32";
  chart.frame.subtitle =
      "root mean square, relative to that of the outputs; inputs in [0, 1), weights in [-0.5, 0.5)";
  chart.frame.x = {.label = "input channels", .log = true};
  chart.frame.y = {.label = "relative error", .log = true};
  chart.series = {direct, kernel, two, four, six};
  return report::standalone_svg(report::render(chart));
}

}  // namespace offramp::guide
