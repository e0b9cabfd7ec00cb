// State dicts of PyTorch modules (tests/fixtures/make_pytorch_fixtures.py) give PyTorch's logits, loss and
// gradients.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/recording.h"
#include "nets/graph/state_dict.h"
#include "tests/nets/nets.h"

namespace offramp::nets {
namespace {

template <class T>
std::vector<T> values_of(const safetensors::Reader& file, const std::string& name) {
  const auto bytes = file.bytes(name);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

double norm(const std::vector<float>& values) {
  double squares = 0;
  for (const float v : values) squares += std::pow(static_cast<double>(v), 2);
  return std::sqrt(squares);
}

// Norm of the difference over the norm of the reference.
double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double error = 0;
  for (std::size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    error += std::pow(static_cast<double>(got[i]) - static_cast<double>(want[i]), 2);
  }
  return std::sqrt(error) / std::max(norm(want), 1e-30);
}

// The promise for logits (docs: networks). Loss and gradients pass through two more reductions and every
// layer twice.
constexpr double kLogits = 1e-5, kGradients = 1e-4;

class PyTorch : public ::testing::TestWithParam<const char*> {
 protected:
  PyTorch()
      : file_(std::string(OFFRAMP_SOURCE_DIR) + "/tests/fixtures/pytorch_" + GetParam() + ".safetensors"),
        net_(options_from_metadata(file_.metadata()), Device::cpu()),
        report_(load_state_dict(net_, file_, Strictness::kPartial)) {
    const auto bytes = values_of<std::uint8_t>(file_, "fixture.pixels");
    std::vector<float> pixels;
    for (const std::uint8_t b : bytes) pixels.push_back(static_cast<float>(b) / 255.f);
    x_ = Tensor::from_nchw({3, 3, 32, 32}, pixels, Device::cpu());
    labels_ =
        Tensor::from<std::int32_t>({3}, values_of<std::int32_t>(file_, "fixture.labels"), Device::cpu());
  }

  // Gradients of 0.2 * internal losses + the last one, in `mode` "eval" or "train".
  void expect_gradients(const std::string& mode) {
    ParameterSet& parameters = net_.parameters();
    Recording recording(parameters.targets());
    const std::vector<Tensor> logits =
        mode == "train" ? net_.forward(x_, TrainPass{}) : std::as_const(net_).forward(x_);
    std::vector<float> weights(logits.size(), 0.2f);
    weights.back() = 1;
    MultiExitTargets targets;
    targets.labels = labels_;
    targets.exit_weight =
        Tensor::from<float>({static_cast<std::int64_t>(weights.size())}, weights, Device::cpu());
    const Tensor loss = multi_exit_loss(logits, targets).loss;
    static_cast<void>(recording.grad(loss));
    const std::string prefix = "fixture." + mode + ".";
    EXPECT_LT(relative_error(loss.to_host<float>(), values_of<float>(file_, prefix + "loss")), kLogits);
    struct Compared {
      std::string name;
      double error, size;
    };
    std::vector<Compared> compared;
    double largest = 0;
    for (const ParameterSet::Entry& entry : parameters.entries()) {
      if (!entry.trainable || !file_.find(prefix + "grad." + entry.info.name)) continue;
      const auto want = values_of<float>(file_, prefix + "grad." + entry.info.name);
      const auto got = to_disk_order(entry.info, entry.value.shape(), entry.gradient.to_host<float>());
      const double size = norm(want);
      compared.push_back({entry.info.name, relative_error(got, want) * size, size});
      largest = std::max(largest, size);
    }
    // A weight whose scale a batch norm takes out again has gradient zero but for eps: it is measured against
    // the largest gradient.
    for (const Compared& c : compared)
      EXPECT_LT(c.error, kGradients * std::max(c.size, 0.01 * largest)) << c.name;
    EXPECT_GT(compared.size(), 20U);
  }

  safetensors::Reader file_;
  Network net_;
  ImportReport report_;
  Tensor x_, labels_;
};

TEST_P(PyTorch, EveryNameMatches) {
  EXPECT_EQ(report_.missing, (std::vector<std::string>{"normalize.mean", "normalize.inv_std"}));
  for (const std::string& name : report_.unused) EXPECT_EQ(name.rfind("fixture.", 0), 0U) << name;
  for (const std::string& name : report_.ignored) EXPECT_TRUE(name.ends_with(".num_batches_tracked")) << name;
  EXPECT_FALSE(report_.permuted.empty());
}

TEST_P(PyTorch, TheLogitsOfEveryExitAgree) {
  const std::vector<Tensor> logits = std::as_const(net_).forward(x_);
  for (std::size_t e = 0; e < logits.size(); ++e) {
    const double error = relative_error(logits[e].to_host<float>(),
                                        values_of<float>(file_, "fixture.logits." + std::to_string(e + 1)));
    EXPECT_LT(error, kLogits) << "exit " << e + 1;
    RecordProperty("exit_" + std::to_string(e + 1), std::to_string(error));
  }
}

TEST_P(PyTorch, LossAndGradientsAgreeInEvaluationMode) { expect_gradients("eval"); }

TEST_P(PyTorch, LossAndGradientsAgreeWithBatchStatistics) {
  if (!file_.find("fixture.train.loss")) GTEST_SKIP() << "its dropout draws other numbers than PyTorch's";
  expect_gradients("train");
}

INSTANTIATE_TEST_SUITE_P(Nets,
                         PyTorch,
                         ::testing::Values("vgg-16", "resnet-8", "mobilenet", "wrn-32-4"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace offramp::nets
