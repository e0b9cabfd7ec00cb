// The inputs of a convolution test and the reference's answers. Each is computed once in a process: all back
// ends, algorithms and options of one geometry and type are compared with the same sums.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/ref/conv2d.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/winograd_bound.h"

namespace offramp::test {

inline std::vector<double> absolute(std::vector<double> values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

// Values that T holds exactly, so that rounding of inputs (of the weights in bf16) is no part of the error.
template <class T>
std::vector<float> exact_in(std::vector<float> values) {
  for (float& value : values) value = static_cast<float>(T(value));
  return values;
}

// Sums of products, and the same sums of their absolute values.
struct Sums {
  std::vector<double> value, size;
};

template <class T>
class ConvData {
 public:
  static const ConvData& of(const Conv2dGeom& g) {
    static std::map<std::array<int, 10>, ConvData> all;
    return all.try_emplace({g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, g.groups}, g).first->second;
  }
  explicit ConvData(const Conv2dGeom& g)
      : x(random_vector<T>(static_cast<std::size_t>(g.x_size()), 1)),
        dy(random_vector<T>(static_cast<std::size_t>(g.y_size()), 2)),
        w(exact_in<T>(random_vector(static_cast<std::size_t>(g.w_size()), 3))),
        b(random_vector(static_cast<std::size_t>(g.k), 4)),
        xd(to_double(x)),
        dyd(to_double(dy)),
        wd(to_double(w)),
        bd(to_double(b)),
        g_(g) {}

  std::vector<T> x, dy;
  std::vector<float> w, b;
  std::vector<double> xd, dyd, wd, bd;

  // Without bias.
  const Sums& forward() const {
    return once(forward_, y_size(), xd, wd, [this](const double* p, const double* q, double* out) {
      ref::conv2d_forward(g_, p, q, nullptr, out);
    });
  }
  Sums forward_with_bias() const {
    Sums sums = forward();
    for (std::size_t i = 0; i < sums.value.size(); ++i) {
      sums.value[i] += bd[i % bd.size()];
      sums.size[i] += std::fabs(bd[i % bd.size()]);
    }
    return sums;
  }
  const Sums& input_gradient() const {
    return once(input_, xd.size(), dyd, wd, [this](const double* p, const double* q, double* out) {
      ref::conv2d_backward_input(g_, p, q, out);
    });
  }
  const Sums& weight_gradient() const {
    return once(weight_, wd.size(), xd, dyd, [this](const double* p, const double* q, double* out) {
      ref::conv2d_backward_weight(g_, p, q, out);
    });
  }
  const Sums& bias_gradient() const {
    return once(bias_, bd.size(), dyd, dyd, [this](const double* p, const double*, double* out) {
      ref::conv2d_backward_bias(g_, p, out);
    });
  }
  // Of the Winograd form of a sum of `length` products.
  const std::vector<double>& winograd_bound(WinogradSum which, double length) const {
    auto& kept = winograd_[static_cast<std::size_t>(which)];
    if (kept.empty())
      kept = winograd_bounds(g_,
                             which,
                             length,
                             which == WinogradSum::kInput ? dyd : xd,
                             which == WinogradSum::kWeight ? dyd : wd);
    return kept;
  }

 private:
  std::size_t y_size() const { return dyd.size(); }

  template <class Reference>
  const Sums& once(std::optional<Sums>& kept,
                   std::size_t size,
                   const std::vector<double>& p,
                   const std::vector<double>& q,
                   Reference reference) const {
    if (!kept) {
      kept.emplace(Sums{std::vector<double>(size), std::vector<double>(size)});
      reference(p.data(), q.data(), kept->value.data());
      reference(absolute(p).data(), absolute(q).data(), kept->size.data());
    }
    return *kept;
  }

  Conv2dGeom g_;
  mutable std::optional<Sums> forward_, input_, weight_, bias_;
  mutable std::array<std::vector<double>, 3> winograd_;
};

}  // namespace offramp::test
