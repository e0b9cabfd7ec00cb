#include "attacks/query/trace.h"

#include <gtest/gtest.h>

#include "tests/attacks/fake_victim.h"
#include "tests/attacks/message.h"
#include "tests/support/temp_folder.h"

namespace offramp::attacks {
namespace {

Trace small_trace() {
  Trace t;
  t.info = {.victim = "a \"quoted\" victim",
            .images = "numbered",
            .images_digest = "",
            .seed = 0xffffffffffffffffu,
            .sigma1_ns = 0.1,
            .gap_ns = 12345.678,
            .repetitions_because = "2 repetitions: as asked",
            .image_parts = {"my pets, 2024", "synthetic:leaves:1"},
            .side = 32,
            .channels = 3};
  t.samples = 3;
  t.classes = 2;
  t.repetitions = 2;
  t.times_ns = {10, 11, 9007199254740993, 21, 30, 31};  // the long one is no double
  t.order = {0, 2, 1, 0, 2, 1};
  t.outputs = {0.25f, 0.75f, 1.0f, 0.0f, 0.1f, 0.9f};
  return t;
}

TEST(Trace, ComesBackFromDiskBitForBit) {
  test::TempFolder folder;
  write_trace(folder.path(), small_trace());
  EXPECT_TRUE(has_trace(folder.path()));
  EXPECT_EQ(read_trace(folder.path()), small_trace());
  EXPECT_EQ(test::read_text(folder / "times.csv"), "index,t1,t2\n0,10,11\n1,9007199254740993,21\n2,30,31\n");
  EXPECT_EQ(test::read_text(folder / "order.csv"), "index,p1,p2\n0,0,2\n1,1,0\n2,2,1\n");
  Trace without = small_trace();
  without.order.clear();
  write_trace(folder.path(), without);
  EXPECT_EQ(read_trace(folder.path()), without);
}

TEST(Trace, AnotherSystemNeedsOnlyTheSizes) {
  test::TempFolder folder;
  write_trace(folder.path(), small_trace());
  test::write_text(folder / "trace.json",
                   R"({"format":"offramp-trace","version":1,"samples":3,"classes":2,"repetitions":2})");
  test::write_text(folder / "times.csv", "index,t1,t2\r\n0,10,11\r\n1,20,21\r\n2,30,31\r\n");
  std::filesystem::remove(folder / "order.csv");
  const Trace trace = read_trace(folder.path());
  EXPECT_TRUE(trace.order.empty());
  EXPECT_EQ(trace.times_ns, (std::vector<std::int64_t>{10, 11, 20, 21, 30, 31}));
  EXPECT_EQ(trace.info, TraceInfo{});
}

// Each: a file, what stands in it, and the end of the message.
struct BadFile {
  const char* file;
  const char* text;
  const char* message;
};

class BadTrace : public testing::TestWithParam<BadFile> {};

TEST_P(BadTrace, IsRefusedWithFileAndPlace) {
  test::TempFolder folder;
  write_trace(folder.path(), small_trace());
  const auto path = folder / GetParam().file;
  test::write_text(path, GetParam().text);
  EXPECT_EQ(test::message_of([&] { read_trace(folder.path()); }), path.string() + ": " + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    BadTrace,
    testing::Values(
        BadFile{"order.csv",
                "index,t1,t2\n0,1,2\n",
                "expected the columns of 2 repetitions, 'p1' to 'p2', found 'index', 't1', 't2'"},
        BadFile{"order.csv",
                "index,p1,p2\n0,0,x\n1,1,1\n2,2,2\n",
                "line 2: expected a position from 0 in column 'p2', found 'x'"},
        BadFile{"order.csv",
                "index,p1,p2\n0,0,0\n1,1,3\n2,2,1\n",
                "line 3: expected each position 0..2 once in column p2, got 3"},
        BadFile{"order.csv",
                "index,p1,p2\n0,0,0\n1,0,1\n2,2,2\n",
                "line 3: expected each position 0..2 once in column p1, got 0 again"},
        BadFile{"times.csv", "", "expected a header line, the file is empty"},
        BadFile{"times.csv",
                "index,t1\n0,1\n",
                "expected the columns of 2 repetitions, 't1' to 't2', found 'index', 't1'"},
        BadFile{"times.csv", "t1,t2\n1,2\n", "expected a column 'index', found 't1', 't2'"},
        BadFile{
            "times.csv", "index,t1,t2\n0,1,2\n1,3\n", "line 3: expected 3 fields as in the header, found 2"},
        BadFile{"times.csv", "index,t1,t2\n0,1,2\n2,3,4\n", "line 3: expected index 1, found 2"},
        BadFile{"times.csv",
                "index,t1,t2\n0,1,-2\n1,1,1\n2,1,1\n",
                "line 2: expected a whole number of nanoseconds in column 't2', found '-2'"},
        BadFile{"times.csv",
                "index,t1,t2\n0,1,1.5\n1,1,1\n2,1,1\n",
                "line 2: expected a whole number of nanoseconds in column 't2', found '1.5'"},
        BadFile{
            "times.csv",
            "index,t1,t2\n0,1,99999999999999999999\n1,1,1\n2,1,1\n",
            "line 2: expected a whole number of nanoseconds in column 't2', found '99999999999999999999'"},
        BadFile{"times.csv", "index,t1,t2\n0,1,2\n1,1,2\n", "expected 3 rows as trace.json says, found 2"},
        BadFile{"times.csv",
                "index,t1,t2\n0,1,2\n1,1,2\n2,1,2\n3,1,2\n",
                "expected 3 rows as trace.json says, found 4"},
        BadFile{"trace.json", "{\"format\":", "expected JSON, at byte 11"},
        BadFile{"trace.json", "[]", "expected a JSON object"},
        BadFile{"trace.json", R"({"format":5})", "expected \"format\": \"offramp-trace\""},
        BadFile{"trace.json", R"({"format":"offramp-trace","version":2})", "expected version 1, got 2"},
        BadFile{"trace.json",
                R"({"format":"offramp-trace","version":1.9})",
                "expected a whole number under 'version', got '1.9'"},
        BadFile{"trace.json", R"({"format":"offramp-trace"})", "expected the key 'version'"},
        BadFile{"trace.json",
                R"({"format":"offramp-trace","version":1,"samples":"3"})",
                "expected a whole number under 'samples', got '\"3\"'"},
        BadFile{"trace.json",
                R"({"format":"offramp-trace","version":1,"samples":1e18})",
                "expected a whole number under 'samples', got '1e+18'"},
        BadFile{"trace.json",
                R"({"format":"offramp-trace","version":1,"samples":3,"classes":4294967299})",
                "expected a whole number under 'classes', got '4294967299'"},
        BadFile{"trace.json",
                R"({"format":"offramp-trace","version":1,"samples":3,"classes":3.7})",
                "expected a whole number under 'classes', got '3.7'"},
        BadFile{"trace.json",
                R"({"format":"offramp-trace","version":1,"samples":3,"classes":2,"repetitions":2,"seed":-1})",
                "expected a whole number under 'seed', got '-1'"},
        BadFile{"trace.json",
                R"({"format":"offramp-trace","version":1,"samples":3,"classes":1,"repetitions":2})",
                "expected samples >= 1, classes >= 2, repetitions >= 1"}));

// A number that the files cannot bear out is found by reading them, not by asking for its memory.
TEST(Trace, ManyMoreSamplesThanThereAreIsAMessage) {
  test::TempFolder folder;
  write_trace(folder.path(), small_trace());
  test::write_text(
      folder / "trace.json",
      R"({"format":"offramp-trace","version":1,"samples":1000000000000000000,"classes":2,"repetitions":2})");
  EXPECT_EQ(
      test::message_of([&] { read_trace(folder.path()); }),
      (folder / "times.csv").string() + ": expected 1000000000000000000 rows as trace.json says, found 3");
}

// What pandas, spreadsheets and other recorders write; `extract estimate` reads the same.
TEST(Trace, OneKindOfFileHasOneReader) {
  test::TempFolder folder;
  Trace expected = small_trace();
  expected.times_ns = {10, 11, 151907, 21, 30, 31};
  write_trace(folder.path(), expected);
  for (const char* text : {"\xEF\xBB\xBFindex,t1,t2\n0,10,11\n1,151907,21\n2,30,31\n",
                           "index,t1,t2\n0,10,11\n1,151907.0,21\n2,30,31\n\n",
                           "index,t0,t1\n0,10,11\n1,151907,21\n2,30,31\n",
                           "host,index,t2,t1\n\"a, b\",0,11,10\nb,1,21,151907\nc,2,31,30\n"}) {
    test::write_text(folder / "times.csv", text);
    EXPECT_EQ(read_trace(folder.path()), expected) << text;
  }
}

TEST(Trace, NamesThatAreNoUtf8LoseNothingElse) {
  test::TempFolder folder;
  Trace trace = small_trace();
  trace.info.victim =
      "donn\xe9"
      "es";
  write_trace(folder.path(), trace);
  trace.info.victim =
      "donn\xef\xbf\xbd"
      "es";
  EXPECT_EQ(read_trace(folder.path()), trace);
}

TEST(Trace, LogitsAreNotTakenForProbabilities) {
  test::TempFolder folder;
  Trace trace = small_trace();
  trace.outputs[2] = 3.0f;
  write_trace(folder.path(), trace);
  EXPECT_EQ(test::message_of([&] { read_trace(folder.path()); }),
            (folder / "outputs.npy").string() +
                ": expected rows of probabilities that sum to 1, got a sum of 3.000000 in row 1");
  trace.outputs[2] = std::numeric_limits<float>::quiet_NaN();
  write_trace(folder.path(), trace);
  EXPECT_THROW(read_trace(folder.path()), FileError);
}

TEST(Trace, OutputsOfAnotherSizeAreRefused) {
  test::TempFolder folder, other;
  write_trace(folder.path(), small_trace());
  Trace longer = small_trace();
  longer.samples = 4;
  longer.outputs.insert(longer.outputs.end(), {0.5f, 0.5f});
  longer.times_ns.insert(longer.times_ns.end(), {1, 2});
  write_trace(other.path(), longer);
  std::filesystem::copy_file(
      other / "outputs.npy", folder / "outputs.npy", std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(
      test::message_of([&] { read_trace(folder.path()); }),
      (folder / "outputs.npy").string() + ": expected float32 [3,2] as trace.json says, got shape [4,2]");
  std::filesystem::remove(folder / "outputs.npy");
  EXPECT_EQ(test::message_of([&] { read_trace(folder.path()); }),
            (folder / "outputs.npy").string() + ": a file of the trace is missing");
}

TEST(RecordedBlackBox, AnswersItsImagesInAnyOrderAndRepeatsItsTimes) {
  const auto images = test::numbered_images(3);
  Trace trace = small_trace();
  trace.info.images_digest = digest_of(images);
  RecordedBlackBox box(trace, images);
  const std::vector<std::int32_t> asked = {2, 0, 2, 2};
  const Answer answer = box.query(images.load(asked), Timing::kPerQuery);
  EXPECT_EQ(answer.nanoseconds, (std::vector<std::int64_t>{30, 10, 31, 30}));
  EXPECT_EQ(answer.labels, (std::vector<std::int32_t>{1, 1, 1, 1}));
  const std::vector<float> wanted = {0.1f, 0.9f, 0.25f, 0.75f, 0.1f, 0.9f, 0.1f, 0.9f};
  EXPECT_EQ(answer.probabilities.to_host<float>(), wanted);
  EXPECT_TRUE(box.query(images.load(asked), Timing::kNone).nanoseconds.empty());
}

TEST(RecordedBlackBox, ForeignImagesAreRefused) {
  const auto images = test::numbered_images(3), more = test::numbered_images(9);
  Trace trace = small_trace();
  EXPECT_EQ(test::message_of([&] { RecordedBlackBox box(trace, more); }),
            "RecordedBlackBox: the trace has 3 images, given were 9");
  trace.info.images_digest = "0123456789abcdef";
  EXPECT_EQ(test::message_of([&] { RecordedBlackBox box(trace, images); }),
            "RecordedBlackBox: the images are not those of the trace (their digest differs)");
  trace.info.images_digest = "";
  RecordedBlackBox box(trace, images);
  const std::vector<std::int32_t> foreign = {1, 8};
  EXPECT_EQ(test::message_of([&] { box.query(more.load(foreign), Timing::kNone); }),
            "RecordedBlackBox: image 1 of the query is not in the trace");
}

TEST(Trace, TheDigestSeesOnePixelAndTheOrder) {
  const auto images = test::numbered_images(4);
  ImageSource swapped{4, [&](std::span<const std::int32_t> indices) {
                        std::vector<std::int32_t> other(indices.begin(), indices.end());
                        for (auto& i : other) i = i < 2 ? 1 - i : i;
                        return images.load(other);
                      }};
  EXPECT_NE(digest_of(images), digest_of(swapped));
  EXPECT_EQ(digest_of(images), digest_of(test::numbered_images(4)));
  EXPECT_NE(digest_of(images), digest_of(test::numbered_images(5)));
}

}  // namespace
}  // namespace offramp::attacks
