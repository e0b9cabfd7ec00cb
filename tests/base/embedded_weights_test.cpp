#include "base/embedded_weights.h"

#include <gtest/gtest.h>

#include <elf.h>
#include <sys/stat.h>

#include <cstring>
#include <string>

#include "base/errors.h"
#include "base/mapped_file.h"
#include "tests/support/temp_folder.h"

namespace offramp {
namespace {

using embedded::weights_of;
using test::read_text;
using test::TempFolder;

std::span<const std::byte> bytes_in(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::string text_in(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string embedding_message(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}
void embedding_says(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

// This test itself is a program of the system's linker.
class EmbeddedWeights : public ::testing::Test {
 protected:
  std::string with(const std::string& program, const std::string& weights) const {
    embedded::write_program_with_weights(to_, "program", bytes_in(program), bytes_in(weights));
    return read_text(to_);
  }

  const TempFolder folder_;
  const std::filesystem::path to_ = folder_ / "both";
  const std::string program_ = read_text("/proc/self/exe");
};

TEST_F(EmbeddedWeights, AreBehindTheProgramAndComeBack) {
  EXPECT_TRUE(weights_of("program", bytes_in(program_)).empty());
  const std::string both = with(program_, "some weights");
  EXPECT_EQ(text_in(weights_of("both", bytes_in(both))), "some weights");
  EXPECT_EQ(both.substr(0, program_.size()), program_);
  const std::size_t begin = (program_.size() + 63) / 64 * 64;
  EXPECT_EQ(both.size(), begin + 12 + 64);
  EXPECT_EQ(both.substr(begin, 12), "some weights");
  EXPECT_EQ(both.substr(both.size() - 16), "offramp-weights1");
  struct stat info {};
  ASSERT_EQ(::stat(to_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755u);
}

TEST_F(EmbeddedWeights, AreReplacedNotStacked) {
  const std::string once = with(program_, "old weights, which are longer than the new ones");
  EXPECT_EQ(with(once, "new"), with(program_, "new"));
}

// Whatever byte of the footer or of the weights is another, or however many are gone, it is said and not answered.
TEST_F(EmbeddedWeights, EveryDamageIsNoticed) {
  const std::string both = with(program_, "some weights");
  for (std::size_t back = 1; back <= 64 + 12; ++back) {
    std::string damaged = both;
    damaged[both.size() - back] = static_cast<char>(damaged[both.size() - back] ^ 1);
    EXPECT_THROW(weights_of("both", bytes_in(damaged)), FileError) << back << " from the end";
    const std::size_t left = both.size() - back;
    if (left == program_.size()) continue;  // whole: nothing that could be damaged is left
    EXPECT_THROW(weights_of("both", bytes_in(both).first(left)), FileError) << back << " fewer";
  }
  EXPECT_THROW(weights_of("both", bytes_in(both + "x")), FileError);
  std::string damaged = both;
  damaged[both.size() - 65] = 'x';
  embedding_says(
      embedding_message([&] { weights_of("both", bytes_in(damaged)); }),
      "embedded weights: their SHA-256 digest is another: they were damaged; make the file again with offramp "
      "embed");
  embedding_says(embedding_message([&] { weights_of("both", bytes_in(program_ + "abc")); }),
                 "3 bytes behind the program do not end as embedded weights do");
}

TEST_F(EmbeddedWeights, FilesThatAreNoProgramAreRefused) {
  EXPECT_FALSE(
      embedded::is_program(bytes_in("\x7f"
                                    "EL")));
  embedding_says(embedding_message([&] { with("#!/bin/sh\n", "w"); }),
                 "program: expected an ELF file, this is none");
  embedding_says(embedding_message([&] { with(program_.substr(0, 40), "w"); }),
                 "program: its header reach beyond the file's 40");
  embedding_says(embedding_message([&] { with(program_.substr(0, program_.size() - 1), "w"); }),
                 "reach beyond the file's");
  std::string narrow = program_;
  narrow[EI_CLASS] = ELFCLASS32;
  embedding_says(embedding_message([&] { with(narrow, "w"); }), "expected a 64-bit little-endian ELF file");
  embedding_says(embedding_message([&] { with(program_, ""); }), "embed: expected weights, got none");
  EXPECT_FALSE(std::filesystem::exists(to_));
}

// Headers that name absurd places are refused, never followed.
TEST_F(EmbeddedWeights, HostileHeadersAreRefused) {
  for (const auto set : {+[](Elf64_Ehdr& h) { h.e_shoff = ~0ull - 10; },
                         +[](Elf64_Ehdr& h) { h.e_phoff = ~0ull; },
                         +[](Elf64_Ehdr& h) { h.e_shoff = 1ull << 40; }}) {
    std::string hostile = program_;
    Elf64_Ehdr header;
    std::memcpy(&header, hostile.data(), sizeof header);
    set(header);
    std::memcpy(hostile.data(), &header, sizeof header);
    EXPECT_THROW(embedded::program_bytes("hostile", bytes_in(hostile)), FileError);
  }
}

TEST_F(EmbeddedWeights, ThisProgramIsTheOneThatRuns) {
  EXPECT_EQ(read_text(embedded::this_program()), program_);
}

}  // namespace
}  // namespace offramp
