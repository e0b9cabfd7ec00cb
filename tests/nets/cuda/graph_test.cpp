// A net of several maps (tests/nets/graph/graphs.h) on a CUDA device: against the CPU, and captured against eager.
#include <algorithm>

#include "engine/ops.h"
#include "nets/exits/captured_inference.h"
#include "tests/nets/cuda/device_nets.h"
#include "tests/nets/graph/graphs.h"

namespace offramp::nets {
namespace {

class CudaGraph : public test::OnCuda {};

TEST_F(CudaGraph, CapturedEarlyExitOfSeveralMapsIsThatOfEagerAndNearTheCpu) {
  const Architecture arch = test::small_msdnet();
  Network cpu(arch, Device::cpu()), net(arch, Device::cuda());
  initialize(cpu, 7);
  initialize(net, 7);
  const Tensor all = test::pixels(net.input(), 4, 5);
  const std::vector<Tensor> on_cpu = std::as_const(cpu).forward(all),
                            logits = std::as_const(net).forward(all.to(Device::cuda()));
  ExitPolicy policy;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    EXPECT_LE(test::relative_distance(logits[e].to_host<float>(), on_cpu[e].to_host<float>()),
              test::pass_bound(arch, 4, 1));
    std::vector<float> c = confidence(logits[e]).to_host<float>();
    std::sort(c.begin(), c.end());
    policy.thresholds.push_back(static_cast<double>(c[1]));  // the two surest of four leave
  }
  policy.thresholds.pop_back();
  policy.rule = ExitRule::kAbove;
  policy.thresholds[0] = 1.0;  // nobody leaves at the first exit: every map goes on
  CapturedInference captured(net, policy, 4);
  for (int round = 0; round < 3; ++round) {
    for (const int n : {4, 3}) {
      SCOPED_TRACE("n " + std::to_string(n) + " round " + std::to_string(round));
      const Tensor x = test::pixels(net.input(), n, 5).to(Device::cuda());
      const EarlyExitResult a = infer(net, policy, x), b = captured.infer(x);
      EXPECT_EQ(a.exit, b.exit);
      EXPECT_EQ(a.label, b.label);
      EXPECT_EQ(a.confidence, b.confidence);
      EXPECT_EQ(a.probabilities, b.probabilities);
      if (n == 4) {
        EXPECT_GT(*std::max_element(a.exit.begin(), a.exit.end()), 2) << "all left before the last exit";
      }
    }
  }
}

}  // namespace
}  // namespace offramp::nets
