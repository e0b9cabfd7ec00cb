// Checkpoints of fits that commit acb500f wrote, before fits were the trainer's: they resume, and end where that
// build ended. tests/fixtures/earlier-fit/{strategy,knockoff}.safetensors were stopped in epoch 2 of
//   offramp extract fit --trace T --assignment A --images synthetic:leaves:24:8 --side 8 --net small-cnn
//     --width-divisor 16 --method M --epochs 12 --batch 5 --seed 5 --threads 1 --learning-rate 0.05
// and *-end.safetensors are the copies of runs that nobody stopped. T says class 7i % 3 of image i with 0.8 and
// the others with 0.1; A says exit 1 + i % 2.
#include <gtest/gtest.h>

#include <cmath>

#include "attacks/extraction/substitute_training.h"
#include "base/safetensors.h"
#include "nets/data/leaves.h"
#include "tests/attacks/message.h"
#include "tests/attacks/tiny.h"
#include "tests/support/temp_folder.h"

namespace offramp::attacks {
namespace {

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests/fixtures/earlier-fit" / (name + ".safetensors");
}

struct Expected {
  FitMethod method;
  double loss, strategy_loss;
  std::vector<double> exit_loss;
};

class EarlierFit : public ::testing::TestWithParam<Expected> {
 protected:
  EarlierFit() : images_(data::synthetic_leaves(24, 8, 5)) {
    for (int i = 0; i < images_.n; ++i) {
      for (int c = 0; c < 3; ++c) answers_.push_back(7 * i % 3 == c ? 0.8f : 0.1f);
      exits_.push_back(1 + i % 2);
    }
    options_ = {.method = GetParam().method,
                .epochs = 12,
                .batch_size = 5,
                .seed = 5,
                .learning_rate = 0.05,
                .weight_decay = 1e-4};
  }
  std::filesystem::path stopped() const { return fixture(to_text(GetParam().method)); }
  nets::Network empty_net() const {
    const safetensors::Reader file(stopped());
    return {nets::options_from_metadata(file.metadata()), test::one_thread()};
  }

  data::ImageSet images_;
  std::vector<float> answers_;
  std::vector<std::int32_t> exits_;
  FitOptions options_;
};

// Another machine may add in another order; 54 steps let such differences grow.
constexpr double kRelative = 1e-2;

TEST_P(EarlierFit, ResumesAndEndsAsItWouldHave) {
  nets::Network net = empty_net();
  Fit fit(net, options_, images_, {answers_, exits_});
  fit.trainer().load(stopped());
  EXPECT_EQ(fit.trainer().steps_done(), 6);
  EXPECT_EQ(fit.trainer().epoch(), 2);
  EXPECT_EQ(fit.trainer().batch(), 1);
  FitEpoch last;
  int epochs = 0;
  while (!fit.trainer().done()) {
    if (const auto end = fit.trainer().step().epoch_end) last = fit_epoch(*end), ++epochs;
  }
  EXPECT_EQ(epochs, 11);
  const Expected& want = GetParam();
  EXPECT_EQ(last.epoch, 12);
  EXPECT_EQ(last.learning_rate, 5e-5);
  EXPECT_NEAR(last.loss, want.loss, kRelative * want.loss);
  EXPECT_NEAR(last.strategy_loss, want.strategy_loss, kRelative * want.strategy_loss);
  for (std::size_t e = 0; e < 2; ++e)
    EXPECT_NEAR(last.exit_loss[e], want.exit_loss[e], kRelative * want.exit_loss[e]);

  const auto end = nets::load_net(fixture(to_text(want.method) + std::string("-end")), test::one_thread());
  const auto expected = end.net->parameters().values().to_host<float>();
  const auto got = net.parameters().values().to_host<float>();
  ASSERT_EQ(got.size(), expected.size());
  double error = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error = std::max(error, std::fabs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    size = std::max(size, std::fabs(static_cast<double>(expected[i])));
  }
  EXPECT_LE(error, kRelative * size);
}

// Saved again it has today's keys, and goes on to the same bits.
TEST_P(EarlierFit, GoesOnToTheSameBitsFromACheckpointOfToday) {
  std::vector<std::vector<float>> results;
  test::TempFolder folder;
  for (const bool saved_again : {false, true}) {
    nets::Network net = empty_net();
    Fit fit(net, options_, images_, {answers_, exits_});
    fit.trainer().load(stopped());
    if (saved_again) {
      fit.trainer().save(folder / "today.safetensors");
      EXPECT_FALSE(safetensors::Reader(folder / "today.safetensors").metadata().contains("fit.state.epoch"));
      fit.trainer().step();
      fit.trainer().load(folder / "today.safetensors");
    }
    while (!fit.trainer().done()) fit.trainer().step();
    results.push_back(net.parameters().values().to_host<float>());
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST_P(EarlierFit, IsRefusedWhereItIsAnother) {
  nets::Network net = empty_net();
  FitOptions other = options_;
  other.learning_rate = 0.1;
  Fit faster(net, other, images_, {answers_, exits_});
  EXPECT_EQ(test::message_of([&] { faster.trainer().load(stopped()); }),
            "resume: " + stopped().string() +
                " was trained with other training options: train.learning_rate was 0.05, now 0.1");
  std::vector<float> answers = answers_;
  std::swap(answers[0], answers[1]);
  Fit elsewhere(net, options_, images_, {answers, exits_});
  EXPECT_NE(test::message_of([&] { elsewhere.trainer().load(stopped()); }).find("fit.targets was"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Methods,
                         EarlierFit,
                         ::testing::Values(Expected{FitMethod::kStrategy,
                                                    1.106075497965018,
                                                    0.5470733270049095,
                                                    {0.4041033486525218, 0.428435493260622}},
                                           Expected{FitMethod::kKnockoff,
                                                    1.7058673451344173,
                                                    0,
                                                    {1.120763788620631, 1.0673312544822693}}),
                         [](const auto& test_info) { return std::string(to_text(test_info.param.method)); });

}  // namespace
}  // namespace offramp::attacks
