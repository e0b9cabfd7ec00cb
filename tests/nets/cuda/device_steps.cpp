// Training steps of the four nets on the CUDA device, eager and captured, for tools/gpu_check: one JSON line
// each.
//   device_steps [--smoke] [--batch N] [--precision f32|tf32|bf16] [--native | --plans FILE] [--overlap]
// --native: by our own kernels alone. --plans: each convolution by what is measured to be fastest for it. --overlap: a
// kernel may begin while the one before it ends (kernels/cuda/runtime.h).
#include <cstdio>
#include <cstring>
#include <string>

#include "kernels/cuda/context.h"
#include "kernels/cuda/cudnn_conv.h"
#include "tools/bench/training_step.h"

namespace {

int run(int argc, char** argv) {
  bool smoke = false;
  int batch = 128;
  std::string precision = "f32", plans;
  bool native = false, overlap = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--smoke") {
      smoke = true;
    } else if (word == "--batch" && i + 1 < argc) {
      batch = std::stoi(argv[++i]);
    } else if (word == "--precision" && i + 1 < argc) {
      precision = argv[++i];
    } else if (word == "--native") {
      native = true;
    } else if (word == "--overlap") {
      overlap = true;
    } else if (word == "--plans" && i + 1 < argc) {
      plans = argv[++i];
    } else {
      std::fprintf(stderr,
                   "device_steps [--smoke] [--batch N] [--precision f32|tf32|bf16] [--native | --plans FILE] "
                   "[--overlap]\n");
      return 2;
    }
  }
  using offramp::cuda::ConvBackend;
  offramp::cuda::set_default_options({.conv = native ? ConvBackend::kNative : ConvBackend::kLibrary,
                                      .tf32 = precision == "tf32",
                                      .plan_table = plans});
  offramp::cuda::overlap_launches = overlap;
  const char* const convolutions = native ? "native" : plans.empty() ? "library" : "measured";
  const offramp::Device device = offramp::Device::cuda();
  for (const char* net : {"vgg-16", "resnet-56", "mobilenet", "wrn-32-4"}) {
    if (smoke && std::strcmp(net, "mobilenet") != 0) continue;  // host execution: one net shows that it runs
    for (const bool capture : {false, true}) {
      offramp::bench::StepOptions o;
      o.net.name = net;
      o.net.num_exits = 4;
      o.net.precision =
          precision == "bf16" ? offramp::nets::Precision::kMixed : offramp::nets::Precision::kFloat32;
      o.batch = smoke ? 2 : batch;
      o.steps = smoke ? 2 : 30;
      o.capture = capture;
      if (smoke) o.net.width_divisor = 16, o.net.side = 16, o.warm_up = 2;
      const auto r = offramp::bench::measure_training_step(o, device);
      std::printf(
          "{\"net\": \"%s\", \"exits\": 4, \"batch\": %d, \"precision\": \"%s\", \"mode\": \"%s-%s%s\", "
          "\"step_ms\": %.3f, \"images_per_s\": %.1f}\n",
          net,
          o.batch,
          precision.c_str(),
          capture ? "captured" : "eager",
          convolutions,
          overlap ? "-overlap" : "",
          r.median_ms,
          r.images_per_s);
      std::fflush(stdout);
    }
  }
  for (const std::string& notice : device.cuda_context().notices()) std::printf("%s\n", notice.c_str());
  if (const auto* cudnn = device.cuda_context().cudnn()) {
    for (const std::string& plan : cudnn->skipped()) std::printf("%s\n", plan.c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_steps: %s\n", error.what());
    return 1;
  }
}
