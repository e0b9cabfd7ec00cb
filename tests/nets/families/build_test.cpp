#include "nets/families/build.h"

#include <gtest/gtest.h>

#include <set>

#include "base/errors.h"
#include "nets/graph/network.h"
#include "tests/nets/nets.h"

namespace offramp::nets {
namespace {

NetOptions named(const std::string& name) {
  NetOptions o;
  o.name = name;
  return o;
}

// Declares every layer and returns names -> printed shapes.
std::map<std::string, std::string> state_dict_of(const NetOptions& o) {
  Architecture arch = build(o);
  ParameterSet parameters;
  for_each_layer(arch, [&](Layer& layer, int exit) { declare(layer, exit, parameters); });
  std::map<std::string, std::string> shapes;
  for (const auto& entry : parameters.entries()) shapes[entry.info.name] = entry.value.shape().to_string();
  return shapes;
}

using test::message_of;

TEST(Builders, ANetMadeWithItsExitsTakesNoOthers) {
  NetOptions o = named("msdnet-3");
  EXPECT_EQ(build(o).num_exits(), 3);
  o.num_exits = 3;
  EXPECT_EQ(build(o).num_exits(), 3);
  o.num_exits = 1;
  EXPECT_EQ(build(o).num_exits(), 1);
  o.num_exits = 4;
  EXPECT_NE(message_of([&] { build(o); }).find("the number in its name"), std::string::npos);
  o.num_exits = 0;
  o.placement = Placement::kSdn;
  EXPECT_NE(message_of([&] { build(o); }).find("made with its exits"), std::string::npos);
}

// specs: networks, last section.
TEST(Builders, StateDictNamesAreThoseOfTheReferenceModules) {
  NetOptions o = named("vgg-16");
  o.placement = Placement::kSdn;
  auto vgg = state_dict_of(o);
  EXPECT_EQ(vgg.at("layers.0.layers.0.weight"), "[64,3,3,3]");
  EXPECT_EQ(vgg.at("layers.0.layers.0.bias"), "[64]");
  EXPECT_EQ(vgg.at("layers.12.layers.1.running_var"), "[512]");
  EXPECT_EQ(vgg.at("layers.13.layers.1.weight"), "[512,512]");
  EXPECT_EQ(vgg.at("layers.1.output.alpha"), "[1]");
  EXPECT_EQ(vgg.at("layers.1.output.linear.weight"), "[10,1024]");
  EXPECT_EQ(vgg.count("layers.9.output.alpha"), 0U);
  EXPECT_EQ(vgg.at("layers.9.output.linear.bias"), "[10]");
  EXPECT_EQ(vgg.at("end_layers.0.weight"), "[512,512]");
  EXPECT_EQ(vgg.at("end_layers.2.weight"), "[10,512]");

  o.name = "resnet-56";
  auto resnet = state_dict_of(o);
  EXPECT_EQ(resnet.at("init_conv.0.weight"), "[16,3,3,3]");
  EXPECT_EQ(resnet.count("init_conv.0.bias"), 0U);
  EXPECT_EQ(resnet.at("init_conv.1.running_mean"), "[16]");
  EXPECT_EQ(resnet.at("layers.9.layers.0.0.weight"), "[32,16,3,3]");
  EXPECT_EQ(resnet.at("layers.9.layers.0.1.weight"), "[32]");
  EXPECT_EQ(resnet.at("layers.9.layers.0.3.weight"), "[32,32,3,3]");
  EXPECT_EQ(resnet.at("layers.9.layers.0.4.bias"), "[32]");
  EXPECT_EQ(resnet.at("layers.9.layers.1.0.weight"), "[32,16,1,1]");
  EXPECT_EQ(resnet.at("layers.9.layers.1.1.weight"), "[32]");
  EXPECT_EQ(resnet.count("layers.1.layers.1.0.weight"), 0U);
  EXPECT_EQ(resnet.at("layers.3.output.linear.weight"), "[10,256]");
  EXPECT_EQ(resnet.at("end_layers.2.weight"), "[10,64]");

  o.name = "mobilenet";
  auto mobilenet = state_dict_of(o);
  EXPECT_EQ(mobilenet.at("init_conv.0.weight"), "[32,3,3,3]");
  EXPECT_EQ(mobilenet.at("layers.1.layers.0.weight"), "[64,1,3,3]");
  EXPECT_EQ(mobilenet.at("layers.1.layers.1.weight"), "[64]");
  EXPECT_EQ(mobilenet.at("layers.1.layers.3.weight"), "[128,64,1,1]");
  EXPECT_EQ(mobilenet.at("layers.1.layers.4.weight"), "[128]");
  EXPECT_EQ(mobilenet.at("end_layers.2.weight"), "[10,1024]");

  o.name = "mobilenet-v2";
  auto v2 = state_dict_of(o);
  EXPECT_EQ(v2.at("conv1.weight"), "[32,3,3,3]");
  EXPECT_EQ(v2.at("bn1.running_var"), "[32]");
  EXPECT_EQ(v2.at("layers.0.conv1.weight"), "[32,32,1,1]");
  EXPECT_EQ(v2.at("layers.0.shortcut.0.weight"), "[16,32,1,1]");
  EXPECT_EQ(v2.at("layers.0.shortcut.1.weight"), "[16]");
  EXPECT_EQ(v2.at("layers.3.conv2.weight"), "[144,1,3,3]");
  EXPECT_EQ(v2.at("layers.3.bn3.bias"), "[32]");
  EXPECT_EQ(v2.count("layers.3.shortcut.0.weight"), 0U);  // stride 2: nothing is added
  EXPECT_EQ(v2.count("layers.4.shortcut.0.weight"), 0U);  // the input itself is
  EXPECT_EQ(v2.at("layers.2.output.linear.weight"), "[10,384]");
  EXPECT_EQ(v2.at("conv2.weight"), "[1280,320,1,1]");
  EXPECT_EQ(v2.at("bn2.weight"), "[1280]");
  EXPECT_EQ(v2.at("linear.weight"), "[10,1280]");

  o.name = "wrn-32-4";
  auto wide = state_dict_of(o);
  EXPECT_EQ(wide.at("init_conv.weight"), "[16,3,3,3]");
  EXPECT_EQ(wide.at("init_conv.bias"), "[16]");
  EXPECT_EQ(wide.at("layers.0.layers.0.0.weight"), "[16]");
  EXPECT_EQ(wide.at("layers.0.layers.0.2.weight"), "[64,16,3,3]");
  EXPECT_EQ(wide.at("layers.0.layers.0.4.weight"), "[64]");
  EXPECT_EQ(wide.at("layers.0.layers.0.6.bias"), "[64]");
  EXPECT_EQ(wide.at("layers.0.layers.1.0.weight"), "[64,16,1,1]");
  EXPECT_EQ(wide.at("end_layers.0.weight"), "[256]");
  EXPECT_EQ(wide.at("end_layers.4.weight"), "[10,256]");
}

// specs: networks 2.1: 512 features for 32x32 images, 2048 -> 1024 for 64x64.
TEST(Builders, VggIsWiderBehindLargerImages) {
  NetOptions o = named("vgg-16");
  o.side = 64;
  o.num_exits = 1;
  const auto vgg = state_dict_of(o);
  EXPECT_EQ(vgg.at("layers.13.layers.1.weight"), "[2048,2048]");
  EXPECT_EQ(vgg.at("end_layers.0.weight"), "[1024,2048]");
  EXPECT_EQ(vgg.at("end_layers.2.weight"), "[10,1024]");
}

TEST(Builders, AnExitBehindTheFullyConnectedBlockIsABareLinearLayer) {
  NetOptions o = named("vgg-16");
  o.placement = Placement::kExplicit;
  o.exits_after = {13};
  const auto vgg = state_dict_of(o);
  EXPECT_EQ(vgg.count("layers.13.output.alpha"), 0U);
  EXPECT_EQ(vgg.at("layers.13.output.linear.weight"), "[10,512]");
}

TEST(Builders, AnyClassCountAndChannelCountBuilds) {
  for (const char* name : {"vgg-16", "resnet-20", "mobilenet", "mobilenet-v2", "wrn-32-4", "small-cnn"}) {
    for (const int channels : {1, 3}) {
      NetOptions o = named(name);
      o.classes = 43;
      o.channels = channels;
      o.width_divisor = 8;
      const Architecture arch = build(o);
      EXPECT_EQ(arch.num_exits(), 4) << name;
      EXPECT_EQ(arch.inputs, (std::vector<Extent>{{channels, 32, 32}}));
    }
  }
  NetOptions o = named("small-cnn");
  o.side = 28;
  o.channels = 1;
  EXPECT_EQ(build(o).num_exits(), 4);
}

// Tiny ImageNet's 64 pixels give the first exit windows of 16; beyond that a net is refused when it is built.
TEST(Builders, ExitPoolsUpTo16WideAreBuiltAndWiderOnesRefused) {
  for (const char* name : {"vgg-16", "resnet-8", "mobilenet", "wrn-32-4", "small-cnn"}) {
    NetOptions o = named(name);
    o.width_divisor = 8;
    if (o.name == "resnet-8") o.num_exits = 3;
    o.side = 64;
    EXPECT_GT(build(o).num_exits(), 1) << name;
  }
  NetOptions o = named("resnet-8");
  o.num_exits = 3;
  o.placement = Placement::kExplicit;
  o.exits_after = {0, 1};
  o.side = 128;  // the stem halves it
  EXPECT_EQ(build(o).num_exits(), 3);
  o.side = 256;
  EXPECT_EQ(
      message_of([&] { build(o); }),
      "net resnet-8: with images of side 256 the exit after block 0 pools maps of [16,128,128] by windows of "
      "32, at most 16 are computed; smaller images or a later exit");
  o.exits_after = {2};  // a later exit
  o.num_exits = 2;
  EXPECT_EQ(message_of([&] { build(o); }).substr(0, 60), "nothing was thrown");
}

TEST(Builders, EveryDropoutHasItsOwnPlaceInTheRandomStream) {
  NetOptions o = named("wrn-32-4");
  o.form = ExitForm::kTwoLayer;
  o.width_divisor = 8;
  const Network net(o, Device::cpu());
  std::set<std::uint32_t> seen;
  int dropouts = 0;
  for_each_layer(net.architecture(), [&](const Layer& layer, int) {
    if (const auto* dropout = std::get_if<Dropout>(&layer)) {
      seen.insert(dropout->op);
      ++dropouts;
    }
  });
  EXPECT_EQ(dropouts, 15 + 3 + 1);
  EXPECT_EQ(static_cast<int>(seen.size()), dropouts);
}

TEST(Builders, WrongUseIsNamed) {
  EXPECT_EQ(message_of([] { build(named("resnet-57")); }),
            "net: expected one of vgg-16, resnet-<6n+2>, mobilenet, mobilenet-v2, wrn-32-4, msdnet-<exits>, "
            "msdnet-growing-<exits>, fcn-18-<1..4>, small-cnn, got "
            "'resnet-57'");
  NetOptions o = named("small-cnn");
  o.num_exits = 7;
  EXPECT_EQ(message_of([&] { build(o); }),
            "net small-cnn: 7 exits do not fit: it has 5 blocks that an exit may follow");
  o = named("mobilenet");
  o.placement = Placement::kSdn;
  o.num_exits = 4;
  EXPECT_EQ(message_of([&] { build(o); }), "net mobilenet: 4 exits do not fit: the sdn placement has 6");
  o.placement = Placement::kCcs;
  o.num_exits = 7;
  EXPECT_EQ(message_of([&] { build(o); }),
            "net mobilenet: 7 exits do not fit: the ccs placement has at most 6");
  o = named("resnet-20");
  o.placement = Placement::kSdn;
  EXPECT_EQ(message_of([&] { build(o); }),
            "net resnet-20: its own number of exits does not fit: no sdn positions are known for it");
  o.placement = Placement::kExplicit;
  o.exits_after = {3, 3};
  EXPECT_EQ(message_of([&] { build(o); }), "net resnet-20: exits stand after rising blocks of 0 to 8, got 3");
  o = named("resnet-20");
  o.classes = 1;
  EXPECT_EQ(message_of([&] { build(o); }), "net resnet-20: classes must be at least 2, got 1");
  o = named("resnet-20");
  o.mean = {0.5f};
  EXPECT_EQ(message_of([&] { build(o); }),
            "net resnet-20: normalisation wants one mean and deviation per channel (3), got 1");
  o = named("vgg-16");
  o.side = 28;
  EXPECT_EQ(message_of([&] { build(o); }),
            "max_pool: expected a map of at least 2 pixels a side, got [512,1,1]");
  EXPECT_EQ(message_of([] { placement_from("even"); }),
            "placement: expected one of equal-cost, sdn, ccs, explicit, got 'even'");
}

TEST(Options, MetadataReadsBack) {
  NetOptions o = named("wrn-32-4");
  o.classes = 43;
  o.placement = Placement::kExplicit;
  o.exits_after = {2, 7};
  o.form = ExitForm::kTwoLayer;
  o.precision = Precision::kMixed;
  o.mean = {0.1f, 0.485f, 1.f / 3};
  o.std = {0.229f, 0.224f, 0.225f};
  auto metadata = to_metadata(o);
  EXPECT_EQ(options_from_metadata(metadata), o);
  metadata["net.side"] = "32px";
  EXPECT_EQ(message_of([&] { options_from_metadata(metadata); }),
            "metadata net.side: expected a number, got '32px'");
  metadata.erase("net.classes");
  EXPECT_EQ(message_of([&] { options_from_metadata(metadata); }), "metadata: 'net.classes' is missing");
}

}  // namespace
}  // namespace offramp::nets
