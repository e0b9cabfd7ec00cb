#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/ref/optimizer.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

// Sizes around the vector width and over several blocks, with starts that CUDA reads one by one (1) and in 16
// bytes (0), but for the tail.
struct Size {
  std::size_t n, offset;
};
constexpr Size kSizes[] = {{0, 0}, {1, 0}, {17, 1}, {17, 0}, {5003, 0}, {20011, 1}};
constexpr int kSteps = 5;

template <class B>
class Optimizer : public BackendTest<B> {};
TYPED_TEST_SUITE(Optimizer, FloatBackends, BackendNames);

// Learning rates that change, gradients of a new stream each step.
float rate_of(int step) { return 0.1f / static_cast<float>(1 + step / 2); }
std::vector<float> gradient_of(std::size_t n, int step) {
  return random_vector<float>(n, 10 + static_cast<std::uint32_t>(step));
}

TYPED_TEST(Optimizer, SgdFollowsTheFormulaOverSeveralSteps) {
  using Device = typename TypeParam::Device;
  for (const auto [n, offset] : kSizes) {
    for (const SgdParams p : {SgdParams{.momentum = 0.9f, .weight_decay = 5e-4f, .nesterov = false},
                              SgdParams{.momentum = 0.9f, .weight_decay = 0.1f, .nesterov = true},
                              SgdParams{.momentum = 0, .weight_decay = 0, .nesterov = false}}) {
      const auto start = random_vector<float>(n, 1), velocity_start = random_vector<float>(n, 2);
      Fenced<float, Device> param(start, offset), velocity(velocity_start, offset);
      std::vector<double> ref_param = to_double(start), ref_velocity = to_double(velocity_start);
      for (int step = 0; step < kSteps; ++step) {
        const auto g = gradient_of(n, step);
        const Fenced<float, Device> grad(g, offset);
        const Fenced<StepState, Device> state(
            std::vector<StepState>{{.learning_rate = rate_of(step), .step = step}});
        sgd_step(Device::context(),
                 static_cast<std::int64_t>(n),
                 p,
                 state.data(),
                 grad.data(),
                 velocity.data(),
                 param.data());
        ref::sgd_step(static_cast<std::int64_t>(n),
                      p,
                      static_cast<double>(rate_of(step)),
                      to_double(g).data(),
                      ref_velocity.data(),
                      ref_param.data());
      }
      // Per step at most four roundings of values up to the velocity, which stays below 2 * kSteps.
      const double bound = kSteps * 4 * kEps<float> / 2 * 2 * kSteps;
      EXPECT_CLOSE(velocity.values(), ref_velocity, bound) << n;
      EXPECT_CLOSE(param.values(), ref_param, bound) << n;
    }
  }
}

TYPED_TEST(Optimizer, AdamFollowsTheFormulaOverSeveralSteps) {
  using Device = typename TypeParam::Device;
  for (const auto [n, offset] : kSizes) {
    for (const AdamParams p :
         {AdamParams{}, AdamParams{.beta1 = 0.5f, .beta2 = 0.9f, .eps = 0.01f, .weight_decay = 0.1f}}) {
      const auto start = random_vector<float>(n, 1);
      Fenced<float, Device> param(start, offset), m(std::vector<float>(n, 0.f), offset),
          v(std::vector<float>(n, 0.f), offset);
      std::vector<double> ref_param = to_double(start), ref_m(n, 0.), ref_v(n, 0.);
      for (int step = 0; step < kSteps; ++step) {
        std::vector<float> g = gradient_of(n, step);
        keep_off(g, 0.f, 0.2f);  // at g = 0 the step is 0 / 0 but for eps: no float can tell
        const Fenced<float, Device> grad(g, offset);
        const Fenced<StepState, Device> state(
            std::vector<StepState>{{.learning_rate = rate_of(step), .step = step}});
        adam_step(Device::context(),
                  static_cast<std::int64_t>(n),
                  p,
                  state.data(),
                  grad.data(),
                  m.data(),
                  v.data(),
                  param.data());
        ref::adam_step(static_cast<std::int64_t>(n),
                       p,
                       static_cast<double>(rate_of(step)),
                       step + 1,
                       to_double(g).data(),
                       ref_m.data(),
                       ref_v.data(),
                       ref_param.data());
      }
      // Values are of order one (|g'| <= 1.2); a dozen roundings a step, the moments relative to their own
      // size, the step at most 0.1 * 3.
      const double bound = kSteps * 12 * kEps<float> / 2 * 1.2;
      EXPECT_CLOSE(m.values(), ref_m, bound) << n;
      EXPECT_CLOSE(v.values(), ref_v, bound) << n;
      EXPECT_CLOSE(param.values(), ref_param, 2 * bound) << n;
    }
  }
}

TYPED_TEST(Optimizer, TheFirstStepOfAdamIsTheLearningRate) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> grad(std::vector<float>{1e-3f, -5.f, 100.f});
  const Fenced<StepState, Device> state(std::vector<StepState>{{.learning_rate = 0.01f}});
  Fenced<float, Device> param(std::vector<float>(3, 1.f)), m(std::vector<float>(3, 0.f)),
      v(std::vector<float>(3, 0.f));
  adam_step(Device::context(), 3, AdamParams{}, state.data(), grad.data(), m.data(), v.data(), param.data());
  // eps is 1e-5 of the smallest gradient.
  EXPECT_CLOSE(param.values(), (std::vector<double>{0.99, 1.01, 0.99}), 0.01 * 1.1e-5 + 2 * kEps<float>);
}

TYPED_TEST(Optimizer, NothingChangesAfterANonfiniteLoss) {
  using Device = typename TypeParam::Device;
  constexpr std::size_t kCount = 37;
  const auto start = random_vector<float>(kCount, 1);
  const Fenced<float, Device> grad(random_vector<float>(kCount, 2));
  const Fenced<StepState, Device> state(
      std::vector<StepState>{{.learning_rate = 0.1f, .step = 3, .nonfinite = 1}});
  Fenced<float, Device> param(start), m(start), v(start);
  sgd_step(Device::context(),
           kCount,
           SgdParams{.weight_decay = 0.1f},
           state.data(),
           grad.data(),
           m.data(),
           param.data());
  adam_step(
      Device::context(), kCount, AdamParams{}, state.data(), grad.data(), m.data(), v.data(), param.data());
  EXPECT_SAME_BITS(param.values(), start);
  EXPECT_SAME_BITS(m.values(), start);
  EXPECT_SAME_BITS(v.values(), start);
}

TEST(OptimizerCpu, BitsDoNotDependOnTheThreadCount) {
  constexpr std::int64_t kCount = 50003;
  const auto grad = random_vector<float>(kCount, 1), start = random_vector<float>(kCount, 2);
  const StepState state{.learning_rate = 0.1f, .step = 4};
  expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
    std::vector<float> param = start, m(kCount, 0.5f), v(kCount, 0.25f);
    sgd_step(ctx, kCount, SgdParams{.nesterov = true}, &state, grad.data(), m.data(), param.data());
    adam_step(ctx, kCount, AdamParams{}, &state, grad.data(), m.data(), v.data(), param.data());
    return param;
  });
}

}  // namespace
}  // namespace offramp::test
