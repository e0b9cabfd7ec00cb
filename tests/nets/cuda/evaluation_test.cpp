// Evaluation and early exit on the CUDA device beside the CPU.
#include "nets/exits/evaluation.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/ops.h"
#include "nets/exits/early_exit.h"
#include "tests/nets/cuda/device_nets.h"

namespace offramp::nets {
namespace {

using test::MemorySource;
using test::TwinNets;

class CudaEvaluation : public test::OnCuda, public ::testing::WithParamInterface<const char*> {};

TEST_P(CudaEvaluation, OutputsOfEveryExitEqualTheCpu) {
  const NetOptions options = test::tiny_options(GetParam());
  TwinNets nets(options, 7);
  MemorySource on_cpu(nets.cpu.input(), options.classes, 6, 4, 9);
  MemorySource on_cuda(nets.cpu.input(), options.classes, 6, 4, 9, Device::cuda());
  const ExitOutputs a = exit_outputs(nets.cpu, on_cpu), b = exit_outputs(nets.cuda, on_cuda);
  const double bound = test::pass_bound(nets.cpu.architecture(), 4, 1);
  EXPECT_LE(test::relative_distance(b.probabilities, a.probabilities), bound);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.predicted, b.predicted);
}

// The thresholds lie halfway between two confidences of the batch, so that roundings move nobody.
TEST_P(CudaEvaluation, EarlyExitStopsTheSameSamples) {
  const NetOptions options = test::tiny_options(GetParam());
  TwinNets nets(options, 7);
  constexpr int kSamples = 6;
  const Tensor x = test::pixels(nets.cpu.input(), kSamples, 5);
  ExitPolicy policy;
  for (const Tensor& logits : nets.cpu.forward(x)) {
    std::vector<float> c = confidence(logits).to_host<float>();
    std::sort(c.begin(), c.end());
    policy.thresholds.push_back((double{c[kSamples - 3]} + double{c[kSamples - 2]}) / 2);
  }
  policy.thresholds.pop_back();
  const EarlyExitResult a = infer(nets.cpu, policy, x);
  std::vector<int> sizes;
  const EarlyExitResult b =
      infer(nets.cuda, policy, x.to(Device::cuda()), [&](int, int samples) { sizes.push_back(samples); });
  EXPECT_EQ(a.exit, b.exit);
  EXPECT_EQ(a.answered, b.answered);
  EXPECT_EQ(a.label, b.label);
  EXPECT_LT(sizes.back(), kSamples) << "nobody left before the last exit";
  EXPECT_LE(test::relative_distance(b.probabilities, a.probabilities),
            test::pass_bound(nets.cpu.architecture(), kSamples, 1));
}

INSTANTIATE_TEST_SUITE_P(Nets,
                         CudaEvaluation,
                         ::testing::Values("resnet-8", "small-cnn", "fcn-18-1"),
                         [](const auto& test_info) {
                           std::string name = test_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace offramp::nets
