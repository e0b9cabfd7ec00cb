#pragma once
// A shared library that is opened when it is first needed, so that the program starts where it is missing.
// Opening never throws: `problem()` says what was tried and what the loader said.
#include <string>
#include <vector>

namespace offramp::cuda {

struct LibrarySearch {
  std::string file;      // libcudnn.so.9
  std::string variable;  // of the environment: the file itself, or the folder that holds it; then nothing
                         // else is tried
  std::vector<std::string> pytorch_folders = {};  // below the folder that OFFRAMP_PYTORCH names (its `torch`)
};

class DynamicLibrary {
 public:
  DynamicLibrary() = default;
  // The variable's file, else the loader's own search, else OFFRAMP_PYTORCH's folders. `only_named`: nothing
  // but the variable's file.
  explicit DynamicLibrary(const LibrarySearch& search, bool only_named = false);
  ~DynamicLibrary();
  DynamicLibrary(DynamicLibrary&& other) noexcept;
  DynamicLibrary& operator=(DynamicLibrary&& other) noexcept;

  bool is_open() const { return handle_ != nullptr; }
  const std::string& path() const { return path_; }        // of the opened file
  const std::string& problem() const { return problem_; }  // empty when open

  // Where a function is missing the library is closed and `problem` names the function.
  template <class F>
  void find(F*& function, const char* name) {
    function = reinterpret_cast<F*>(address(name));
  }

 private:
  bool try_open(const std::string& file);
  void* address(const char* name);
  void close() noexcept;

  void* handle_ = nullptr;
  std::string path_, problem_;
};

}  // namespace offramp::cuda
