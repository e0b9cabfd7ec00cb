#include "nets/data/open_dataset.h"

#include "nets/data/npy.h"
#include "nets/data/transform.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

const std::filesystem::path kSharedData =
    std::filesystem::path(OFFRAMP_SOURCE_DIR) / ".." / "shared" / "data";

TEST(Spec, PartsAndOptions) {
  const DatasetSpec spec = parse_spec("tiny-imagenet:/data/a:b?side=32&seed=7");
  EXPECT_EQ(spec.family, "tiny-imagenet");
  EXPECT_EQ(spec.argument, "/data/a:b");
  EXPECT_EQ(spec.options.side, 32);
  EXPECT_EQ(spec.options.seed, 7u);
  EXPECT_MESSAGE(parse_spec("folder:/x?side=0"), "expected side=1..4096 or seed=0..");
  EXPECT_MESSAGE(parse_spec("folder:/x?size=32"), "found 'size=32'");
  EXPECT_MESSAGE(parse_spec("folder:/x?side"), "found 'side'");
}

TEST(Spec, UnknownNamesListTheKnownOnes) {
  EXPECT_MESSAGE(open_dataset("mnist", "train"),
                 "dataset: unknown data set 'mnist'; known: fashion-mnist, idx, cifar10, cifar100, gtsrb, "
                 "tiny-imagenet, svhn, folder, npz, csv, locations, purchases, texas, synthetic");
  EXPECT_MESSAGE(open_dataset("fashion-mnist", "val"), "expected split train, test or all, found 'val'");
  EXPECT_MESSAGE(open_dataset("cifar10", "train"), "cifar10 wants a folder: cifar10:FOLDER");
  EXPECT_MESSAGE(open_dataset("gtsrb:/nowhere/at/all", "train"), "gtsrb: expected a folder, found none");
  EXPECT_MESSAGE(open_dataset("synthetic:trees", "train"), "expected leaves[:N[:SIDE]], found 'trees'");
  EXPECT_MESSAGE(open_dataset("synthetic:leaves:0", "train"), "expected a whole number from 1, found '0'");
}

TEST(OpenDataset, SyntheticSplitsShareNothing) {
  const ImageSet train = open_images("synthetic:leaves:20:16", "train"),
                 test = open_images("synthetic:leaves:20:16", "test");
  EXPECT_EQ(train.n, 20);
  EXPECT_EQ(train.w, 16);
  for (int i = 0; i < 20; ++i)
    for (int j = 0; j < 20; ++j) EXPECT_FALSE(std::ranges::equal(train.image(i), test.image(j)));
  EXPECT_NE(open_images("synthetic:leaves:1?seed=2", "train").pixels,
            open_images("synthetic:leaves:1", "train").pixels);
}

TEST(OpenDataset, FashionMnistFromAFolder) {
  const TempFolder folder;
  std::vector<std::uint8_t> images = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28};
  images.resize(16 + 784, 9);
  folder.put("train-images-idx3-ubyte", images);
  folder.put("train-labels-idx1-ubyte.gz", gzip({0, 0, 8, 1, 0, 0, 0, 1, 9}));
  const std::string spec = "fashion-mnist:" + folder.path().string();
  const ImageSet set = open_images(spec, "train");
  EXPECT_EQ(set.h, 32);
  EXPECT_EQ(set.c, 3);
  EXPECT_EQ(set.image(0)[(2 * 32 + 2) * 3], 9);
  EXPECT_EQ(set.image(0)[(1 * 32 + 2) * 3], 0);
  EXPECT_EQ(set.class_names[9], "Ankle boot");
  EXPECT_EQ(open_images(spec, "train", {.as_stored = true}).h, 28);
  EXPECT_MESSAGE(open_images(spec, "test"),
                 "-ubyte.gz; Debian's package dataset-fashion-mnist installs them");
}

TEST(OpenDataset, FoldersWithAndWithoutSplits) {
  const TempFolder folder;
  for (const char* split : {"train", "test"})
    for (const char* name : {"cat", "dog"})
      folder.put(std::string("s/") + split + "/" + name + "/1.png",
                 encode_png(pattern(8, 8, 3, name[0] + split[1])));
  folder.put("plain/cat/1.png", encode_png(pattern(8, 8, 3)));
  const std::string with = "folder:" + (folder / "s").string(),
                    without = "folder:" + (folder / "plain").string();
  EXPECT_EQ(open_images(with, "train").n, 2);
  EXPECT_EQ(open_images(with, "all").n, 4);
  EXPECT_EQ(open_images(with + "?side=4", "test").h, 4);
  EXPECT_EQ(open_images(without, "all").n, 1);
  EXPECT_EQ(open_images(without, "train").n, 1);  // a set without parts is wholly its training part
  EXPECT_MESSAGE(open_images(without, "test"),
                 "the set has no test part, only all: train sets samples of it aside (--held-out N)");
  EXPECT_MESSAGE(open_images("cifar10:" + (folder / "s").string(), "train"),
                 "expected 10 class folders, found 2");
}

// The test folder once numbered its own classes, so that its birds were the net's airplanes.
TEST(OpenDataset, TestLabelsMeanTheClassesOfTraining) {
  const TempFolder folder;
  for (const char* name : {"train/airplane", "train/bird", "train/cat", "test/bird", "test/cat"})
    folder.put(std::string(name) + "/1.png", encode_png(pattern(8, 8, 3)));
  const std::string spec = "folder:" + folder.path().string();
  const ImageSet test = open_images(spec, "test");
  EXPECT_EQ(test.labels, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(test.class_names, (std::vector<std::string>{"airplane", "bird", "cat"}));
  EXPECT_EQ(open_images(spec, "all").labels, (std::vector<std::int32_t>{0, 1, 2, 1, 2}));
  folder.put("test/cow/1.png", encode_png(pattern(8, 8, 3)));
  EXPECT_MESSAGE(open_images(spec, "test"), "found also 'cow'");
}

TEST(OpenDataset, ValStandsInForTestAndThisIsSaid) {
  const TempFolder folder;
  for (const char* name : {"train/a", "val/a"})
    folder.put(std::string(name) + "/1.png", encode_png(pattern(8, 8, 3)));
  const std::string path = folder.path().string();
  EXPECT_EQ(open_images("folder:" + path, "test").n, 1);
  EXPECT_EQ(what_is_found(parse_spec(path)),
            "class folders in train/ and val/ (there is no test/, val/ is the test part)");
  EXPECT_EQ(what_is_found(parse_spec((folder / "val").string())),
            "class folders without parts train/ and test/");
}

// A quote in a path must not end the word that the message tells the user to type.
TEST(OpenDataset, TheHintForOtherSizesIsOneWordOfAShell) {
  const TempFolder folder;
  folder.put("Ann's pets/a/1.png", encode_png(pattern(8, 8, 3)));
  folder.put("Ann's pets/a/2.png", encode_png(pattern(9, 8, 3)));
  const std::string path = (folder / "Ann's pets").string();
  EXPECT_MESSAGE(open_images(path, "train"),
                 "give it as '" + (folder / "Ann'\\''s pets").string() + "?side=32', with the quotes");
  EXPECT_EQ(open_images(path + "?side=32", "train").n, 2);
  EXPECT_EQ(open_images(path, "train", {.side_of_files = 16}).h, 16);  // where a net says what it takes
  EXPECT_EQ(open_images(path + "?side=32", "train", {.side_of_files = 16}).h, 32);
}

TEST(OpenDataset, AFolderOfIdxFilesHasTheClassesOfItsLabels) {
  const TempFolder folder;
  std::vector<std::uint8_t> images = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28};
  images.resize(16 + 2 * 784, 9);
  folder.put("train-images.idx3-ubyte", images);  // as some mirrors name it
  folder.put("train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 2, 0, 2});
  const std::string path = folder.path().string();
  EXPECT_EQ(parse_spec(path).family, "idx");
  const ImageSet train = open_images(path, "train");
  EXPECT_EQ(train.h, 32);
  EXPECT_EQ(train.c, 3);
  EXPECT_EQ(train.padded, 2);
  EXPECT_EQ(train.class_names, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_MESSAGE(open_images(path, "test"), "the set has no test part, only train");
  folder.put("t10k-images-idx3-ubyte", images);
  folder.put("t10k-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 2, 0, 1});
  EXPECT_EQ(open_images(path, "test").class_names.size(), 3u);
}

// 28 x 28 is padded to 32, whatever the pictures lie in.
TEST(OpenDataset, FoldersAndNpzGiveTheSamePictures) {
  const TempFolder folder;
  const Picture picture = pattern(28, 28, 1);
  folder.put("f/a/1.png", encode_png(picture));
  write_npz(folder / "a.npz",
            {{"images", {{1, 28, 28}, picture.pixels}}, {"labels", {{1}, std::vector<std::int32_t>{0}}}},
            true);
  const ImageSet npz = grey_to_rgb(open_images("npz:" + (folder / "a.npz").string() + "?side=32", "all"));
  EXPECT_EQ(open_images("folder:" + (folder / "f").string() + "?side=32", "all").pixels, npz.pixels);
  EXPECT_EQ(to_rgb(resize_to(picture, 32)).pixels, npz.pixels);
}

TEST(OpenDataset, APathAloneSaysWhatItIs) {
  const TempFolder folder;
  folder.put("pets/cat/1.png", encode_png(pattern(8, 8, 3)));
  const auto csv = folder.put_text("t?.csv", "1,0,1\n2,1,1\n");
  EXPECT_EQ(parse_spec((folder / "pets").string() + "?side=4").family, "folder");
  EXPECT_EQ(open_images((folder / "pets").string() + "?side=4", "all").h, 4);
  EXPECT_EQ(open_table(csv.string(), "all").n, 2);  // a '?' in a name is no option
  EXPECT_EQ(open_table("csv:" + csv.string(), "all").n, 2);
  const auto other = folder.put_text("notes.txt", "x");
  EXPECT_MESSAGE(parse_spec(other.string()), "expected a folder, .npz, .csv or .mat, found another file");
}

TEST(OpenDataset, CifarBinaryIsFoundInItsOwnFolder) {
  const TempFolder folder;
  std::vector<std::uint8_t> record(3073, 50);
  record[0] = 4;
  for (int b = 1; b <= 5; ++b)
    folder.put("cifar-10-batches-bin/data_batch_" + std::to_string(b) + ".bin", record);
  folder.put("cifar-10-batches-bin/test_batch.bin", record);
  const std::string spec = "cifar10:" + folder.path().string();
  EXPECT_EQ(open_images(spec, "train").n, 5);
  EXPECT_EQ(open_images(spec, "all").n, 6);
  EXPECT_EQ(open_images(spec, "test").class_names[4], "deer");
}

TEST(OpenDataset, TablesAndImagesAreToldApart) {
  const TempFolder folder;
  const auto csv = folder.put_text("t.csv", "1,0,1\n2,1,1\n");
  EXPECT_EQ(open_table("csv:" + csv.string(), "all").d, 2);
  EXPECT_EQ(splits_of(parse_spec("csv:" + csv.string())), std::vector<std::string>{"all"});
  EXPECT_EQ(splits_of(parse_spec("synthetic:leaves:3")), (std::vector<std::string>{"train", "test"}));
  EXPECT_MESSAGE(open_images("csv:" + csv.string(), "all"), "expected images, 'csv:");
  EXPECT_EQ(open_table("csv:" + csv.string(), "train").n, 2);
  EXPECT_MESSAGE(open_table("csv:" + csv.string(), "test"), "--held-out");
  EXPECT_MESSAGE(open_table("synthetic:leaves:1", "train"), "is a set of images");
}

TEST(OpenDatasetReal, FashionMnistHasThePublishedCountsAndStatistics) {
  if (!std::filesystem::exists(kSharedData / "fashion-mnist"))
    GTEST_SKIP() << "no ../shared/data/fashion-mnist";
  const ImageSet set =
      open_images("fashion-mnist:" + (kSharedData / "fashion-mnist").string(), "test", {.as_stored = true});
  EXPECT_EQ(set.n, 10000);
  std::vector<int> counts(10);
  for (const auto label : set.labels) ++counts[static_cast<std::size_t>(label)];
  EXPECT_EQ(counts, std::vector<int>(10, 1000));
  const Normalisation n = compute_normalisation(set);  // training.md section 1: about .286 and .353
  EXPECT_NEAR(n.mean[0], .286f, .002f);
  EXPECT_NEAR(n.std[0], .353f, .002f);
}

TEST(OpenDatasetReal, LocationsIsATableOf30ClassesAnd446BinaryColumns) {
  const auto archive = kSharedData / "location" / "dataset_location.tgz";
  if (!std::filesystem::exists(archive)) GTEST_SKIP() << "no ../shared/data/location";
  const TempFolder folder;
  ASSERT_EQ(std::system(("tar -xzf '" + archive.string() + "' -C '" + folder.path().string() + "'").c_str()),
            0);
  const TableSet set = open_table("csv:" + (folder / "bangkok").string(), "all");
  EXPECT_EQ(set.n, 5010);
  EXPECT_EQ(set.d, 446);
  EXPECT_EQ(set.num_classes(), 30);
  double ones = 0;
  for (const float v : set.features) {
    EXPECT_TRUE(v == 0 || v == 1);
    ones += v;
  }
  EXPECT_NEAR(ones / static_cast<double>(set.features.size()), .12, .01);
}

}  // namespace
}  // namespace offramp::data
