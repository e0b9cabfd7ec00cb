// The example report in a real browser: it must load without a console message and show its text. Skipped
// where Chromium is not installed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include "tests/tools/report/example_report.h"

namespace offramp::report {
namespace {

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string out;
  std::array<char, 4096> buffer;
  for (std::size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe.get())) > 0;)
    out.append(buffer.data(), n);
  return out;
}

TEST(Browser, ShowsTheExampleWithoutAConsoleMessage) {
  if (output_of("command -v chromium").empty()) GTEST_SKIP() << "chromium is not installed";
  const auto folder = std::filesystem::temp_directory_path() / ("offramp-report-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "report.html") << example_report();
  const std::string base =
      "timeout 60 chromium --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir=" +
      (folder / "profile").string() + " --enable-logging=stderr --v=0 --dump-dom file://" +
      (folder / "report.html").string();
  const std::string dom = output_of(base + " 2>" + (folder / "log").string());
  std::ifstream log_file(folder / "log");
  const std::string log((std::istreambuf_iterator<char>(log_file)), {});
  for (const char* text :
       {"Extraction of a 4-exit network", "&lt;tags&gt;", "Exit confusion", "exit 2 | 3", "</html>"})
    EXPECT_NE(dom.find(text), std::string::npos) << text;
  EXPECT_EQ(log.find("CONSOLE"), std::string::npos) << log;
  std::error_code error;
  std::filesystem::remove_all(folder, error);
}

}  // namespace
}  // namespace offramp::report
