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

// Entries of a matrix of six rows, squared.
template <int kColumns>
struct WinogradSquares {
  template <class Entry>
  explicit WinogradSquares(Entry entry) {
    for (int i = 0; i < 6; ++i)
      for (int j = 0; j < kColumns; ++j) of[i][j] = entry(i, j) * entry(i, j);
  }
  double of[6][kColumns];
};

// out[36] = M m M^T, m of kSide times kSide, with the entries of M and m squared.
template <int kSide>
void square_transform(const WinogradSquares<kSide>& matrix, const double* m, double* out) {
  double half[6][kSide] = {};
  for (int a = 0; a < 6; ++a)
    for (int i = 0; i < kSide; ++i)
      for (int j = 0; j < kSide; ++j) half[a][j] += matrix.of[a][i] * m[i * kSide + j] * m[i * kSide + j];
  for (int a = 0; a < 6; ++a) {
    for (int b = 0; b < 6; ++b) {
      double sum = 0;
      for (int j = 0; j < kSide; ++j) sum += half[a][j] * matrix.of[b][j];
      out[a * 6 + b] = sum;
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
  const WinogradSquares<3> taps([](int i, int j) { return kWinogradFactor[i] * winograd_power(i, j, 2); });
  const WinogradSquares<4> tile([](int i, int j) { return kWinogradFactor[i] * winograd_power(i, j, 3); });
  const WinogradSquares<6> input_tile([](int i, int j) { return kWinogradInput[i][j]; });
  const WinogradSquares<3> back_to_taps([](int i, int j) { return winograd_power(i, j, 2); });
  const WinogradSquares<4> back_to_tile([](int i, int j) { return winograd_power(i, j, 3); });
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
        square_transform(taps, m, &filters[index((std::int64_t{o} * in_c + c) * 36)]);
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
          square_transform(input_tile, m, &v[index(std::int64_t{c} * 36)]);
        }
        for (int o = 0; o < out_c; ++o) {
          if (weight) {
            double m[16];
            for (int t = 0; t < 16; ++t) {
              const int row = top + t / 4, column = left + t % 4;
              const bool inside = row < out_h && column < out_w;
              m[t] = inside ? b[index(((std::int64_t{n} * out_h + row) * out_w + column) * out_c + o)] : 0;
            }
            square_transform(tile, m, d.data());
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
                sum += back_to_tile.of[p / 6][r] * back_to_tile.of[p % 6][s] * m[p];
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
          sum += back_to_taps.of[p / 6][t / 3] * back_to_taps.of[p % 6][t % 3] *
                 sums[index((k * g.c + c) * 36 + p)];
        }
        out[index((k * 9 + t) * g.c + c)] = sum_bound(length, std::sqrt(sum));
      }
    }
  }
  return out;
}

}  // namespace offramp::test
