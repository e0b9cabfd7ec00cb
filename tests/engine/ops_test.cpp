// Generic checks over the op table: what must hold for every op, whatever it computes. (That the kernels
// compute the right thing is the business of tests/kernels, against double references.)
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/recording.h"
#include "tests/engine/devices.h"
#include "tests/engine/op_table.h"
#include "tests/support/close.h"
#include "tests/support/random.h"

namespace offramp::test {
namespace {

std::vector<float> values_for(const OpInput& input, std::uint32_t stream) {
  const auto n = static_cast<std::size_t>(input.shape.size());
  std::vector<float> v = random_vector<float>(n, stream);
  if (input.values == Values::kOffZero) keep_off(v, 0.f, 1.f / 16);
  if (input.values == Values::kDistinct) {
    // A shuffled grid with steps of 1/16.
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return v[a] < v[b]; });
    for (std::size_t i = 0; i < n; ++i) {
      v[order[i]] = (static_cast<float>(i) - static_cast<float>(n) / 2) / 16;
    }
  }
  if (input.values == Values::kProbability) {
    const auto cols = static_cast<std::size_t>(input.shape.c());
    for (std::size_t row = 0; row < n / cols; ++row) {
      float sum = 0;
      for (std::size_t c = 0; c < cols; ++c) sum += v[row * cols + c] = std::exp(2 * v[row * cols + c]);
      for (std::size_t c = 0; c < cols; ++c) v[row * cols + c] /= sum;
    }
  }
  return v;
}

std::vector<std::vector<float>> values_for(const OpCase& op) {
  std::vector<std::vector<float>> all;
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    all.push_back(values_for(op.inputs[i], static_cast<std::uint32_t>(100 + i)));
  }
  return all;
}

std::vector<Tensor> upload(const OpCase& op,
                           const std::vector<std::vector<float>>& values,
                           const Device& device) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < values.size(); ++i) {
    tensors.push_back(Tensor::from<float>(op.inputs[i].shape, values[i], device));
  }
  return tensors;
}

std::vector<float> cotangent_for(const Tensor& y) {
  return random_vector<float>(static_cast<std::size_t>(y.size()), 77);
}

// Gradients of sum(cotangent * op(inputs)) for the inputs whose bit is set in `wanted`; empty vectors for the
// others.
std::vector<std::vector<float>> gradients(const OpCase& op, std::span<const Tensor> inputs, unsigned wanted) {
  std::vector<Target> targets;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (wanted >> i & 1u) targets.push_back({inputs[i], {}});
  }
  Recording rec(targets);
  const Tensor y = op.run(inputs);
  const GradMap g = rec.grad(y, Tensor::from<float>(y.shape(), cotangent_for(y), y.device()));
  std::vector<std::vector<float>> result(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (wanted >> i & 1u) result[i] = g[inputs[i]].to_host<float>();
  }
  return result;
}

unsigned all_inputs(const OpCase& op) {
  unsigned mask = 0;
  for (std::size_t i = 0; i < op.inputs.size(); ++i)
    mask |= static_cast<unsigned>(op.inputs[i].differentiate) << i;
  return mask;
}

class EveryOp : public ::testing::TestWithParam<std::tuple<std::string, std::size_t>> {
 protected:
  void SetUp() override {
    const std::string& name = std::get<0>(GetParam());
    if (const std::string why = device_missing(name); !why.empty()) GTEST_SKIP() << why;
    device_ = std::make_unique<Device>(device_named(name));
  }
  const OpCase& op() const { return op_table()[std::get<1>(GetParam())]; }
  const Device& device() const { return *device_; }

 private:
  std::unique_ptr<Device> device_;
};

// Along the sign of the analytic gradient the derivative is the sum of its absolute values, so it cannot
// vanish by chance. Error of the difference quotient: truncation, estimated by halving the step, and float
// rounding of y over the step.
TEST_P(EveryOp, GradientMatchesTheDifferenceQuotient) {
  const auto values = values_for(op());
  const auto inputs = upload(op(), values, device());
  const auto analytic = gradients(op(), inputs, all_inputs(op()));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!op().inputs[i].differentiate) continue;
    const auto flip = random_vector<float>(values[i].size(), 55);
    std::vector<double> direction(values[i].size());
    double expected = 0;
    for (std::size_t k = 0; k < direction.size(); ++k) {
      const double g = static_cast<double>(analytic[i][k]);
      direction[k] = g != 0 ? std::copysign(1., g) : std::copysign(1., static_cast<double>(flip[k]));
      expected += std::fabs(g);
    }
    double magnitude = 0;  // sum |u| |y|, what rounding is relative to
    const auto value_at = [&](double h) {
      auto moved = values;
      for (std::size_t k = 0; k < direction.size(); ++k) {
        moved[i][k] = static_cast<float>(static_cast<double>(values[i][k]) + h * direction[k]);
      }
      const Tensor y = op().run(upload(op(), moved, device()));
      const auto out = y.to_host<float>(), u = cotangent_for(y);
      double f = 0;
      magnitude = 0;
      for (std::size_t k = 0; k < out.size(); ++k) {
        f += static_cast<double>(u[k]) * static_cast<double>(out[k]);
        magnitude += std::fabs(static_cast<double>(u[k]) * static_cast<double>(out[k]));
      }
      return f;
    };
    const double h = 0x1p-7;
    const double coarse = (value_at(h) - value_at(-h)) / (2 * h);
    const double fine = (value_at(h / 2) - value_at(-h / 2)) / h;
    const double bound = std::fabs(coarse - fine) + 16 * kEps<float> * magnitude / h;
    EXPECT_NEAR(expected, (4 * fine - coarse) / 3, bound)
        << op().name << ", input " << i << ", seed " << kSeed;
    EXPECT_LT(bound, expected / 4) << op().name << ", input " << i << ": the check is blind";
  }
}

TEST_P(EveryOp, EachGradientAloneHasTheSameBits) {
  const auto inputs = upload(op(), values_for(op()), device());
  const auto together = gradients(op(), inputs, all_inputs(op()));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!op().inputs[i].differentiate) continue;
    EXPECT_SAME_BITS(gradients(op(), inputs, 1u << i)[i], together[i]) << op().name << ", input " << i;
  }
}

// One tensor that feeds the op three times: the gradients add up. Three times a float is exact up to one
// rounding of each addition.
TEST_P(EveryOp, ATensorUsedThreeTimesCollectsThreeGradients) {
  const auto inputs = upload(op(), values_for(op()), device());
  const auto once = gradients(op(), inputs, all_inputs(op()));
  OpCase thrice = op();
  thrice.run = [&](std::span<const Tensor> in) {
    const Tensor a = op().run(in), b = op().run(in), c = op().run(in);
    return add(add(a, b), c);
  };
  const auto collected = gradients(thrice, inputs, all_inputs(op()));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!op().inputs[i].differentiate) continue;
    std::vector<double> expected, bound;
    double largest = 0;
    for (const float g : once[i]) largest = std::max(largest, std::fabs(static_cast<double>(g)));
    for (const float g : once[i]) {
      expected.push_back(3 * static_cast<double>(g));
      // Sums inside the op (over a batch, say) may be continued in another order when they accumulate.
      bound.push_back(sum_bound(static_cast<double>(inputs[0].size()), 3 * largest));
    }
    EXPECT_CLOSE(collected[i], expected, bound) << op().name << ", input " << i;
  }
}

TEST_P(EveryOp, NothingIsRecordedThatNobodyAskedFor) {
  const auto inputs = upload(op(), values_for(op()), device());
  const Tensor other = Tensor::zeros({1}, device());
  Recording rec({other});
  op().run(inputs);
  EXPECT_EQ(rec.nodes(), 0u);
  std::vector<Target> targets;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (op().inputs[i].differentiate) targets.push_back({inputs[i], {}});
  }
  Recording asked(targets);
  {
    const NoGrad quiet;
    op().run(inputs);
    EXPECT_EQ(asked.nodes(), 0u);
  }
  op().run(inputs);
  EXPECT_GT(asked.nodes(), 0u);
}

TEST_P(EveryOp, TwoRunsAndAnotherThreadCountGiveTheSameBits) {
  const auto values = values_for(op());
  const Device single =  // on CUDA there is one way only
      device().kind() == DeviceKind::kCpu
          ? Device::make_cpu({.threads = 1, .conv = device().cpu_context().conv_backend()})
          : device();
  const auto here = upload(op(), values, device()), there = upload(op(), values, single);
  EXPECT_SAME_BITS(op().run(here).to_nchw(), op().run(here).to_nchw());
  EXPECT_SAME_BITS(op().run(here).to_nchw(), op().run(there).to_nchw());
  const auto a = gradients(op(), here, all_inputs(op())), b = gradients(op(), there, all_inputs(op()));
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_SAME_BITS(a[i], b[i]) << op().name << ", input " << i;
}

class EveryBFloat16Op : public EveryOp {};

// What an op makes of inputs that hold bfloat16 numbers: its output and all gradients, as float32.
struct Results {
  std::vector<std::vector<float>> values;
  std::vector<std::string> names;
};
Results results_of(const OpCase& op, const std::vector<Tensor>& inputs) {
  std::vector<Target> targets;
  for (const Tensor& t : inputs) targets.push_back({t, {}});
  Recording rec(targets);
  Tensor y = op.run(inputs);
  if (y.dtype() == DType::kBFloat16) y = convert(y, DType::kFloat32);
  const GradMap g = rec.grad(y, Tensor::from<float>(y.shape(), cotangent_for(y), y.device()));
  Results all{{y.to_nchw()}, {"output"}};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_EQ(g[inputs[i]].dtype(), inputs[i].dtype()) << "gradient " << i;
    all.values.push_back(g[inputs[i]].to_nchw());
    all.names.push_back("gradient " + std::to_string(i));
  }
  return all;
}

double norm(const std::vector<float>& values) {
  double squares = 0;
  for (const float v : values) squares += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(squares);
}

// In bfloat16 the gradient of an activation has the activation's type, and parameters' gradients stay
// float32. Values are those of float32 with the same inputs, but for roundings: of the cotangent, a filter, what
// is between and the result, each by at most half a step of bfloat16, and of one sign as often as of the other,
// so that in the Euclidean norm they add up to at most four half steps of the result.
TEST_P(EveryBFloat16Op, HasTheTypesOfItsInputsAndTheValuesOfFloat32) {
  auto plain = upload(op(), values_for(op()), device()), mixed = plain;
  const Shape activation = plain[0].shape();
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const Shape& shape = plain[i].shape();
    if (shape.rank() == 4 && shape.n() == activation.n() && shape.h() == activation.h()) {
      mixed[i] = convert(plain[i], DType::kBFloat16);
      plain[i] = convert(mixed[i], DType::kFloat32);
    }
  }
  const Results got = results_of(op(), mixed), expected = results_of(op(), plain);
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    std::vector<float> off = got.values[i];
    ASSERT_EQ(off.size(), expected.values[i].size());
    for (std::size_t k = 0; k < off.size(); ++k) off[k] -= expected.values[i][k];
    EXPECT_LE(norm(off), 4 * kEps<bf16> / 2 * norm(expected.values[i]))
        << op().name << ", " << expected.names[i];
  }
}

using OpParam = std::tuple<std::string, std::size_t>;

std::vector<OpParam> cases(bool bf16_only) {
  std::vector<OpParam> all;
  for (const std::string& device : device_names()) {
    for (std::size_t i = 0; i < op_table().size(); ++i) {
      if (!bf16_only || op_table()[i].bf16) all.emplace_back(device, i);
    }
  }
  return all;
}

std::string case_name(const ::testing::TestParamInfo<OpParam>& item) {
  return std::get<0>(item.param) + "_" + op_table()[std::get<1>(item.param)].name;
}

INSTANTIATE_TEST_SUITE_P(Ops, EveryOp, ::testing::ValuesIn(cases(false)), case_name);
INSTANTIATE_TEST_SUITE_P(Ops, EveryBFloat16Op, ::testing::ValuesIn(cases(true)), case_name);

}  // namespace
}  // namespace offramp::test
