// The query side must not see a victim's exits: from the sources of attacks/query, with the very flags that
// the build uses, no header of nets outside nets/data is included, nor could one be.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

namespace {

namespace fs = std::filesystem;
const fs::path kSource = OFFRAMP_SOURCE_DIR, kBuild = OFFRAMP_BUILD_DIR;

// Standard output of a shell command; "FAILED" in front when it did not end well.
std::string run(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  return ::pclose(pipe) == 0 ? out : "FAILED\n" + out;
}

// The compiler call of each source of a folder, ready for another mode: without -c and -o.
std::vector<std::string> compiler_calls(const fs::path& folder) {
  std::ifstream in(kBuild / "compile_commands.json");
  std::vector<std::string> calls;
  for (const auto& entry : nlohmann::json::parse(in)) {
    const std::string file = entry.at("file"), command = entry.at("command");
    if (fs::path(file).parent_path() == folder) calls.push_back(command.substr(0, command.find(" -o ")));
  }
  return calls;
}

bool shows_exits(std::string path) {
  for (const fs::path& own : {kBuild, kSource}) {  // a checkout may itself lie in a folder called nets
    if (path.starts_with(own.string())) path = path.substr(own.string().size());
  }
  const std::size_t at = path.find("/nets/");
  return at != std::string::npos && path.compare(at, 11, "/nets/data/") != 0;
}

TEST(Walls, TheQuerySideIncludesNoHeaderOfNets) {
  std::ifstream in(kBuild / "compile_commands.json");
  int sources = 0, sees_tensors = 0;
  for (const auto& entry : nlohmann::json::parse(in)) {
    const std::string file = entry.at("file"), command = entry.at("command");
    if (fs::path(file).parent_path() != kSource / "attacks/query") continue;
    ++sources;
    const std::string listed = run(command.substr(0, command.find(" -o ")) + " -M " + file);
    ASSERT_EQ(listed.find("FAILED"), std::string::npos) << listed;
    sees_tensors += listed.find("engine/tensor.h") != std::string::npos ? 1 : 0;
    std::istringstream words(listed);
    for (std::string word; words >> word;) EXPECT_FALSE(shows_exits(word)) << file << " includes " << word;
  }
  EXPECT_GE(sources, 5);
  EXPECT_GE(sees_tensors, 4) << "the lists of headers look wrong";
}

TEST(Walls, NoHeaderOfNetsIsWithinReachOfTheQuerySide) {
  const auto calls = compiler_calls(kSource / "attacks/query");
  ASSERT_FALSE(calls.empty());
  std::string probe =
      "#if !__has_include(\"engine/tensor.h\") || !__has_include(\"attacks/query/trace.h\")\n"
      "#error the probe sees nothing at all\n#endif\n";
  int headers = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "nets")) {
    const std::string name = fs::relative(entry.path(), kSource).string();
    if (entry.path().extension() != ".h" || name.starts_with("nets/data/")) continue;
    probe += "#if __has_include(\"" + name + "\")\n#error " + name + " can be reached\n#endif\n";
    ++headers;
  }
  offramp::test::TempFolder folder;
  offramp::test::write_text(folder / "probe.cpp", probe);
  for (const auto& call : calls) {
    const std::string said = run(call + " -fsyntax-only " + (folder / "probe.cpp").string() + " 2>&1");
    EXPECT_EQ(said.find("FAILED"), std::string::npos) << said;
  }
  // The probe itself works: the room of the attacks, which links nets, does see the headers.
  const auto open = compiler_calls(kSource / "attacks/extraction");
  if (headers > 0 && !open.empty()) {
    const std::string said =
        run(open.front() + " -fsyntax-only " + (folder / "probe.cpp").string() + " 2>&1");
    EXPECT_NE(said.find("can be reached"), std::string::npos) << said;
  }
}

}  // namespace
