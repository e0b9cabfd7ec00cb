#include "base/written_files.h"

#include "base/atomic_file.h"
#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace offramp {
namespace {

using test::TempFolder;

TEST(WrittenFiles, AWatchHearsOfEveryFileBelowItsFolderBeforeItIsMade) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "run/inner");
  std::filesystem::create_directories(folder / "run2");
  std::vector<std::string> heard;
  {
    const WriteWatch watch(folder / "run/", [&](const std::filesystem::path& path) {
      EXPECT_FALSE(std::filesystem::exists(folder / "run" / path));
      heard.push_back(path.generic_string());
    });
    write_file_atomically(folder / "run/a.txt", "x");
    write_file_atomically(folder / "run/inner/../inner/b.txt", "x");
    write_file_atomically(folder / "run2/c.txt", "x");  // beside it
    write_file_atomically(folder / "d.txt", "x");       // above it
  }
  write_file_atomically(folder / "run/e.txt", "x");  // nobody listens
  EXPECT_EQ(heard, (std::vector<std::string>{"a.txt", "inner/b.txt"}));
}

TEST(WrittenFiles, AWatchMayForbidTheWrite) {
  const TempFolder folder;
  const WriteWatch watch(folder.path(), [](const std::filesystem::path&) { throw std::runtime_error("no"); });
  EXPECT_THROW(write_file_atomically(folder / "a.txt", "x"), std::runtime_error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace offramp
