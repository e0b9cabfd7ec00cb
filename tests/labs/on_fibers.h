// Kernels of solutions on the host runtime (kernels/cuda/host/): a fiber a CUDA thread, in an order that is chosen here.
#pragma once

#include "kernels/cuda/host/config.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/labs/grading.h"

#include <exception>
#include <string>
#include <vector>

namespace offramp::labs {

// A fiber runs until it waits; the order says who comes next.
struct Order {
  cuda::host::ThreadOrder kind = cuda::host::ThreadOrder::kForward;
  std::uint64_t seed = 1;

  void use() const {
    cuda::host::config().order = kind;
    cuda::host::config().seed = seed;
  }
  bool late() const { return kind != cuda::host::ThreadOrder::kForward; }
  std::string name() const {
    return kind == cuda::host::ThreadOrder::kForward   ? "threads from the first to the last"
           : kind == cuda::host::ThreadOrder::kReverse ? "threads from the last to the first"
                                                       : "threads in random order " + std::to_string(seed);
  }
};

inline std::vector<Order> orders(Random& random) {
  using enum cuda::host::ThreadOrder;
  std::vector<Order> out = {{kForward, 1}, {kReverse, 1}};
  for (int i = 0; i < 4; ++i) out.push_back({kRandom, random.bits() % 1000});
  return out;
}

// A kernel that the runtime refuses is a wrong answer with the runtime's own words.
template <class Launch>
void run_kernel(Launch launch) {
  try {
    launch();
    cuda::synchronize_device();
  } catch (const std::exception& error) {
    wrong("Every thread of a block must come to the same barriers, also those with nothing to do.",
          "{}",
          error.what());
  }
}

// The output of a kernel in every order, and whether all of them are alike: where they are not, threads race.
template <class T>
struct InEveryOrder {
  std::vector<Order> order;
  std::vector<std::vector<T>> y;
  bool alike = true;

  // launch(out) writes `size` values to device memory that begins as `fill`.
  template <class Launch>
  InEveryOrder(Random& random, std::size_t size, T fill, Launch run) : order(orders(random)) {
    for (const Order& o : order) {
      o.use();
      test::DeviceArray<T> out(std::vector<T>(size, fill));
      run_kernel([&] { run(out.data()); });
      y.push_back(out.values());
      for (std::size_t i = 0; i < size; ++i)
        alike = alike && (y.back()[i] == y[0][i] ||
                          (y.back()[i] != y.back()[i] && y[0][i] != y[0][i]));  // NaN is like NaN
    }
  }
};

}  // namespace offramp::labs
