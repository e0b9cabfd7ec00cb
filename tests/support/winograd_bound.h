#pragma once
// How far a Winograd F(4x4, 3x3) convolution may be from the exact one. Its rounding errors are those of
// terms that cancel, which are larger than the terms of the direct sum. For independent roundings the error
// of an output behaves like eps sqrt(length) times the root of the sum of squares of those terms, and that
// sum is the algorithm itself with squared matrices and inputs. Matrices as published (Lavin and Gray 2016),
// independent of the kernel's factored forms.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/conv2d.h"
#include "tests/support/close.h"

namespace offramp::test {

inline constexpr double kWinogradInput[6][6] = {{4, 0, -5, 0, 1, 0},
                                                {0, -4, -4, 1, 1, 0},
                                                {0, 4, -4, -1, 1, 0},
                                                {0, -2, -1, 2, 1, 0},
                                                {0, 2, -1, -2, 1, 0},
                                                {0, 4, 0, -5, 0, 1}};
// Row i: 1, p, p^2, p^3 over a factor, for the points p = 0, 1, -1, 2, -2 and infinity; its first three
// entries transform a filter.
inline constexpr double kWinogradPoint[5] = {0, 1, -1, 2, -2};
inline constexpr double kWinogradFactor[6] = {1.0 / 4, -1.0 / 6, -1.0 / 6, 1.0 / 24, 1.0 / 24, 1};

inline double winograd_power(int i, int exponent, int degree) {
  if (i == 5) return exponent == degree ? 1 : 0;
  return std::pow(kWinogradPoint[i], exponent);
}

// out[36] = M m M^T with M[i][j] squared, m of side `side`.
template <class Entry>
void square_transform(int rows, int side, Entry entry, const double* m, double* out) {
  for (int a = 0; a < rows; ++a) {
    for (int b = 0; b < rows; ++b) {
      double sum = 0;
      for (int i = 0; i < side; ++i) {
        for (int j = 0; j < side; ++j) {
          const double e = entry(a, i) * entry(b, j);
          sum += e * e * m[i * side + j] * m[i * side + j];
        }
      }
      out[a * rows + b] = sum;
    }
  }
}

// Which of the three sums: the output of a forward, the input gradient, the weight gradient.
enum class WinogradSum { kForward, kInput, kWeight };

// The bound of every element, for a 3x3, stride 1, one-group geometry. a and b are what is multiplied: x and
// w, dy and w, or x and dy.
inline std::vector<double> winograd_bounds(const Conv2dGeom& g,
                                           WinogradSum which,
                                           double length,
                                           const std::vector<double>& a,
                                           const std::vector<double>& b) {
  const bool input = which == WinogradSum::kInput, weight = which == WinogradSum::kWeight;
  const int in_h = input ? g.out_h() : g.h, in_w = input ? g.out_w() : g.w, in_c = input ? g.k : g.c;
  const int out_h = input ? g.h : g.out_h(), out_w = input ? g.w : g.out_w(), out_c = input ? g.c : g.k;
  const int pad = input ? 2 - g.pad : g.pad;
  const auto taps_entry = [](int i, int j) { return kWinogradFactor[i] * winograd_power(i, j, 2); };
  const auto tile_entry = [](int i, int j) { return kWinogradFactor[i] * winograd_power(i, j, 3); };
  const auto index = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  std::vector<double> filters;  // [out_c][in_c][36]
  if (!weight) {
    filters.resize(index(std::int64_t{out_c} * in_c * 36));
    for (int o = 0; o < out_c; ++o) {
      for (int c = 0; c < in_c; ++c) {
        double m[9];
        for (int t = 0; t < 9; ++t) {
          m[t] = input ? b[index((std::int64_t{c} * 9 + 8 - t) * g.c + o)]
                       : b[index((std::int64_t{o} * 9 + t) * g.c + c)];
        }
        square_transform(6, 3, taps_entry, m, &filters[index((std::int64_t{o} * in_c + c) * 36)]);
      }
    }
  }
  std::vector<double> sums(weight ? index(std::int64_t{out_c} * in_c * 36)
                                  : index(std::int64_t{g.n} * out_h * out_w * out_c));
  std::vector<double> v(index(std::int64_t{in_c} * 36)), d(index(std::int64_t{out_c} * 36));
  for (int n = 0; n < g.n; ++n) {
    for (int top = 0; top < out_h; top += 4) {
      for (int left = 0; left < out_w; left += 4) {
        for (int c = 0; c < in_c; ++c) {
          double m[36];
          for (int t = 0; t < 36; ++t) {
            const int row = top - pad + t / 6, column = left - pad + t % 6;
            const bool inside = row >= 0 && row < in_h && column >= 0 && column < in_w;
            m[t] = inside ? a[index(((std::int64_t{n} * in_h + row) * in_w + column) * in_c + c)] : 0;
          }
          square_transform(
              6, 6, [](int i, int j) { return kWinogradInput[i][j]; }, m, &v[index(std::int64_t{c} * 36)]);
        }
        for (int o = 0; o < out_c; ++o) {
          if (weight) {
            double m[16];
            for (int t = 0; t < 16; ++t) {
              const int row = top + t / 4, column = left + t % 4;
              const bool inside = row < out_h && column < out_w;
              m[t] = inside ? b[index(((std::int64_t{n} * out_h + row) * out_w + column) * out_c + o)] : 0;
            }
            square_transform(6, 4, tile_entry, m, d.data());
            for (int c = 0; c < in_c; ++c) {
              for (int p = 0; p < 36; ++p) {
                sums[index((std::int64_t{o} * in_c + c) * 36 + p)] +=
                    d[index(p)] * v[index(std::int64_t{c} * 36 + p)];
              }
            }
            continue;
          }
          double m[36] = {};
          for (int c = 0; c < in_c; ++c) {
            for (int p = 0; p < 36; ++p)
              m[p] +=
                  v[index(std::int64_t{c} * 36 + p)] * filters[index((std::int64_t{o} * in_c + c) * 36 + p)];
          }
          for (int r = 0; r < std::min(4, out_h - top); ++r) {
            for (int s = 0; s < std::min(4, out_w - left); ++s) {
              double sum = 0;
              for (int p = 0; p < 36; ++p)
                sum += std::pow(winograd_power(p / 6, r, 3) * winograd_power(p % 6, s, 3), 2) * m[p];
              sums[index(((std::int64_t{n} * out_h + top + r) * out_w + left + s) * out_c + o)] =
                  sum_bound(length, std::sqrt(sum));
            }
          }
        }
      }
    }
  }
  if (!weight) return sums;
  std::vector<double> out(index(g.w_size()));
  for (std::int64_t k = 0; k < g.k; ++k) {
    for (int c = 0; c < g.c; ++c) {
      for (int t = 0; t < 9; ++t) {
        double sum = 0;
        for (int p = 0; p < 36; ++p) {
          sum += std::pow(winograd_power(p / 6, t / 3, 2) * winograd_power(p % 6, t % 3, 2), 2) *
                 sums[index((k * g.c + c) * 36 + p)];
        }
        out[index((k * 9 + t) * g.c + c)] = sum_bound(length, std::sqrt(sum));
      }
    }
  }
  return out;
}

}  // namespace offramp::test
