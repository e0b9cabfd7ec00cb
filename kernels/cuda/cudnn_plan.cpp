#include "kernels/cuda/cudnn_plan.h"

#include <algorithm>
#include <array>

namespace offramp::cuda {
namespace {

constexpr std::int64_t kAlignment = 16;  // bytes, of every tensor

cudnnDataType_t data_type(NumberType type) {
  return type == NumberType::kFloat ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

// Dimensions are always given as N, C, H, W; the channel is the fastest in memory. Virtual tensors stay in
// registers.
using Dimensions = std::array<std::int64_t, 4>;
CudnnDescriptor tensor(
    const CudnnApi& api, std::int64_t id, const Dimensions& nchw, NumberType type, bool is_virtual = false) {
  const auto [n, c, h, w] = nchw;
  CudnnDescriptor t(api, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(type));
  t.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  t.set(CUDNN_ATTR_TENSOR_DIMENSIONS, nchw);
  t.set(CUDNN_ATTR_TENSOR_STRIDES, Dimensions{h * w * c, 1, w * c, c});
  if (is_virtual) t.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
  t.finalize();
  return t;
}

CudnnDescriptor convolution(const CudnnApi& api, const Conv2dGeom& g) {
  const std::array<std::int64_t, 2> stride{g.stride, g.stride}, pad{g.pad, g.pad}, dilation{1, 1};
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  CudnnDescriptor c(api, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  c.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
  c.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  c.set_raw(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  c.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, stride);
  c.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, pad);
  c.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, pad);
  c.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, dilation);
  c.finalize();
  return c;
}

// Names of the three kinds of operation.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t convolution, image, filter, output, alpha, beta;
};
Names names_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::kBackwardInput:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvPass::kBackwardWeight:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
    case ConvPass::kForward:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
}

CudnnDescriptor pointwise(const CudnnApi& api,
                          cudnnPointwiseMode_t mode,
                          const CudnnDescriptor& x,
                          const CudnnDescriptor* b,
                          const CudnnDescriptor& y) {
  CudnnDescriptor method(api, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  method.set_raw(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
  method.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  method.finalize();
  CudnnDescriptor operation(api, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, method);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  if (b != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  operation.finalize();
  return operation;
}

// What is done to the convolution's float sums before they are rounded to the output.
struct Step {
  cudnnPointwiseMode_t mode;
  CudnnTensorId operand;  // of an addition
};
std::vector<Step> steps_of(const ConvProblem& p) {
  std::vector<Step> steps;
  if (p.bias) steps.push_back({CUDNN_POINTWISE_ADD, kBiasId});
  if (p.residual) steps.push_back({CUDNN_POINTWISE_ADD, kResidualId});
  if (p.relu) steps.push_back({CUDNN_POINTWISE_RELU_FWD, kOutputId});
  // No engine writes another type than it reads, but behind an operation any type may be written.
  if (steps.empty() && p.in != p.out) steps.push_back({CUDNN_POINTWISE_IDENTITY, kOutputId});
  return steps;
}

// The graph of the convolution and the steps behind it. Descriptors hold what they were given, so the parts
// may go.
CudnnDescriptor graph_of(const CudnnApi& api, const CudnnTarget& target, const ConvProblem& p) {
  const Conv2dGeom& g = p.g;
  const std::array<Dimensions, 3> sizes{
      {{g.n, g.c, g.h, g.w}, {g.k, g.group_c(), g.r, g.s}, {g.n, g.k, g.out_h(), g.out_w()}}};
  const CudnnTensorId ids[] = {kImageId, kFilterId, kOutputId};
  const std::size_t written = p.pass == ConvPass::kForward ? 2 : p.pass == ConvPass::kBackwardInput ? 0 : 1;
  const std::vector<Step> steps = steps_of(p);
  std::int64_t next_id = kFirstVirtualId;
  const auto sums = [&] { return tensor(api, next_id++, sizes[written], NumberType::kFloat, true); };

  const Names names = names_of(p.pass);
  const cudnnBackendAttributeName_t places[] = {names.image, names.filter, names.output};
  CudnnDescriptor operation(api, names.operation);
  operation.set(names.convolution, convolution(api, g));
  for (std::size_t i = 0; i < 3; ++i) {
    if (i != written) operation.set(places[i], tensor(api, ids[i], sizes[i], p.in));
  }
  const auto result = [&] { return tensor(api, ids[written], sizes[written], p.out); };
  CudnnDescriptor last = steps.empty() ? result() : sums();
  operation.set(places[written], last);
  operation.set(names.alpha, 1.f);
  operation.set(names.beta, p.adds ? 1.f : 0.f);
  operation.finalize();

  std::vector<CudnnDescriptor> operations;
  operations.push_back(std::move(operation));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    CudnnDescriptor to = i + 1 == steps.size() ? result() : sums();
    if (steps[i].mode == CUDNN_POINTWISE_ADD) {
      const CudnnDescriptor operand = steps[i].operand == kBiasId
                                          ? tensor(api, kBiasId, {1, g.k, 1, 1}, NumberType::kFloat)
                                          : tensor(api, kResidualId, sizes[written], p.out);
      operations.push_back(pointwise(api, steps[i].mode, last, &operand, to));
    } else {
      operations.push_back(pointwise(api, steps[i].mode, last, nullptr, to));
    }
    last = std::move(to);
  }
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const CudnnDescriptor& o : operations) raw.push_back(o.get());

  CudnnDescriptor graph(api, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (target.handle != nullptr) {
    graph.set_raw(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &target.handle);
  }
  graph.set_raw(CUDNN_ATTR_OPERATIONGRAPH_OPS,
                CUDNN_TYPE_BACKEND_DESCRIPTOR,
                static_cast<std::int64_t>(raw.size()),
                raw.data());
  graph.finalize();
  return graph;
}

std::vector<CudnnDescriptor> engine_configs(const CudnnApi& api,
                                            const CudnnTarget& target,
                                            const CudnnDescriptor& graph,
                                            cudnnBackendHeurMode_t mode) {
  CudnnDescriptor heuristics(api, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set_raw(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  if (target.described != nullptr) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.described);
  if (!heuristics.try_finalize()) return {};  // no engine supports the operation
  const std::int64_t count =
      heuristics.get_raw(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
  return heuristics.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, count);
}

bool allowed(const CudnnDescriptor& engine, const ConvProblem& p) {
  std::array<cudnnBackendNumericalNote_t, 64> notes{};
  const std::int64_t count = engine.get_raw(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                            CUDNN_TYPE_NUMERICAL_NOTE,
                                            static_cast<std::int64_t>(notes.size()),
                                            notes.data());
  const bool exact_float = p.in == NumberType::kFloat && !p.tf32;
  return std::none_of(notes.begin(), notes.begin() + count, [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
        return true;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        return exact_float;
      default:
        return false;
    }
  });
}

CudnnDescriptor engine_of(const CudnnApi& api, const CudnnDescriptor& config) {
  CudnnDescriptor engine(api, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.get();
  config.get_raw(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
  return engine;
}

std::string name_of(const CudnnDescriptor& engine, const CudnnDescriptor& config) {
  std::string name = std::to_string(engine.get_int64(CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
  for (const CudnnDescriptor& knob : config.get_descriptors(
           CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS)) {
    cudnnBackendKnobType_t type{};
    knob.get_raw(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type);
    name += " " + std::to_string(static_cast<int>(type)) + "=" +
            std::to_string(knob.get_int64(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE));
  }
  return name;
}

}  // namespace

void for_each_cudnn_plan(const CudnnApi& api,
                         const CudnnTarget& target,
                         const ConvProblem& problem,
                         std::int64_t workspace_limit,
                         const std::function<bool(CudnnPlan&&)>& take) {
  const CudnnDescriptor graph = graph_of(api, target, problem);
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (const CudnnDescriptor& config : engine_configs(api, target, graph, mode)) {
      const CudnnDescriptor engine = engine_of(api, config);
      if (!allowed(engine, problem)) continue;
      CudnnDescriptor plan(api, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      if (target.handle != nullptr) {
        plan.set_raw(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &target.handle);
      }
      if (target.described != nullptr) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.described);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (!plan.try_finalize()) continue;
      const std::int64_t workspace = plan.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
      if (workspace > workspace_limit) continue;
      if (!take({std::move(plan), workspace, name_of(engine, config)})) return;
    }
  }
}

}  // namespace offramp::cuda
