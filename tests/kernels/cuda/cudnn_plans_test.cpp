// The real cuDNN without a GPU: it makes plans for a device that is only described. So its words (attributes,
// types, which graphs it accepts) are tested where no kernel can run. Engines that compile at run time need a
// driver and are not seen here.
#include <gtest/gtest.h>

#include <set>

#include "base/errors.h"
#include "kernels/cuda/cudnn_plan.h"

namespace offramp::test {
namespace {

using cuda::ConvPass;
using cuda::ConvProblem;
using cuda::NumberType;

// An H200 in the words of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION.
constexpr const char* kDevice =
    R"({"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
  "regsPerBlock": 65536, "multiProcessorCount": 132, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
  "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
  "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 9013, "isTccDriver": 0,
  "supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000, "l2CacheSize": 62914560,
  "deviceName": "NVIDIA H200", "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0,
  "totalGlobalMem": 150754820096})";

class CudnnPlans : public ::testing::Test {
 protected:
  void SetUp() override {
    const cuda::CudnnApi& api = cuda::cudnn_api();
    if (!api.library.is_open()) GTEST_SKIP() << api.library.problem();
    if (api.get_version() < 91000) GTEST_SKIP() << "cuDNN before 9.10 may not know described devices";
  }
  static std::vector<std::string> names(const ConvProblem& problem, std::size_t most = 100) {
    const cuda::CudnnApi& api = cuda::cudnn_api();
    cuda::CudnnDescriptor device(api, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    const std::string text = kDevice;
    device.set_raw(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                   CUDNN_TYPE_CHAR,
                   static_cast<std::int64_t>(text.size()),
                   text.data());
    device.finalize();
    std::vector<std::string> all;
    cuda::for_each_cudnn_plan(
        api, {.described = &device}, problem, std::int64_t{1} << 30, [&](cuda::CudnnPlan&& plan) {
          EXPECT_GE(plan.workspace_bytes, 0);
          all.push_back(plan.name);
          return all.size() < most;
        });
    return all;
  }
};

// Layers of our nets: the image layer, bodies, strides, shortcuts, pointwise.
const Conv2dGeom kLayers[] = {{128, 32, 32, 3, 16, 3, 3, 1, 1, 1},
                              {128, 32, 32, 16, 16, 3, 3, 1, 1, 1},
                              {128, 32, 32, 16, 32, 3, 3, 2, 1, 1},
                              {128, 32, 32, 16, 32, 1, 1, 2, 0, 1},
                              {128, 2, 2, 512, 512, 3, 3, 1, 1, 1},
                              {128, 16, 16, 64, 128, 1, 1, 1, 0, 1},
                              {1, 8, 8, 64, 64, 3, 3, 1, 1, 1}};

TEST_F(CudnnPlans, EveryLayerHasDeterministicPlansInFloatAndBf16) {
  for (const Conv2dGeom& g : kLayers) {
    for (const ConvPass pass : {ConvPass::kForward, ConvPass::kBackwardInput, ConvPass::kBackwardWeight}) {
      for (const NumberType type : {NumberType::kFloat, NumberType::kBf16}) {
        for (const bool adds : {false, true}) {
          const ConvProblem problem{.pass = pass, .g = g, .in = type, .out = type, .adds = adds};
          EXPECT_FALSE(names(problem, 1).empty())
              << g.c << " to " << g.k << ", pass " << static_cast<int>(pass);
        }
      }
    }
  }
}

TEST_F(CudnnPlans, TheListIsTheSameEveryTimeAndItsNamesDiffer) {
  const ConvProblem problem{.g = kLayers[1], .in = NumberType::kBf16, .out = NumberType::kBf16};
  const std::vector<std::string> first = names(problem);
  EXPECT_GT(first.size(), 3u);
  EXPECT_EQ(names(problem), first);
  EXPECT_EQ(std::set<std::string>(first.begin(), first.end()).size(), first.size());
}

TEST_F(CudnnPlans, Tf32BringsMorePlans) {
  ConvProblem problem{.g = kLayers[4]};
  const std::size_t exact = names(problem).size();
  problem.tf32 = true;
  EXPECT_GT(names(problem).size(), exact);
}

// Accepted as graphs; whether a plan can be made is seen with a driver only.
TEST_F(CudnnPlans, GraphsWithAnEpilogueAreAccepted) {
  ConvProblem problem{.g = kLayers[1], .in = NumberType::kBf16, .out = NumberType::kBf16};
  for (const bool residual : {false, true}) {
    problem.bias = problem.relu = true;
    problem.residual = residual;
    EXPECT_NO_THROW(names(problem, 1));
  }
  EXPECT_NO_THROW(names({.pass = ConvPass::kBackwardWeight, .g = kLayers[1], .in = NumberType::kBf16}, 1));
}

TEST_F(CudnnPlans, AWrongDescriptorIsNamed) {
  cuda::CudnnDescriptor tensor(cuda::cudnn_api(), CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  try {
    tensor.finalize();
    ADD_FAILURE() << "expected a DeviceError";
  } catch (const DeviceError& error) {
    EXPECT_EQ(std::string(error.what()).rfind("cudnn: cudnnBackendFinalize: CUDNN_STATUS_BAD_PARAM", 0), 0u)
        << error.what();
  }
}

}  // namespace
}  // namespace offramp::test
