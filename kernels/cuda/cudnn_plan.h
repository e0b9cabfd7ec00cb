#pragma once
// cuDNN's engines for one convolution, as execution plans. Tensors are NHWC, filters KRSC, sums float.
// Engines that do not give the same bits twice, that reduce in less than float or (without TF32) round float
// inputs are left out, and so are transforms (FFT, Winograd), whose errors are larger than those of the sum
// itself.
#include <functional>
#include <string>

#include "kernels/cuda/conv_problem.h"
#include "kernels/cuda/cudnn_api.h"

namespace offramp::cuda {

// For which device plans are made: that of a handle, or one that is described and need not be there (then
// plans can be looked at but not run).
struct CudnnTarget {
  cudnnHandle_t handle = nullptr;
  const CudnnDescriptor* described = nullptr;
};

// Ids of a plan's tensors in the variant pack: x or dx, w or dw, y or dy, ...
enum CudnnTensorId : std::int64_t {
  kImageId = 1,
  kFilterId,
  kOutputId,
  kBiasId,
  kResidualId,
  kFirstVirtualId
};

struct CudnnPlan {
  CudnnDescriptor plan;
  std::int64_t workspace_bytes = 0;
  std::string name;  // engine and knobs: "37 2=11 14=3" (types of knobs and values); the same for the same
                     // library and device
};

// Makes the plans that are allowed in the order of cuDNN's heuristics (mode A, then its fallbacks), and gives
// each to `take` until that returns false. Plans that need more workspace than the limit are left out.
void for_each_cudnn_plan(const CudnnApi& api,
                         const CudnnTarget& target,
                         const ConvProblem& problem,
                         std::int64_t workspace_limit,
                         const std::function<bool(CudnnPlan&&)>& take);

}  // namespace offramp::cuda
