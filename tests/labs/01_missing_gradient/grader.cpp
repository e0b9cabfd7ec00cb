// Lab 1: central differences of sum(dy * y) with a random dy, each input alone.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"

namespace offramp::labs {

const char* const kLab = "lab 1, a missing gradient";

namespace {

double swish(double a, double x) { return x / (1 + std::exp(-a * x)); }

// The value beside what typical mistakes would give there.
struct Place {
  double s, slope, a, x, dy, before, got, want;
};

std::string why_x(const Place& p) {
  const double change = p.got - p.before;
  const auto is = [&](double v) { return close(change, v, 1e-7, 1e-6); };
  if (is(0)) return "Nothing is added to dx.";
  if (close(p.got, p.want - p.before, 1e-7, 1e-6))
    return "dx is overwritten. Another user of x has left its share there: a gradient is added.";
  if (is(p.dy * p.s)) return "That is the direct way alone. x also moves y through s(a x).";
  if (is(p.dy * p.a * p.x * p.slope))
    return "That is the way through s alone. x also stands in front of s(a x).";
  if (is(p.dy * (p.s + p.x * p.slope)))
    return "The inner derivative is missing: d s(a x) / dx has a factor a.";
  if (is(p.dy * (p.s - p.a * p.x * p.slope))) return "The second way has the wrong sign: ds/dz = s (1 - s).";
  if (is(p.s + p.a * p.x * p.slope))
    return "dy is missing: the chain rule begins with the gradient of the output.";
  return "Take the product rule of x and s(a x), with ds/dz = s (1 - s), times dy.";
}

}  // namespace

void grade(std::uint64_t seed) {
  const auto backward = reinterpret_cast<decltype(&swish_backward)>(symbol("swish_backward"));
  Random random(seed);
  for (const int n : {1, random.from(2, 9), random.from(10, 60), 0}) {
    const auto count = static_cast<std::size_t>(n);
    double a = random.between(0.3, 2.5);
    if (seed % 2 == 0) a = -a;
    std::vector<double> x = random.normals(count), dy = random.normals(count);
    const std::vector<double> before = random.normals(count + 1);
    Output<double> dx(count, 0), da(1, before[count]);
    for (std::size_t i = 0; i < count; ++i) dx.data()[i] = before[i];
    backward(n, a, x.data(), dy.data(), dx.data(), da.data());
    dx.check_guards("dx");
    da.check_guards("da");

    // h is near the cube root of eps, where rounding and curvature of a central difference are alike.
    constexpr double h = 6e-6;
    double want_a = before[count], size_a = 1e-3;
    for (std::size_t i = 0; i < count; ++i) {
      const double want = before[i] + dy[i] * (swish(a, x[i] + h) - swish(a, x[i] - h)) / (2 * h);
      const double s = 1 / (1 + std::exp(-a * x[i]));
      if (!close(dx[i], want, 1e-8, 1))
        wrong(
            why_x({s, s * (1 - s), a, x[i], dy[i], before[i], dx[i], want}),
            "n = {}, a = {:.4f}: dx[{}] became {:.8f}, a central difference gives {:.8f} (dx was {:.4f}, dy is {:.4f})",
            n,
            a,
            i,
            dx[i],
            want,
            before[i],
            dy[i]);
      const double part = dy[i] * (swish(a + h, x[i]) - swish(a - h, x[i])) / (2 * h);
      want_a += part;
      size_a += std::fabs(part);
    }
    if (!close(da[0], want_a, 1e-8, 1 + size_a))
      wrong(da[0] == before[count] ? "Nothing is added to da. a moves every y."
            : close(da[0], want_a - before[count], 1e-7, size_a)
                ? "da is overwritten. A gradient is added to what is there."
                : "dL/da = sum over i of dy_i x_i^2 s (1 - s): every y_i knows the same a.",
            "n = {}: da became {:.8f}, a central difference gives {:.8f} (da was {:.4f})",
            n,
            da[0],
            want_a,
            before[count]);
  }
}

}  // namespace offramp::labs
