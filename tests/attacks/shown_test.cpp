#include "attacks/query/shown.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "tests/attacks/fake_victim.h"
#include "tests/attacks/message.h"
#include "tests/support/close.h"

namespace offramp::attacks {
namespace {

std::vector<float> shown(const std::string& form, std::vector<float> row) {
  show(shown_from(form), row);
  return row;
}

TEST(Shown, GivesAwayWhatItsNameSays) {
  const std::vector<float> row{.125f, .5f, .25f, .0625f, .0625f};
  EXPECT_EQ(shown("full", row), row);
  EXPECT_EQ(shown("label", row), (std::vector<float>{0, 1, 0, 0, 0}));
  EXPECT_EQ(shown("top-1", row), (std::vector<float>{.125f, .5f, .125f, .125f, .125f}));
  EXPECT_EQ(shown("top-2", row), (std::vector<float>{.25f / 3, .5f, .25f, .25f / 3, .25f / 3}));
  EXPECT_EQ(shown("top-5", row), row);
  EXPECT_CLOSE(
      shown("rounded-1", row), (std::vector<double>{.1 / 1.1, .5 / 1.1, .3 / 1.1, .1 / 1.1, .1 / 1.1}), 1e-6);
  EXPECT_EQ(shown("rounded-0", {.2f, .3f, .25f, .25f}), (std::vector<float>{.25f, .25f, .25f, .25f}));
  EXPECT_EQ(shown("label", {.25f, .25f, .25f, .25f}), (std::vector<float>{1, 0, 0, 0}));
}

TEST(Shown, ReadsItsFormsAndRefusesOthers) {
  for (const char* form : {"full", "top-3", "rounded-2", "label"}) EXPECT_EQ(to_text(shown_from(form)), form);
  for (const char* wrong :
       {"", "top", "top-", "top-0", "top-x", "top-3x", "rounded-8", "rounded--1", "labels"})
    EXPECT_NE(test::message_of([&] { shown_from(wrong); }).find("expected full, top-K"), std::string::npos)
        << wrong;
}

TEST(Shown, KeepsLabelsAndTimesAndChecksItsOptions) {
  test::FakeVictim victim({}), same({});
  ShownBlackBox box(victim, {.shown = Shown::kTopK, .top = 2});
  const Tensor images = test::numbered_images(7).load(std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6});
  const Answer answer = box.query(images, Timing::kPerQuery), whole = same.query(images, Timing::kPerQuery);
  EXPECT_EQ(answer.labels, whole.labels);
  EXPECT_EQ(answer.nanoseconds, whole.nanoseconds);
  EXPECT_EQ(labels_of(answer.probabilities), whole.labels);
  EXPECT_NE(answer.probabilities.to_host<float>(), whole.probabilities.to_host<float>());
  // What is rounded to nothing has no first class but the first.
  ShownBlackBox coarse(victim, {.shown = Shown::kRounded, .decimals = 0});
  const Answer rounded = coarse.query(images, Timing::kNone);
  EXPECT_EQ(rounded.labels, labels_of(rounded.probabilities));
  EXPECT_NE(rounded.labels, whole.labels);
  EXPECT_EQ(test::message_of([&] { ShownBlackBox(victim, {.shown = Shown::kTopK, .top = 6}); }),
            "answers: the victim has 5 classes, top 6 are wanted");
}

}  // namespace
}  // namespace offramp::attacks
