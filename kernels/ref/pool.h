#pragma once
// References of kernels/pool.h.
#include <cmath>

#include "kernels/pool.h"
#include "kernels/ref/store.h"

namespace offramp::ref {

// Calls f(output offset, window) for every output; window(visit) calls visit(input offset, place in the
// window) in row-major order.
template <class F>
void for_each_window(const PoolGeom& g, F f) {
  std::int64_t out = 0;
  for (int n = 0; n < g.n; ++n)
    for (int i = 0; i < g.out_h(); ++i)
      for (int j = 0; j < g.out_w(); ++j)
        for (int c = 0; c < g.c; ++c)
          f(out++, [&](auto visit) {
            for (int r = 0; r < g.k; ++r)
              for (int s = 0; s < g.k; ++s) {
                const std::int64_t row = std::int64_t{n} * g.h + i * g.stride + r;
                visit((row * g.w + j * g.stride + s) * g.c + c, r * g.k + s);
              }
          });
}

// The maximum and its place, the first among equals; NaN wins.
template <class Real, class Window>
Real window_max(const Real* x, const Window& window, int* place) {
  Real best = 0;
  *place = -1;
  window([&](std::int64_t at, int where) {
    const bool better = *place < 0 || x[at] > best || (std::isnan(x[at]) && !std::isnan(best));
    if (better) best = x[at], *place = where;
  });
  return best;
}

template <class Real, class Window>
Real window_mean(const PoolGeom& g, const Real* x, const Window& window) {
  Real sum = 0;
  window([&](std::int64_t at, int) { sum += x[at]; });
  return sum / (g.k * g.k);
}

template <class Real>
void max_pool_forward(const PoolGeom& g, const Real* x, Real* y, std::uint8_t* index) {
  for_each_window(g, [&](std::int64_t out, const auto& window) {
    int place;
    y[out] = window_max(x, window, &place);
    if (index != nullptr) index[out] = static_cast<std::uint8_t>(place);
  });
}

template <class Real>
void clear(const PoolGeom& g, Real* dx, Write write) {
  if (write == Write::kAccumulate) return;
  for (std::int64_t i = 0; i < g.x_size(); ++i) dx[i] = 0;
}

template <class Real>
void max_pool_backward(const PoolGeom& g, const Real* dy, const std::uint8_t* index, Real* dx, Write write) {
  clear(g, dx, write);
  for_each_window(g, [&](std::int64_t out, const auto& window) {
    window([&](std::int64_t at, int place) { dx[at] += place == index[out] ? dy[out] : Real{0}; });
  });
}

template <class Real>
void avg_pool_forward(const PoolGeom& g, const Real* x, Real* y) {
  for_each_window(g, [&](std::int64_t out, const auto& window) { y[out] = window_mean(g, x, window); });
}

template <class Real>
void avg_pool_backward(const PoolGeom& g, const Real* dy, Real* dx, Write write) {
  clear(g, dx, write);
  for_each_window(g, [&](std::int64_t out, const auto& window) {
    window([&](std::int64_t at, int) { dx[at] += dy[out] / (g.k * g.k); });
  });
}

template <class Real>
void exit_pool_forward(
    const PoolGeom& g, const Real* x, const Real* alpha, Real* y, Real* max_minus_avg, std::uint8_t* index) {
  for_each_window(g, [&](std::int64_t out, const auto& window) {
    int place;
    const Real max = window_max(x, window, &place), avg = window_mean(g, x, window);
    y[out] = *alpha * max + (1 - *alpha) * avg;
    if (max_minus_avg != nullptr) max_minus_avg[out] = max - avg;
    if (index != nullptr) index[out] = static_cast<std::uint8_t>(place);
  });
}

template <class Real>
void exit_pool_backward_input(
    const PoolGeom& g, const Real* dy, const Real* alpha, const std::uint8_t* index, Real* dx, Write write) {
  clear(g, dx, write);
  for_each_window(g, [&](std::int64_t out, const auto& window) {
    window([&](std::int64_t at, int place) {
      dx[at] += (1 - *alpha) / (g.k * g.k) * dy[out] + (place == index[out] ? *alpha * dy[out] : Real{0});
    });
  });
}

template <class Real>
void exit_pool_backward_alpha(
    const PoolGeom& g, const Real* dy, const Real* max_minus_avg, Real* dalpha, Write write) {
  Real sum = 0;
  for (std::int64_t i = 0; i < g.y_size(); ++i) sum += dy[i] * max_minus_avg[i];
  store(write, dalpha, sum);
}

}  // namespace offramp::ref
