#include "nets/data/image_folder.h"

#include "nets/data/transform.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

namespace fs = std::filesystem;

void put_three_classes(const TempFolder& folder, const std::string& under = "") {
  folder.put(under + "b/2.png", encode_png(pattern(4, 4, 3, 1)));
  folder.put(under + "b/10.PNG", encode_png(pattern(4, 4, 3, 2)));
  folder.put(under + "a/x.ppm", [] {
    std::string head = "P5 4 4 255\n";
    head.append(16, 'q');
    return std::vector<std::uint8_t>(head.begin(), head.end());
  }());
  folder.put(under + "c/y.jpeg", encode_jpeg(pattern(4, 4, 3, 3), 95));
}

TEST(ImageFolder, ClassesAndNamesInByteOrderAllAsRgb) {
  const TempFolder folder;
  put_three_classes(folder);
  folder.put("b/.hidden", {1});
  const ImageSet set = decode_list(list_class_folders(folder.path()), {.threads = 2});
  EXPECT_EQ(set.class_names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(set.labels, (std::vector<std::int32_t>{0, 1, 1, 2}));
  EXPECT_EQ(set.c, 3);
  EXPECT_EQ(set.image(0)[5], 'q');
  const Picture ten = pattern(4, 4, 3, 2);  // "10.PNG" stands before "2.png"
  EXPECT_TRUE(std::ranges::equal(set.image(1), ten.pixels));
}

TEST(ImageFolder, AnyNumberOfThreadsGivesTheSameSetAndTheSameError) {
  const TempFolder folder;
  for (int i = 0; i < 300; ++i)
    folder.put(
        std::string("k").append(std::to_string(i % 3)).append("/").append(std::to_string(i)).append(".png"),
        encode_png(pattern(3, 5, 3, i)));
  const ImageList list = list_class_folders(folder.path());
  const ImageSet one = decode_list(list, {.threads = 1}), four = decode_list(list, {.threads = 4});
  EXPECT_EQ(one.pixels, four.pixels);
  fs::resize_file(list.files[70], 30);
  fs::resize_file(list.files[250], 30);
  for (const int threads : {1, 2, 5})
    EXPECT_MESSAGE(decode_list(list, {.threads = threads}), list.files[70].string() + ", byte 29");
}

TEST(ImageFolder, BadFoldersAreRefused) {
  const TempFolder folder;
  EXPECT_MESSAGE(list_class_folders(folder.path()), "folder: expected class folders, found none");
  EXPECT_MESSAGE(list_class_folders(folder / "nowhere"), "folder: expected a folder, found none");
  fs::create_directories(folder / "empty");
  EXPECT_MESSAGE(list_class_folders(folder.path()), "the class folder is empty");
  folder.put("empty/notes.txt", {1});
  EXPECT_MESSAGE(list_class_folders(folder.path()), "notes.txt");
  EXPECT_EQ(list_class_folders((put_three_classes(folder, "good/"), folder / "good")).files.size(), 4u);
  folder.put("good/readme", {1});
  EXPECT_MESSAGE(list_class_folders(folder / "good"), "expected class folders only, found a file");
}

TEST(ImageFolder, OtherSizesAreNamedUnlessASideIsGiven) {
  const TempFolder folder;
  put_three_classes(folder);
  const auto odd = folder.put("c/z.png", encode_png(pattern(6, 4, 3)));
  const ImageList list = list_class_folders(folder.path());
  EXPECT_MESSAGE(decode_list(list, {}), "expected 4x4 pixels as the first picture has, found 6x4");
  EXPECT_MESSAGE(decode_list(list, {.side_hint = "resize"}), "found 6x4; resize");
  EXPECT_MESSAGE(decode_list(list, {}), odd.string());
  const ImageSet set = decode_list(list, {.side = 2});
  EXPECT_EQ(set.h, 2);
  EXPECT_EQ(set.squashed, 1);
  EXPECT_TRUE(std::ranges::equal(set.image(4), resize_bilinear(pattern(6, 4, 3), 2, 2).pixels));
}

// What `infer` must know of the pictures, from the files as from the cache.
TEST(ImageFolder, PaddedAndSquashedPicturesAreCounted) {
  const TempFolder folder;
  folder.put("set/a/1.png", encode_png(pattern(28, 28, 1)));
  folder.put("set/a/2.png", encode_png(pattern(28, 28, 3)));
  folder.put("set/a/3.png", encode_png(pattern(20, 28, 3)));
  const ImageList list = list_class_folders(folder / "set");
  for (int pass = 0; pass < 2; ++pass) {
    const ImageSet set = decode_list(list, {.side = 32, .cache_dir = folder / "cache"});
    EXPECT_EQ(set.padded, 2);
    EXPECT_EQ(set.squashed, 1);
  }
}

TEST(ImageFolder, CacheIsUsedWhileFilesStandAndRefusedWhenDamaged) {
  const TempFolder folder;
  put_three_classes(folder, "set/");
  const ImageList list = list_class_folders(folder / "set");
  const DecodeOptions options{.side = 0, .threads = 1, .cache_dir = folder / "cache"};
  const ImageSet first = decode_list(list, options);
  ASSERT_EQ(std::distance(fs::directory_iterator(folder / "cache"), fs::directory_iterator()), 1);
  const fs::path cache = fs::directory_iterator(folder / "cache")->path();

  // The cache really is read: with size and time kept, a file turned to junk is not noticed.
  const auto time = fs::last_write_time(list.files[1]);
  const auto size = fs::file_size(list.files[1]);
  folder.put("set/b/10.PNG", std::vector<std::uint8_t>(size, 'j'));
  fs::last_write_time(list.files[1], time);
  EXPECT_EQ(decode_list(list, options).pixels, first.pixels);
  EXPECT_EQ(decode_list(list, options).labels, first.labels);
  EXPECT_EQ(decode_list(list, options).class_names, first.class_names);

  // A damaged cache is not believed: the junk file is met.
  auto bytes = read_file(cache);
  bytes[40] ^= 1;
  folder.put("cache/" + cache.filename().string(), bytes);
  EXPECT_MESSAGE(decode_list(list, options), "image: expected JPEG, PNG or PPM");

  // A new file time makes it miss.
  folder.put("set/b/10.PNG", encode_png(pattern(4, 4, 3, 77)));
  EXPECT_TRUE(std::ranges::equal(decode_list(list, options).image(1), pattern(4, 4, 3, 77).pixels));
}

void put_gtsrb(const TempFolder& folder) {
  const std::string head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n";
  for (int k = 0; k < 43; ++k) {
    std::string name = std::to_string(k);
    name.insert(0, 5 - name.size(), '0');
    const std::string dir = "Final_Training/Images/" + name + "/";
    folder.put(dir + "00000_00000.png", encode_png(pattern(10 + k, 12, 3, k)));
    folder.put_text(dir + "GT-" + name + ".csv",
                    head + "00000_00000.png;12;10;1;1;9;9;" + std::to_string(k) + "\r\n");
  }
  folder.put("Final_Test/Images/00000.png", encode_png(pattern(15, 15, 3)));
  folder.put_text("GT-final_test.csv", head + "00000.png;15;15;1;1;9;9;42\r\n");
}

TEST(Gtsrb, OfficialLayoutInClassOrder) {
  const TempFolder folder;
  put_gtsrb(folder);
  const ImageList train = list_gtsrb(folder.path(), false);
  ASSERT_EQ(train.files.size(), 43u);
  for (int k = 0; k < 43; ++k) EXPECT_EQ(train.labels[static_cast<std::size_t>(k)], k);
  EXPECT_EQ(list_gtsrb(folder.path(), true).labels, std::vector<std::int32_t>{42});
  EXPECT_EQ(decode_list(train, {.side = 32}).h, 32);
}

TEST(Gtsrb, AnnotationsAreCheckedLineByLine) {
  const TempFolder folder;
  put_gtsrb(folder);
  folder.put_text("GT-final_test.csv",
                  "\xEF\xBB\xBF"
                  "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n00000.png;1;1;1;1;1;1;42\n\n");
  EXPECT_EQ(list_gtsrb(folder.path(), true).labels,
            std::vector<std::int32_t>{42});  // Excel's mark, a blank line
  const std::string csv = "Final_Training/Images/00003/GT-00003.csv";
  const std::string head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n";
  const auto with = [&](const std::string& text) {
    folder.put_text(csv, text);
    list_gtsrb(folder.path(), false);
  };
  EXPECT_MESSAGE(with("a;b\n"), "expected the header");
  EXPECT_MESSAGE(with(head + "00000_00000.png;1;1;1;1;1;1;4\n"),
                 "expected class 3 as the folder says, found 4");
  EXPECT_MESSAGE(with(head + "00000_00000.png;1;1;1;1;1;1;43\n"), "expected a class in 0..42, found '43'");
  EXPECT_MESSAGE(with(head + "00000_00000.png;1;1\n"), "expected 8 fields, found 3");
  EXPECT_MESSAGE(with(head + "../x.png;1;1;1;1;1;1;3\n"), "expected a file name without folders");
  EXPECT_MESSAGE(with(head + "9.png;1;1;1;1;1;1;3\n"), "does not exist");
  EXPECT_MESSAGE(with(head + "9.png;1;1;1;1;1;1;3\n"), "GT-00003.csv, line 2");
}

TEST(TinyImagenet, OfficialLayoutTrainAndVal) {
  const TempFolder folder;
  folder.put_text("wnids.txt", "n02\nn01\n");
  folder.put_text("words.txt", "n01\tgoldfish, Carassius auratus\nn02\tbullfrog\nn03\tother\n");
  folder.put("train/n01/images/n01_0.JPEG", encode_jpeg(pattern(4, 4, 1), 90));
  folder.put("train/n02/images/n02_0.JPEG", encode_jpeg(pattern(4, 4, 3), 90));
  folder.put_text("train/n01/n01_boxes.txt", "x");
  folder.put("val/images/val_0.JPEG", encode_jpeg(pattern(4, 4, 3), 90));
  folder.put_text("val/val_annotations.txt", "val_0.JPEG\tn02\t0\t0\t1\t1\n\n");
  const ImageList train = list_tiny_imagenet(folder.path(), false),
                  val = list_tiny_imagenet(folder.path(), true);
  EXPECT_EQ(train.class_names, (std::vector<std::string>{"goldfish", "bullfrog"}));
  EXPECT_EQ(train.labels, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(val.labels, std::vector<std::int32_t>{1});
  EXPECT_EQ(decode_list(train, {}).n, 2);
  folder.put_text("val/val_annotations.txt", "val_0.JPEG\tn09\t0\t0\t1\t1\n");
  EXPECT_MESSAGE(list_tiny_imagenet(folder.path(), true), "class 'n09' is not in wnids.txt");
  folder.put_text("val/val_annotations.txt", "val_0.JPEG n02\n");
  EXPECT_MESSAGE(list_tiny_imagenet(folder.path(), true), "expected 6 tab-separated fields, found 1");
}

}  // namespace
}  // namespace offramp::data
