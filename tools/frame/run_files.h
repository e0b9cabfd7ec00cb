// What a run wrote: .offramp-files in its folder, one path a line, noted before the file is made. --force
// removes these files and no others, so that what a user keeps beside them stays.
#pragma once

#include <filesystem>
#include <set>
#include <string>

namespace offramp::tools {

// Whether a kill left a file of this name while `file` was being written.
bool is_temporary_of(const std::string& name, const std::string& file);

class RunFiles {
 public:
  static constexpr const char* kName = ".offramp-files";

  // Reads the manifest of `folder`. A folder of an older program has none: then the names that a run of
  // `verb` wrote count, as far as they are there.
  RunFiles(std::filesystem::path folder, const std::string& verb);

  // On disk when this returns. `path` is relative to the folder.
  void add(const std::filesystem::path& path);
  // Writes the manifest anew: without the line that a crash cut off, and where there was none.
  void rewrite() const;
  // Removes the files, the temporaries of theirs that a kill left, the folders that are empty then, and the
  // manifest, which goes last: a removal that was interrupted goes on.
  void remove_all();

  // What a kill left of files that were being written.
  void remove_temporaries_of_all() const;

  const std::set<std::string>& names() const { return names_; }

 private:
  std::filesystem::path folder_;
  std::set<std::string> names_;  // with '/', relative
};

}  // namespace offramp::tools
