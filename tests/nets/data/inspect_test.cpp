#include "nets/data/inspect.h"

#include "nets/data/leaves.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

const std::filesystem::path kSharedFolder =
    std::filesystem::path(OFFRAMP_SOURCE_DIR) / ".." / "shared" / "data";

TEST(Describe, CountsClassesStatisticsAndRepeats) {
  ImageSet set{.n = 3, .h = 1, .w = 1, .c = 1};
  set.pixels = {0, 255, 0};
  set.labels = {1, 1, 0};
  set.class_names = {"a", "b", "c"};
  const DatasetInfo info = describe(set);
  EXPECT_EQ(info.classes[0].count, 1);
  EXPECT_EQ(info.classes[1].count, 2);
  EXPECT_EQ(info.classes[2].count, 0);
  EXPECT_FLOAT_EQ(info.statistics.mean[0], 1.f / 3);
  EXPECT_EQ(info.repeats, 1);
  TableSet table{.n = 2, .d = 2};
  table.features = {0, 1, 1, 0};
  table.labels = {0, 0};
  table.class_names = {"x"};
  EXPECT_FLOAT_EQ(describe(table).statistics.mean[0], .5f);
  EXPECT_EQ(describe(table).repeats, 0);
}

TEST(Verify, NamesEveryBrokenPictureInOrder) {
  const TempFolder folder;
  for (const char* split : {"train", "test"})
    for (int i = 0; i < 6; ++i)
      folder.put(std::string(split) + "/k/" + std::to_string(i) + ".png", encode_png(pattern(8, 8, 3, i)));
  const std::string spec = "folder:" + folder.path().string();
  const Verification good = verify_dataset(spec);
  EXPECT_TRUE(good.sound());
  ASSERT_EQ(good.notes.size(), 2u);
  EXPECT_EQ(good.notes[0], "train: 6 pictures in 1 classes, 0 broken");

  folder.put("train/k/1.png", {1, 2, 3});
  folder.put("train/k/4.png", encode_png(pattern(9, 8, 3)));
  std::filesystem::resize_file(folder / "test/k/0.png", 40);
  const Verification bad = verify_dataset(spec);
  ASSERT_EQ(bad.problems.size(), 3u);
  EXPECT_TRUE(contains(bad.problems[0], "train/k/1.png, byte 0"));
  EXPECT_TRUE(contains(bad.problems[1], "expected 8x8 pixels as the first sound picture has, found 9x8"));
  EXPECT_TRUE(contains(bad.problems[2], "test/k/0.png, byte"));
  EXPECT_EQ(bad.good, 12 - 3);
}

TEST(Verify, FlatFoldersAndTheirRelativePathsAreVerifiedAsWhatTheyAre) {
  const TempFolder folder;
  for (const char* name : {"cat/1.png", "dog/1.png"}) folder.put(name, encode_png(pattern(8, 8, 3)));
  const Verification v = verify_dataset("folder:" + std::filesystem::relative(folder.path()).string());
  EXPECT_TRUE(v.sound()) << v.problems[0];
  EXPECT_EQ(v.good, 2);
  const Verification table = verify_dataset("csv:" + folder.put_text("t", "1,2\n2,3\n").string());
  EXPECT_TRUE(table.sound());
  EXPECT_EQ(table.good, 2);
}

TEST(Verify, SizesMustAgreeBetweenParts) {
  const TempFolder folder;
  folder.put("train/k/1.png", encode_png(pattern(8, 8, 3)));
  folder.put("test/k/1.png", encode_png(pattern(9, 9, 3)));
  const std::string spec = "folder:" + folder.path().string();
  const Verification v = verify_dataset(spec);
  ASSERT_EQ(v.problems.size(), 1u);
  EXPECT_TRUE(contains(v.problems[0],
                       "expected 8x8 pixels as the first sound picture has, found 9x9; give it as '" + spec +
                           "?side=32', with the quotes"));
  EXPECT_TRUE(verify_dataset(spec + "?side=4").sound());
}

TEST(Verify, HarmlessWarningsAreNotesNotDamage) {
  const TempFolder folder;
  auto jpeg = encode_jpeg(pattern(8, 8, 3), 90);
  jpeg.insert(jpeg.end() - 2, 12, 0x11);  // stray bytes before the end of the image
  folder.put("k/1.jpg", jpeg);
  const Verification v = verify_dataset("folder:" + folder.path().string());
  EXPECT_TRUE(v.sound());
  EXPECT_TRUE(contains(v.notes[0], "all: bytes without meaning in"));
  EXPECT_EQ(v.notes[1], "all: 1 pictures in 1 classes, 0 broken, 1 with warnings");
}

TEST(Verify, MissingAndDamagedFilesAreProblemsNotExceptions) {
  const TempFolder folder;
  EXPECT_TRUE(
      contains(verify_dataset("gtsrb:/nowhere").problems[0], "train: gtsrb: expected a folder, found none"));
  EXPECT_TRUE(
      contains(verify_dataset("npz:/nowhere.npz").problems[0], "read: expected a file, found nothing"));
  EXPECT_TRUE(contains(verify_dataset("fashion-mnist:" + folder.path().string()).problems[0],
                       "dataset-fashion-mnist"));
  EXPECT_TRUE(verify_dataset("csv:" + folder.put_text("t", "1,2\n2,3\n").string()).sound());
  EXPECT_TRUE(verify_dataset("synthetic:leaves:3").sound());
  EXPECT_MESSAGE(verify_dataset("imagenet:/x"), "unknown data set 'imagenet'");
}

TEST(Verify, CountsThatDifferFromThePublishedSetAreNoted) {
  const TempFolder folder;
  std::vector<std::uint8_t> record(3073, 50);
  record[0] = 4;
  for (int b = 1; b <= 5; ++b) folder.put("data_batch_" + std::to_string(b) + ".bin", record);
  folder.put("test_batch.bin", record);
  const Verification v = verify_dataset("cifar10:" + folder.path().string());
  EXPECT_TRUE(v.sound());
  ASSERT_EQ(v.notes.size(), 4u);
  EXPECT_EQ(v.notes[0], "train: 5 images of 32x32x3, 10 classes");
  EXPECT_EQ(v.notes[1], "train: the published set has 50000 images, this one has 5");
}

TEST(VerifyReal, FashionMnistIsSound) {
  if (!std::filesystem::exists(kSharedFolder / "fashion-mnist"))
    GTEST_SKIP() << "no ../shared/data/fashion-mnist";
  const Verification v = verify_dataset("fashion-mnist:" + (kSharedFolder / "fashion-mnist").string());
  EXPECT_TRUE(v.sound());
  EXPECT_EQ(v.notes,
            (std::vector<std::string>{"train: 60000 images of 32x32x3, 10 classes",
                                      "test: 10000 images of 32x32x3, 10 classes"}));
}

}  // namespace
}  // namespace offramp::data
