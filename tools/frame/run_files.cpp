#include "tools/frame/run_files.h"

#include "base/atomic_file.h"
#include "base/errors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>
#include <vector>

namespace offramp::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHead = "# what this run wrote; --force removes these files and no others\n";

// Version 1.0 and before wrote these names and no manifest.
std::vector<std::string> names_without_manifest(const std::string& verb) {
  std::vector<std::string> names = {"config.toml", "env.json", "metrics.jsonl", "results.json", "DONE"};
  const auto add = [&names](std::initializer_list<const char*> more) {
    names.insert(names.end(), more.begin(), more.end());
  };
  const bool extracts = verb == "demo" || verb == "extract run";
  if (verb == "train") add({"exits.csv", "checkpoints/last.safetensors"});
  if (verb == "demo") add({"victim.safetensors", "checkpoints/victim.safetensors"});
  if (verb == "extract fit") add({"copy.safetensors", "confidences.csv", "checkpoints/copy.safetensors"});
  if (extracts)
    add({"report.html",
         "estimate.json",
         "assignment.csv",
         "confidences.csv",
         "strategy.json",
         "knockoff.safetensors",
         "substitute.safetensors",
         "checkpoints/knockoff.safetensors",
         "checkpoints/substitute.safetensors"});
  if (extracts || verb == "extract query")
    add({"trace/trace.json",
         "trace/times.csv",
         "trace/order.csv",
         "trace/outputs.npy",
         "trace/query.json",
         "trace/times.part",
         "trace/outputs.part"});
  return names;
}

// Ours are relative and stay inside; a manifest that says otherwise came from elsewhere.
bool is_inside(const fs::path& path) {
  return !path.empty() && path.is_relative() && std::find(path.begin(), path.end(), "..") == path.end();
}

void remove_temporaries(const fs::path& path) {
  std::error_code none;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path.parent_path(), none))
    if (is_temporary_of(entry.path().filename().string(), path.filename().string())) found.push_back(entry);
  for (const fs::path& temporary : found) fs::remove(temporary, none);
}

}  // namespace

bool is_temporary_of(const std::string& name, const std::string& file) {  // .NAME.PID-COUNT.tmp
  if (!name.starts_with("." + file + ".") || !name.ends_with(".tmp")) return false;
  const std::size_t begin = file.size() + 2, end = name.size() - 4;
  return begin < end && name.substr(begin, end - begin).find_first_not_of("0123456789-") == std::string::npos;
}

RunFiles::RunFiles(fs::path folder, const std::string& verb) : folder_(std::move(folder)) {
  if (!fs::exists(folder_ / kName)) {
    for (const std::string& name : names_without_manifest(verb))
      if (fs::is_regular_file(fs::symlink_status(folder_ / name))) names_.insert(name);
    return;
  }
  std::ifstream in(folder_ / kName, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    if (!line.starts_with('#') && is_inside(line)) names_.insert(line);
  }
}

void RunFiles::add(const fs::path& path) {
  const std::string name = path.generic_string();
  if (name == kName || name.find('\n') != std::string::npos || !names_.insert(name).second) return;
  const std::string line = name + "\n", manifest = (folder_ / kName).string();
  const int fd = ::open(manifest.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  int error = fd < 0 ? errno : 0;
  if (fd >= 0) {
    const off_t before = ::lseek(fd, 0, SEEK_END);
    const ssize_t written = ::write(fd, line.data(), line.size());
    if (written != static_cast<ssize_t>(line.size())) {
      error = written < 0 ? errno : ENOSPC;
      if (written > 0 && ::ftruncate(fd, before) != 0) error = errno;
    } else if (::fsync(fd) != 0 && errno != EINVAL) {
      error = errno;
    }
    ::close(fd);
  }
  if (error == 0) return;
  names_.erase(name);
  throw FileError(manifest, "append: " + std::generic_category().message(error));
}

void RunFiles::rewrite() const {
  std::string text(kHead);
  for (const std::string& name : names_) text += name + "\n";
  write_file_atomically(folder_ / kName, text);
}

void RunFiles::remove_temporaries_of_all() const {
  for (const std::string& name : names_) remove_temporaries(folder_ / name);
}

void RunFiles::remove_all() {
  std::set<fs::path, std::greater<>> folders;  // the inner ones before those that hold them
  const auto remove = [](const fs::path& path) {
    std::error_code none;
    const auto status = fs::symlink_status(path, none);
    if (fs::exists(status) && !fs::is_directory(status)) fs::remove(path);
    remove_temporaries(path);
  };
  for (const std::string& name : names_) {
    for (fs::path at = fs::path(name).parent_path(); !at.empty(); at = at.parent_path()) folders.insert(at);
    if (name != "config.toml") remove(folder_ / name);
  }
  std::error_code not_empty;  // then it holds what is not ours
  for (const fs::path& folder : folders) fs::remove(folder_ / folder, not_empty);
  remove(folder_ / "config.toml");  // what makes it a run
  remove(folder_ / kName);
  names_.clear();
}

}  // namespace offramp::tools
