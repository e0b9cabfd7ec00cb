// offramp bench op, offramp bench step: times beside the ceilings of this machine, measured in the same run.
#include "tools/bench/op_bench.h"
#include "tools/bench/timing.h"
#include "tools/bench/training_step.h"
#include "tools/frame/table.h"
#include "tools/verbs/machine/profile_steps.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace offramp::tools {
namespace {

constexpr const char* kGroup = "Measure";

std::string percent(double part, double whole) {
  return part > 0 && whole > 0 ? fmt::format("{:.0f} %", 100 * part / whole) : "";
}

class BenchOpVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "bench op",
            .group = kGroup,
            .summary = "time single kernels as a share of the machine's copy and matrix-product ceilings",
            .example = "offramp bench op --filter conv2d --precision f32",
            .details =
                "Sizes are those of ResNet-56 and MobileNet at --batch. Ceilings are measured first, in the "
                "same run: a copy of 256 MiB arrays and a 512^3 float32 matrix product. Bytes count each "
                "tensor once; Winograd convolutions may pass 100 % of the matrix product."};
  }

  void declare(Options& options) override {
    options.add("bench.filter", filter_, "only kernels whose name contains this").not_in_config();
    options.add("bench.batch", batch_, "images").range(1, 4096);
    options.add("bench.precision", precision_, "of the activations").choices({"f32", "bf16"});
  }

  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    const double copy = bench::copy_gbytes(device), gemm = bench::gemm_gflops(device);
    const DType dtype = precision_ == "bf16" ? DType::kBFloat16 : DType::kFloat32;
    Table table({"kernel", "size", "ms", "GB/s", "of copy", "GFLOP/s", "of product"});
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const bench::OpTiming& t : bench::measure_ops(filter_, batch_, dtype, device)) {
      table.row({t.op,
                 t.detail,
                 fmt::format("{:.3f}", t.ms),
                 fmt::format("{:.1f}", t.gbytes_per_s()),
                 percent(t.gbytes_per_s(), copy),
                 t.gflop > 0 ? fmt::format("{:.0f}", t.gflops()) : "",
                 percent(t.gflops(), gemm)});
      rows.push_back({{"kernel", t.op},
                      {"size", t.detail},
                      {"ms", t.ms},
                      {"gbytes_per_s", t.gbytes_per_s()},
                      {"gflops", t.gflops()}});
    }
    session.answer(fmt::format("copy {:.1f} GB/s, product {:.0f} GFLOP/s\n", copy, gemm) + table.text(),
                   {{"copy_gbytes_per_s", copy}, {"product_gflops", gemm}, {"kernels", rows}});
    return kDone;
  }

 private:
  std::string filter_, precision_ = "f32";
  int batch_ = 128;
};

class BenchStepVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "bench step",
            .group = kGroup,
            .summary = "time training steps of a net with exits on random images",
            .example = "offramp bench step --net resnet-56 --exits 4 --batch 128",
            .details =
                "A step is the forward pass through every exit, the joint loss, the backward pass and SGD. "
                "The median of --steps is printed with images per second, peak memory, and the step's "
                "floating-point operations over the matrix-product ceiling of the same run. "
                "tools/bench_peer alternates it with PyTorch."};
  }

  void declare(Options& options) override {
    options.add(
        "bench.net", step_.net.name, "which net: " + fmt::format("{}", fmt::join(nets::net_names(), ", ")));
    options.add("bench.exits", step_.net.num_exits, "exits at equal cost, the last one included").range(1, 6);
    options.add("bench.batch", step_.batch, "images").range(1, 4096);
    options.add("bench.steps", step_.steps, "steps that count").range(1, 10000);
    options.add("bench.precision", precision_, "f32, or bf16 activations with f32 weights")
        .choices({"f32", "bf16"});
    options.add("bench.capture", step_.capture, "a step is one CUDA graph launch (--device cuda)");
    options.add("bench.profile_steps", profile_steps_, "A:B: the steps that Nsight records, warm-up counted")
        .not_in_config();
    options.add("bench.plan", plan_, "print the largest tensors at the peak of memory").not_in_config();
  }

  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    step_.net.precision = precision_ == "bf16" ? nets::Precision::kMixed : nets::Precision::kFloat32;
    step_.seed = session.seed();
    const double gemm = bench::gemm_gflops(device);
    device.trace_memory(plan_);
    device.reset_peak();
    const auto window = profiler_window(device, profile_steps_);
    const bench::StepResult r = bench::measure_training_step(step_, device, [&](int step) {
      if (window) window->before(step);
    });
    const double share = r.gflop / (r.median_ms / 1e3) / gemm;
    std::string text = fmt::format(
        "{} with {} exits, batch {}, {}: {:.1f} ms a step, {:.1f} images/s\n"
        "memory {:.0f} MB in tensors at the peak, {:.0f} MB resident\n"
        "{:.1f} GFLOP a step, {:.0f} % of the {:.0f} GFLOP/s of a float32 matrix product\n",
        step_.net.name,
        step_.net.num_exits,
        step_.batch,
        precision_,
        r.median_ms,
        r.images_per_s,
        r.arena_peak_mb,
        r.resident_peak_mb,
        r.gflop,
        100 * share,
        gemm);
    if (plan_) text += device.memory_plan();
    session.answer(text,
                   {{"net", step_.net.name},
                    {"exits", step_.net.num_exits},
                    {"batch", step_.batch},
                    {"precision", precision_},
                    {"captured", step_.capture},
                    {"step_ms", r.median_ms},
                    {"images_per_s", r.images_per_s},
                    {"tensor_peak_mb", r.arena_peak_mb},
                    {"resident_peak_mb", r.resident_peak_mb},
                    {"gflop", r.gflop},
                    {"product_gflops", gemm}});
    return kDone;
  }

 private:
  bench::StepOptions step_ = with_four_exits();
  std::string precision_ = "f32";
  std::string profile_steps_;
  bool plan_ = false;

  static bench::StepOptions with_four_exits() {
    bench::StepOptions o;
    o.net.num_exits = 4;
    return o;
  }
};

}  // namespace

std::unique_ptr<Verb> make_bench_op_verb() { return std::make_unique<BenchOpVerb>(); }
std::unique_ptr<Verb> make_bench_step_verb() { return std::make_unique<BenchStepVerb>(); }

}  // namespace offramp::tools
