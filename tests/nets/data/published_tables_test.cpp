// Generated files of the published form: no claim about the published rows is made from them.
#include "nets/data/published_tables.h"

#include "nets/data/four_parts.h"
#include "nets/data/open_dataset.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

// Features of row i: (i + j) % 3 == 0.
std::string features(int i, int width) {
  std::string text;
  for (int j = 0; j < width; ++j) text += (j > 0 ? "," : "") + std::string((i + j) % 3 == 0 ? "1" : "0");
  return text;
}

void expect_rows(const TableSet& set, int rows, int width, int classes, const std::string& family) {
  EXPECT_EQ(set.n, rows);
  EXPECT_EQ(set.d, width);
  EXPECT_EQ(set.num_classes(), classes);
  EXPECT_EQ(set.class_names.front(), "1");
  EXPECT_EQ(set.family, family);
  for (int i = 0; i < rows; ++i) {
    EXPECT_EQ(set.labels[static_cast<std::size_t>(i)], i % classes);
    for (int j = 0; j < width; ++j)
      ASSERT_EQ(set.row(i)[static_cast<std::size_t>(j)], (i + j) % 3 == 0 ? 1 : 0);
  }
}

TEST(PublishedTables, LocationsHasQuotedClasses) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "\"" + std::to_string(i % 30 + 1) + "\"," + features(i, 446) + "\n";
  const auto file = folder.put_text("bangkok", text);
  expect_rows(read_locations(file), 40, 446, 30, "locations");
  expect_rows(open_table(file.string(), "all"), 40, 446, 30, "locations");  // by its name alone
  EXPECT_EQ(read_locations(folder.path()).n, 40);
  EXPECT_EQ(open_table("locations:" + folder.path().string(), "all").n, 40);
}

TEST(PublishedTables, PurchasesIsRowsOfClassAndSixHundred) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 120; ++i) text += std::to_string(i % 100 + 1) + "," + features(i, 600) + "\r\n";
  folder.put_text("dataset_purchase", text);
  expect_rows(open_table("purchases:" + folder.path().string(), "all"), 120, 600, 100, "purchases");
}

TEST(PublishedTables, TexasLiesInTwoFiles) {
  const TempFolder folder;
  std::string rows, labels;
  for (int i = 0; i < 101; ++i) {
    rows += features(i, 6169) + "\n";
    labels += std::to_string(i % 100 + 1) + "\n";
  }
  folder.put_text("texas/100/feats", rows);
  folder.put_text("texas/100/labels", labels);
  expect_rows(open_table("texas:" + folder.path().string(), "all"), 101, 6169, 100, "texas");
  EXPECT_EQ(read_texas(folder / "texas/100").n, 101);
  folder.put_text("texas/100/labels", labels + "1\n");
  EXPECT_MESSAGE(read_texas(folder.path()), "found 101 rows and 102 labels");
  std::filesystem::remove(folder / "texas/100/labels");
  EXPECT_MESSAGE(read_texas(folder.path()), "expected the file 'labels' beside feats");
}

TEST(PublishedTables, EveryFaultNamesItsLine) {
  const TempFolder folder;
  const auto read = [&](const std::string& text) { read_locations(folder.put_text("bangkok", text)); };
  const std::string good = "\"1\"," + features(0, 446) + "\n";
  EXPECT_MESSAGE(read(""), "locations: expected rows, the file is empty");
  EXPECT_MESSAGE(read(good + "\"31\"," + features(0, 446)), "a class from 1 to 30, found '\"31\"'");
  EXPECT_MESSAGE(read(good + "\"0\"," + features(0, 446)), "line 2");
  EXPECT_MESSAGE(read(good + "x," + features(0, 446)), "found 'x'");
  EXPECT_MESSAGE(read("\"1\"," + features(0, 445)),
                 "expected 446 features of 0 or 1 with commas between, found 445 fields");
  EXPECT_MESSAGE(read("\"1\"," + features(0, 447)), "found 447 fields");
  EXPECT_MESSAGE(read("\"1\",2," + features(0, 445)), "expected 0 or 1 as feature 1, found '2'");
  EXPECT_MESSAGE(read("\"1\"," + features(0, 445) + ",0.5"), "found 446 fields");
  EXPECT_MESSAGE(read("\"1\"\n"), "expected a class and features");
  EXPECT_MESSAGE(read_locations(folder / "nowhere"), "expected the file 'bangkok'");
  EXPECT_MESSAGE(open_table("purchases:", "all"), "wants a file or folder");
}

TEST(PublishedTablesReal, LocationsIsThatOfTheCsvReader) {
  const auto archive = std::filesystem::path(OFFRAMP_SOURCE_DIR) / ".." / "shared" / "data" / "location" /
                       "dataset_location.tgz";
  if (!std::filesystem::exists(archive)) GTEST_SKIP() << "no ../shared/data/location";
  const TempFolder folder;
  ASSERT_EQ(std::system(("tar -xzf '" + archive.string() + "' -C '" + folder.path().string() + "'").c_str()),
            0);
  const TableSet set = read_locations(folder.path()),
                 csv = open_table("csv:" + (folder / "bangkok").string(), "all");
  EXPECT_EQ(set.n, 5010);
  EXPECT_EQ(set.features, csv.features);
  EXPECT_EQ(set.labels, csv.labels);
  EXPECT_EQ(set.class_names, csv.class_names);
  const FourParts parts = four_parts(set.labels, set.class_names, 1);
  EXPECT_EQ(parts.rows[0].size(), 1252u);
}

}  // namespace
}  // namespace offramp::data
