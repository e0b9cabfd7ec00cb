// The readers on the published data sets, where ../shared/data has them: counts, classes and statistics as
// its README and the releases state them.
#include <cstdlib>

#include "nets/data/open_dataset.h"
#include "nets/data/transform.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

const std::filesystem::path kShared = std::filesystem::path(OFFRAMP_SOURCE_DIR) / ".." / "shared" / "data";

// Unpacks an archive of ../shared/data, or one member of it, into `folder`; false where it is absent.
bool unpack(const char* archive, const TempFolder& folder, const std::string& member = "") {
  if (!std::filesystem::exists(kShared / archive)) return false;
  const std::string command =
      "tar -xJf '" + (kShared / archive).string() + "' -C '" + folder.path().string() + "' " + member;
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return true;
}

std::vector<int> class_counts(const ImageSet& set) {
  std::vector<int> counts(static_cast<std::size_t>(set.num_classes()));
  for (const auto label : set.labels) ++counts[static_cast<std::size_t>(label)];
  return counts;
}

TEST(RealData, GtsrbInItsOfficialLayout) {
  const TempFolder folder;
  if (!unpack("gtsrb/gtsrb.tar.xz", folder)) GTEST_SKIP() << "no ../shared/data/gtsrb";
  const std::string spec = "gtsrb:" + (folder / "GTSRB").string();
  const ImageSet train = open_images(spec, "train"), test = open_images(spec, "test");
  EXPECT_EQ(train.n, 39209);
  EXPECT_EQ(test.n, 12630);
  EXPECT_EQ(train.num_classes(), 43);
  EXPECT_EQ(train.h, 32);
  // Benchmark paper, figure of class frequencies: the rarest classes have 7 tracks of 30 images, the most
  // frequent (50 km/h) 75.
  const auto counts = class_counts(train);
  EXPECT_EQ(*std::min_element(counts.begin(), counts.end()), 210);
  EXPECT_EQ(counts[2], 2250);
  EXPECT_EQ(*std::max_element(counts.begin(), counts.end()), 2250);
}

TEST(RealData, TinyImageNetInItsOfficialLayout) {
  const TempFolder folder;
  if (!unpack("tiny-imagenet-200/tiny-imagenet-200-subset.tar.xz", folder))
    GTEST_SKIP() << "no ../shared/data/tiny-imagenet-200";
  const std::string spec = "tiny-imagenet:" + (folder / "tiny-imagenet-200").string();
  const ImageSet train = open_images(spec, "train"), val = open_images(spec, "test");
  EXPECT_EQ(class_counts(train), std::vector<int>(200, 100));
  EXPECT_EQ(class_counts(val), std::vector<int>(200, 10));
  EXPECT_EQ(train.h, 64);
  EXPECT_EQ(train.c, 3);  // 411 of the files have a single grey component
  EXPECT_EQ(train.class_names.size(), 200u);
}

TEST(RealData, Cifar100AsClassFolders) {
  const TempFolder folder;
  if (!unpack("cifar100/cifar100.tar.xz", folder, "cifar100/test"))
    GTEST_SKIP() << "no ../shared/data/cifar100";
  const ImageSet test = open_images("cifar100:" + (folder / "cifar100").string(), "test");
  EXPECT_EQ(class_counts(test), std::vector<int>(100, 100));
  EXPECT_EQ(test.class_names.front(), "apple");
  EXPECT_EQ(test.class_names.back(), "worm");
  // Channel means of the official training images; those of 10,000 other images of the same kind, whose
  // pixels deviate by 0.27, lie within .27 / sqrt(10,000) = .0027 a few times over.
  const Normalisation n = compute_normalisation(test);
  EXPECT_NEAR(n.mean[0], 129.304166 / 255, .01);
  EXPECT_NEAR(n.mean[1], 124.069963 / 255, .01);
  EXPECT_NEAR(n.mean[2], 112.434050 / 255, .01);
}

}  // namespace
}  // namespace offramp::data
