#include "nets/data/class_names.h"

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

using Names = std::vector<std::string>;
using Labels = std::vector<std::int32_t>;

TEST(MatchClasses, LabelsFollowTheNamesTrainedOn) {
  Names names = {"bird", "cat"};
  Labels labels = {0, 1, 1};
  match_classes({"airplane", "bird", "cat"}, names, labels, "B");
  EXPECT_EQ(labels, (Labels{1, 2, 2}));
  EXPECT_EQ(names, (Names{"airplane", "bird", "cat"}));
}

TEST(MatchClasses, UnknownNamesAreRefused) {
  Names names = {"bird", "cow"};
  Labels labels = {0, 1};
  EXPECT_MESSAGE(match_classes({"bird", "cat"}, names, labels, "B"),
                 "B: expected classes among the 2 trained on ('bird', 'cat'), found also 'cow'");
  EXPECT_EQ(labels, (Labels{0, 1}));
}

TEST(MatchClasses, NumbersStandForPlacesWhereNamesAreMissing) {
  Names names = {"0", "1"};
  Labels labels = {1};
  match_classes({"bird", "cat", "dog"}, names, labels, "B");
  EXPECT_EQ(labels, Labels{1});
  names = {"7", "30"};  // a table's own numbers are names
  labels = {0, 1};
  match_classes({"2", "7", "30"}, names, labels, "B");
  EXPECT_EQ(labels, (Labels{1, 2}));
  names = {"a", "b", "c"};
  EXPECT_MESSAGE(match_classes({"0", "1"}, names, labels, "B"), "found also 'a', 'b', 'c'");
}

TEST(ClassNames, AnyBytesComeBackAndTheTextIsUtf8) {
  const Names names = {"T-shirt/top",
                       "a,b",
                       "back\\slash",
                       "two\nlines",
                       "donn\xC3\xA9"
                       "es",
                       "donn\xE9"
                       "es",
                       ""};
  const std::string text = encode_class_names(names);
  EXPECT_EQ(decode_class_names(text), names);
  EXPECT_NE(text.find("donn\xC3\xA9"
                      "es"),
            std::string::npos);
  EXPECT_NE(text.find("donn\\xe9"
                      "es"),
            std::string::npos);
  EXPECT_MESSAGE(decode_class_names("a\\q"), "class names: expected \\xNN at byte 1");
}

}  // namespace
}  // namespace offramp::data
