#include "nets/families/families.h"

#include <gtest/gtest.h>

#include <set>

#include "nets/families/build.h"
#include "nets/training/trainer.h"
#include "tests/nets/nets.h"
#include "tests/nets/training/memory_source.h"

namespace offramp::nets {
namespace {

using test::small_options;

TEST(Families, ANameBelongsToOneFamilyAndItsExampleBuilds) {
  std::set<std::string> forms;
  for (const Family& family : families()) {
    SCOPED_TRACE(family.form);
    EXPECT_TRUE(forms.insert(family.form).second);
    EXPECT_EQ(family_of(family.example), &family);
    int claimed = 0;
    for (const Family& other : families()) claimed += other.number_in(other, family.example) > 0 ? 1 : 0;
    EXPECT_EQ(claimed, 1);
    const Architecture arch = build(small_options(family.example));
    EXPECT_EQ(arch.name, family.example);
    EXPECT_EQ(arch.pixels, family.takes == Takes::kPixels);
  }
}

TEST(Families, NumbersInNamesAreReadAndOthersRefused) {
  for (const char* name :
       {"resnet-56", "resnet-1202", "fcn-18-1", "fcn-18-4", "msdnet-7", "msdnet-growing-5"})
    EXPECT_TRUE(family_of(name)) << name;
  for (const char* name : {"resnet-",
                           "resnet-57",
                           "resnet-2",
                           "resnet-1208",
                           "resnet-56x",
                           "resnet-<6n+2>",
                           "fcn-18-0",
                           "fcn-18-5",
                           "fcn-18-<1..4>",
                           "vgg",
                           "vgg-16 ",
                           "mobilenet-v3",
                           "msdnet-1",
                           "msdnet-17",
                           "msdnet-growing",
                           ""}) {
    EXPECT_FALSE(family_of(name)) << name;
  }
  EXPECT_EQ(forms_that_take(Takes::kRows), "fcn-18-<1..4>");
}

TEST(Families, WeightDecaysAreThoseOfTheReference) {
  for (const Family& family : families()) {
    const std::string form = family.form;
    EXPECT_EQ(reference_options(family.example, TrainKind::kJoint).weight_decay,
              form == "vgg-16" || form == "wrn-32-4" ? 5e-4 : 1e-4)
        << form;
  }
}

// Every family in both precisions, twice: the loss of the first exit falls, and equal seeds give equal bits.
TEST(Families, EveryNetTrains) {
  for (const char* name : test::kFamilies) {
    for (const Precision precision : {Precision::kFloat32, Precision::kMixed}) {
      SCOPED_TRACE(std::string(name) + " " + to_text(precision));
      NetOptions o = small_options(name);
      if (o.features == 0 && std::string(name) != "vgg-16") o.side = 16;
      o.precision = precision;
      const auto run = [&](std::vector<float>& values) {
        const auto net = test::drawn(o, 7);
        test::MemorySource source(net->input(), net->classes(), 30, 10, 9);
        TrainOptions options = reference_options(name, TrainKind::kJoint);
        options.epochs = 6;
        options.batch_size = 10;
        options.milestones = {};
        options.learning_rate = 0.02;
        Trainer trainer(*net, options, source);
        std::vector<double> losses;
        while (!trainer.done()) {
          if (auto end = trainer.step().epoch_end) losses.push_back(end->exit_loss.front());
        }
        values = net->parameters().values().to_host<float>();
        return losses;
      };
      std::vector<float> once, twice;
      const std::vector<double> losses = run(once);
      EXPECT_LT(losses.back(), losses.front());
      EXPECT_EQ(run(twice), losses);
      EXPECT_EQ(once, twice);
    }
  }
}

}  // namespace
}  // namespace offramp::nets
