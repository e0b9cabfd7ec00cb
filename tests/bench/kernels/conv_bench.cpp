// Every convolution of ResNet-56, VGG-16 and MobileNet, every direction and algorithm: milliseconds, GFLOP/s
// (nominal: padding taps count) and per cent of a 512^3 product of the same type in the same run.
//   conv_bench [--net resnet56|vgg16|mobilenet] [--type f32|bf16] [--batch 128] [--threads 2]
//              [--seconds 0.05] [--only tiles]
// Results are checked against our own convolution before they are timed. The last lines sum the best and the
// default algorithm over the layers of the net.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_plan.h"
#include "tests/support/random.h"

namespace offramp {
namespace {

struct Layer {
  int h, c, k, r, stride, groups, count;
};

// Input side, channels in and out, filter side, stride, groups, how many of them.
const std::map<std::string, std::vector<Layer>> kNets = {{"resnet56",
                                                          {{32, 3, 16, 3, 1, 1, 1},
                                                           {32, 16, 16, 3, 1, 1, 18},
                                                           {32, 16, 32, 3, 2, 1, 1},
                                                           {16, 32, 32, 3, 1, 1, 17},
                                                           {32, 16, 32, 1, 2, 1, 1},
                                                           {16, 32, 64, 3, 2, 1, 1},
                                                           {8, 64, 64, 3, 1, 1, 17},
                                                           {16, 32, 64, 1, 2, 1, 1}}},
                                                         {"vgg16",
                                                          {{32, 3, 64, 3, 1, 1, 1},
                                                           {32, 64, 64, 3, 1, 1, 1},
                                                           {16, 64, 128, 3, 1, 1, 1},
                                                           {16, 128, 128, 3, 1, 1, 1},
                                                           {8, 128, 256, 3, 1, 1, 1},
                                                           {8, 256, 256, 3, 1, 1, 2},
                                                           {4, 256, 512, 3, 1, 1, 1},
                                                           {4, 512, 512, 3, 1, 1, 2},
                                                           {2, 512, 512, 3, 1, 1, 3}}},
                                                         {"mobilenet",
                                                          {{32, 3, 32, 3, 1, 1, 1},
                                                           {32, 32, 32, 3, 1, 32, 1},
                                                           {32, 32, 64, 1, 1, 1, 1},
                                                           {32, 64, 64, 3, 2, 64, 1},
                                                           {16, 64, 128, 1, 1, 1, 1},
                                                           {16, 128, 128, 3, 1, 128, 1},
                                                           {16, 128, 128, 1, 1, 1, 1},
                                                           {16, 128, 128, 3, 2, 128, 1},
                                                           {8, 128, 256, 1, 1, 1, 1},
                                                           {8, 256, 256, 3, 1, 256, 1},
                                                           {8, 256, 256, 1, 1, 1, 1},
                                                           {8, 256, 256, 3, 2, 256, 1},
                                                           {4, 256, 512, 1, 1, 1, 1},
                                                           {4, 512, 512, 3, 1, 512, 5},
                                                           {4, 512, 512, 1, 1, 1, 5},
                                                           {4, 512, 512, 3, 2, 512, 1},
                                                           {2, 512, 1024, 1, 1, 1, 1},
                                                           {2, 1024, 1024, 3, 1, 1024, 1},
                                                           {2, 1024, 1024, 1, 1, 1, 1}}}};

struct Named {
  cpu::ConvAlgorithm algorithm;
  const char* name;
};
constexpr Named kAlgorithms[] = {{cpu::ConvAlgorithm::kDirect, "direct"},
                                 {cpu::ConvAlgorithm::kDirectWhole, "whole"},
                                 {cpu::ConvAlgorithm::kWidened, "widened"},
                                 {cpu::ConvAlgorithm::kLibraryWinograd, "lib-wino"},
                                 {cpu::ConvAlgorithm::kNative, "native"},
                                 {cpu::ConvAlgorithm::kDepthwise, "depthwise"},
                                 {cpu::ConvAlgorithm::kWinograd, "winograd"},
                                 {cpu::ConvAlgorithm::kTiles, "tiles"}};
constexpr const char* kDirections[] = {"forward", "input", "weight"};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Median seconds of a call: at least five calls, more while `budget` lasts.
template <class Call>
double median_seconds(double budget, Call call) {
  call();
  std::vector<double> times;
  const double start = now();
  while (times.size() < 5 || (now() - start < budget && times.size() < 2000)) {
    const double begin = now();
    call();
    times.push_back(now() - begin);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

template <class T>
class Bench {
 public:
  Bench(int batch, int threads, double seconds, std::string only)
      : batch_(batch),
        seconds_(seconds),
        only_(std::move(only)),
        ctx_(cpu::ContextOptions{.threads = threads}) {}

  // GFLOP/s of a 512^3 product: a pointwise convolution of the library.
  double ceiling() {
    const Conv2dGeom g{1, 16, 32, 512, 512, 1, 1, 1, 0, 1};
    Data d(g);
    return 2e-9 * static_cast<double>(g.macs()) /
           median_seconds(0.5, [&] { run(cpu::ConvAlgorithm::kDirectWhole, 0, g, d); });
  }

  void net(const std::string& name, double ceiling) {
    double best_ms[3] = {}, default_ms[3] = {};
    std::printf("%-28s %-8s", "layer (count)", "pass");
    for (const Named& a : kAlgorithms) {
      if (only_.empty() || a.name == only_) std::printf(" | %9s ms  GF/s   %%", a.name);
    }
    std::printf("\n");
    for (const Layer& layer : kNets.at(name)) {
      const Conv2dGeom g{batch_,
                         layer.h,
                         layer.h,
                         layer.c,
                         layer.k,
                         layer.r,
                         layer.r,
                         layer.stride,
                         layer.r / 2,
                         layer.groups};
      Data d(g), reference(g);
      for (int direction = 0; direction < 3; ++direction) {
        if (direction == 1 && layer.c == 3)
          continue;  // nobody asks for the gradient of the images in training
        run(cpu::ConvAlgorithm::kNative, direction, g, reference);
        char text[64];
        std::snprintf(text,
                      sizeof text,
                      "%d->%d @%d %dx%d/%d%s (%d)",
                      layer.c,
                      layer.k,
                      layer.h,
                      layer.r,
                      layer.r,
                      layer.stride,
                      layer.groups > 1 ? " dw" : "",
                      layer.count);
        std::printf("%-28s %-8s", text, kDirections[direction]);
        double best = 1e9, chosen = 0;
        for (const Named& a : kAlgorithms) {
          if (!only_.empty() && a.name != only_) continue;
          if (!run(a.algorithm, direction, g, d)) {
            std::printf(" | %24s", "-");
            continue;
          }
          compare(direction, d, reference, a.name);
          const double s = median_seconds(seconds_, [&] { run(a.algorithm, direction, g, d); });
          const double rate = 2e-9 * static_cast<double>(g.macs()) / s;
          const bool is_default =
              cpu::default_algorithm(g, static_cast<cpu::ConvDirection>(direction), sizeof(T) == 2) ==
              a.algorithm;
          std::printf(
              " | %c%8.3f ms %6.0f %4.0f", is_default ? '*' : ' ', s * 1e3, rate, 100 * rate / ceiling);
          best = std::min(best, s);
          if (is_default) chosen = s;
        }
        std::printf("\n");
        best_ms[direction] += 1e3 * best * layer.count;
        default_ms[direction] += 1e3 * chosen * layer.count;
      }
    }
    const auto line = [&](const char* what, const double* ms) {
      const double sum = ms[0] + ms[1] + ms[2];
      std::printf("%s %s sum of %s: forward %.1f + input %.1f + weight %.1f = %.1f ms, %.0f images/s\n",
                  name.c_str(),
                  sizeof(T) == 2 ? "bf16" : "f32",
                  what,
                  ms[0],
                  ms[1],
                  ms[2],
                  sum,
                  1e3 * batch_ / sum);
    };
    line("default", default_ms);
    line("best", best_ms);
  }

 private:
  struct Data {
    explicit Data(const Conv2dGeom& g)
        : x(test::random_vector<T>(static_cast<std::size_t>(g.x_size()), 1)),
          dy(test::random_vector<T>(static_cast<std::size_t>(g.y_size()), 2)),
          out_x(x.size()),
          out_y(dy.size()),
          w(test::random_vector(static_cast<std::size_t>(g.w_size()), 3)),
          out_w(w.size()) {
      for (float& value : w) value = static_cast<float>(T(value));
    }
    std::vector<T> x, dy, out_x, out_y;
    std::vector<float> w, out_w;
  };

  bool run(cpu::ConvAlgorithm algorithm, int direction, const Conv2dGeom& g, Data& d) {
    if (direction == 0)
      return cpu::conv2d_forward_by<T>(algorithm, ctx_, g, d.x.data(), d.w.data(), nullptr, d.out_y.data());
    if (direction == 1) {
      return cpu::conv2d_backward_input_by<T>(
          algorithm, ctx_, g, d.dy.data(), d.w.data(), d.out_x.data(), Write::kOverwrite);
    }
    return cpu::conv2d_backward_weight_by<T>(
        algorithm, ctx_, g, d.x.data(), d.dy.data(), d.out_w.data(), Write::kOverwrite);
  }

  static double distance(const std::vector<double>& a, const std::vector<double>& b) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) error += (a[i] - b[i]) * (a[i] - b[i]), norm += b[i] * b[i];
    return std::sqrt(error / norm);
  }
  // Relative L2 distance: Winograd errs by about 1e-6, a bf16 output by half a step, 2^-9.
  static void compare(int direction, const Data& a, const Data& b, const char* name) {
    const double d = direction == 0   ? distance(test::to_double(a.out_y), test::to_double(b.out_y))
                     : direction == 1 ? distance(test::to_double(a.out_x), test::to_double(b.out_x))
                                      : distance(test::to_double(a.out_w), test::to_double(b.out_w));
    const double bound = sizeof(T) == 2 ? 0x1p-8 : 1e-5;
    if (!(d < bound))
      throw std::runtime_error(std::string(name) + " is wrong: distance " + std::to_string(d));
  }

  int batch_;
  double seconds_;
  std::string only_;  // algorithm; empty: all
  cpu::Context ctx_;
};

template <class T>
void run_type(
    const std::vector<std::string>& nets, int batch, int threads, double seconds, const std::string& only) {
  Bench<T> bench(batch, threads, seconds, only);
  bench.ceiling();  // warm-up: threads find their cores, the clock its level
  const double before = bench.ceiling();
  std::printf("%s, batch %d, %d threads, 512^3 product %.0f GFLOP/s\n",
              sizeof(T) == 2 ? "bf16" : "f32",
              batch,
              threads,
              before);
  for (const std::string& net : nets) bench.net(net, before);
  std::printf("512^3 product at the end: %.0f GFLOP/s\n", bench.ceiling());
}

}  // namespace
}  // namespace offramp

int main(int argc, char** argv) {
  std::vector<std::string> nets = {"resnet56", "vgg16", "mobilenet"};
  std::string type, only;
  int batch = 128, threads = 2;
  double seconds = 0.05;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--net")
      nets = {argv[i + 1]};
    else if (option == "--type")
      type = argv[i + 1];
    else if (option == "--batch")
      batch = std::stoi(argv[i + 1]);
    else if (option == "--threads")
      threads = std::stoi(argv[i + 1]);
    else if (option == "--only")
      only = argv[i + 1];
    else if (option == "--seconds")
      seconds = std::stod(argv[i + 1]);
    else {
      std::fprintf(stderr, "conv_bench: unknown option %s\n", option.c_str());
      return 2;
    }
  }
  if (type != "bf16") offramp::run_type<float>(nets, batch, threads, seconds, only);
  if (type != "f32") offramp::run_type<offramp::bf16>(nets, batch, threads, seconds, only);
}
