// With A(k,j) = 2^(-price (t_j - t_k)) for j >= k, c_k = sum_j A(k,j) r_j and W(j|k) = A(k,j) r_j / c_k the minimum over
// W given the distribution r of the times sent is known (Blahut-Arimoto), and what is left is convex in r:
//   minimise phi(r) = -sum_k q_k ln c_k + sum_j r_j,  r >= 0
// whose minimum has sum r = 1 by itself (sum_j r_j dphi/dr_j = 0 there). Blahut-Arimoto's own step r_j <- r_j f_j with
// f_j = sum_k q_k A(k,j) / c_k converges slowly where a time is about to drop out of the support, so projected Newton
// steps do the work: A is triangular with ones on its diagonal, so the Hessian is positive definite.
#include "stats/padding/optimum.h"

#include "stats/checks.h"

#include <algorithm>
#include <cmath>

namespace offramp::stats {
namespace {

using Vector = std::vector<double>;

struct Lagrangian {
  std::size_t n;
  double price;
  Vector q, a;  // shares; [n,n]

  Lagrangian(const PaddedExits& exits, double price_of_delay)
      : n(exits.times.size()), price(price_of_delay), q(exits.shares), a(n * n) {
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = k; j < n; ++j)
        a[k * n + j] = std::exp2(-price * (exits.times[j] - exits.times[k]));
    }
  }
  Vector sums(const Vector& r) const {  // c_k
    Vector c(n);
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = k; j < n; ++j) c[k] += a[k * n + j] * r[j];
    }
    return c;
  }
  Vector factors(const Vector& c) const {  // f_j
    Vector f(n);
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = k; j < n; ++j) f[j] += q[k] * a[k * n + j] / c[k];
    }
    return f;
  }
  double value(const Vector& r) const {  // phi; infinity where an exit could not be answered
    const Vector c = sums(r);
    double sum = 0;
    for (std::size_t k = 0; k < n; ++k) {
      if (!(c[k] > 0)) return HUGE_VAL;
      sum -= q[k] * std::log(c[k]);
    }
    for (const double x : r) sum += x;
    return sum;
  }
};

// Solves m x = b for symmetric positive definite m [size,size] in place (Cholesky); false where m is not.
bool solve_spd(Vector& m, Vector& b) {
  const std::size_t size = b.size();
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = m[i * size + j];
      for (std::size_t k = 0; k < j; ++k) sum -= m[i * size + k] * m[j * size + k];
      if (i == j && !(sum > 0)) return false;
      m[i * size + j] = i == j ? std::sqrt(sum) : sum / m[j * size + j];
    }
  }
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= m[i * size + k] * b[k];
    b[i] /= m[i * size + i];
  }
  for (std::size_t i = size; i-- > 0;) {
    for (std::size_t k = i + 1; k < size; ++k) b[i] -= m[k * size + i] * b[k];
    b[i] /= m[i * size + i];
  }
  return true;
}

// One projected Newton step; false where it finds no descent. A time that is hardly sent and ought not to be goes along its gradient
// (Bertsekas, SIAM J. Control Optim. 20, 1982): with the others' curvature it would hold them back.
bool newton_step(const Lagrangian& problem, Vector& r) {
  const std::size_t n = problem.n;
  const Vector c = problem.sums(r), f = problem.factors(c);
  double squares = 0;
  for (std::size_t j = 0; j < n; ++j) {
    const double moved = r[j] - std::max(0.0, r[j] + f[j] - 1);
    squares += moved * moved;
  }
  const double hardly = std::min(1e-3, std::sqrt(squares));
  std::vector<std::size_t> free;
  Vector direction(n);  // minus the gradient, for now
  for (std::size_t j = 0; j < n; ++j) {
    direction[j] = f[j] - 1;
    if (r[j] > hardly || f[j] > 1) free.push_back(j);
  }
  const std::size_t size = free.size();
  Vector hessian(size * size);
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = 0; j < size; ++j) {
      for (std::size_t k = 0; k <= std::min(free[i], free[j]); ++k)
        hessian[i * size + j] +=
            problem.q[k] * problem.a[k * n + free[i]] * problem.a[k * n + free[j]] / (c[k] * c[k]);
    }
  }
  // Times that hardly differ, or a price that hardly matters: rounding makes the matrix singular.
  for (double ridge = 0; ridge < 1; ridge = std::max(1e-15, 10 * ridge)) {
    Vector m = hessian, step;
    for (std::size_t i = 0; i < size; ++i) {
      m[i * size + i] *= 1 + ridge;
      step.push_back(direction[free[i]]);
    }
    if (!solve_spd(m, step)) continue;
    for (std::size_t i = 0; i < size; ++i) direction[free[i]] = step[i];
    break;
  }
  const double before = problem.value(r);
  for (double length = 1; length > 1e-9; length /= 2) {
    Vector next(n);
    for (std::size_t j = 0; j < n; ++j) next[j] = std::max(0.0, r[j] + length * direction[j]);
    if (problem.value(next) < before) {
      r = std::move(next);
      return true;
    }
  }
  return false;
}

struct Solution {
  Padding padding;
  double bound_at_no_delay;  // the certificate is this minus price * delay, for every delay
};

Solution solution_of(const PaddedExits& exits, const Lagrangian& problem, const Vector& r) {
  const std::size_t n = problem.n;
  const Vector c = problem.sums(r), f = problem.factors(c);
  Vector channel(n * n);
  double bound = -std::log2(*std::max_element(f.begin(), f.end()));
  for (std::size_t k = 0; k < n; ++k) {
    bound -= problem.q[k] * std::log2(c[k]);
    for (std::size_t j = k; j < n; ++j) channel[k * n + j] = problem.a[k * n + j] * r[j] / c[k];
  }
  Solution s{evaluate_padding(exits, std::move(channel)), bound};
  s.padding.lower_bound_bits = std::max(0.0, bound - problem.price * s.padding.delay);
  return s;
}

constexpr double kGapBits = 1e-9;
constexpr int kSteps = 2000,
              kLastSteps =
                  100000;  // of Blahut-Arimoto, of a price on the way and of the one that is answered

Solution solve(const PaddedExits& exits, double price, int steps) {
  const Lagrangian problem(exits, price);
  Vector r(problem.n, 1.0 / static_cast<double>(problem.n));
  const auto blahut_arimoto_step = [&] {
    const Vector f = problem.factors(problem.sums(r));
    for (std::size_t j = 0; j < problem.n; ++j) r[j] *= f[j];
  };
  for (int i = 0; i < 20; ++i) blahut_arimoto_step();
  // Newton until nothing gains: the gap is then that of rounding.
  for (int i = 0; i < 200 && newton_step(problem, r); ++i) {
  }
  Solution s = solution_of(exits, problem, r);
  for (int i = 0; i < steps && s.padding.bits - s.padding.lower_bound_bits > kGapBits; ++i) {
    blahut_arimoto_step();
    if (i % 64 == 0) s = solution_of(exits, problem, r);
  }
  return s;
}

}  // namespace

Padding optimal_padding(const PaddedExits& given, double price) {
  if (!(price >= 0) || !std::isfinite(price)) {
    throw ValueError("padding: the price of a delay must be finite and at least 0, got " + to_text(price));
  }
  const PaddedExits exits = checked(given);
  return price == 0 ? constant_time(exits) : solve(exits, price, kLastSteps).padding;
}

Padding optimal_padding_within(const PaddedExits& given, double delay) {
  if (!(delay >= 0)) throw ValueError("padding: a mean delay must be at least 0, got " + to_text(delay));
  const PaddedExits exits = checked(given);
  const Padding constant = constant_time(exits);
  if (delay >= constant.delay) return constant;
  if (delay == 0) {
    Padding none = no_padding(exits);
    none.lower_bound_bits = none.bits;  // only the identity has no delay
    return none;
  }
  // Delay falls as its price rises. `high` keeps to the delay, `low` exceeds it.
  double high = 1 / (exits.times.back() - exits.times.front()), low = high;
  while (solve(exits, high, kSteps).padding.delay > delay) high *= 2;
  while (low > 1e-300 && solve(exits, low, kSteps).padding.delay <= delay) low /= 2;
  for (int i = 0; i < 200 && high - low > 1e-13 * high; ++i) {
    const double middle = (low + high) / 2;
    (solve(exits, middle, kSteps).padding.delay <= delay ? high : low) = middle;
  }
  Solution s = solve(exits, high, kLastSteps);
  s.padding.lower_bound_bits = std::max(0.0, s.bound_at_no_delay - high * delay);
  return s.padding;
}

}  // namespace offramp::stats
