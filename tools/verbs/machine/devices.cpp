// offramp devices: what this machine has, what this build uses of it, and what is missing.
#include "base/cpu_level.h"
#include "base/memory_limit.h"
#include "tools/frame/build_info.h"
#include "tools/frame/environment.h"
#include "tools/frame/table.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/vendor_libraries.h"
#endif

namespace offramp::tools {
namespace {

double gib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

struct CudaState {
  bool usable = false;
  std::string text;                                            // what it is, or what is missing
  std::vector<std::pair<std::string, std::string>> libraries;  // name, version or what is missing
};

CudaState cuda_state() {
#if OFFRAMP_HAS_CUDA
  CudaState state;
  state.libraries = {{"cuDNN", cuda::cudnn_state().text}, {"cuBLASLt", cuda::cublaslt_state().text}};
  const int count = cuda::device_count();
  state.usable = count > 0;
  state.text = state.usable ? cuda::runtime_version()
                            : "built (" + cuda::runtime_version() + "), no device: " + cuda::why_no_device();
  for (int i = 0; i < count; ++i) {
    const cuda::DeviceProperties p = cuda::device_properties(i);
    state.text +=
        fmt::format("; {}: {}, sm_{}{}, {:.1f} GiB", i, p.name, p.major, p.minor, gib(p.memory_bytes));
  }
  return state;
#else
  return {false,
          "not built; configure with -DOFFRAMP_CUDA=on (needs nvcc), or =host to run its kernels on the CPU",
          {}};
#endif
}

class DevicesVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "devices",
            .group = "Look at the machine and the data",
            .summary = "CPU and GPU, which back ends this build has, and what is missing",
            .example = "offramp devices",
            .first_step = true};
  }

  void declare(Options&) override {}

  int run(Session& session) override {
    const Machine machine = this_machine();
    const BuildInfo& build = build_info();
    const CudaState cuda = cuda_state();
    const auto has = [&](const char* flag) {
      return std::find(machine.cpu_flags.begin(), machine.cpu_flags.end(), flag) != machine.cpu_flags.end();
    };
    const std::string vectors = has("avx512f") ? "AVX-512"
                                : has("avx2")  ? "AVX2"
                                               : "neither AVX2 nor AVX-512";
    const std::string bf16 = has("amx_bf16") ? "fast (AMX)" : "correct, no faster than float32 (no AMX)";
    const int threads = session.threads() > 0 ? session.threads() : machine.usable_cpus;

    const MemoryLimit limit = tensor_memory_limit();

    std::string text;
    const auto line = [&](std::string_view name, const std::string& value) {
      text += fmt::format("  {:<13}{}\n", name, value);
    };
    text += "cpu\n";
    line("model", machine.cpu_model);
    line("vectors", vectors + fmt::format(" ({})", fmt::join(machine.cpu_flags, " ")));
    line("bfloat16", bf16);
    line("threads", fmt::format("{} of {} CPUs ({})", threads, machine.cpus, build.threading));
    line("convolution", std::string(build.convolution));
    line("memory",
         fmt::format(
             "{:.1f} GiB, {:.1f} GiB available", gib(machine.memory_bytes), gib(machine.available_bytes)));
    line("tensors",
         fmt::format("up to {:.1f} GiB, {} (--memory-mb changes it)", gib(limit.bytes), limit.source));
    text += "cuda\n";
    line(cuda.usable ? "usable" : "not usable", cuda.text);
    for (const auto& [name, state] : cuda.libraries) line(name, state);
    text += "build\n";
    line("version", fmt::format("{} ({})", build.version, build.commit));
    line("compiler", fmt::format("{}, {}", build.compiler, build.build_type));
    line("kernels",
         !dispatches() ? fmt::format("for {}", build.cpu_arch)
         : used_cpu_level() == best_cpu_level()
             ? fmt::format("{}, the best of v3, v4 and v4-bf16 here", to_text(used_cpu_level()))
             : fmt::format("{} by OFFRAMP_CPU_LEVEL, the best here is {}",
                           to_text(used_cpu_level()),
                           to_text(best_cpu_level())));
    line("system", machine.system);

    nlohmann::ordered_json object = environment_json(session.seed(), session.threads(), session.device());
    object["cuda"] = {{"usable", cuda.usable}, {"text", cuda.text}};
    for (const auto& [name, state] : cuda.libraries) object["cuda"][name] = state;
    object["machine"]["available_bytes"] = machine.available_bytes;
    object["machine"]["tensor_limit_bytes"] = limit.bytes;
    object["machine"]["tensor_limit_source"] = limit.source;
    session.answer(text, object);
    return kDone;
  }
};

}  // namespace

std::unique_ptr<Verb> make_devices_verb() { return std::make_unique<DevicesVerb>(); }

}  // namespace offramp::tools
