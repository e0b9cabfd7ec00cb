// Files that somebody made to break the reader: each must be refused with path, offset and reason, in less
// than a second and with less than 100 MB of memory.
#include "base/errors.h"
#include "base/safetensors.h"
#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/stat.h>

#include <cstring>
#include <ctime>
#include <fstream>

namespace offramp::safetensors {
namespace {

using test::TempFolder;
using test::write_text;

std::string length_field(std::uint64_t length) {
  std::string field(8, '\0');
  std::memcpy(field.data(), &length, 8);
  return field;
}

std::string file_of(const std::string& header, std::size_t data_bytes = 0) {
  return length_field(header.size()) + header + std::string(data_bytes, '\1');
}

struct Hostile {
  std::string name;
  std::string content;
  std::string message;  // what must appear behind the path
};

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

std::string repeated(const std::string& piece, std::size_t count) {
  std::string text;
  text.reserve(piece.size() * count);
  for (std::size_t i = 0; i < count; ++i) text += piece;
  return text;
}

std::vector<Hostile> small_cases() {
  const std::string f32 = R"("F32")";
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  return {
      {"empty file", "", "file: at least 8 bytes wanted, got 0, at byte 0"},
      {"seven bytes", "\1\0\0\0\0\0\0", "file: at least 8 bytes wanted"},
      {"no header", length_field(0), "header: must begin with '{', at byte 8"},
      {"length of 2^64 - 1",
       length_field(~0ull) + "{}",
       "header length: at most 100000000 bytes, got 18446744073709551615, at byte 0"},
      {"length above the cap",
       length_field(100'000'001) + "{}",
       "header length: at most 100000000 bytes, got 100000001, at byte 0"},
      {"a CSV file", "exit,threshold\n1,0.5\n", "no safetensors file: the length of a JSON header and"},
      {"length behind the end",
       length_field(3) + "{}",
       "header length: 3 bytes, the file has 2 behind the length, at byte 0"},
      {"leading space", file_of(" {}"), "header: must begin with '{', at byte 8"},
      {"array at the top", file_of("[]"), "header: must begin with '{', at byte 8"},
      {"unfinished object", file_of("{"), "header is not valid JSON"},
      {"two objects", file_of("{}{}"), "header is not valid JSON"},
      {"zero padding", file_of(std::string("{}\0\0", 4)), "header is not valid JSON"},
      {"comment", file_of("{}/**/"), "header is not valid JSON"},
      {"trailing comma", file_of(R"({"__metadata__":{},})"), "header is not valid JSON"},
      {"invalid UTF-8 in a name", file_of("{\"\xff\xfe\":{}}"), "header is not valid JSON"},
      {"overlong UTF-8", file_of("{\"\xc0\xaf\":{}}"), "header is not valid JSON"},
      {"lone surrogate", file_of(R"({"\ud800":{}})"), "header is not valid JSON"},
      {"control byte in a name", file_of("{\"a\nb\":{}}"), "header is not valid JSON"},
      {"tensor is null", file_of(R"({"w":null})"), "value of 'w': an object wanted, got null, at byte"},
      {"tensor is a string", file_of(R"({"w":"x"})"), "value of 'w': an object wanted, got a string"},
      {"tensor is an array", file_of(R"({"w":[]})"), "value of 'w': an object wanted, got an array"},
      {"metadata value is a number",
       file_of(R"({"__metadata__":{"a":1}})"),
       "metadata 'a': a string wanted, got a number"},
      {"metadata is nested",
       file_of(R"({"__metadata__":{"a":{}}})"),
       "metadata 'a': a string wanted, got an object"},
      {"metadata is a string",
       file_of(R"({"__metadata__":"x"})"),
       "value of '__metadata__': an object wanted, got a string"},
      {"duplicate tensor", file_of("{" + a + "," + a + "}", 4), "duplicate key: 'a'"},
      {"duplicate through an escape",
       file_of("{" + a + R"(,"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})", 4),
       "duplicate key: 'a'"},
      {"duplicate metadata key", file_of(R"({"__metadata__":{"a":"1","a":"2"}})"), "duplicate key: 'a'"},
      {"metadata twice",
       file_of(R"({"__metadata__":{},"__metadata__":{}})"),
       "duplicate key: '__metadata__'"},
      {"duplicate field",
       file_of(R"({"w":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
       "duplicate key: 'dtype' of tensor 'w'"},
      {"unknown field",
       file_of(R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}})"),
       "tensor field: dtype, shape or data_offsets wanted, got 'x' of tensor 'w'"},
      {"missing shape",
       file_of(R"({"w":{"dtype":"U8","data_offsets":[0,0]}})"),
       "missing field: shape of tensor 'w'"},
      {"missing everything", file_of(R"({"w":{}})"), "missing field: dtype of tensor 'w'"},
      {"unknown dtype", file_of(one(R"("F31")", "[0]", "[0,0]")), "dtype: 'F31' is not known of tensor 'w'"},
      {"dtype in lower case", file_of(one(R"("f32")", "[0]", "[0,0]")), "dtype: 'f32' is not known"},
      {"dtype drives a terminal",
       file_of(one(R"("\u001b[2J")", "[0]", "[0,0]")),
       "dtype: '\\x1b[2J' is not known"},
      {"dtype is a number",
       file_of(one("32", "[0]", "[0,0]")),
       "dtype: a string wanted, got a number of tensor 'w'"},
      {"shape is a number",
       file_of(one(f32, "1", "[0,4]"), 4),
       "shape: an array wanted, got a number of tensor 'w'"},
      {"negative extent",
       file_of(one(f32, "[-1]", "[0,4]"), 4),
       "shape: numbers from 0 to 2^63 - 1 wanted, got a negative number"},
      {"fractional extent",
       file_of(one(f32, "[1.0]", "[0,4]"), 4),
       "shape: numbers from 0 to 2^63 - 1 wanted, got a number that is no 64-bit integer"},
      {"extent of 1e400", file_of(one(f32, "[1e400]", "[0,4]"), 4), "header is not valid JSON"},
      {"extent of 2^64",
       file_of(one(f32, "[18446744073709551616]", "[0,4]"), 4),
       "shape: numbers from 0 to 2^63 - 1 wanted, got a number that is no 64-bit integer"},
      {"extent of 2^63",
       file_of(one(f32, "[9223372036854775808]", "[0,4]"), 4),
       "shape: numbers from 0 to 2^63 - 1 wanted, got a number above 2^63 - 1"},
      {"nested shape",
       file_of(one(f32, "[[1]]", "[0,4]"), 4),
       "shape: numbers from 0 to 2^63 - 1 wanted, got an array"},
      {"product overflows to 4 bytes",
       file_of(one(f32, "[4294967296,4294967296,1]", "[0,4]"), 4),
       "shape: size of [4294967296,4294967296,1] overflows 64 bits of tensor 'w'"},
      {"product overflows beside a zero",
       file_of(one(f32, "[0,4294967296,4294967296]", "[0,0]")),
       "shape: size of [0,4294967296,4294967296] overflows 64 bits"},
      {"bytes overflow",
       file_of(one(f32, "[4611686018427387904]", "[0,0]")),
       "shape: size of [4611686018427387904] overflows 64 bits"},
      {"65 dimensions",
       file_of(one(f32, "[1" + repeated(",1", 64) + "]", "[0,4]"), 4),
       "shape: at most 64 dimensions of tensor 'w'"},
      {"one offset", file_of(one(f32, "[1]", "[0]"), 4), "data_offsets: two numbers wanted, got 1"},
      {"three offsets",
       file_of(one(f32, "[1]", "[0,4,4]"), 4),
       "data_offsets: two numbers wanted, more came"},
      {"offsets backwards",
       file_of(one(f32, "[1]", "[4,0]"), 4),
       "data_offsets: [4,0] ends before it begins"},
      {"negative offset",
       file_of(one(f32, "[1]", "[-4,0]"), 4),
       "data_offsets: numbers from 0 to 2^63 - 1 wanted, got a negative number"},
      {"span shorter than the shape",
       file_of(one(f32, "[2]", "[0,4]"), 4),
       "data_offsets: shape [2] of F32 takes 8 bytes, offsets span 4 of tensor 'w'"},
      {"span longer than the shape",
       file_of(one(f32, "[1]", "[0,8]"), 8),
       "data_offsets: shape [1] of F32 takes 4 bytes, offsets span 8"},
      {"behind the end", file_of(one(f32, "[2]", "[0,8]"), 7), "truncated: tensor 'w' ends at byte"},
      {"offsets near 2^63",
       file_of(one(f32, "[1]", "[9223372036854775803,9223372036854775807]"), 4),
       "truncated: tensor 'w' ends at byte"},
      {"bytes after the last tensor",
       file_of(one(f32, "[1]", "[0,4]"), 5),
       "length: 1 bytes after the last tensor"},
      {"data without tensors", file_of("{}", 1), "length: 1 bytes after the last tensor, at byte 10"},
      {"hole at the start",
       file_of(one(f32, "[1]", "[1,5]"), 5),
       "hole: no tensor covers the bytes before tensor 'w'"},
      {"hole between",
       file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}})", 6),
       "hole: no tensor covers the bytes before tensor 'b'"},
      {"overlap",
       file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[3],"data_offsets":[3,6]}})", 6),
       "overlap: tensor 'b' begins inside the tensor before it"},
      {"same bytes twice",
       file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4),
       "overlap: tensor 'b' begins inside the tensor before it"},
      {"empty tensor inside another",
       file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})", 4),
       "overlap: tensor 'b' begins inside the tensor before it"},
  };
}

std::vector<Hostile> large_cases() {
  constexpr std::size_t kLarge = 24'000'000;  // three tokens of the reader's cap
  constexpr std::size_t kLargest = 99'000'000;
  const std::string tensor = R"(:{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  std::vector<Hostile> cases{
      {"24 MB of nested arrays",
       file_of(R"({"w":{"dtype":"U8","shape":)" + std::string(kLarge, '[')),
       "shape: numbers from 0 to 2^63 - 1 wanted, got an array"},
      {"24 MB of nested objects",
       file_of(repeated(R"({"a":)", kLarge / 5)),
       "tensor field: dtype, shape or data_offsets wanted"},
      {"a name of 24 MB",
       file_of("{\"" + std::string(kLarge, 'x') + "\"" + tensor + "}"),
       "header token: at most 8000000 bytes are read"},
      {"a name of 24 MB of commas",
       file_of("{\"" + std::string(kLarge, ',') + "\"" + tensor + "}"),
       "header token: at most 8000000 bytes are read"},
      {"a name of 24 MB of escaped quotes",
       file_of("{\"" + repeated("\\\"", kLarge / 2) + "\"" + tensor + "}"),
       "header token: at most 8000000 bytes are read"},
      {"a number of 24 MB",
       file_of(one(R"("U8")", "[" + std::string(kLarge, '1') + "]", "[0,0]")),
       "header token: at most 8000000 bytes are read"},
      {"an unfinished string of 7 MB",
       file_of("{\"" + std::string(7'000'000, 'x')),
       "header is not valid JSON"},
      {"24 MB of spaces, then rubbish",
       file_of("{}" + std::string(kLarge, ' ') + "x"),
       "header token: at most 8000000 bytes are read"},
      {"a shape of 12 million ones",
       file_of(one(R"("U8")", "[1" + repeated(",1", kLarge / 2) + "]", "[0,0]")),
       "shape: at most 64 dimensions"},
  };
  std::string many = "{", metadata = R"({"__metadata__":{)";
  for (int i = 0; many.size() < 10'000'000; ++i)
    many += (i ? ",\"" : "\"") + std::to_string(i) + "\"" + tensor;
  for (int i = 0; metadata.size() < kLargest; ++i)
    metadata += (i ? ",\"" : "\"") + std::to_string(i) + "\":\"" + std::string(1000, 'm') + "\"";
  cases.push_back({"more tensors than are read", file_of(many + "}"), "tensors: at most 100000 are read"});
  cases.push_back(
      {"99 MB of metadata", file_of(metadata + "}}"), "names and metadata: at most 16000000 bytes are read"});
  return cases;
}

std::uint64_t data_bytes_of_this_process() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmData:")) return std::stoull(line.substr(7)) * 1024;
  }
  return 0;
}

// The bounds are about the plain build: sanitizers slow the parser down, keep what was freed, and do not
// survive an allocation that fails.
#if OFFRAMP_SANITIZED
constexpr double kMostSeconds = 20;
constexpr bool kBounded = false;
#else
constexpr double kMostSeconds = 1;
constexpr bool kBounded = true;
#endif

// Opens the file with at most 100 MB more private memory than now; the file itself is mapped and does not
// count.
std::string refusal(const std::filesystem::path& path, double& seconds) {
  rlimit old_limit{};
  if (::getrlimit(RLIMIT_DATA, &old_limit) != 0) return "getrlimit failed";
  const rlimit limit{kBounded ? data_bytes_of_this_process() + 100'000'000 : old_limit.rlim_cur,
                     old_limit.rlim_max};
  if (::setrlimit(RLIMIT_DATA, &limit) != 0) return "setrlimit failed";
  std::string message = "the file was accepted";
  const std::clock_t start = std::clock();  // processor time: other work on the machine does not count
  try {
    const Reader reader(path);
  } catch (const FileError& error) {
    message = error.what();
    if (error.path() != path.string() || !error.offset()) message += " WITHOUT PATH OR OFFSET";
  } catch (const std::exception& error) {
    message = std::string("not a FileError: ") + error.what();
  }
  seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  if (::setrlimit(RLIMIT_DATA, &old_limit) != 0) return "setrlimit back failed";
  return message;
}

void check(const TempFolder& folder, const Hostile& hostile) {
  const auto path = folder / "hostile.safetensors";
  write_text(path, hostile.content);
  double seconds = 0;
  const std::string message = refusal(path, seconds);
  EXPECT_TRUE(message.starts_with(path.string() + ": " + hostile.message)) << hostile.name << ": " << message;
  EXPECT_LT(seconds, kMostSeconds) << hostile.name;
  EXPECT_LT(message.size(), 600u) << hostile.name;
}

TEST(SafetensorsHostile, EverySmallCaseIsRefusedByNameAndOffset) {
  const TempFolder folder;
  const auto cases = small_cases();
  EXPECT_GE(cases.size(), 60u);
  for (const Hostile& hostile : cases) check(folder, hostile);
}

TEST(SafetensorsHostile, EveryLargeCaseIsRefusedInASecondAndAHundredMegabytes) {
  const TempFolder folder;
  for (const Hostile& hostile : large_cases()) check(folder, hostile);
}

TEST(SafetensorsHostile, EveryTruncationOfAGoodFileIsRefused) {
  const TempFolder folder;
  const std::string good = file_of(
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})",
      9);
  write_text(folder / "x", good);
  EXPECT_EQ(Reader(folder / "x").entries().size(), 2u);
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
    write_text(folder / "x", good.substr(0, bytes));
    EXPECT_THROW(Reader(folder / "x"), FileError) << bytes;
  }
}

// Whatever byte is changed: accepted or refused with a FileError, never anything else; accepted spans stay
// inside.
TEST(SafetensorsHostile, EveryChangedByteIsHandled) {
  const TempFolder folder;
  const std::string good = file_of(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})",
      9);
  int accepted = 0, refused = 0;
  for (std::size_t at = 0; at < good.size() - 9; ++at) {
    for (const int flip : {0x01, 0x10, 0x80}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ flip);
      write_text(folder / "x", bad);
      try {
        const Reader reader(folder / "x");
        std::uint64_t sum = 0;
        for (const Entry& entry : reader.entries()) {
          for (const std::byte byte : reader.bytes(entry)) sum += static_cast<std::uint64_t>(byte);
        }
        EXPECT_EQ(sum, 9u) << at;
        ++accepted;
      } catch (const FileError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(accepted, 0);  // a changed letter of a name is still a good file
}

TEST(SafetensorsHostile, FoldersPipesAndMissingFilesAreRefused) {
  const TempFolder folder;
  const auto message_of = [](const std::filesystem::path& path) -> std::string {
    try {
      const Reader reader(path);
    } catch (const FileError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message_of(folder / "none"), (folder / "none").string() + ": open: No such file or directory");
  EXPECT_EQ(message_of(folder.path()),
            folder.path().string() + ": read: a regular file wanted, this is a folder or a device");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(message_of(folder / "pipe"),
            (folder / "pipe").string() + ": read: a regular file wanted, this is a folder or a device");
}

}  // namespace
}  // namespace offramp::safetensors
