// Ranges, who listens to them, and the op table.
#include "engine/op_profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/errors.h"
#include "engine/kernel_profile.h"
#include "engine/ops.h"
#include "engine/profiler_window.h"
#include "engine/recording.h"

namespace offramp {
namespace {

class Names final : public RangeListener {
 public:
  void begin(RangeKind kind, const char* name, const Work&) override {
    seen.push_back(std::string(kind == RangeKind::kBackward ? "d " : "") + name);
    ++open;
  }
  void end(RangeKind) override { --open; }
  std::vector<std::string> seen;
  int open = 0;
};

TEST(Ranges, EveryOpAndItsGradientIsSeenWhileSomebodyListens) {
  const Device device = Device::cpu();
  const Tensor x = Tensor::full({2, 3}, 0.5f, device);
  Names names;
  static_cast<void>(scale(x, 2.f));
  {
    const Listening listening(names);
    const Range outer("step");
    Recording rec({x});
    static_cast<void>(rec.grad(sum(multiply(x, relu(x)))));
  }
  static_cast<void>(scale(x, 2.f));
  EXPECT_EQ(names.seen,
            (std::vector<std::string>{"step", "relu", "multiply", "sum", "d sum", "d multiply", "d relu"}));
  EXPECT_EQ(names.open, 0);
}

TEST(OpProfile, CountsCallsBytesAndOperations) {
  const Device device = Device::cpu();
  const Tensor x = Tensor::full({2, 3, 5, 5}, 0.5f, device), w = Tensor::full({4, 3, 3, 3}, 0.25f, device);
  OpProfile profile(device);
  {
    const Listening listening(profile);
    for (int i = 0; i < 3; ++i) {
      Recording rec({x, w});
      static_cast<void>(rec.grad(sum(conv2d(x, w, {}, {.stride = 1, .pad = 1}))));
    }
  }
  const auto rows = profile.rows();
  const auto row = [&](const std::string& op, bool gradient) {
    const auto found = std::find_if(
        rows.begin(), rows.end(), [&](const auto& r) { return r.op == op && r.gradient == gradient; });
    EXPECT_NE(found, rows.end()) << op;
    return found == rows.end() ? OpProfile::Row{} : *found;
  };
  const double macs = 2. * 5 * 5 * 4 * 3 * 3 * 3;
  EXPECT_EQ(row("conv2d", false).calls, 3);
  EXPECT_EQ(row("conv2d", false).flops, 3 * 2 * macs);
  EXPECT_EQ(row("conv2d", false).bytes, 3 * 4. * (2 * 3 * 25 + 4 * 27 + 2 * 4 * 25));
  EXPECT_EQ(row("conv2d", true).calls, 3);
  EXPECT_EQ(row("conv2d", true).flops, 3 * 4 * macs);
  EXPECT_EQ(row("sum", true).calls, 3);
  EXPECT_TRUE(std::is_sorted(
      rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; }));
  for (const auto& r : rows) EXPECT_GE(r.seconds, 0) << r.op;
}

// Time inside an inner op is the inner op's alone.
TEST(OpProfile, TimesExcludeTheOpsInside) {
  OpProfile profile(Device::cpu());
  double inner_seconds = 0;
  {
    const Listening listening(profile);
    const Range outer("outer", RangeKind::kOp);
    const auto start = std::chrono::steady_clock::now();
    {
      const Range inner("inner", RangeKind::kOp);
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
    inner_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  const auto rows = profile.rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].op, "inner");
  EXPECT_GE(rows[0].seconds, 0.03);
  EXPECT_LE(rows[0].seconds, inner_seconds);
  EXPECT_LT(rows[1].seconds, rows[0].seconds);
}

TEST(KernelProfile, SaysWhatIsMissingOnTheCpu) {
  EXPECT_EQ(why_no_kernel_profile(Device::cpu()), "kernels are timed on cuda, the device is cpu");
  EXPECT_THROW(profile_kernels(Device::cpu(), [] {}), DeviceError);
}

TEST(ProfilerWindow, WantsStepsInOrder) {
  EXPECT_THROW(ProfilerWindow(Device::cpu(), 3, 2), ValueError);
  EXPECT_THROW(ProfilerWindow(Device::cpu(), -1, 2), ValueError);
  ProfilerWindow window(Device::cpu(), 1, 2);
  for (int step = 0; step < 4; ++step) window.before(step);
}

}  // namespace
}  // namespace offramp
