// Lab 5: y = at [(g f) * (bt d)] against the filter itself, for random points and sizes. The scale of a point may stand in any of
// the three matrices; what is refused is told apart by the rows, up to their scale.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"

#include <algorithm>
#include <limits>

namespace offramp::labs {

const char* const kLab = "lab 5, Winograd's matrices";

namespace {

struct Matrices {
  int m, r, n;
  std::vector<double> points, bt, g, at;

  std::vector<double> outputs(const std::vector<double>& d, const std::vector<double>& f) const {
    std::vector<double> y(static_cast<std::size_t>(m));
    for (int j = 0; j < n; ++j) {
      double value = 0, data = 0;
      for (int k = 0; k < r; ++k)
        value += g[static_cast<std::size_t>(j * r + k)] * f[static_cast<std::size_t>(k)];
      for (int l = 0; l < n; ++l)
        data += bt[static_cast<std::size_t>(j * n + l)] * d[static_cast<std::size_t>(l)];
      for (int i = 0; i < m; ++i)
        y[static_cast<std::size_t>(i)] += at[static_cast<std::size_t>(i * n + j)] * value * data;
    }
    return y;
  }
};

// Are a (every `step`-th) and b proportional, neither of them zero?
bool proportional(const double* a, int step, const std::vector<double>& b) {
  std::size_t largest = 0;
  for (std::size_t i = 1; i < b.size(); ++i)
    if (std::fabs(b[i]) > std::fabs(b[largest])) largest = i;
  const double scale = a[largest * static_cast<std::size_t>(step)] / b[largest];
  if (!std::isfinite(scale) || scale == 0) return false;
  for (std::size_t i = 0; i < b.size(); ++i)
    if (!close(a[i * static_cast<std::size_t>(step)], scale * b[i], 1e-9, std::fabs(scale * b[largest])))
      return false;
  return true;
}

std::vector<double> powers(double p, int count) {
  std::vector<double> out;
  for (int k = 0; k < count; ++k) out.push_back(std::pow(p, k));
  return out;
}
std::vector<double> last_of(int count) {
  std::vector<double> out(static_cast<std::size_t>(count));
  out.back() = 1;
  return out;
}

std::string why(const Matrices& w) {
  for (const auto* matrix : {&w.bt, &w.g, &w.at})
    for (const double v : *matrix)
      if (!std::isfinite(v))
        return "A value was not written, or is no number: bt is [n, n], g is [n, r], at is [m, n].";
  for (int j = 0; j < w.n; ++j) {
    const bool finite = j < w.n - 1;
    const double p = finite ? w.points[static_cast<std::size_t>(j)] : 0;
    const std::string point = finite ? fmt::format("point {} = {:g}", j, p) : std::string("infinity");
    if (!proportional(w.g.data() + j * w.r, 1, finite ? powers(p, w.r) : last_of(w.r)))
      return fmt::format(
          "Row {} of g ({}) is not the value there: 1, p, p^2, ..; at infinity the leading coefficient.",
          j,
          point);
    if (!proportional(w.at.data() + j, w.n, finite ? powers(p, w.m) : last_of(w.m)))
      return fmt::format(
          "Column {} of at ({}) is not 1, p, p^2, ..; at infinity only its last entry is not zero.",
          j,
          point);
    std::vector<double> product = {1};
    for (int l = 0; l < w.n - 1; ++l) {
      if (l == j) continue;
      product.push_back(0);
      for (std::size_t k = product.size(); k-- > 1;)
        product[k] = product[k - 1] - w.points[static_cast<std::size_t>(l)] * product[k];
      product[0] *= -w.points[static_cast<std::size_t>(l)];
    }
    product.resize(static_cast<std::size_t>(w.n));
    if (!proportional(w.bt.data() + j * w.n, 1, product))
      return fmt::format(
          "Row {} of bt ({}) is not the coefficients of the product of (x - p_l) over the other finite points, lowest first.",
          j,
          point);
  }
  return "Every row is right but for its scale: Lagrange's 1 / N_j, N_j = product over l != j of (p_j - p_l), belongs once into row j "
         "of g, bt or column j of at; infinity has none.";
}

}  // namespace

void grade(std::uint64_t seed) {
  const auto matrices = reinterpret_cast<decltype(&winograd_matrices)>(symbol("winograd_matrices"));
  Random random(seed);
  for (const auto& [m, r] :
       {std::pair{2, 3}, {4, 3}, {3, 4}, {1, 2}, {random.from(2, 5), random.from(2, 4)}}) {
    const int n = m + r - 1;
    Matrices w{
        .m = m, .r = r, .n = n, .points = {0, 1, -1, 2, -2, 0.5, -0.5, 3}, .bt = {}, .g = {}, .at = {}};
    for (std::size_t i = w.points.size(); i-- > 1;)
      std::swap(w.points[i], w.points[static_cast<std::size_t>(random.from(0, static_cast<int>(i)))]);
    w.points.resize(static_cast<std::size_t>(n - 1));
    const double nan = std::numeric_limits<double>::quiet_NaN();
    Output<double> bt(static_cast<std::size_t>(n * n), nan), g(static_cast<std::size_t>(n * r), nan),
        at(static_cast<std::size_t>(m * n), nan);
    matrices(m, r, w.points.data(), bt.data(), g.data(), at.data());
    bt.check_guards("bt");
    g.check_guards("g");
    at.check_guards("at");
    w.bt.assign(bt.data(), bt.data() + bt.size());
    w.g.assign(g.data(), g.data() + g.size());
    w.at.assign(at.data(), at.data() + at.size());
    const std::vector<double> d = random.normals(static_cast<std::size_t>(n)),
                              f = random.normals(static_cast<std::size_t>(r));
    const std::vector<double> y = w.outputs(d, f);
    for (int i = 0; i < m; ++i) {
      double want = 0;
      for (int j = 0; j < r; ++j) want += d[static_cast<std::size_t>(i + j)] * f[static_cast<std::size_t>(j)];
      if (!close(y[static_cast<std::size_t>(i)], want, 1e-7, 10))
        wrong(why(w),
              "F({}, {}): output {} is {:.6f}, the filter gives {:.6f}",
              m,
              r,
              i,
              y[static_cast<std::size_t>(i)],
              want);
    }
  }
}

}  // namespace offramp::labs
