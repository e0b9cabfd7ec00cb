#include "kernels/cuda/cudnn_conv.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>

#include "base/errors.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/cudnn_plan.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/plan_table.h"

namespace offramp::cuda {
namespace {

constexpr std::int64_t kWorkspaceLimit = std::int64_t{1} << 30;
constexpr int kMeasuredPlans = 12;  // of the heuristics' list, which is ordered: the rest is far behind
constexpr int kMeasuredRuns = 5;
constexpr const char *kNoPlan = "-", *kOwnKernel = "own";

bool aligned_to_16(const ConvBuffers& b) {
  const auto all = {b.image, b.filter, b.output, static_cast<const void*>(b.bias), b.residual};
  return std::all_of(
      all.begin(), all.end(), [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

// The output of a measurement: nobody's data is touched.
class Scratch {
 public:
  Scratch(Context& ctx, std::size_t bytes) : ctx_(ctx), data_(allocate(ctx, bytes, "plan measurement")) {
    set_zero(ctx, data_, bytes);
  }
  ~Scratch() { release(ctx_, data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }

 private:
  Context& ctx_;
  void* data_;
};

class Events {
 public:
  Events() : start(create_event(Timing::kYes)), stop(create_event(Timing::kYes)) {}
  ~Events() {
    destroy_event(start);
    destroy_event(stop);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  Event start, stop;
};

class OpenCudnn final : public CudnnConvolutions {
 public:
  OpenCudnn(const CudnnApi& api, cudnnHandle_t handle) : api_(api), handle_(handle) {}
  ~OpenCudnn() override {
    plans_.clear();  // they belong to the handle
    api_.destroy(handle_);
  }
  OpenCudnn(const OpenCudnn&) = delete;
  OpenCudnn& operator=(const OpenCudnn&) = delete;

  void use_table(PlanTable table) { table_.emplace(std::move(table)); }

  bool run(Context& ctx,
           const ConvProblem& problem,
           const ConvBuffers& buffers,
           const OwnKernel& own) override {
    if (!aligned_to_16(buffers)) return false;
    auto found = plans_.find(problem);
    if (found == plans_.end()) found = plans_.emplace(problem, make_plan(ctx, problem, buffers, own)).first;
    if (!found->second) return false;
    execute(ctx, *found->second, buffers);
    return true;
  }
  std::size_t plans() const override { return plans_.size(); }
  const std::vector<std::string>& skipped() const override { return skipped_; }

 private:
  void execute(Context& ctx, const CudnnPlan& plan, const ConvBuffers& b) {
    std::array<std::int64_t, 5> ids{kImageId, kFilterId, kOutputId};
    std::array<const void*, 5> pointers{b.image, b.filter, b.output};
    std::size_t count = 3;
    if (b.bias != nullptr) {
      ids[count] = kBiasId;
      pointers[count++] = b.bias;
    }
    if (b.residual != nullptr) {
      ids[count] = kResidualId;
      pointers[count++] = b.residual;
    }
    void* const workspace =
        plan.workspace_bytes == 0
            ? nullptr
            : ctx.workspace(Context::kLibrary, static_cast<std::size_t>(plan.workspace_bytes));
    const auto length = static_cast<std::int64_t>(count);
    CudnnDescriptor pack(api_, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set_raw(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, length, ids.data());
    pack.set_raw(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, length, pointers.data());
    pack.set_raw(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    pack.finalize();
    check_cudnn(api_, api_.set_stream(handle_, ctx.stream()), "cudnnSetStream");
    check_cudnn(api_, api_.execute(handle_, plan.plan.get(), pack.get()), "cudnnBackendExecute");
  }

  std::optional<CudnnPlan> make_plan(Context& ctx,
                                     const ConvProblem& problem,
                                     const ConvBuffers& buffers,
                                     const OwnKernel& own) {
    const std::optional<std::string> known = table_ ? table_->find(problem) : std::nullopt;
    if (known == kNoPlan || known == kOwnKernel) return std::nullopt;
    std::optional<CudnnPlan> chosen;
    if (!table_ || known) {
      for_each_cudnn_plan(api_, {.handle = handle_}, problem, kWorkspaceLimit, [&](CudnnPlan&& plan) {
        if (known && plan.name != *known) return true;
        chosen.emplace(std::move(plan));
        return false;
      });
      if (chosen || !table_) return chosen;
    }
    bool own_is_best = false;
    chosen = measured(ctx, problem, buffers, own, own_is_best);
    table_->add(problem, own_is_best ? kOwnKernel : chosen ? chosen->name : kNoPlan);
    return chosen;
  }

  // Null where our own kernel is the fastest, or none is allowed.
  std::optional<CudnnPlan> measured(Context& ctx,
                                    const ConvProblem& problem,
                                    ConvBuffers buffers,
                                    const OwnKernel& own,
                                    bool& own_is_best) {
    const Conv2dGeom& g = problem.g;
    const bool input = problem.pass == ConvPass::kBackwardInput,
               weight = problem.pass == ConvPass::kBackwardWeight;
    const std::int64_t elements = input ? g.x_size() : weight ? g.w_size() : g.y_size();
    const Scratch scratch(ctx,
                          static_cast<std::size_t>(elements) * (problem.out == NumberType::kFloat ? 4 : 2));
    (input ? buffers.image : weight ? buffers.filter : buffers.output) = scratch.data();
    const Events events;
    // The shortest of some runs, behind one that loads the kernel.
    const auto shortest_ms = [&](const auto& once) {
      once();
      float ms = std::numeric_limits<float>::infinity();
      for (int i = 0; i < kMeasuredRuns; ++i) {
        record_event(events.start, ctx.stream());
        once();
        record_event(events.stop, ctx.stream());
        synchronize_event(events.stop);
        ms = std::min(ms, elapsed_ms(events.start, events.stop));
      }
      return ms;
    };
    std::optional<CudnnPlan> best;
    float best_ms = std::numeric_limits<float>::infinity();
    try {
      if (own && own(buffers)) {
        best_ms = shortest_ms([&] { own(buffers); });
        own_is_best = true;
      }
    } catch (const DeviceError& error) {
      skipped_.push_back(PlanTable::key(problem) + ": our own kernel is left out: " + error.what());
    }
    int tried = 0;
    for_each_cudnn_plan(api_, {.handle = handle_}, problem, kWorkspaceLimit, [&](CudnnPlan&& plan) {
      float ms = 0;
      try {
        ms = shortest_ms([&] { execute(ctx, plan, buffers); });
      } catch (const DeviceError& error) {  // one plan that fails does not end the measurement
        skipped_.push_back(PlanTable::key(problem) + ": plan " + plan.name + " is left out: " + error.what());
        return true;
      }
      if (ms < best_ms) {
        own_is_best = false;
        best_ms = ms;
        best.emplace(std::move(plan));
      }
      return ++tried < kMeasuredPlans;
    });
    return best;
  }

  const CudnnApi& api_;
  cudnnHandle_t handle_;
  std::optional<PlanTable> table_;
  std::map<ConvProblem, std::optional<CudnnPlan>> plans_;
  std::vector<std::string> skipped_;
};

}  // namespace

std::unique_ptr<CudnnConvolutions> CudnnConvolutions::open(const std::string& device_name,
                                                           const std::string& table_path,
                                                           std::string& why) {
  const CudnnApi& api = cudnn_api();
  if (!api.library.is_open()) {
    why = api.library.problem();
    return nullptr;
  }
  cudnnHandle_t handle = nullptr;
  try {
    check_cudnn(api, api.create(&handle), "cudnnCreate");
  } catch (const DeviceError& error) {  // the library is there, but not for this device or driver
    why = error.what();
    return nullptr;
  }
  auto opened = std::make_unique<OpenCudnn>(api, handle);
  if (!table_path.empty()) {
    PlanTable table(table_path, device_name, std::to_string(api.get_version()));
    why = table.warning();
    opened->use_table(std::move(table));
  }
  return opened;
}

}  // namespace offramp::cuda
