// The memory-bound ops at the sizes of ResNet-56: milliseconds, bytes that must move at least once, and per
// cent of a copy of the same size in the same run. Ends with the batch normalisation of a whole training
// step.
//   memory_bench [--type f32|bf16|both] [--batch 128] [--threads 2] [--seconds 0.1] [--rotate 4] [--only bn]
// Every call works on the next of several buffers, so that nothing is in the L2 cache from the call before. A
// result of batch_norm_train is checked against the reference before anything is timed.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/arrange.h"
#include "kernels/batch_norm.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise.h"
#include "kernels/losses.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "kernels/ref/batch_norm.h"
#include "tests/support/random.h"

namespace offramp {
namespace {

using test::random_vector;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Options {
  int batch = 128, threads = 2;
  double seconds = 0.1;
  bool only_batch_norm = false;
};

template <class... Values>
std::string text(const char* format, Values... values) {
  char out[80];
  std::snprintf(out, sizeof out, format, values...);
  return out;
}

// Several arrays of the same kind, handed out in turn; in huge pages, as the engine's arena has them.
template <class T>
class Rotating {
 public:
  Rotating(std::int64_t n, std::uint32_t stream) {
    const std::vector<T> one = random_vector<T>(static_cast<std::size_t>(n), stream);
    const std::size_t bytes = (one.size() * sizeof(T) + kHugePage - 1) / kHugePage * kHugePage;
    for (std::unique_ptr<void, Free>& copy : copies_) {
      copy.reset(std::aligned_alloc(kHugePage, bytes));
      if (copy == nullptr) throw std::bad_alloc();
      madvise(copy.get(), bytes, MADV_HUGEPAGE);
      std::memcpy(copy.get(), one.data(), one.size() * sizeof(T));
    }
  }
  T* next() { return static_cast<T*>(copies_[turn_++ % copies].get()); }

  static inline std::size_t copies = 4;  // at most kMost; 1: always the same one

 private:
  static constexpr std::size_t kHugePage = std::size_t{2} << 20, kMost = 4;
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> copies_[kMost];
  std::size_t turn_ = 0;
};

template <class T>
class Bench {
 public:
  explicit Bench(const Options& o) : o_(o), ctx_(cpu::ContextOptions{.threads = o.threads}) {}

  void run() {
    std::printf("%s, batch %d, %d threads\n", sizeof(T) == 2 ? "bf16" : "f32", o_.batch, ctx_.threads());
    std::printf("%-44s %9s %9s %7s %6s\n", "op", "ms", "MB", "GB/s", "% copy");
    check();
    double step_ms = 0, plain_ms = 0;
    // Rows per image, channels, and how many normalisations with ReLU, with residual and ReLU, and without
    // either.
    step_ms += stage(32 * 32, 16, 10, 9, 0, &plain_ms);
    step_ms += stage(16 * 16, 32, 9, 9, 1, &plain_ms);
    step_ms += stage(8 * 8, 64, 9, 9, 1, &plain_ms);
    std::printf(
        "batch norm of a ResNet-56 step, forward and backward: %.1f ms (all 57 as batch norm + ReLU: %.1f)\n",
        step_ms,
        plain_ms);
    if (!o_.only_batch_norm) others();
  }

 private:
  // Median milliseconds of a call.
  template <class Call>
  double median_ms(Call call) {
    for (int i = 0; i < 4; ++i) call();
    std::vector<double> times;
    const double start = now();
    while (times.size() < 9 || (now() - start < o_.seconds && times.size() < 2000)) {
      const double begin = now();
      call();
      times.push_back(now() - begin);
    }
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return *middle * 1e3;
  }

  // Copy rate for the sizes that follow: reads and writes n values of T.
  void measure_copy(std::int64_t n) {
    Rotating<T> from(n, 1), to(n, 2);
    const double ms = median_ms([&] {
      const T* x = from.next();
      T* y = to.next();
      cpu::for_chunks(ctx_, n, 16384, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
        std::memcpy(y + begin, x + begin, static_cast<std::size_t>(end - begin) * sizeof(T));
      });
    });
    copy_rate_ = 2e-6 * static_cast<double>(n) * sizeof(T) / ms;
    report(text("copy of %d values", static_cast<int>(n)), ms, 2e-6 * static_cast<double>(n) * sizeof(T));
  }

  double report(const std::string& name, double ms, double megabytes) {
    const double rate = megabytes / ms;
    std::printf(
        "%-44s %9.3f %9.2f %7.1f %6.0f\n", name.c_str(), ms, megabytes, rate, 100 * rate / copy_rate_);
    std::fflush(stdout);
    return ms;
  }

  void check() {
    const BatchNormGeom g{.rows = 1000, .channels = 48, .relu = true};
    const std::vector<T> x = random_vector<T>(48000, 1, -1, 3);
    const std::vector<float> gamma = random_vector<float>(48, 2), beta = random_vector<float>(48, 3);
    std::vector<float> mean(48), inv_std(48);
    std::vector<T> y(48000);
    batch_norm_train(ctx_,
                     g,
                     BatchNormTrain<T>{.x = x.data(),
                                       .gamma = gamma.data(),
                                       .beta = beta.data(),
                                       .residual = nullptr,
                                       .momentum = 0.1f,
                                       .running_mean = nullptr,
                                       .running_var = nullptr,
                                       .saved_mean = mean.data(),
                                       .saved_inv_std = inv_std.data(),
                                       .y = y.data()});
    std::vector<double> ref_mean(48), ref_var(48), ref_y(48000);
    const std::vector<double> rx = test::to_double(x);
    ref::batch_statistics(g, rx.data(), ref_mean.data(), ref_var.data());
    ref::batch_norm_apply<double>(g,
                                  rx.data(),
                                  test::to_double(gamma).data(),
                                  test::to_double(beta).data(),
                                  ref_mean.data(),
                                  ref_var.data(),
                                  nullptr,
                                  ref_y.data());
    const std::vector<double> got = test::to_double(y);
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (!(std::fabs(got[i] - ref_y[i]) < 0.02)) throw std::runtime_error("batch_norm_train: wrong result");
    }
  }

  // One stage of the net; returns the milliseconds that a step spends in its normalisations.
  double stage(int pixels, int channels, int relus, int residuals, int plains, double* all_relu_ms) {
    BatchNormGeom g{.rows = std::int64_t{o_.batch} * pixels, .channels = channels, .relu = true};
    const std::int64_t n = g.rows * channels;
    measure_copy(n);
    Rotating<T> x(n, 1), residual(n, 2), y(n, 3), dy(n, 4), dx(n, 5), dresidual(n, 6);
    const auto width = static_cast<std::size_t>(channels);
    const std::vector<float> gamma(width, 1.f), beta(width, 0.1f);
    std::vector<float> running_mean(width), running_var(width), mean(width), inv_std(width), dgamma(width),
        dbeta(width);
    const auto forward = [&](bool with_residual) {
      batch_norm_train(ctx_,
                       g,
                       BatchNormTrain<T>{.x = x.next(),
                                         .gamma = gamma.data(),
                                         .beta = beta.data(),
                                         .residual = with_residual ? residual.next() : nullptr,
                                         .momentum = 0.1f,
                                         .running_mean = running_mean.data(),
                                         .running_var = running_var.data(),
                                         .saved_mean = mean.data(),
                                         .saved_inv_std = inv_std.data(),
                                         .y = y.next()});
    };
    const auto backward = [&](bool with_residual) {
      batch_norm_backward(ctx_,
                          g,
                          BatchNormBackward<T>{.dy = dy.next(),
                                               .x = x.next(),
                                               .y = with_residual ? y.next() : nullptr,
                                               .gamma = gamma.data(),
                                               .beta = beta.data(),
                                               .mean = mean.data(),
                                               .inv_std = inv_std.data(),
                                               .batch_statistics = true,
                                               .dx = dx.next(),
                                               .dx_write = Write::kOverwrite,
                                               .dresidual = with_residual ? dresidual.next() : nullptr,
                                               .dresidual_write = Write::kOverwrite,
                                               .dgamma = dgamma.data(),
                                               .dbeta = dbeta.data(),
                                               .dparam_write = Write::kOverwrite});
    };
    const int rows = static_cast<int>(g.rows);
    const double array = 1e-6 * static_cast<double>(n) * sizeof(T);
    double ms[3][2];  // form, direction
    const char* names[] = {"bn + relu", "bn + residual + relu", "bn"};
    // Arrays moved: x twice and y; dy and x twice and dx, more with the residual.
    const double arrays[3][2] = {{3, 5}, {4, 7}, {3, 5}};
    for (int form = 0; form < 3; ++form) {
      g.relu = form != 2;
      ms[form][0] = report(text("%s forward %d x %d", names[form], rows, channels),
                           median_ms([&] { forward(form == 1); }),
                           arrays[form][0] * array);
      ms[form][1] = report(text("%s backward %d x %d", names[form], rows, channels),
                           median_ms([&] { backward(form == 1); }),
                           arrays[form][1] * array);
    }
    *all_relu_ms += (relus + residuals + plains) * (ms[0][0] + ms[0][1]);
    return relus * (ms[0][0] + ms[0][1]) + residuals * (ms[1][0] + ms[1][1]) + plains * (ms[2][0] + ms[2][1]);
  }

  void others() {
    const std::int64_t n = std::int64_t{o_.batch} * 32 * 32 * 16;
    measure_copy(n);
    const double values = 1e-6 * static_cast<double>(n);
    Rotating<T> a(n, 1), b(n, 2), c(n, 3);
    report("relu_forward",
           median_ms([&] { relu_forward(ctx_, n, a.next(), c.next()); }),
           2 * values * sizeof(T));
    report("relu_backward",
           median_ms([&] { relu_backward(ctx_, n, a.next(), b.next(), c.next(), Write::kOverwrite); }),
           3 * values * sizeof(T));
    report("add", median_ms([&] { add(ctx_, n, a.next(), b.next(), c.next()); }), 3 * values * sizeof(T));
    report("accumulate", median_ms([&] { accumulate(ctx_, n, a.next(), c.next()); }), 3 * values * sizeof(T));
    const StepState state{.learning_rate = 0.f, .step = 3};
    report("dropout",
           median_ms([&] {
             dropout(ctx_, n, 0.5f, PhiloxKey{.seed = 1}, &state, a.next(), c.next(), Write::kOverwrite);
           }),
           2 * values * sizeof(T));

    for (const int side : {32, 16, 8}) {
      const PoolGeom g{
          .n = o_.batch, .h = side, .w = side, .c = 512 / side, .k = side / 4, .stride = side / 4};
      const double in = 1e-6 * static_cast<double>(g.x_size()) * sizeof(T),
                   out = 1e-6 * static_cast<double>(g.y_size());
      Rotating<T> x(g.x_size(), 1), dx(g.x_size(), 2);
      Rotating<float> y(g.y_size(), 3), difference(g.y_size(), 4);
      std::vector<std::uint8_t> index(static_cast<std::size_t>(g.y_size()));
      const float alpha = 0.4f;

      report(text("exit_pool_forward %d x %d x %d", side, side, g.c),
             median_ms([&] {
               exit_pool_forward(ctx_, g, x.next(), &alpha, y.next(), difference.next(), index.data());
             }),
             in + 9 * out);
      report(text("exit_pool_backward_input %d x %d x %d", side, side, g.c),
             median_ms([&] {
               exit_pool_backward_input(
                   ctx_, g, y.next(), &alpha, index.data(), dx.next(), Write::kOverwrite);
             }),
             in + 5 * out);
    }
    const PoolGeom vgg{.n = o_.batch, .h = 32, .w = 32, .c = 64, .k = 2, .stride = 2};
    Rotating<T> x(vgg.x_size(), 1), y(vgg.y_size(), 2);
    std::vector<std::uint8_t> index(static_cast<std::size_t>(vgg.y_size()));
    const double in = 1e-6 * static_cast<double>(vgg.x_size()) * sizeof(T),
                 out = 1e-6 * static_cast<double>(vgg.y_size());
    report("max_pool_forward 32 x 32 x 64",
           median_ms([&] { max_pool_forward(ctx_, vgg, x.next(), y.next(), index.data()); }),
           in + out * (1 + sizeof(T)));
    report(
        "max_pool_backward 32 x 32 x 64",
        median_ms([&] { max_pool_backward(ctx_, vgg, y.next(), index.data(), x.next(), Write::kOverwrite); }),
        in + out * (1 + sizeof(T)));
    if constexpr (sizeof(T) == sizeof(float)) float_only(state);
  }

  void float_only(const StepState& state) {
    for (const std::int64_t params : {std::int64_t{855770}, std::int64_t{15253578}}) {  // ResNet-56, VGG-16
      std::vector<float> param(static_cast<std::size_t>(params), 0.1f), grad = param, m = param, v = param;
      const int count = static_cast<int>(params);
      report(text("sgd_step %d", count),
             median_ms(
                 [&] { sgd_step(ctx_, params, SgdParams{}, &state, grad.data(), m.data(), param.data()); }),
             20e-6 * static_cast<double>(params));
      report(text("adam_step %d", count),
             median_ms([&] {
               adam_step(ctx_, params, AdamParams{}, &state, grad.data(), m.data(), v.data(), param.data());
             }),
             28e-6 * static_cast<double>(params));
    }
    const std::int64_t pixels = std::int64_t{o_.batch} * 32 * 32 * 3;
    Rotating<float> image(pixels, 1), out(pixels, 2), grad(pixels, 3);
    const float mean[3] = {0.4f, 0.5f, 0.6f}, inv_std[3] = {4, 4, 4};
    const double values = 4e-6 * static_cast<double>(pixels);
    report("normalize_pixels",
           median_ms([&] { normalize_pixels(ctx_, pixels / 3, 3, mean, inv_std, image.next(), out.next()); }),
           2 * values);
    report("linf_step",
           median_ms([&] { linf_step(ctx_, pixels, image.next(), grad.next(), 0.01f, 0.03f, out.next()); }),
           4 * values);
    for (const int classes : {10, 100, 200}) {
      constexpr int kExits = 7;
      const auto size = static_cast<std::size_t>(o_.batch * classes);
      std::vector<std::vector<float>> logits, dlogits;
      for (std::uint32_t e = 0; e < kExits; ++e) {
        logits.push_back(random_vector<float>(size, e, -4, 4));
        dlogits.emplace_back(size);
      }
      const std::vector<float> target(size, 1.f / static_cast<float>(classes)), weight(kExits, 1.f);
      const std::vector<std::int32_t> labels(static_cast<std::size_t>(o_.batch), 1);
      std::vector<float> loss(kExits + 2);
      for (const TargetLoss kind : {TargetLoss::kCrossEntropy, TargetLoss::kKlTargetFirst}) {
        MultiExitLoss a{.num_exits = kExits,
                        .n = o_.batch,
                        .classes = classes,
                        .kind = kind,
                        .labels = labels.data(),
                        .target = target.data(),
                        .exit_weight = weight.data(),
                        .lambda = 0.5f,
                        .strategy = {},
                        .exits = labels.data(),
                        .loss = loss.data()};
        for (std::size_t e = 0; e < kExits; ++e) {
          a.logits[e] = logits[e].data();
          a.dlogits[e] = dlogits[e].data();
        }
        report(text("multi_exit_loss, 7 exits, %s, %d classes",
                    kind == TargetLoss::kCrossEntropy ? "labels" : "KL",
                    classes),
               median_ms([&] { multi_exit_loss(ctx_, a); }),
               8e-6 * static_cast<double>(size * kExits));
      }
    }
  }

  Options o_;
  cpu::Context ctx_;
  double copy_rate_ = 1;
};

int run(int argc, char** argv) {
  Options o;
  std::string type = "both";
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--type") {
      type = value;
    } else if (key == "--batch") {
      o.batch = std::stoi(value);
    } else if (key == "--threads") {
      o.threads = std::stoi(value);
    } else if (key == "--seconds") {
      o.seconds = std::stod(value);
    } else if (key == "--rotate") {
      Rotating<float>::copies = Rotating<bf16>::copies =
          static_cast<std::size_t>(std::clamp(std::stoi(value), 1, 4));
    } else if (key == "--only") {
      o.only_batch_norm = value == "bn";
    } else {
      throw std::runtime_error("unknown option '" + key + "'");
    }
  }
  if (type != "bf16") Bench<float>(o).run();
  if (type != "f32") Bench<bf16>(o).run();
  return 0;
}

}  // namespace
}  // namespace offramp

int main(int argc, char** argv) {
  try {
    return offramp::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "memory_bench: %s\n", e.what());
    return 1;
  }
}
