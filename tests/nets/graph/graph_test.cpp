// Nets as graphs: maps, paths and joins, several inputs, exits on one of several maps.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/errors.h"
#include "engine/recording.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "nets/graph/network.h"
#include "nets/graph/state_dict.h"
#include "nets/training/trainer.h"
#include "tests/nets/graph/graphs.h"
#include "tests/nets/graph/reference.h"
#include "tests/nets/nets.h"
#include "tests/nets/training/memory_source.h"
#include "tests/support/temp_folder.h"

namespace offramp::nets {
namespace {

using test::five_inputs;
using test::message_of;
using test::pass_bound;
using test::RefNet;
using test::small_msdnet;

std::unique_ptr<Network> drawn(Architecture arch, Precision precision = Precision::kFloat32) {
  auto net = std::make_unique<Network>(std::move(arch), Device::cpu(), precision);
  initialize(*net, 7);
  return net;
}

Features inputs_of(const Network& net, int n) {
  Features x;
  for (const Extent& in : net.inputs()) x.push_back(test::pixels(in, n, 11 + x.size()));
  return x;
}

// Largest distance of a net's logits from the reference's, over the largest logit.
double distance_from(const std::vector<test::RefMap>& want, const std::vector<Tensor>& got) {
  double worst = 0, size = 0;
  for (std::size_t e = 0; e < want.size(); ++e) {
    const std::vector<float> values = got[e].to_host<float>();
    EXPECT_EQ(values.size(), want[e].v.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      worst = std::max(worst, std::fabs(static_cast<double>(values[i]) - want[e].v[i]));
      size = std::max(size, std::fabs(want[e].v[i]));
    }
  }
  return worst / size;
}

class Graphs : public ::testing::TestWithParam<const char*> {
 protected:
  Architecture arch() const {
    return std::string(GetParam()) == "five inputs" ? five_inputs() : small_msdnet();
  }
};

TEST_P(Graphs, ForwardIsThatOfTheReferenceInDouble) {
  const auto net = drawn(arch());
  const Features x = inputs_of(*net, 3);
  RefNet reference(*net);
  EXPECT_LT(distance_from(reference.logits(x), std::as_const(*net).forward(x)),
            pass_bound(net->architecture(), 3, 1));
  reference.train = true;
  EXPECT_LT(distance_from(reference.logits(x), net->forward(x, TrainPass{})),
            pass_bound(net->architecture(), 3, 1));
}

// The gradient of sum over exits of sum(u * logits), along its own sign for each parameter, against central
// differences of the reference.
TEST_P(Graphs, GradientsMatchDifferencesOfTheReference) {
  constexpr int kBatch = 3;
  const auto net = drawn(arch());
  const Features x = inputs_of(*net, kBatch);
  std::vector<Tensor> u;
  for (int e = 0; e < net->num_exits(); ++e) {
    u.push_back(test::pixels({net->classes()}, kBatch, 50 + static_cast<std::uint64_t>(e)));
  }
  RefNet reference(*net);
  reference.train = true;
  const auto value = [&] {
    double sum = 0;
    const auto logits = reference.logits(x);
    for (std::size_t e = 0; e < logits.size(); ++e) {
      const std::vector<float> weights = u[e].to_host<float>();
      for (std::size_t i = 0; i < weights.size(); ++i)
        sum += static_cast<double>(weights[i]) * logits[e].v[i];
    }
    return sum;
  };
  Recording recording(net->parameters().targets());
  const std::vector<Tensor> logits = net->forward(x, TrainPass{});
  Tensor loss;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    const Tensor part = sum(multiply(logits[e], u[e]));
    loss = loss ? add(loss, part) : part;
  }
  static_cast<void>(recording.grad(loss));
  double largest = 0;  // slope of a parameter along the sign of its gradient
  std::map<std::string, std::pair<double, double>> slopes;
  for (const ParameterSet::Entry& entry : net->parameters().entries()) {
    if (!entry.trainable) continue;
    const auto gradient = to_disk_order(entry.info, entry.value.shape(), entry.gradient.to_host<float>());
    std::vector<double>& values = reference.values.at(entry.info.name);
    const std::vector<double> start = values;
    constexpr double kStep = 0x1p-20;
    double ends[2], expected = 0;
    for (const int side : {0, 1}) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = start[i] + (side == 0 ? kStep : -kStep) * (gradient[i] > 0   ? 1
                                                               : gradient[i] < 0 ? -1
                                                                                 : 0);
      }
      ends[side] = value();
    }
    values = start;
    for (const float g : gradient) expected += std::fabs(static_cast<double>(g));
    slopes[entry.info.name] = {expected, (ends[0] - ends[1]) / (2 * kStep)};
    largest = std::max(largest, expected);
  }
  const double bound = pass_bound(net->architecture(), kBatch, 3);
  for (const auto& [name, slope] : slopes) {
    EXPECT_GT(slope.first, 0) << name;
    EXPECT_NEAR(slope.first, slope.second, bound * largest) << name;
  }
}

TEST_P(Graphs, SegmentsGiveTheLogitsOfTheWholeForward) {
  const auto owner = drawn(arch());
  const Network& net = *owner;
  Features x = inputs_of(net, 4);
  const std::vector<Tensor> whole = net.forward(x);
  for (int s = 0; s < net.num_exits(); ++s) {
    Segment segment = net.forward_segment(s, x);
    EXPECT_EQ(segment.logits.to_host<float>(), whole[static_cast<std::size_t>(s)].to_host<float>());
    x = std::move(segment.features);
  }
  EXPECT_TRUE(x.empty());
}

TEST_P(Graphs, FrozenGivesTheLogitsOfTheNet) {
  const auto net = drawn(arch());
  const Features x = inputs_of(*net, 4);
  for (int i = 0; i < 3; ++i)
    static_cast<void>(net->forward(x, TrainPass{}));  // statistics other than 0 and 1
  RefNet reference(*net);
  EXPECT_LT(distance_from(reference.logits(x), FrozenNet(*net).forward(x)),
            2 * pass_bound(net->architecture(), 4, 1));  // folding rounds each weight once more
}

TEST_P(Graphs, EarlyExitIsThatOfComputingAllExits) {
  const auto owner = drawn(arch());
  const Network& net = *owner;
  const int n = 9;
  const Features x = inputs_of(net, n);
  const std::vector<Tensor> logits = net.forward(x);
  std::vector<std::vector<float>> confidences, probabilities;
  for (const Tensor& l : logits) {
    confidences.push_back(confidence(l).to_host<float>());
    probabilities.push_back(softmax(l).to_host<float>());
  }
  ExitPolicy policy{.thresholds = {}, .rule = ExitRule::kAbove};
  for (std::size_t e = 0; e + 1 < logits.size(); ++e) {
    std::vector<float> sorted = confidences[e];
    std::sort(sorted.begin(), sorted.end());
    policy.thresholds.push_back(sorted[5]);
  }
  const EarlyExitResult result = infer(net, policy, x);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    std::vector<double> row;
    for (const auto& exit : confidences) row.push_back(static_cast<double>(exit[i]));
    const ExitChoice want = choose_exit(policy, row);
    EXPECT_EQ(result.exit[i], want.stopped + 1);
    for (std::size_t c = 0; c < static_cast<std::size_t>(net.classes()); ++c) {
      const std::size_t at = i * static_cast<std::size_t>(net.classes()) + c;
      EXPECT_EQ(result.probabilities[at], probabilities[static_cast<std::size_t>(want.answered)][at]);
    }
  }
}

TEST_P(Graphs, ACheckpointIsReadIntoANetOfTheSameArchitecture) {
  const test::TempFolder folder;
  const auto net = drawn(arch());
  const auto path = folder.path() / "net.safetensors";
  save_checkpoint(path, *net, {});
  Network other(arch(), Device::cpu());
  const ImportReport report = load_state_dict(other, safetensors::Reader(path), Strictness::kComplete);
  EXPECT_EQ(report.matched.size(), net->parameters().entries().size());
  EXPECT_EQ(other.parameters().values().to_host<float>(), net->parameters().values().to_host<float>());
  // It is no net that its name alone rebuilds.
  EXPECT_NE(message_of([&] { load_net(path, Device::cpu()); }).find("net: expected one of"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(All, Graphs, ::testing::Values("five inputs", "msdnet"), [](const auto& test) {
  return std::string(test.param) == "msdnet" ? "Msdnet" : "FiveInputs";
});

// specs: networks 2.7, CIFAR-10.
TEST(Msdnet, CostsAreThoseOfTheTable) {
  struct Row {
    std::vector<int> layers;
    std::int64_t parameters;
    std::vector<std::int64_t> macs, ops;
  };
  const Row rows[] = {
      {{1, 2, 3, 4, 5},
       2020874,
       {6781184, 14185984, 27244288, 41327616, 58030336},
       {13695734, 28652012, 55001314, 83333080, 116841166}},
      {{4, 2, 2, 2, 2, 2, 2},
       2986690,
       {14955776, 25235968, 36745984, 45926400, 56876288, 66460160, 75407104},
       {30256886, 50963948, 74119906, 92565976, 114550990, 133777348, 151707322}},
      {{4, 2, 2, 2},
       1488276,
       {14955776, 24081920, 32377600, 39532544},
       {30256886, 48635884, 65312482, 79675864}},
      {{4, 2, 2}, 991222, {14578944, 21547520, 27425536}, {}},
      {{4, 2, 2, 2, 2}, 1892990, {14955776, 24081920, 32377600, 39532544, 47373568}, {}},
      {{4, 2, 2, 2, 2, 2}, 2361892, {14955776, 25473536, 33326848, 42949632, 51394816, 59850240}, {}}};
  for (const Row& row : rows) {
    SCOPED_TRACE(std::to_string(row.layers.size()) + " exits");
    const NetCosts costs = costs_of(test::msdnet({.layers = row.layers}));
    EXPECT_EQ(costs.exits.back().parameters, row.parameters);
    ASSERT_EQ(costs.exits.size(), row.macs.size());
    for (std::size_t e = 0; e < row.macs.size(); ++e) {
      EXPECT_EQ(costs.exits[e].macs, row.macs[e]) << "exit " << e + 1;
      if (!row.ops.empty()) {
        EXPECT_EQ(costs.exits[e].ops_profiler, row.ops[e]) << "exit " << e + 1;
      }
    }
  }
}

TEST(Msdnet, LearnsInBothPrecisions) {
  for (const Precision precision : {Precision::kFloat32, Precision::kMixed}) {
    SCOPED_TRACE(to_text(precision));
    const auto net = drawn(small_msdnet(), precision);
    test::MemorySource source(net->input(), net->classes(), 40, 10, 9);
    TrainOptions options = reference_options("msdnet", TrainKind::kJoint);
    options.epochs = 15;
    options.batch_size = 10;
    options.milestones = {};
    options.learning_rate = 0.05;
    Trainer trainer(*net, options, source);
    EpochReport first, last;
    while (!trainer.done()) {
      if (auto end = trainer.step().epoch_end) (end->epoch == 1 ? first : last) = *end;
    }
    for (std::size_t e = 0; e < 3; ++e) EXPECT_LT(last.exit_loss[e], 0.6 * first.exit_loss[e]) << e;
  }
}

// The sum of two paths without a batch norm at the end of the first, with and without ReLU, and with a ReLU of its
// own there, which must not be lost in the sum.
TEST(Graph, SumsWithoutAClosingBatchNormAreSumsToo) {
  for (const Join join : {Join::kAdd, Join::kAddRelu}) {
    for (const bool norm : {false, true}) {
      SCOPED_TRACE(norm ? "norm with ReLU" : "convolution");
      std::vector<Layer> layers{Conv2d{.name = "a", .in = 3, .out = 3}};
      if (norm) layers.push_back(BatchNorm{.name = "b", .channels = 3, .relu = true});
      Architecture arch{.name = "sums", .inputs = {{3, 5, 5}}, .classes = 2};
      arch.blocks = {residual(layers, {}, join),
                     residual({BatchNorm{.name = "c", .channels = 3, .relu = false}}, {}, join)};
      arch.end.layers = {Flatten{}, Linear{.name = "d", .in = 75, .out = 2, .flatten_h = 5, .flatten_w = 5}};
      const auto net = drawn(std::move(arch));
      const Features x = inputs_of(*net, 3);
      RefNet reference(*net);
      const double bound = 2 * pass_bound(net->architecture(), 3, 1);
      EXPECT_LT(distance_from(reference.logits(x), std::as_const(*net).forward(x)), bound);
      EXPECT_LT(distance_from(reference.logits(x), FrozenNet(*net).forward(x)), bound);
    }
  }
}

TEST(Graph, WhatCannotBeIsNamed) {
  const auto message = [](auto change) {
    Architecture arch = five_inputs();
    change(arch);
    return message_of([&] { Network(arch, Device::cpu()); });
  };
  const auto map = [](Architecture& a) -> Map& { return a.blocks[0].maps[0]; };
  EXPECT_EQ(message([&](Architecture& a) { map(a).paths[1].from = 5; }),
            "path: expected to begin at map 0 to 4 of the block before, got 5");
  EXPECT_EQ(message([&](Architecture& a) { map(a).join = Join::kFirst; }),
            "map: expected one path where nothing is joined, got 5");
  EXPECT_EQ(message([&](Architecture& a) { map(a).join = Join::kAddRelu; }),
            "map: expected two paths for a sum, got 5");
  EXPECT_EQ(message([&](Architecture& a) { map(a).paths.clear(); }),
            "map: expected at least one path, got 0");
  EXPECT_EQ(message([&](Architecture& a) { a.blocks[1].maps.clear(); }),
            "block: expected at least one map, got none");
  EXPECT_EQ(message([&](Architecture& a) { map(a).paths[4].layers.clear(); }),
            "concatenation: expected maps of equal sides, got [24,1,1] and [1,6,8]");
  EXPECT_EQ(message([&](Architecture& a) { a.classes = 3; }),
            "net membership-gradient: expected an exit of 3 logits, got [2,1,1]");
  EXPECT_EQ(message([&](Architecture& a) { a.inputs.clear(); }),
            "net membership-gradient: expected at least one input, got none");
  EXPECT_EQ(message([&](Architecture& a) {
              a.exits = {{2, {}}};
            }),
            "net membership-gradient: exits stand after rising blocks of 0 to 1, got 2");

  const auto net = drawn(five_inputs());
  Features x = inputs_of(*net, 2);
  const auto said = [&] { return message_of([&] { static_cast<void>(std::as_const(*net).forward(x)); }); };
  x[4] = Tensor::zeros({2, 1, 8, 6}, Device::cpu());
  EXPECT_EQ(said(), "net membership-gradient, input 5: expected a map [n,1,6,8], got [2,1,8,6]");
  x[4] = Tensor::zeros({3, 1, 6, 8}, Device::cpu());
  EXPECT_EQ(said(), "net membership-gradient, input 5: expected 2 samples as in input 1, got 3");
  x[3] = Tensor();
  EXPECT_EQ(said(), "net membership-gradient, input 4: expected features [n,9], got no tensor");
  x.pop_back();
  EXPECT_EQ(said(), "net membership-gradient: expected 5 inputs, got 4");
}

}  // namespace
}  // namespace offramp::nets
