#include "base/cpu_level.h"
#include "base/errors.h"
#include "engine/device.h"
#include "tools/frame/environment.h"
#include "tools/frame/interrupt.h"
#include "tools/frame/thread_waiting.h"
#include "tools/verbs/verbs.h"

#include <cstdio>

namespace {

using offramp::Device;

// What --device, --conv and their kin ask for; what is missing is said before any work.
void prepare_device(const offramp::tools::Common& common, offramp::tools::Log& log) {
  using CpuConv = offramp::cpu::ConvBackend;
  const bool on_cpu = common.device == "cpu", native = common.conv == "native";
  if (on_cpu && common.conv == "cudnn") {
    throw offramp::ValueError("conv: cudnn computes on --device cuda, the device is cpu");
  }
  Device::set_cpu_defaults(
      {.threads = common.threads > 0 ? common.threads : offramp::tools::this_machine().usable_cpus,
       .conv = native ? CpuConv::kNative : CpuConv::kLibrary},
      static_cast<std::size_t>(common.memory_mb) * 1'000'000);
  if (on_cpu) return;
#if OFFRAMP_HAS_CUDA
  using CudaConv = offramp::cuda::ConvBackend;
  offramp::cuda::set_default_options({.conv = native                   ? CudaConv::kNative
                                              : common.conv == "cudnn" ? CudaConv::kCudnn
                                                                       : CudaConv::kLibrary,
                                      .tf32 = common.tf32,
                                      .plan_table = common.conv_plans.string()});
#endif
  const Device device = Device::by_name(common.device);
#if OFFRAMP_HAS_CUDA
  for (const std::string& notice : device.cuda_context().notices()) log.warn(notice);
#else
  (void)log;
#endif
}

// Of a program with kernels for several processors: this one is none of them, or OFFRAMP_CPU_LEVEL asks for what it is not.
bool can_run_kernels() {
  try {
    if (offramp::dispatches()) static_cast<void>(offramp::wanted_cpu_level());
    return true;
  } catch (const offramp::ValueError& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (!can_run_kernels()) return 2;
  offramp::tools::bound_spinning(argv);
  offramp::tools::install_signal_handlers();
  offramp::tools::Program program;
  offramp::tools::add_verbs(program);
  program.prepare_device_with(prepare_device);
  return program.run({argv + 1, argv + argc});
}
