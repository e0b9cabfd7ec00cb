// Parameters that are rounded to bf16 all at once: the convolutions that read them so give the bits of those
// that round for themselves, and whoever writes to the parameters ends it.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/cuda/memory.h"
#include "kernels/optimizer.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/support/backends.h"
#include "tests/support/random.h"

namespace offramp::test {
namespace {

const Conv2dGeom kGeom{2, 5, 6, 8, 16, 3, 3, 1, 1, 1};
constexpr std::int64_t kBefore = 32;  // floats of other parameters in front of the filters

class RoundedParameters : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = CudaDevice::missing(); !why.empty()) GTEST_SKIP() << why;
    ctx = std::make_unique<cuda::Context>(cuda::ContextOptions{.conv = cuda::ConvBackend::kNative});
    count = kBefore + kGeom.w_size();
    values = random_vector(static_cast<std::size_t>(count), 1);
    parameters = static_cast<float*>(cuda::allocate(*ctx, bytes(), "parameters"));
    x = static_cast<bf16*>(cuda::allocate(*ctx, static_cast<std::size_t>(kGeom.x_size()) * 2, "x"));
    y = static_cast<bf16*>(cuda::allocate(*ctx, static_cast<std::size_t>(kGeom.y_size()) * 2, "y"));
    const auto image = random_vector<bf16>(static_cast<std::size_t>(kGeom.x_size()), 2);
    cuda::upload(*ctx, parameters, values.data(), bytes());
    cuda::upload(*ctx, x, image.data(), image.size() * 2);
  }
  void TearDown() override {
    if (ctx == nullptr) return;
    for (void* block : {static_cast<void*>(parameters), static_cast<void*>(x), static_cast<void*>(y)}) {
      cuda::release(*ctx, block);
    }
  }
  std::size_t bytes() const { return static_cast<std::size_t>(count) * sizeof(float); }
  const float* filters() const { return parameters + kBefore; }
  bool is_rounded() const { return ctx->rounded(filters(), kGeom.w_size()) != nullptr; }
  void run() { cuda::conv2d_forward(*ctx, kGeom, x, filters(), static_cast<const float*>(nullptr), y); }
  std::vector<std::uint16_t> forward() {
    run();
    std::vector<std::uint16_t> out(static_cast<std::size_t>(kGeom.y_size()));
    cuda::download(*ctx, out.data(), y, out.size() * 2);
    return out;
  }

  std::unique_ptr<cuda::Context> ctx;
  std::int64_t count = 0;
  std::vector<float> values;
  float* parameters = nullptr;
  bf16 *x = nullptr, *y = nullptr;
};

TEST_F(RoundedParameters, GiveTheSameBits) {
  const auto each = forward();
  EXPECT_FALSE(is_rounded());
  ctx->round_parameters(count, parameters);
  ASSERT_TRUE(is_rounded());
  EXPECT_EQ(ctx->rounded(parameters + 1, count), nullptr) << "a value more than there is";
  EXPECT_EQ(forward(), each);
}

TEST_F(RoundedParameters, AreForgottenWhenTheParametersAreWritten) {
  const StepState host_state{};
  DeviceArray<StepState> state(std::vector<StepState>{host_state});
  DeviceArray<float> gradient(values), m(values), v(values);
  const std::vector<std::pair<const char*, std::function<void()>>> writers{
      {"upload", [&] { cuda::upload(*ctx, parameters + count - 1, values.data(), 4); }},
      {"copy", [&] { cuda::copy(*ctx, parameters, gradient.data(), 4); }},
      {"set_zero", [&] { cuda::set_zero(*ctx, parameters, bytes()); }},
      {"sgd_step",
       [&] { cuda::sgd_step(*ctx, count, {}, state.data(), gradient.data(), v.data(), parameters); }},
      {"adam_step",
       [&] {
         cuda::adam_step(*ctx, count, {}, state.data(), gradient.data(), m.data(), v.data(), parameters);
       }},
      {"release", [&] {
         cuda::release(*ctx, parameters);
         parameters = static_cast<float*>(cuda::allocate(*ctx, bytes(), "parameters"));
         cuda::upload(*ctx, parameters, values.data(), bytes());
       }}};
  for (const auto& [name, write] : writers) {
    SCOPED_TRACE(name);
    ctx->round_parameters(count, parameters);
    cuda::copy(*ctx, x, x + 8, 16);  // elsewhere
    ASSERT_TRUE(is_rounded());
    write();
    EXPECT_FALSE(is_rounded());
  }
}

TEST_F(RoundedParameters, OfARecordedStepAreItsOwn) {
  ctx->round_parameters(count, parameters);
  run();  // the kernels are loaded, scratch is there
  cuda::begin_capture(ctx->stream());
  EXPECT_FALSE(is_rounded()) << "rounded outside";
  ctx->round_parameters(count, parameters);
  EXPECT_TRUE(is_rounded());
  run();
  const cuda::GraphExec graph = cuda::end_capture(ctx->stream());
  EXPECT_FALSE(is_rounded()) << "recorded, not run";
  EXPECT_EQ(cuda::graph_nodes(graph), 2u) << "one rounding, one convolution";

  for (float& value : values) value = -2 * value;
  cuda::upload(*ctx, parameters, values.data(), bytes());
  const auto expected = forward();
  ctx->round_parameters(count, parameters);
  cuda::upload(*ctx, y, expected.data(), 2);
  cuda::launch_graph(graph, ctx->stream());  // rounds what is there now
  std::vector<std::uint16_t> replayed(expected.size());
  cuda::download(*ctx, replayed.data(), y, replayed.size() * 2);
  EXPECT_EQ(replayed, expected);
  EXPECT_TRUE(is_rounded()) << "the eager copy is another";
  cuda::destroy_graph(graph);
}

}  // namespace
}  // namespace offramp::test
