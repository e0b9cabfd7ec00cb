#include "nets/data/npz_dataset.h"

#include <algorithm>
#include <cmath>

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

using Ints = std::vector<std::int64_t>;

NpyArray pixels(std::int64_t n) {
  return {{n, 2, 3}, std::vector<std::uint8_t>(static_cast<std::size_t>(n) * 6, 5)};
}
NpyArray labels(Ints values) { return {{static_cast<std::int64_t>(values.size())}, std::move(values)}; }
auto read(const NpzFile& file, const std::string& split) {
  return read_npz_dataset(NpzArchive(encode_npz(file, true), "a.npz"), split);
}

TEST(NpzDataset, ImagesAndTablesBecomeSets) {
  const auto images = std::get<ImageSet>(read({{"images", pixels(2)}, {"labels", labels({2, 0})}}, "all"));
  EXPECT_EQ(images.h, 2);
  EXPECT_EQ(images.w, 3);
  EXPECT_EQ(images.c, 1);
  EXPECT_EQ(images.labels, (std::vector<std::int32_t>{2, 0}));
  EXPECT_EQ(images.num_classes(), 3);
  EXPECT_MESSAGE(read({{"images", pixels(2)}, {"labels", labels({2, 0})}}, "train"),
                 "expected an array 'train_labels', found: 'images', 'labels'");
  const NpyArray features{{2, 1}, std::vector<float>{.5f, 2}};
  const auto table =
      std::get<TableSet>(read({{"test_features", features}, {"test_labels", labels({0, 1})}}, "test"));
  EXPECT_EQ(table.row(1)[0], 2.f);
}

TEST(NpzDataset, LabelsOfAnyNumberTypeAndAsAColumn) {
  const auto with = [](NpyArray l) {
    return std::get<ImageSet>(read({{"images", pixels(2)}, {"labels", std::move(l)}}, "all")).labels;
  };
  const std::vector<std::int32_t> want = {1, 0};
  EXPECT_EQ(with({{2, 1}, Ints{1, 0}}), want);  // keras' shape
  EXPECT_EQ(with({{2}, std::vector<double>{1, 0}}), want);
  EXPECT_EQ(with({{2}, std::vector<std::uint8_t>{1, 0}}), want);
  EXPECT_MESSAGE(with({{2}, std::vector<double>{.5, 0}}),
                 "expected whole numbers from 0 as labels in 'labels', label 0");
  EXPECT_MESSAGE(with({{2}, Ints{0, -1}}), "expected whole numbers from 0 as labels");
  EXPECT_MESSAGE(with({{3}, Ints{0, 1, 1}}), "expected 2 labels in 'labels', found an array of shape [3]");
}

TEST(NpzDataset, FeaturesOfAnyNumberTypeAreFinite) {
  const auto with = [](NpyArray f) {
    return std::get<TableSet>(read({{"features", std::move(f)}, {"labels", labels({1, 0})}}, "all")).features;
  };
  EXPECT_EQ(with({{2, 1}, std::vector<double>{.5, 2}}), (std::vector<float>{.5f, 2}));
  EXPECT_EQ(with({{2, 1}, std::vector<std::uint8_t>{1, 0}}), (std::vector<float>{1, 0}));
  EXPECT_MESSAGE(with({{2, 1}, std::vector<float>{1, NAN}}),
                 "expected finite numbers in 'features', row 1, column 0");
  EXPECT_MESSAGE(with({{2, 1}, std::vector<double>{1e300, 0}}), "row 0, column 0");
}

// Labels numbered by part once made class 1 of the test set class 0 of the net.
TEST(NpzDataset, BothPartsCountTheClassesOfTheTrainingPart) {
  NpzFile file = {{"train_images", pixels(3)},
                  {"train_labels", labels({0, 1, 2})},
                  {"test_images", pixels(1)},
                  {"test_labels", labels({0})}};
  EXPECT_EQ(std::get<ImageSet>(read(file, "test")).num_classes(), 3);
  file["test_labels"] = labels({3});
  EXPECT_MESSAGE(read(file, "test"), "expected labels in 0..2 as 'train_labels' has, 'test_labels' holds 3");
}

TEST(NpzDataset, ValStandsInForTestAndUnknownArraysAreLeftUnread) {
  const NpzFile file = {{"train_images", pixels(1)},
                        {"train_labels", labels({0})},
                        {"val_images", pixels(1)},
                        {"val_labels", labels({0})}};
  const NpzArchive archive(encode_npz(file, false), "a.npz");
  EXPECT_EQ(npz_splits(archive), (std::vector<std::string>{"train", "test"}));
  EXPECT_EQ(std::get<ImageSet>(read_npz_dataset(archive, "test")).n, 1);
  // An array of another type beside the data: its type is turned into an unknown one, and its checksum with it.
  auto bytes = encode_npz(
      {{"images", pixels(1)}, {"labels", labels({0})}, {"mean", {{1}, std::vector<double>{1}}}}, false);
  const std::string from = "<f8";
  const auto at = std::search(bytes.begin(), bytes.end(), from.begin(), from.end());
  ASSERT_NE(at, bytes.end());
  *(at + 1) = 'q';
  const NpzArchive odd(bytes, "a.npz");
  EXPECT_EQ(std::get<ImageSet>(read_npz_dataset(odd, "all")).n, 1);
  EXPECT_MESSAGE(odd.read("mean"), "corrupted data in 'mean'");
}

// As bytes they would be pictures of 0 and 1 of 255: nearly black.
TEST(NpzDataset, TruthValuesAreNoPictures) {
  NpyArray truth = pixels(1);
  truth.truth = true;
  EXPECT_MESSAGE(read({{"images", truth}, {"labels", labels({0})}}, "all"),
                 "expected 'images' as uint8 [n,h,w], [n,h,w,1] or [n,h,w,3], found another type, [1,2,3]");
}

}  // namespace
}  // namespace offramp::data
