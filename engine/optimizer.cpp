#include "engine/optimizer.h"

#include "base/errors.h"
#include "kernels/range.h"

namespace offramp {

StepScalars::StepScalars(const Device& device)
    : memory_(Tensor::zeros({static_cast<std::int64_t>(sizeof(StepState))}, device, DType::kUInt8)) {}

void StepScalars::set(float learning_rate, int step, int valid, NonfiniteFlag flag) {
  dispatch(memory_.device(),
           [&](auto& ctx) { set_step_state(ctx, device_pointer(), learning_rate, step, valid, flag); });
}

bool StepScalars::nonfinite() const {
  StepState state;
  memory_.device().download(&state, memory_.raw(), sizeof state);
  return state.nonfinite != 0;
}

StepState* StepScalars::device_pointer() { return static_cast<StepState*>(memory_.raw()); }
const StepState* StepScalars::device_pointer() const { return static_cast<const StepState*>(memory_.raw()); }

Optimizer::Optimizer(ParameterSet& parameters, ParameterRange range, std::vector<std::string> moment_names)
    : parameters_(parameters) {
  if (!parameters.values()) throw ValueError("optimizer: the parameters are not allocated yet");
  begin_ = range == ParameterRange::kExits ? parameters.trunk_floats() : 0;
  count_ = parameters.values().size() - begin_;
  for (std::string& name : moment_names) {
    moments_.push_back(
        {std::move(name), Tensor::zeros(parameters.values().shape(), parameters.values().device())});
  }
}

namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(ParameterSet& parameters, const SgdParams& params, ParameterRange range)
      : Optimizer(parameters, range, {"velocity"}), params_(params) {}
  void step(const StepScalars& state) override {
    const Range range("sgd", RangeKind::kOp, {.bytes = 5.0 * sizeof(float) * static_cast<double>(count_)});
    const float* g = std::as_const(parameters_.gradients()).data() + begin_;
    float* v = moments_[0].values.data() + begin_;
    float* p = parameters_.values().data() + begin_;
    dispatch(parameters_.values().device(),
             [&](auto& ctx) { sgd_step(ctx, count_, params_, state.device_pointer(), g, v, p); });
  }

 private:
  SgdParams params_;
};

class Adam final : public Optimizer {
 public:
  Adam(ParameterSet& parameters, const AdamParams& params, ParameterRange range)
      : Optimizer(parameters, range, {"adam_m", "adam_v"}), params_(params) {}
  void step(const StepScalars& state) override {
    const Range range("adam", RangeKind::kOp, {.bytes = 7.0 * sizeof(float) * static_cast<double>(count_)});
    const float* g = std::as_const(parameters_.gradients()).data() + begin_;
    float* m = moments_[0].values.data() + begin_;
    float* v = moments_[1].values.data() + begin_;
    float* p = parameters_.values().data() + begin_;
    dispatch(parameters_.values().device(),
             [&](auto& ctx) { adam_step(ctx, count_, params_, state.device_pointer(), g, m, v, p); });
  }

 private:
  AdamParams params_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(ParameterSet& parameters, const SgdParams& params, ParameterRange range) {
  return std::make_unique<Sgd>(parameters, params, range);
}

std::unique_ptr<Optimizer> make_adam(ParameterSet& parameters,
                                     const AdamParams& params,
                                     ParameterRange range) {
  return std::make_unique<Adam>(parameters, params, range);
}

}  // namespace offramp
