// Device benchmark of the CUDA kernels: each kernel's bytes or operations per second beside a ceiling
// measured in the same run (a device-to-device copy; our own product of large matrices). Buffers are rotated
// so that together they exceed the L2; times are medians of replays of a graph of launches between two
// events, so that the host's own time for a launch is no part of them. Prints one JSON object and a table.
// Under OFFRAMP_CUDA=host it only shows that every line runs: --smoke takes sizes of a few elements.
// --libraries: says which of NVIDIA's libraries are used; exit code 1 where one is missing.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/vendor_libraries.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "kernels/losses.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "kernels/softmax.h"
#include "tests/support/random.h"

namespace offramp::test {
namespace {

bool smoke = false;

// `rotations` copies of a buffer of random values; next() goes round.
template <class T>
class Rotating {
 public:
  Rotating(cuda::Context& ctx, std::int64_t count) : count_(static_cast<std::size_t>(count)) {
    const std::size_t bytes = count_ * sizeof(T);
    const std::size_t l2 = 2 * cuda::device_properties(0).l2_bytes;
    const std::size_t copies =
        smoke ? 1 : std::clamp<std::size_t>(l2 / std::max<std::size_t>(bytes, 1) + 1, 2, 64);
    const std::vector<T> values = random_vector<T>(std::min(count_, std::size_t{1} << 20), 1);
    for (std::size_t i = 0; i < copies; ++i) {
      auto* data = static_cast<T*>(cuda::device_malloc(bytes));
      for (std::size_t done = 0; done < count_; done += values.size()) {
        cuda::upload(ctx, data + done, values.data(), std::min(values.size(), count_ - done) * sizeof(T));
      }
      copies_.push_back(data);
    }
  }
  ~Rotating() {
    for (T* copy : copies_) cuda::device_free(copy);
  }
  Rotating(const Rotating&) = delete;
  Rotating& operator=(const Rotating&) = delete;
  T* next() { return copies_[turn_++ % copies_.size()]; }

 private:
  std::size_t count_, turn_ = 0;
  std::vector<T*> copies_;
};

struct Line {
  std::string name;
  double bytes = 0, flops = 0;  // of one call
  double median_us = 0, spread = 0;
};

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Bench {
 public:
  explicit Bench(cuda::Context& ctx) : ctx_(ctx) {
    start_ = cuda::create_event(cuda::Timing::kYes);
    stop_ = cuda::create_event(cuda::Timing::kYes);
  }
  ~Bench() {
    cuda::destroy_event(start_);
    cuda::destroy_event(stop_);
  }
  void run(std::string name, double bytes, double flops, const std::function<void()>& call) {
    const int batches = smoke ? 1 : 11, launches = smoke ? 1 : 20;
    for (int i = 0; i < (smoke ? 1 : 3); ++i) call();  // scratch grows, kernels are loaded
    cuda::synchronize_stream(ctx_.stream());
    cuda::begin_capture(ctx_.stream());
    for (int i = 0; i < launches; ++i) call();
    const cuda::GraphExec graph = cuda::end_capture(ctx_.stream());
    cuda::launch_graph(graph, ctx_.stream());  // the first launch uploads it
    std::vector<double> times;
    for (int b = 0; b < batches; ++b) {
      cuda::record_event(start_, ctx_.stream());
      cuda::launch_graph(graph, ctx_.stream());
      cuda::record_event(stop_, ctx_.stream());
      cuda::synchronize_event(stop_);
      times.push_back(1e3 * static_cast<double>(cuda::elapsed_ms(start_, stop_)) / launches);
    }
    cuda::destroy_graph(graph);
    const double median = median_of(times);
    const auto [low, high] = std::minmax_element(times.begin(), times.end());
    lines_.push_back({std::move(name), bytes, flops, median, (*high - *low) / std::max(median, 1e-9)});
  }
  const std::vector<Line>& lines() const { return lines_; }

 private:
  cuda::Context& ctx_;
  cuda::Event start_, stop_;
  std::vector<Line> lines_;
};

std::int64_t sized(std::int64_t n) { return smoke ? std::min<std::int64_t>(n, 64) : n; }
int batch() { return smoke ? 1 : 128; }

template <class T>
std::string named(const char* name) {
  return std::string(name) + (sizeof(T) == 2 ? "_bf16" : "_f32");
}

template <class T>
void elementwise_lines(cuda::Context& ctx, Bench& bench) {
  const std::int64_t n = sized(std::int64_t{1} << 26);
  const double size = static_cast<double>(n) * sizeof(T);
  Rotating<T> a(ctx, n), b(ctx, n), c(ctx, n);
  bench.run(named<T>("relu_forward"), 2 * size, 0, [&] { cuda::relu_forward(ctx, n, a.next(), b.next()); });
  bench.run(named<T>("add"), 3 * size, 0, [&] { cuda::add(ctx, n, a.next(), b.next(), c.next()); });
}

template <class T>
void batch_norm_lines(cuda::Context& ctx, Bench& bench, int side, int channels) {
  const BatchNormGeom g{
      .rows = sized(std::int64_t{batch()} * side * side), .channels = channels, .relu = true};
  const std::int64_t n = g.rows * channels;
  const double size = static_cast<double>(n) * sizeof(T);
  Rotating<T> x(ctx, n), y(ctx, n), dy(ctx, n), dx(ctx, n);
  Rotating<float> gamma(ctx, channels), beta(ctx, channels), mean(ctx, channels), inv_std(ctx, channels),
      dgamma(ctx, channels), dbeta(ctx, channels);
  float *m = mean.next(), *s = inv_std.next();
  const std::string shape =
      "_" + std::to_string(side) + "x" + std::to_string(side) + "x" + std::to_string(channels);
  bench.run(named<T>("batch_norm_train") + shape, 3 * size, 0, [&] {
    cuda::batch_norm_train(
        ctx,
        g,
        BatchNormTrain<T>{
            x.next(), gamma.next(), beta.next(), nullptr, 0.1f, nullptr, nullptr, m, s, y.next()});
  });
  bench.run(named<T>("batch_norm_backward") + shape, 5 * size, 0, [&] {
    cuda::batch_norm_backward(ctx,
                              g,
                              BatchNormBackward<T>{dy.next(),
                                                   x.next(),
                                                   nullptr,
                                                   gamma.next(),
                                                   beta.next(),
                                                   m,
                                                   s,
                                                   true,
                                                   dx.next(),
                                                   Write::kOverwrite,
                                                   nullptr,
                                                   Write::kOverwrite,
                                                   dgamma.next(),
                                                   dbeta.next(),
                                                   Write::kOverwrite});
  });
}

template <class T>
void conv_lines(cuda::Context& ctx, Bench& bench, const Conv2dGeom& g, const char* name) {
  Rotating<T> x(ctx, g.x_size()), y(ctx, g.y_size());
  Rotating<float> w(ctx, g.w_size()), dw(ctx, g.w_size());
  const double flops = 2 * static_cast<double>(g.macs());
  const double bytes = static_cast<double>(g.x_size() + g.y_size()) * sizeof(T);
  const double counted = g.depthwise() ? 0 : flops;  // depthwise layers are held to the memory
  bench.run(named<T>((std::string(name) + "_forward").c_str()), bytes, counted, [&] {
    cuda::conv2d_forward(ctx, g, x.next(), w.next(), nullptr, y.next());
  });
  bench.run(named<T>((std::string(name) + "_backward_input").c_str()), bytes, counted, [&] {
    cuda::conv2d_backward_input(ctx, g, y.next(), w.next(), x.next(), Write::kOverwrite);
  });
  bench.run(named<T>((std::string(name) + "_backward_weight").c_str()), bytes, counted, [&] {
    cuda::conv2d_backward_weight(ctx, g, x.next(), y.next(), dw.next(), Write::kOverwrite);
  });
}

void float_lines(cuda::Context& ctx, Bench& bench) {
  const std::int64_t n = sized(std::int64_t{1} << 24);
  const double size = static_cast<double>(n) * sizeof(float);
  Rotating<float> g(ctx, n), v(ctx, n), m(ctx, n), p(ctx, n);
  const StepState host_state{.learning_rate = 1e-6f};
  auto* state = static_cast<StepState*>(cuda::device_malloc(sizeof(StepState)));
  cuda::upload(ctx, state, &host_state, sizeof host_state);
  bench.run(
      "sgd_step", 5 * size, 0, [&] { cuda::sgd_step(ctx, n, {}, state, g.next(), v.next(), p.next()); });
  bench.run("adam_step", 7 * size, 0, [&] {
    cuda::adam_step(ctx, n, {}, state, g.next(), m.next(), v.next(), p.next());
  });
  cuda::device_free(state);

  const int rows = static_cast<int>(sized(65536)), classes = 100;
  Rotating<float> x(ctx, std::int64_t{rows} * classes), y(ctx, std::int64_t{rows} * classes);
  bench.run("softmax_rows_100", 2.0 * rows * classes * sizeof(float), 0, [&] {
    cuda::softmax_rows(ctx, rows, classes, x.next(), y.next());
  });
  const PoolGeom pool{.n = batch(), .h = 16, .w = 16, .c = 128, .k = 4, .stride = 4};
  Rotating<float> map(ctx, pool.x_size()), out(ctx, pool.y_size()), alpha(ctx, 1);
  bench.run(
      "exit_pool_forward_f32", static_cast<double>(pool.x_size() + pool.y_size()) * sizeof(float), 0, [&] {
        cuda::exit_pool_forward(ctx, pool, map.next(), alpha.next(), out.next(), nullptr, nullptr);
      });
  const LinearGeom big{.rows = smoke ? 8 : 4096, .in = smoke ? 8 : 4096, .out = smoke ? 8 : 4096};
  Rotating<float> a(ctx, std::int64_t{big.rows} * big.in), b(ctx, std::int64_t{big.out} * big.in),
      c(ctx, std::int64_t{big.rows} * big.out);
  bench.run("linear_forward_4096", 0, 2.0 * big.rows * big.in * big.out, [&] {
    cuda::linear_forward(ctx, big, a.next(), b.next(), nullptr, c.next());
  });
}

double copy_ceiling(cuda::Context& ctx, Bench& bench) {
  const std::int64_t bytes = smoke ? 256 : std::int64_t{1} << 29;
  Rotating<float> a(ctx, bytes / 4), b(ctx, bytes / 4);
  bench.run("copy (ceiling)", 2.0 * static_cast<double>(bytes), 0, [&] {
    cuda::copy(ctx, b.next(), a.next(), static_cast<std::size_t>(bytes));
  });
  return bench.lines().back().bytes / bench.lines().back().median_us;
}

void print(const std::vector<Line>& lines, double copy_bytes_per_us, std::FILE* json) {
  const cuda::DeviceProperties p = cuda::device_properties(0);
  std::fprintf(json,
               "{\"device\": \"%s\", \"runtime\": \"%s\", \"lines\": [",
               p.name.c_str(),
               cuda::runtime_version().c_str());
  std::printf("%s, %s\n%-44s %12s %10s %8s %10s %8s\n",
              p.name.c_str(),
              cuda::runtime_version().c_str(),
              "kernel",
              "us",
              "GB/s",
              "of copy",
              "GFLOP/s",
              "spread");
  const char* separator = "";
  for (const Line& line : lines) {
    const double rate = line.bytes / line.median_us;
    std::printf("%-44s %12.2f %10.1f %7.1f%% %10.1f %7.1f%%\n",
                line.name.c_str(),
                line.median_us,
                rate / 1e3,
                100 * rate / copy_bytes_per_us,
                line.flops / line.median_us / 1e3,
                100 * line.spread);
    std::fprintf(
        json,
        "%s\n  {\"name\": \"%s\", \"median_us\": %.4f, \"bytes\": %.0f, \"flops\": %.0f, \"spread\": %.4f}",
        separator,
        line.name.c_str(),
        line.median_us,
        line.bytes,
        line.flops,
        line.spread);
    separator = ",";
  }
  std::fprintf(json, "\n], \"copy_gb_per_s\": %.1f}\n", copy_bytes_per_us / 1e3);
}

int say_libraries() {
  bool all = true;
  for (const auto& [name, state] :
       {std::pair{"cuDNN", cuda::cudnn_state()}, std::pair{"cuBLASLt", cuda::cublaslt_state()}}) {
    std::printf("%s %s\n", name, state.text.c_str());
    all = all && state.usable;
  }
  const cuda::Context ctx;
  for (const std::string& notice : ctx.notices()) std::printf("%s\n", notice.c_str());
  return all && ctx.notices().empty() ? 0 : 1;
}

// With `native` only the convolutions, by our own kernels.
int run(const std::string& json_path, bool native) {
  cuda::Context ctx({.conv = native ? cuda::ConvBackend::kNative : cuda::ConvBackend::kLibrary});
  for (const std::string& notice : ctx.notices()) std::fprintf(stderr, "device_bench: %s\n", notice.c_str());
  Bench bench(ctx);
  const double copy = copy_ceiling(ctx, bench);
  if (!native) {
    elementwise_lines<float>(ctx, bench);
    elementwise_lines<bf16>(ctx, bench);
    batch_norm_lines<float>(ctx, bench, 32, 16);
    batch_norm_lines<bf16>(ctx, bench, 32, 16);
    batch_norm_lines<bf16>(ctx, bench, 16, 128);
  }
  const int side = smoke ? 3 : 32;
  const Conv2dGeom depthwise{.n = batch(),
                             .h = side,
                             .w = side,
                             .c = 64,
                             .k = 64,
                             .r = 3,
                             .s = 3,
                             .stride = 1,
                             .pad = 1,
                             .groups = 64};
  conv_lines<float>(ctx, bench, depthwise, "depthwise_32x32x64");
  conv_lines<bf16>(ctx, bench, depthwise, "depthwise_32x32x64");
  const Conv2dGeom body{
      .n = batch(), .h = side, .w = side, .c = 16, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 1};
  conv_lines<float>(ctx, bench, body, "conv3x3_32x32x16");
  conv_lines<bf16>(ctx, bench, body, "conv3x3_32x32x16");
  const int map = smoke ? 2 : 16;
  const Conv2dGeom wide{.n = batch(),
                        .h = map,
                        .w = map,
                        .c = smoke ? 8 : 128,
                        .k = smoke ? 8 : 128,
                        .r = 3,
                        .s = 3,
                        .stride = 1,
                        .pad = 1};
  conv_lines<float>(ctx, bench, wide, "conv3x3_16x16x128");
  conv_lines<bf16>(ctx, bench, wide, "conv3x3_16x16x128");
  Conv2dGeom pointwise = wide;
  pointwise.r = pointwise.s = 1;
  pointwise.pad = 0;
  conv_lines<float>(ctx, bench, pointwise, "conv1x1_16x16x128");
  conv_lines<bf16>(ctx, bench, pointwise, "conv1x1_16x16x128");
  if (!native) float_lines(ctx, bench);
  std::FILE* json = std::fopen(json_path.c_str(), "w");
  if (json == nullptr) {
    std::fprintf(stderr, "device_bench: cannot write %s\n", json_path.c_str());
    return 1;
  }
  print(bench.lines(), copy, json);
  std::fclose(json);
  return 0;
}

}  // namespace
}  // namespace offramp::test

int main(int argc, char** argv) {
  std::string json = "device_bench.json";
  bool native = false, libraries = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) {
      offramp::test::smoke = true;
    } else if (std::strcmp(argv[i], "--native") == 0) {
      native = true;
    } else if (std::strcmp(argv[i], "--libraries") == 0) {
      libraries = true;
    } else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      json = argv[++i];
    } else {
      std::fprintf(stderr, "usage: device_bench [--smoke] [--native] [--json FILE] | --libraries\n");
      return 2;
    }
  }
  try {
    return libraries ? offramp::test::say_libraries() : offramp::test::run(json, native);
  } catch (const offramp::DeviceError& error) {
    std::fprintf(stderr, "device_bench: %s\n", error.what());
    return 1;
  }
}
