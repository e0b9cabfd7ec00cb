#include "kernels/cuda/dynamic_library.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

namespace offramp::cuda {
namespace {

std::string environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

// The file of an opened library, as the loader found it.
std::string path_of(void* handle, const std::string& otherwise) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map->l_name == nullptr || map->l_name[0] == '\0') {
    return otherwise;
  }
  return map->l_name;
}

}  // namespace

DynamicLibrary::DynamicLibrary(const LibrarySearch& search, bool only_named) {
  const std::string named = environment(search.variable);
  if (!named.empty()) {
    std::error_code ignored;
    const bool folder = std::filesystem::is_directory(named, ignored);
    if (!try_open(folder ? (std::filesystem::path(named) / search.file).string() : named)) {
      problem_ = search.variable + "=" + named + ": " + problem_;
    }
    return;
  }
  if (only_named) {
    problem_ = "not looked for, because kernels run on the host (" + search.variable + " can name one)";
    return;
  }
  if (try_open(search.file)) return;
  const std::string pytorch = environment("OFFRAMP_PYTORCH");
  if (pytorch.empty()) return;
  for (const std::string& folder : search.pytorch_folders) {
    const std::filesystem::path file = std::filesystem::path(pytorch) / folder / search.file;
    std::error_code ignored;
    if (std::filesystem::exists(file, ignored)) {
      try_open(file.string());
      return;
    }
  }
  problem_ += "; nor is it in the libraries beside OFFRAMP_PYTORCH=" + pytorch;
}

DynamicLibrary::~DynamicLibrary() { close(); }

DynamicLibrary::DynamicLibrary(DynamicLibrary&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      path_(std::move(other.path_)),
      problem_(std::move(other.problem_)) {}

DynamicLibrary& DynamicLibrary::operator=(DynamicLibrary&& other) noexcept {
  if (this != &other) {
    close();
    handle_ = std::exchange(other.handle_, nullptr);
    path_ = std::move(other.path_);
    problem_ = std::move(other.problem_);
  }
  return *this;
}

bool DynamicLibrary::try_open(const std::string& file) {
  handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    const char* why = dlerror();
    problem_ = why == nullptr ? file + ": not found" : why;
    return false;
  }
  path_ = path_of(handle_, file);
  problem_.clear();
  return true;
}

void* DynamicLibrary::address(const char* name) {
  if (handle_ == nullptr) return nullptr;
  void* found = dlsym(handle_, name);
  if (found == nullptr) {
    close();
    problem_ = path_ + ": has no function " + name;
  }
  return found;
}

void DynamicLibrary::close() noexcept {
  if (handle_ != nullptr) dlclose(handle_);
  handle_ = nullptr;
}

}  // namespace offramp::cuda
