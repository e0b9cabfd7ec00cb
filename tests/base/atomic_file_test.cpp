#include "base/atomic_file.h"

#include "base/errors.h"
#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>

namespace offramp {
namespace {

using test::read_text;
using test::TempFolder;
using test::write_text;

int files_in(const std::filesystem::path& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

std::string message_of(const auto& action) {
  try {
    action();
  } catch (const FileError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(AtomicFile, ContentAppearsOnlyAtCommit) {
  const TempFolder folder;
  const auto path = folder / "results.json";
  AtomicFile file(path);
  file.write("one ");
  file.write("two");
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(file.temporary().parent_path(), folder.path());
  EXPECT_EQ(file.bytes_written(), 7u);
  file.commit();
  EXPECT_EQ(read_text(path), "one two");
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(AtomicFile, SmallAndLargePiecesKeepTheirOrder) {
  const TempFolder folder;
  std::string expected;
  AtomicFile file(folder / "x");
  for (const std::size_t bytes : {1u, 65535u, 3u, 65536u, 2u, 200000u, 7u}) {
    const std::string piece(bytes, static_cast<char>('a' + expected.size() % 26));
    file.write(piece);
    expected += piece;
    EXPECT_EQ(file.bytes_written(), expected.size());
  }
  file.commit();
  EXPECT_TRUE(read_text(folder / "x") == expected);
}

TEST(AtomicFile, WithoutCommitTheOldContentStaysAndTheTemporaryGoes) {
  const TempFolder folder;
  write_text(folder / "x", "old");
  {
    AtomicFile file(folder / "x");
    file.write("new");
  }
  EXPECT_EQ(read_text(folder / "x"), "old");
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(AtomicFile, TwoWritersOfOneNameDoNotMix) {
  const TempFolder folder;
  AtomicFile a(folder / "x"), b(folder / "x");
  EXPECT_NE(a.temporary(), b.temporary());
  a.write("aaaa");
  b.write("b");
  a.commit();
  b.commit();
  EXPECT_EQ(read_text(folder / "x"), "b");
}

TEST(AtomicFile, PermissionsFollowTheUmask) {
  const TempFolder folder;
  const mode_t old = ::umask(027);
  write_file_atomically(folder / "x", "x");
  ::umask(old);
  struct stat info {};
  ASSERT_EQ(::stat((folder / "x").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST(AtomicFile, WhoMayReadAFileStaysAsItWas) {
  const TempFolder folder;
  write_text(folder / "x", "old");
  ASSERT_EQ(::chmod((folder / "x").c_str(), 0600), 0);
  write_file_atomically(folder / "x", "new");
  struct stat info {};
  ASSERT_EQ(::stat((folder / "x").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(read_text(folder / "x"), "new");
}

TEST(AtomicFile, AFileThatMayNotBeWrittenIsLeftAlone) {
  if (::geteuid() == 0) GTEST_SKIP() << "the superuser may write everything";
  const TempFolder folder;
  write_text(folder / "x", "old");
  ASSERT_EQ(::chmod((folder / "x").c_str(), 0400), 0);
  EXPECT_EQ(message_of([&] { write_file_atomically(folder / "x", "new"); }),
            (folder / "x").string() + ": write: the file is there and may not be written");
  EXPECT_EQ(read_text(folder / "x"), "old");
}

TEST(AtomicFile, ANameAsLongAsTheFileSystemTakesIsWritten) {
  const TempFolder folder;
  const std::string name(255, 'n');
  write_file_atomically(folder / name, "x");
  EXPECT_EQ(read_text(folder / name), "x");
}

TEST(AtomicFile, ASymbolicLinkIsFollowedAndStays) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "elsewhere");
  write_text(folder / "elsewhere/x", "old");
  std::filesystem::create_symlink("elsewhere/x", folder / "link");
  write_file_atomically(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_text(folder / "elsewhere/x"), "new");
}

TEST(AtomicFile, FoldersAndDevicesAreRefused) {
  const TempFolder folder;
  EXPECT_EQ(message_of([&] { write_file_atomically(folder.path(), "x"); }),
            folder.path().string() + ": write: a regular file wanted, this is a folder or a device");
  EXPECT_EQ(message_of([&] { write_file_atomically("/dev/full", "x"); }),
            "/dev/full: write: a regular file wanted, this is a folder or a device");
}

TEST(AtomicFile, AMissingFolderIsNamed) {
  const TempFolder folder;
  const std::string path = (folder / "none/x").string();
  EXPECT_EQ(
      message_of([&] { write_file_atomically(path, "x"); }),
      path +
          ": create a temporary beside it: No such file or directory (errno 2), 0 bytes written of 1 wanted");
}

TEST(AtomicFile, AFileSizeLimitLeavesTheOldContentAndSaysHowFarItCame) {
  const TempFolder folder;
  write_text(folder / "x", "old");
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100'000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message =
      message_of([&] { write_file_atomically(folder / "x", std::string(300'000, 'n')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_TRUE(message.starts_with(
      (folder / "x").string() + ": write: File too large (errno 27), 100000 bytes written of 300000 wanted"))
      << message;
  EXPECT_EQ(read_text(folder / "x"), "old");
  EXPECT_EQ(files_in(folder.path()), 1);
}

// A mount namespace of our own: as root directly, else inside a user namespace in which we are root.
bool enter_mount_namespace() {
  const std::string uid = std::to_string(::getuid()), gid = std::to_string(::getgid());
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
    std::ofstream("/proc/self/setgroups") << "deny";  // or the next is not allowed
    std::ofstream("/proc/self/gid_map") << "0 " << gid << " 1";
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

enum Outcome { kGood = 0, kWrong = 1, kNoNamespace = 77 };

// Runs in a child process.
Outcome fill_a_disk(const std::filesystem::path& folder) try {
  if (!enter_mount_namespace()) return kNoNamespace;
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") != 0) return kNoNamespace;
  write_text(folder / "x", "old");
  const std::string message =
      message_of([&] { write_file_atomically(folder / "x", std::string(300'000, 'n')); });
  const bool good = message.find("write: No space left on device (errno 28), ") != std::string::npos &&
                    message.find(" of 300000 wanted, ") != std::string::npos &&
                    message.ends_with(" free in the folder") && read_text(folder / "x") == "old" &&
                    files_in(folder) == 1;
  if (!good) std::fprintf(stderr, "%s\n", message.c_str());
  return good ? kGood : kWrong;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return kWrong;
}

// A real full disk: a tmpfs of 64 KiB.
TEST(AtomicFile, AFullDiskLeavesTheOldContentAndRemovesTheTemporary) {
  const TempFolder folder;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(fill_a_disk(folder.path()));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNoNamespace) GTEST_SKIP() << "no namespace here to mount a small tmpfs in";
  EXPECT_EQ(WEXITSTATUS(status), kGood);
}

}  // namespace
}  // namespace offramp
