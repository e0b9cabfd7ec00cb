// Lab 3: central differences of the reference's forward (kernels/ref/batch_norm.h), and what each missing way would give.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"
#include "kernels/ref/batch_norm.h"

#include <limits>

namespace offramp::labs {

const char* const kLab = "lab 3, batch norm backward";

namespace {

struct Batch {
  BatchNormGeom geom;
  std::vector<double> x, gamma, beta, dy;

  double loss(const std::vector<double>& at, const std::vector<double>& scale) const {
    const auto channels = gamma.size();
    std::vector<double> mean(channels), var(channels), y(at.size());
    ref::batch_statistics(geom, at.data(), mean.data(), var.data());
    ref::batch_norm_apply<double>(
        geom, at.data(), scale.data(), beta.data(), mean.data(), var.data(), nullptr, y.data());
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
    return sum;
  }
  template <class Change>
  double slope(double h, Change change) const {
    return (change(h) - change(-h)) / (2 * h);
  }
  double slope_x(std::size_t i) const {
    return slope(1e-5, [&](double h) {
      std::vector<double> at = x;
      at[i] += h;
      return loss(at, gamma);
    });
  }
  double slope_gamma(std::size_t c) const {
    return slope(1e-5, [&](double h) {
      std::vector<double> scale = gamma;
      scale[c] += h;
      return loss(x, scale);
    });
  }
};

// What dx at (r, c) would be with the parts that are given.
double formula(const Batch& b, std::size_t r, std::size_t c, bool with_mean, bool with_var) {
  const auto channels = b.gamma.size();
  const std::size_t rows = b.x.size() / channels;
  std::vector<double> mean(channels), var(channels);
  ref::batch_statistics(b.geom, b.x.data(), mean.data(), var.data());
  const double s = 1 / std::sqrt(var[c] + b.geom.eps), n = static_cast<double>(rows);
  double sum = 0, sum_xhat = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    sum += b.dy[i * channels + c];
    sum_xhat += b.dy[i * channels + c] * (b.x[i * channels + c] - mean[c]) * s;
  }
  const double xhat = (b.x[r * channels + c] - mean[c]) * s;
  return b.gamma[c] * s *
         (b.dy[r * channels + c] - (with_mean ? sum / n : 0) - (with_var ? xhat * sum_xhat / n : 0));
}

std::string why_x(const Batch& b, std::size_t r, std::size_t c, double got, double want) {
  const auto is = [&](double v) { return close(got, v, 1e-6, 1e-6); };
  if (std::isnan(got)) return "It was not written: every row and channel has a dx.";
  if (is(formula(b, r, c, false, false)))
    return "Mean and variance were taken for constants. Both depend on every x of the channel.";
  if (is(formula(b, r, c, false, true)))
    return "The way through the mean is missing: - sum(dy) / n in the bracket.";
  if (is(formula(b, r, c, true, false)))
    return "The way through the variance is missing: - xhat_i sum(dy xhat) / n in the bracket.";
  if (is(want / b.gamma[c])) return "gamma is missing: dL/dxhat = gamma dy.";
  return "dx_i = gamma s (dy_i - sum(dy) / n - xhat_i sum(dy xhat) / n), with s = 1 / sqrt(var + eps) and the biased variance.";
}

}  // namespace

void grade(std::uint64_t seed) {
  const auto backward = reinterpret_cast<decltype(&batch_norm_backward)>(symbol("batch_norm_backward"));
  Random random(seed);
  for (const int rows : {random.from(3, 9), 2, 1}) {
    const int channels = random.from(2, 4);
    const auto size = static_cast<std::size_t>(rows * channels), count = static_cast<std::size_t>(channels);
    Batch b;
    b.geom.rows = rows;
    b.geom.channels = channels;
    b.geom.eps = static_cast<float>(random.between(0.2, 1));  // large, so that it shows
    b.geom.relu = false;
    b.x = random.normals(size);
    for (double& v : b.x) v = 2 * v + 1;
    b.gamma = random.normals(count);
    for (double& v : b.gamma) v += v < 0 ? -0.5 : 0.5;
    b.beta = random.normals(count);
    b.dy = random.normals(size);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    Output<double> dx(size, nan), dgamma(count, nan), dbeta(count, nan);
    backward(rows,
             channels,
             b.geom.eps,
             b.x.data(),
             b.gamma.data(),
             b.dy.data(),
             dx.data(),
             dgamma.data(),
             dbeta.data());
    dx.check_guards("dx");
    dgamma.check_guards("dgamma");
    dbeta.check_guards("dbeta");
    for (std::size_t c = 0; c < count; ++c) {
      double want_beta = 0;
      for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) want_beta += b.dy[r * count + c];
      if (!close(dbeta[c], want_beta, 1e-9, 1))
        wrong("beta is added to every row of its channel: dbeta = sum of dy.",
              "{} rows: dbeta[{}] is {:.6f}, wanted {:.6f}",
              rows,
              c,
              dbeta[c],
              want_beta);
      const double want_gamma = b.slope_gamma(c);
      if (!close(dgamma[c], want_gamma, 1e-6, 1))
        wrong("dgamma = sum of dy xhat, with xhat = (x - mean) / sqrt(var + eps) and var divided by n.",
              "{} rows: dgamma[{}] is {:.6f}, a central difference gives {:.6f}",
              rows,
              c,
              dgamma[c],
              want_gamma);
    }
    for (std::size_t i = 0; i < size; ++i) {
      const double want = b.slope_x(i);
      if (!close(dx[i], want, 1e-6, 1))
        wrong(why_x(b, i / count, i % count, dx[i], want),
              "{} rows, {} channels: dx[{},{}] is {:.6f}, a central difference gives {:.6f}",
              rows,
              channels,
              i / count,
              i % count,
              dx[i],
              want);
    }
  }
}

}  // namespace offramp::labs
