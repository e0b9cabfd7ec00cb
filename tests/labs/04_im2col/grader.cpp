// Lab 4: the product of the columns with integer filters must be the reference's convolution, exactly; where it is not, the first
// wrong value of the columns tells why.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"
#include "kernels/ref/conv2d.h"

#include <limits>

namespace offramp::labs {

const char* const kLab = "lab 4, im2col";

namespace {

struct Image {
  Conv2dGeom g;
  std::vector<float> x;
  // Zero outside.
  float at(int row, int column, int channel) const {
    if (row < 0 || row >= g.h || column < 0 || column >= g.w) return 0;
    return x[static_cast<std::size_t>((row * g.w + column) * g.c + channel)];
  }
};

std::string why(const Image& image, int i, int j, int a, int b, int channel, float got) {
  const Conv2dGeom& g = image.g;
  const int row = i * g.stride - g.pad + a, column = j * g.stride - g.pad + b;
  const bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
  if (std::isnan(got))
    return "It was not written: a row of the columns has r * s * c values, one behind the other.";
  if (!inside) return "The tap lies outside of the image: there it counts as zero, whatever lies in memory.";
  if (got == 0) return "The tap lies inside of the image, also at the border: 0 <= row < h, 0 <= column < w.";
  if (g.stride > 1 && got == image.at(i - g.pad + a, j - g.pad + b, channel))
    return "The stride is missing: output pixel (i, j) begins at i * stride - pad, j * stride - pad.";
  if (g.pad > 0 && got == image.at(i * g.stride + a, j * g.stride + b, channel))
    return "The padding is missing: output pixel (i, j) begins at i * stride - pad, j * stride - pad.";
  if (got == image.at(i * g.stride - g.pad + g.r - 1 - a, j * g.stride - g.pad + b, channel) ||
      got == image.at(i * g.stride - g.pad + a, j * g.stride - g.pad + g.s - 1 - b, channel))
    return "The filter is turned round: that is the other convolution. Here tap (a, b) meets x at begin + (a, b).";
  return "The order is r, then s, then c; x lies as [h, w, c], so the value stands at ((row * w) + column) * c + channel.";
}

}  // namespace

void grade(std::uint64_t seed) {
  const auto columns_of = reinterpret_cast<decltype(&im2col)>(symbol("im2col"));
  Random random(seed);
  for (int shape = 0; shape < 6; ++shape) {
    Image image;
    Conv2dGeom& g = image.g;
    g.n = 1;
    g.h = random.from(4, 7);
    g.w = g.h + random.from(1, 3);  // all sizes differ
    g.c = random.from(2, 3);
    g.k = 2;
    g.r = shape == 0 ? 1 : random.from(2, 3);
    g.s = shape == 0 ? 1 : g.r == 2 ? 3 : 2;
    g.pad = shape == 0 ? 0 : shape == 1 ? 1 : random.from(0, 2);
    g.stride = shape < 2 ? 1 : random.from(1, 3);
    const auto values = [&](std::int64_t n) {  // all different: a value tells where it came from
      std::vector<float> out(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(i + 1);
      for (std::size_t i = out.size(); i-- > 1;)
        std::swap(out[i], out[static_cast<std::size_t>(random.from(0, static_cast<int>(i)))]);
      return out;
    };
    image.x = values(g.x_size());
    const std::vector<float> w = values(g.w_size());
    const int pixels = g.out_h() * g.out_w(), width = g.r * g.s * g.c;
    Output<float> columns(static_cast<std::size_t>(pixels * width), std::numeric_limits<float>::quiet_NaN());
    columns_of(g.h, g.w, g.c, g.r, g.s, g.stride, g.pad, image.x.data(), columns.data());
    columns.check_guards("columns");
    for (int p = 0; p < pixels; ++p)
      for (int q = 0; q < width; ++q) {
        const int i = p / g.out_w(), j = p % g.out_w(), a = q / (g.s * g.c), b = q / g.c % g.s,
                  channel = q % g.c;
        const float got = columns[static_cast<std::size_t>(p * width + q)],
                    want = image.at(i * g.stride - g.pad + a, j * g.stride - g.pad + b, channel);
        if (got != want)
          wrong(
              why(image, i, j, a, b, channel, got),
              "image [{},{},{}], filter {}x{}, stride {}, pad {}: pixel ({},{}), tap ({},{}), channel {} is {}, wanted {}",
              g.h,
              g.w,
              g.c,
              g.r,
              g.s,
              g.stride,
              g.pad,
              i,
              j,
              a,
              b,
              channel,
              got,
              want);
      }
    // And with the filters it is the convolution: whole numbers, so exact.
    std::vector<double> x(image.x.begin(), image.x.end()), filters(w.begin(), w.end()),
        y(static_cast<std::size_t>(g.y_size()));
    ref::conv2d_forward(g, x.data(), filters.data(), nullptr, y.data());
    for (int p = 0; p < pixels; ++p)
      for (int k = 0; k < g.k; ++k) {
        double sum = 0;
        for (int q = 0; q < width; ++q)
          sum += static_cast<double>(columns[static_cast<std::size_t>(p * width + q)]) *
                 filters[static_cast<std::size_t>(k * width + q)];
        if (sum != y[static_cast<std::size_t>(p * g.k + k)])
          wrong("The columns times the filters must be the convolution.",
                "pixel {}, filter {}: {} instead of {}",
                p,
                k,
                sum,
                y[static_cast<std::size_t>(p * g.k + k)]);
      }
  }
}

}  // namespace offramp::labs
