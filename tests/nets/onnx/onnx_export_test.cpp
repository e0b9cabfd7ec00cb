#include "nets/onnx/onnx_export.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "nets/exits/early_exit.h"
#include "nets/exits/folded_conv.h"
#include "nets/exits/frozen.h"
#include "tests/nets/nets.h"
#include "tests/nets/onnx/onnx_interpreter.h"
#include "tests/support/temp_folder.h"

namespace offramp::nets {
namespace {

using test::TempFolder;
using test::onnx::Array;
using test::onnx::Interpreter;
using test::onnx::Model;

Model exported(const Network& net, const OnnxOptions& options = {}) {
  const TempFolder folder;
  save_onnx(folder / "net.onnx", net, options);
  return test::onnx::read_model(test::read_text(folder / "net.onnx"));
}

// A net whose running statistics, scales and shifts all matter: drawn, then moved by a training pass.
std::unique_ptr<Network> with_statistics(const NetOptions& options, std::uint64_t seed) {
  auto net = test::drawn(options, seed);
  for (ParameterSet::Entry& entry : net->parameters().entries()) {
    const bool scale = entry.info.name.ends_with(".running_var");
    const bool vector = entry.value.shape().rank() == 1 && !entry.info.name.starts_with("normalize.");
    if (!vector) continue;
    std::vector<float> values = entry.value.to_host<float>();
    const PhiloxKey key{seed, 78, static_cast<std::uint32_t>(entry.offset), scale};
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = scale ? 0.5f + key.uniform(i) : values[i] + 0.2f * (key.uniform(i) - 0.5f);
    Tensor target = entry.value;
    target.device().upload(target.raw(), values.data(), target.bytes());
  }
  return net;
}

Array array_of(const Tensor& x) {
  const std::vector<float> values = x.to_nchw();
  Array a;
  for (int i = 0; i < x.shape().rank(); ++i) a.shape.push_back(x.shape()[i]);
  a.v.assign(values.begin(), values.end());
  return a;
}

// Largest difference over the largest value.
double difference(const std::vector<float>& got, const std::vector<double>& want) {
  double most = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(got[i]) - want[i]));
    size = std::max(size, std::abs(want[i]));
  }
  return most / size;
}

const char* input_name(const Network& net) { return net.architecture().pixels ? "images" : "features"; }

NetOptions normalised(const std::string& family) {
  NetOptions options = test::small_options(family);
  if (family.starts_with("fcn")) return options;
  options.mean = {0.4f, 0.5f, 0.6f};
  options.std = {0.2f, 0.25f, 0.3f};
  return options;
}

class OnnxFamilies : public ::testing::TestWithParam<const char*> {};

TEST_P(OnnxFamilies, TheModelComputesTheLogitsOfEveryExit) {
  const auto net = with_statistics(normalised(GetParam()), 5);
  const Model model = exported(*net);
  EXPECT_EQ(model.ir_version, 7);
  EXPECT_EQ(model.operator_set, 14);
  EXPECT_EQ(model.producer, "offramp");
  ASSERT_EQ(model.graph.inputs.size(), 1u);
  EXPECT_EQ(model.graph.inputs[0].name, input_name(*net));
  EXPECT_EQ(model.graph.inputs[0].shape[0], "batch");
  EXPECT_EQ(model.graph.inputs[0].shape[1], std::to_string(net->input().c));

  const Tensor x = test::pixels(net->input(), 2, 9);
  const auto outputs = Interpreter::run(model.graph, {{input_name(*net), array_of(x)}});
  ASSERT_EQ(static_cast<int>(outputs.size()), net->num_exits());
  const std::vector<Tensor> own = net->forward(x);
  // Rounding of the fold itself, once per weight, is one term more.
  const double bound = test::pass_bound(net->architecture(), 2, 1) + test::sum_bound(1, 1);
  for (int e = 0; e < net->num_exits(); ++e) {
    const std::string name = "logits_" + std::to_string(e + 1);
    EXPECT_EQ(model.graph.outputs[static_cast<std::size_t>(e)].name, name);
    EXPECT_LT(difference(own[static_cast<std::size_t>(e)].to_host<float>(), outputs.at(name).v), bound)
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, OnnxFamilies, ::testing::ValuesIn(test::kFamilies));

TEST(OnnxExport, WeightsAreThoseOfTheNetInPyTorchsOrder) {
  const auto net = with_statistics(normalised("small-cnn"), 3);
  const auto graph = exported(*net).graph;
  int convolutions = 0, products = 0;
  for_each_layer(net->architecture(), [&](const Layer& layer, int) {
    const auto* linear = std::get_if<Linear>(&layer);
    const auto* conv = std::get_if<Conv2d>(&layer);
    if (!linear && !conv) return;
    const auto& entry = *net->parameters().find(name_of(layer) + ".weight");
    const auto& constant = graph.constants.at(entry.info.name);
    EXPECT_EQ(std::int64_t{entry.value.shape().rank()}, static_cast<std::int64_t>(constant.shape.size()));
    for (int i = 0; i < entry.value.shape().rank(); ++i)
      EXPECT_EQ(constant.shape[static_cast<std::size_t>(i)], entry.value.shape()[i]);
    const std::vector<float> own =
        to_disk_order(entry.info, entry.value.shape(), entry.value.to_host<float>());
    ASSERT_EQ(own.size(), constant.floats.size());
    if (linear) {
      ++products;
      EXPECT_EQ(own, constant.floats) << entry.info.name;  // bit for bit
    } else {
      ++convolutions;  // folded: of a filter one factor
      const std::size_t taps = own.size() / static_cast<std::size_t>(conv->out);
      for (std::size_t i = 1; i < taps; ++i)
        EXPECT_NEAR(constant.floats[i] * own[0], constant.floats[0] * own[i], 1e-6f) << entry.info.name;
    }
  });
  EXPECT_GT(convolutions, 1);
  EXPECT_GT(products, 1);
  for (const auto& node : graph.nodes)
    EXPECT_NE(node.op, "BatchNormalization");  // each stands behind a convolution
}

TEST(OnnxExport, EveryConstantIsUsedAndMetadataGoesAlong) {
  const auto net = with_statistics(normalised("wrn-32-4"), 3);
  const Model model = exported(*net, {.metadata = {{"policy.rule", ">="}, {"data.classes", "a\nb"}}});
  std::map<std::string, int> used;
  for (const auto& node : model.graph.nodes)
    for (const auto& input : node.inputs) ++used[input];
  for (const auto& [name, constant] : model.graph.constants) EXPECT_EQ(used[name], 1) << name;
  EXPECT_EQ(model.metadata.at("data.classes"), "a\nb");
  EXPECT_NE(model.description.find("logits of every exit"), std::string::npos);
}

// What with_if must answer, image by image: that of infer, where no confidence lies at its threshold.
void expect_as_infer(const ExitPolicy& policy, const std::string& family) {
  const auto net = with_statistics(normalised(family), 11);
  constexpr int kImages = 6;
  const Tensor x = test::pixels(net->input(), kImages, 4);
  const EarlyExitResult own = infer(*net, policy, x);
  const Model model = exported(*net, {.with_if = true, .policy = policy});
  EXPECT_EQ(model.graph.inputs[0].shape[0], "1");
  ASSERT_EQ(model.graph.outputs.size(), 2u);
  EXPECT_EQ(model.graph.outputs[1].type, 7);  // int64
  const std::vector<Tensor> logits = net->forward(x);
  const Array all = array_of(x);
  const auto sample = all.v.size() / kImages;
  std::map<std::int32_t, int> seen;
  for (std::size_t i = 0; i < kImages; ++i) {
    Array one{all.shape, {}};
    one.shape[0] = 1;
    one.v.assign(all.v.begin() + static_cast<std::ptrdiff_t>(i * sample),
                 all.v.begin() + static_cast<std::ptrdiff_t>((i + 1) * sample));
    const auto out = Interpreter::run(model.graph, {{"images", one}});
    EXPECT_EQ(out.at("exit").v.at(0), own.exit[i]) << "image " << i;
    const std::vector<float> row = logits[static_cast<std::size_t>(own.answered[i] - 1)].to_host<float>();
    const auto width = static_cast<std::size_t>(net->classes());
    EXPECT_LT(difference({row.begin() + static_cast<std::ptrdiff_t>(i * width),
                          row.begin() + static_cast<std::ptrdiff_t>((i + 1) * width)},
                         out.at("logits").v),
              1e-4)
        << "image " << i;
    ++seen[own.exit[i]];
  }
  EXPECT_GT(seen.size(), 1u) << "all images leave at one exit: nothing is tested";
}

// A threshold between two of the confidences of the first exit: half of the images leave there.
double middle_confidence(const std::string& family) {
  const auto net = with_statistics(normalised(family), 11);
  const EarlyExitResult first =
      infer(*net, ExitPolicy::uniform(net->num_exits(), 0), test::pixels(net->input(), 6, 4));
  std::vector<float> confidence = first.confidence;
  std::sort(confidence.begin(), confidence.end());
  return 0.5 * (static_cast<double>(confidence[2]) + static_cast<double>(confidence[3]));
}

TEST(OnnxExport, WithIfLeavesWhereInferLeaves) {
  for (const char* family : {"resnet-8", "msdnet-2"}) {
    SCOPED_TRACE(family);
    const int exits = test::drawn(normalised(family), 11)->num_exits();
    ExitPolicy policy = ExitPolicy::uniform(exits, middle_confidence(family));
    expect_as_infer(policy, family);
    policy.rule = ExitRule::kAbove;
    policy.fallback = Fallback::kMostConfident;
    for (std::size_t e = 1; e < policy.thresholds.size(); ++e)
      policy.thresholds[e] = 1.5;  // nobody leaves in between
    expect_as_infer(policy, family);
  }
}

// At the threshold itself the two rules part: the constant is such that "greater" says what the rule says.
TEST(OnnxExport, ThresholdsDecideAsTheRuleDoesToTheLastBit) {
  const auto net = test::drawn(normalised("resnet-8"), 2);
  for (const double t : {0.5, 0.1, 0.9999999999, 1.0 / 3, -std::numeric_limits<double>::infinity(), 7.0}) {
    for (const ExitRule rule : {ExitRule::kAtLeast, ExitRule::kAbove}) {
      ExitPolicy policy = ExitPolicy::uniform(net->num_exits(), t);
      policy.rule = rule;
      const Model model = exported(*net, {.with_if = true, .policy = policy});
      const float constant = model.graph.constants.at("threshold").floats.at(0);
      float confidence = static_cast<float>(t);
      for (int steps = 0; steps < 3; ++steps) confidence = std::nextafter(confidence, -1.f);
      for (int steps = 0; steps < 7; ++steps, confidence = std::nextafter(confidence, 2.f)) {
        const float c = std::clamp(confidence, 0.f, 1.f);
        EXPECT_EQ(c > constant, policy.stops(0, static_cast<double>(c))) << t << " " << c;
      }
    }
  }
}

TEST(OnnxExport, WrongPoliciesAreRefusedBeforeAnythingIsWritten) {
  const TempFolder folder;
  const auto net = test::drawn(normalised("resnet-8"), 2);
  const auto path = folder / "net.onnx";
  EXPECT_NE(test::message_of([&] { save_onnx(path, *net, {.with_if = true}); }).find("has no thresholds yet"),
            std::string::npos);
  EXPECT_NE(test::message_of([&] {
              save_onnx(path, *net, {.with_if = true, .policy = {.thresholds = {0.5}}});
            }).find("wants 2 thresholds, got 1"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace offramp::nets
