#include "nets/data/four_parts.h"

#include <algorithm>
#include <set>

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

// n rows of two features that say which row it is; classes of sizes 1 : 2 : 3 in turn.
TableSet table(int n) {
  TableSet set;
  set.n = n;
  set.d = 2;
  set.class_names = {"a", "b", "c"};
  for (int i = 0; i < n; ++i) {
    set.labels.push_back(i % 6 < 1 ? 0 : i % 6 < 3 ? 1 : 2);
    set.features.insert(set.features.end(), {static_cast<float>(i), 1});
  }
  return set;
}
FourParts split(const TableSet& set, std::uint64_t seed) {
  return four_parts(set.labels, set.class_names, seed);
}

TEST(FourParts, EqualDisjointAndStratified) {
  for (const int n : {24, 61, 302, 303}) {
    const TableSet set = table(n);
    const FourParts parts = split(set, 3);
    std::set<std::int32_t> seen;
    for (const Part part : kParts) {
      EXPECT_EQ(parts.of(part).size(), static_cast<std::size_t>(n / 4));
      EXPECT_TRUE(std::ranges::is_sorted(parts.of(part)));
      seen.insert(parts.of(part).begin(), parts.of(part).end());
    }
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(n - n % 4));
    for (std::int32_t c = 0; c < 3; ++c) {
      std::vector<std::ptrdiff_t> counts;
      for (const Part part : kParts)
        counts.push_back(std::ranges::count_if(parts.of(part), [&](std::int32_t row) {
          return set.labels[static_cast<std::size_t>(row)] == c;
        }));
      const auto [least, most] = std::ranges::minmax(counts);
      EXPECT_LE(most - least, 1) << "class " << c << " of " << n;
    }
  }
}

TEST(FourParts, TheSeedDecidesAndOnlyIt) {
  const TableSet set = table(200);
  EXPECT_EQ(split(set, 5).rows, split(set, 5).rows);
  EXPECT_NE(split(set, 5).rows, split(set, 6).rows);
}

TEST(FourParts, WhoIsLeftOutIsDrawn) {
  std::set<std::int32_t> left_out;
  const TableSet set = table(25);
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const FourParts parts = split(set, seed);
    for (std::int32_t row = 0; row < 25; ++row) {
      if (std::ranges::none_of(parts.rows,
                               [&](const auto& rows) { return std::ranges::count(rows, row) > 0; }))
        left_out.insert(row);
    }
  }
  EXPECT_GT(left_out.size(), 8u);
}

TEST(FourParts, AClassMissingFromAPartIsNamed) {
  TableSet set = table(24);
  set.class_names.emplace_back("rare");
  for (const int i : {1, 2, 3}) set.labels[static_cast<std::size_t>(i)] = 3;
  EXPECT_MESSAGE(split(set, 1), "class 'rare' is missing from");
  EXPECT_MESSAGE(split(set, 1), "of its 3 samples each part needs one");
  EXPECT_MESSAGE(split(table(3), 1), "expected samples for four parts, at least one each, found 3 in all");
}

TEST(FourParts, UnequalAndOverlappingPartsAreRefused) {
  const TableSet set = table(48);
  FourParts parts = split(set, 1);
  parts.rows[2].push_back(parts.rows[1][0]);
  EXPECT_MESSAGE(check(parts, set.labels, set.class_names),
                 "found 12 in target-train and 13 in shadow-train");
  parts = split(set, 1);
  parts.rows[3][0] = parts.rows[0][0];
  EXPECT_MESSAGE(check(parts, set.labels, set.class_names), "lies in target-train and in shadow-test");
  parts = split(set, 1);
  parts.rows[1][1] = parts.rows[1][0];
  EXPECT_MESSAGE(check(parts, set.labels, set.class_names), "lies in target-test and in target-test");
  parts = split(set, 1);
  parts.rows[0][0] = 48;
  EXPECT_MESSAGE(check(parts, set.labels, set.class_names), "found 48 in target-train");
}

TEST(FourParts, TheManifestHoldsTheSplitToItsData) {
  const TempFolder folder;
  const Dataset set = table(50);
  const FourParts parts = split(std::get<TableSet>(set), 9);
  const auto path = folder / "split.json";
  write_manifest(path, parts, set, "csv:t");
  const FourParts back = read_manifest(path, set);
  EXPECT_EQ(back.rows, parts.rows);
  EXPECT_EQ(back.seed, 9u);

  TableSet other = std::get<TableSet>(set);
  const std::int32_t row = parts.of(Part::kShadowTest)[3];
  other.features[2 * static_cast<std::size_t>(row)] += 1;
  EXPECT_MESSAGE(read_manifest(path, Dataset(other)), "the samples of shadow-test are not those");
  EXPECT_MESSAGE(read_manifest(path, Dataset(table(51))), "is of a set of 50 samples, this one has 51");
  const auto said = [&](const std::string& text) -> std::string {
    try {
      read_manifest(folder.put_text("x.json", text), set);
    } catch (const FileError& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_NE(said("{\"format\": \"y\"}").find("expected format"), std::string::npos);
  EXPECT_NE(said("{\"format\": \"offramp four parts 1\", \"seed\": 1, \"samples\": 50, \"parts\": "
                 "{\"target-train\": 3}}")
                .find("expected the part 'target-train'"),
            std::string::npos);
}

}  // namespace
}  // namespace offramp::data
