// Which net a state dict is of: every family from its own tensors, whatever its exits, widths, classes and wrappers.
#include "nets/families/recognise.h"

#include <gtest/gtest.h>

#include "nets/graph/state_dict.h"
#include "tests/nets/nets.h"
#include "tests/support/temp_folder.h"

namespace offramp::nets {
namespace {

// A file with a net's names and shapes, each name as `name_of` makes it, and without values.
class Shapes final : public StateFile {
 public:
  template <class F>
  Shapes(const NetOptions& options, F name_of) : StateFile("shapes") {
    const Network net(options, Device::cpu());
    for (const ParameterSet::Entry& entry : net.parameters().entries()) {
      if (entry.info.name.starts_with("normalize.")) continue;
      Item item{.name = name_of(entry.info.name), .dtype = safetensors::Dtype::kF32, .shape = {}};
      for (int i = 0; i < entry.value.shape().rank(); ++i) item.shape.push_back(entry.value.shape()[i]);
      if (item.name.ends_with("running_var"))
        add({item.name.substr(0, item.name.rfind('.') + 1) + "num_batches_tracked",
             safetensors::Dtype::kI64,
             {}});
      add(std::move(item));
    }
  }
  explicit Shapes(std::vector<Item> items) : StateFile("shapes") {
    for (Item& item : items) add(std::move(item));
  }

 private:
  std::vector<std::byte> bytes(std::size_t) const override { return {}; }
};

std::string same(const std::string& name) { return name; }

// The same tensors, although it may be described otherwise (exits by their blocks).
void expect_recognised(const NetOptions& options) {
  const auto found = nets_that_fit(Shapes(options, same));
  ASSERT_EQ(found.size(), 1u) << options.name;
  EXPECT_EQ(found[0].name, options.name);
  EXPECT_EQ(found[0].classes, options.classes) << options.name;
  EXPECT_EQ(found[0].width_divisor, options.width_divisor) << options.name;
  EXPECT_EQ(found[0].features, options.features) << options.name;
  const Network ours(options, Device::cpu()), theirs(found[0], Device::cpu());
  EXPECT_EQ(theirs.num_exits(), ours.num_exits()) << options.name;
  EXPECT_EQ(theirs.parameters().entries().size(), ours.parameters().entries().size()) << options.name;
  EXPECT_EQ(theirs.costs().exits.back().parameters, ours.costs().exits.back().parameters) << options.name;
}

TEST(Recognise, EveryFamilyByItsOwnTensors) {
  for (const char* name : test::kFamilies) expect_recognised(test::small_options(name));
}

TEST(Recognise, ExitsFormsDepthsAndPictures) {
  NetOptions o = test::small_options("resnet-8");
  o.name = "resnet-20";
  for (const int exits : {1, 2, 4}) {
    o.num_exits = exits;
    expect_recognised(o);
    o.form = ExitForm::kTwoLayer;
    expect_recognised(o);
    o.form = ExitForm::kLinear;
  }
  o.channels = 1;
  o.classes = 100;
  expect_recognised(o);
  NetOptions sdn;
  sdn.name = "mobilenet";
  sdn.placement = Placement::kSdn;
  expect_recognised(sdn);
}

TEST(Recognise, WidthsThatAreRounded) {
  for (const char* name : {"resnet-8", "vgg-16", "small-cnn"})
    for (const int divisor : {3, 7, 24}) {
      NetOptions o = test::small_options(name);
      o.width_divisor = divisor;
      const auto found = nets_that_fit(Shapes(o, same));
      ASSERT_EQ(found.size(), 1u) << name << divisor;
      const Network ours(o, Device::cpu()), theirs(found[0], Device::cpu());
      EXPECT_EQ(theirs.parameters().count(), ours.parameters().count()) << name << divisor;
    }
}

TEST(Recognise, WrappersAreTakenOff) {
  const NetOptions o = test::small_options("vgg-16");
  for (const char* prefix : {"module.", "model.module.", "_orig_mod."})
    EXPECT_EQ(nets_that_fit(Shapes(o, [&](const std::string& n) { return prefix + n; })).size(), 1u)
        << prefix;
}

TEST(Recognise, WhatIsOfNoFamilyIsNotGuessed) {
  EXPECT_TRUE(nets_that_fit(Shapes(std::vector<StateFile::Item>{})).empty());
  EXPECT_TRUE(nets_that_fit(Shapes({{"conv1.weight", safetensors::Dtype::kF32, {64, 3, 7, 7}},
                                    {"fc.weight", safetensors::Dtype::kF32, {1000, 512}}}))
                  .empty());
  // One tensor more, one less, one of another shape.
  const NetOptions o = test::small_options("small-cnn");
  std::vector<StateFile::Item> items = Shapes(o, same).items();
  std::vector<StateFile::Item> more = items, less = items, other = items;
  more.push_back({"extra.weight", safetensors::Dtype::kF32, {3}});
  less.erase(less.begin() + 1);
  for (StateFile::Item& item : other)
    if (item.shape.size() == 4 && item.shape[1] > 3) item.shape[2] = 5;
  EXPECT_EQ(nets_that_fit(Shapes(items)).size(), 1u);
  EXPECT_TRUE(nets_that_fit(Shapes(more)).empty());
  EXPECT_TRUE(nets_that_fit(Shapes(less)).empty());
  EXPECT_TRUE(nets_that_fit(Shapes(other)).empty());
}

}  // namespace
}  // namespace offramp::nets
