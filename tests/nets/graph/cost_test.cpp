#include "nets/graph/cost.h"

#include <gtest/gtest.h>

#include "nets/families/build.h"
#include "tests/nets/graph/cost_tables.h"

namespace offramp::nets {
namespace {

NetOptions options(const char* net, int side, int classes) {
  NetOptions o;
  o.name = net;
  o.side = side;
  o.classes = classes;
  return o;
}

std::vector<std::int64_t> macs_of(const NetCosts& costs) {
  std::vector<std::int64_t> macs;
  for (const Cost& cost : costs.exits) macs.push_back(cost.macs);
  return macs;
}

std::vector<std::int64_t> ops_of(const NetCosts& costs) {
  std::vector<std::int64_t> ops;
  for (const Cost& cost : costs.exits) ops.push_back(cost.ops_profiler);
  return ops;
}

std::vector<int> positions_of(const Architecture& arch) {
  std::vector<int> after;
  for (const Exit& exit : arch.exits) after.push_back(exit.after_block);
  return after;
}

// A printed fraction is rounded at its last digit; `slack` where it was rounded twice.
void expect_printed(
    double value, double printed, double last_digit, const std::string& where, double slack = 0) {
  EXPECT_LE(std::abs(value - printed), last_digit / 2 + slack + 1e-12) << where << ": " << value;
}

TEST(Cost, SdnNetsAtDefaultPositionsMatchTheTables) {
  for (const test::SdnRow& row : test::kSdnTable) {
    SCOPED_TRACE(std::string(row.net) + " side " + std::to_string(row.side) + " exit " +
                 std::to_string(row.exit));
    NetOptions o = options(row.net, row.side, row.classes);
    o.placement = Placement::kSdn;
    const Architecture arch = build(o);
    const NetCosts costs = costs_of(arch);
    const auto index = row.exit >= 0 ? static_cast<std::size_t>(row.exit) : costs.exits.size() - 1;
    const Cost cost = row.exit == -2 ? costs.plain : costs.exits[index];
    EXPECT_EQ(cost, (Cost{row.parameters, row.macs, row.ops}));
    if (row.exit < 0) continue;
    ASSERT_LT(index, arch.exits.size());
    EXPECT_EQ(arch.exits[index].after_block, row.after);
    EXPECT_EQ(std::get<Linear>(arch.exits[index].path.layers.back()).in, row.features);
    expect_printed(costs.exit_fraction_macs[index], row.fraction_macs, 1e-4, "MACs");
    expect_printed(costs.exit_fraction_profiler[index], row.fraction_profiler, 1e-4, "profiler");
  }
}

TEST(Cost, ThePlainNetIsTheNetWithOneExit) {
  for (const char* net :
       {"vgg-16", "resnet-56", "mobilenet", "mobilenet-v2", "wrn-32-4", "small-cnn", "msdnet-4"}) {
    NetOptions o = options(net, 32, 10);
    const Cost with_exits = costs_of(build(o)).plain;
    o.num_exits = 1;
    const NetCosts plain = costs_of(build(o));
    ASSERT_EQ(plain.exits.size(), 1U);
    EXPECT_EQ(plain.exits[0], with_exits);
    EXPECT_EQ(plain.plain, with_exits);
  }
}

// specs: networks 2.5. The sum of a block adds nothing; a shortcut of its own convolution does.
TEST(Cost, MobileNetV2HasTheSpecsParametersAndMacs) {
  NetOptions o = options("mobilenet-v2", 32, 10);
  const Cost plain = costs_of(build(o)).plain;
  EXPECT_EQ(plain.parameters, 2296922);
  EXPECT_EQ(plain.macs, 91154944);
  o.placement = Placement::kSdn;
  const Architecture arch = build(o);
  EXPECT_EQ(positions_of(arch), (std::vector<int>{2, 5, 9, 11, 13, 16}));
  // Networks 3.1: every exit at the block nearest to its share of the cost.
  const NetCosts costs = costs_of(arch);
  const double wanted[] = {.15, .30, .45, .60, .75, .90};
  for (std::size_t e = 0; e < 6; ++e) {
    const double distance = std::abs(costs.exit_fraction_macs[e] - wanted[e]);
    for (const double fraction : costs.block_fraction_macs) {
      EXPECT_LE(distance, std::abs(fraction - wanted[e])) << "exit " << e + 1;
    }
  }
}

// specs: networks 2.7, to the integer: parameters, cumulative multiply-accumulates and profiler operations.
TEST(Cost, MsdnetsHaveTheSpecsCounts) {
  struct Row {
    const char* net;
    int classes;
    std::int64_t parameters;
    std::vector<std::int64_t> macs, ops;  // ops empty: the spec prints none
  };
  const Row rows[] = {
      {"msdnet-growing-5",
       10,
       2020874,
       {6781184, 14185984, 27244288, 41327616, 58030336},
       {13695734, 28652012, 55001314, 83333080, 116841166}},
      {"msdnet-growing-5", 100, 2078924, {6792704, 14209024, 27278848, 41373696, 58087936}, {}},
      {"msdnet-7",
       10,
       2986690,
       {14955776, 25235968, 36745984, 45926400, 56876288, 66460160, 75407104},
       {30256886, 50963948, 74119906, 92565976, 114550990, 133777348, 151707322}},
      {"msdnet-4",
       10,
       1488276,
       {14955776, 24081920, 32377600, 39532544},
       {30256886, 48635884, 65312482, 79675864}},
      {"msdnet-3", 10, 991222, {14578944, 21547520, 27425536}, {}},
      {"msdnet-5", 10, 1892990, {14955776, 24081920, 32377600, 39532544, 47373568}, {}},
      {"msdnet-6", 10, 2361892, {14955776, 25473536, 33326848, 42949632, 51394816, 59850240}, {}}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.net);
    const NetCosts costs = costs_of(build(options(row.net, 32, row.classes)));
    EXPECT_EQ(costs.exits.back().parameters, row.parameters);
    EXPECT_EQ(macs_of(costs), row.macs);
    if (!row.ops.empty()) {
      EXPECT_EQ(ops_of(costs), row.ops);
    }
  }
  NetOptions o = options("msdnet-7", 32, 100);
  EXPECT_EQ(costs_of(build(o)).exits.back().parameters, 3067960);
  EXPECT_EQ(costs_of(build(o)).exits.back().macs, 75487744);
}

// specs: networks 2.7, the width trace of the four-exit net: channels of the finest kept scale over its factor.
TEST(Cost, MsdnetWidthsFollowTheSpecsTrace) {
  const Architecture arch = build(options("msdnet-4", 32, 10));
  std::vector<Extent> maps = stem_effect(arch).out;
  constexpr int kFactor[] = {1, 2, 4};
  std::vector<std::pair<int, std::size_t>> trace;  // width and scales behind each block
  for (const Block& block : arch.blocks) {
    maps = effect_of(block, maps).out;
    const std::size_t finest = 3 - maps.size();
    if (trace.size() >= 1) {
      for (std::size_t m = 0; m < maps.size(); ++m) {
        EXPECT_EQ(maps[m].c, maps[0].c / kFactor[finest] * kFactor[finest + m]);
        EXPECT_EQ(maps[m].h, 32 >> (finest + m));
      }
    }
    trace.emplace_back(maps[0].c / kFactor[finest], maps.size());
  }
  // Two blocks of the first layer; then layers 1..4 | 5, transition, 6 | 7, 8 | 9, transition, 10.
  const std::vector<std::pair<int, std::size_t>> want = {{8, 2},
                                                         {16, 3},
                                                         {22, 3},
                                                         {28, 3},
                                                         {34, 3},
                                                         {40, 3},
                                                         {46, 2},
                                                         {23, 2},
                                                         {29, 2},
                                                         {35, 2},
                                                         {41, 2},
                                                         {47, 1},
                                                         {23, 1},
                                                         {29, 1}};
  ASSERT_EQ(trace.size(), want.size());
  for (std::size_t i = 1; i < want.size(); ++i) EXPECT_EQ(trace[i], want[i]) << "block " << i;
  EXPECT_EQ(positions_of(arch), (std::vector<int>{5, 8, 10}));
}

TEST(Cost, EqualCostPlacementMatchesTheTable) {
  for (const test::EqualCostRow& row : test::kEqualCostTable) {
    SCOPED_TRACE(std::string(row.net) + " with " + std::to_string(row.num_exits));
    NetOptions o = options(row.net, 32, 10);
    o.num_exits = row.num_exits;
    const Architecture arch = build(o);
    const NetCosts costs = costs_of(arch);
    EXPECT_EQ(positions_of(arch), row.after);
    EXPECT_EQ(macs_of(costs), row.macs);
    EXPECT_EQ(ops_of(costs), row.ops);
    EXPECT_EQ(costs.exits.back().parameters, row.parameters);
    for (std::size_t i = 0; i < row.fraction_macs.size(); ++i) {
      expect_printed(
          costs.exit_fraction_macs[i], row.fraction_macs[i], 1e-3, "exit " + std::to_string(i + 1));
    }
  }
}

TEST(Cost, CumulativeFractionsAfterEachBlockMatchTheList) {
  constexpr double kFourDigits = 5e-5;  // the list was rounded to four digits, then to three: 0.35645 is .357
  for (const test::BlockRow& row : test::kBlockTable) {
    const NetCosts costs = costs_of(build(options(row.net, 32, 10)));
    // VGG's list leaves out the fully connected block.
    ASSERT_LE(row.fraction_macs.size(), costs.block_fraction_macs.size());
    for (std::size_t b = 0; b < row.fraction_macs.size(); ++b) {
      expect_printed(costs.block_fraction_macs[b],
                     row.fraction_macs[b],
                     1e-3,
                     std::string(row.net) + " block " + std::to_string(b),
                     kFourDigits);
    }
  }
}

TEST(Cost, CcsNetsMatchTheTables) {
  for (const test::CcsRow& row : test::kCcsTable) {
    SCOPED_TRACE(std::string(row.net) + " side " + std::to_string(row.side) + " classes " +
                 std::to_string(row.classes));
    NetOptions o = options(row.net, row.side, row.classes);
    o.placement = Placement::kCcs;
    o.form = ExitForm::kTwoLayer;
    const Architecture arch = build(o);
    const NetCosts costs = costs_of(arch);
    EXPECT_EQ(costs.plain, (Cost{row.plain_parameters, row.plain_macs, row.plain_ops}));
    EXPECT_EQ(positions_of(arch), row.after);
    EXPECT_EQ(macs_of(costs), row.macs);
    EXPECT_EQ(ops_of(costs), row.ops);
    EXPECT_EQ(costs.exits.back().parameters, row.parameters);
    for (std::size_t i = 0; i < row.fraction_macs.size(); ++i) {
      expect_printed(
          costs.exit_fraction_macs[i], row.fraction_macs[i], 1e-3, "exit " + std::to_string(i + 1));
    }
  }
}

TEST(Cost, CcsNetsWithFewerExitsUseAPrefixOfTheList) {
  for (const test::SmallCcsRow& row : test::kSmallCcsTable) {
    for (int k = 2; k <= 6; ++k) {
      SCOPED_TRACE(std::string(row.net) + " with " + std::to_string(k));
      NetOptions o = options(row.net, 32, 10);
      o.placement = Placement::kCcs;
      o.form = ExitForm::kTwoLayer;
      o.num_exits = k;
      const Cost cost = costs_of(build(o)).exits.back();
      EXPECT_EQ(cost.parameters, row.parameters[static_cast<std::size_t>(k - 2)]);
      EXPECT_EQ(cost.ops_profiler, row.ops[static_cast<std::size_t>(k - 2)]);
    }
  }
}

TEST(Cost, FcnMatchesTheTable) {
  for (const test::FcnRow& row : test::kFcnTable) {
    SCOPED_TRACE("model " + std::to_string(row.model) + " features " + std::to_string(row.features));
    NetOptions o;
    o.name = "fcn-18-" + std::to_string(row.model);
    o.features = row.features;
    o.classes = row.classes;
    o.placement = Placement::kCcs;
    const NetCosts costs = costs_of(build(o));
    EXPECT_EQ(costs.plain.parameters, row.plain_parameters);
    EXPECT_EQ(costs.plain.macs, row.plain_macs);
    EXPECT_EQ(macs_of(costs), row.macs);
  }
}

// Networks 3.3: for C classes add (C - 10) * (f_end + the features of the exits passed) to the MACs.
TEST(Cost, MoreClassesAddTheFeaturesOfEachClassifier) {
  NetOptions o = options("resnet-56", 32, 10);
  const Architecture arch = build(o);
  const NetCosts ten = costs_of(arch);
  o.classes = 43;
  const NetCosts many = costs_of(build(o));
  std::int64_t features = 0;
  for (std::size_t i = 0; i < arch.exits.size(); ++i) {
    features += std::get<Linear>(arch.exits[i].path.layers.back()).in;
    EXPECT_EQ(many.exits[i].macs, ten.exits[i].macs + 33 * features);
  }
  EXPECT_EQ(many.exits.back().macs, ten.exits.back().macs + 33 * (features + 64));
}

}  // namespace
}  // namespace offramp::nets
