// Lab 7: the softmax in every order of the threads.
#include "tests/labs/grading.h"
#include "tests/labs/on_fibers.h"

#include "docs/labs/kernels.h"

#include <algorithm>

namespace offramp::labs {

const char* const kLab = "lab 7, a missing barrier";

void grade(std::uint64_t seed) {
  const auto softmax = reinterpret_cast<decltype(&block_softmax)>(symbol("block_softmax"));
  Random random(seed);
  for (const int cols : {random.from(2, 60), 64, random.from(65, 200)}) {
    const int rows = random.from(2, 3);
    const auto width = static_cast<std::size_t>(cols);
    std::vector<float> x(static_cast<std::size_t>(rows) * width);
    // One row far above, one far below what exp can hold.
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(3 * random.normal() + (i / width % 2 == 0 ? 200 : -200));
    test::DeviceArray<float> in(x);
    const InEveryOrder<float> results(
        random, x.size(), -1.f, [&](float* out) { softmax(rows, cols, in.data(), out); });
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto row = x.begin() + static_cast<std::ptrdiff_t>(i / width * width);
      const double largest = *std::max_element(row, row + cols);
      double sum = 0;
      for (int c = 0; c < cols; ++c) sum += std::exp(static_cast<double>(row[c]) - largest);
      const double want = std::exp(static_cast<double>(x[i]) - largest) / sum;
      for (std::size_t o = 0; o < results.y.size(); ++o)
        if (const double got = results.y[o][i];
            !close(got, want, 1e-5, 1e-6))  // 64 lanes of up to 4 values, in float
          wrong(
              results.alike
                  ? "The same in every order of the threads, so no race, but not exp(x - largest) over its sum, over all columns "
                    "of the row, with the largest value of the row."
                  : "It depends on the order of the threads: a place of s is read by one thread and written by another with no "
                    "barrier between them. All read s[0], the largest value; thread 0 then writes its own sum there.",
              "{} columns, {}: row {}, column {} is {:.6f}, wanted {:.6f}",
              cols,
              results.order[o].name(),
              i / width,
              i % width,
              got,
              want);
    }
  }
}

}  // namespace offramp::labs
