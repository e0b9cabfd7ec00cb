// The real offramp binary in a subprocess. The test target defines OFFRAMP_BINARY.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

namespace offramp::test {

struct Outcome {
  int code = -1;  // -1: ended by a signal
  std::string out, err;
};

// Started with `words`; its streams go to files in a folder of its own.
class Program {
 public:
  explicit Program(const std::vector<std::string>& words) {
    child_ = fork();
    if (child_ != 0) return;
    if (!freopen((folder_ / "err").c_str(), "w", stderr) ||
        !freopen((folder_ / "out").c_str(), "w", stdout) || !freopen("/dev/null", "r", stdin))
      _exit(126);
    std::vector<char*> argv = {const_cast<char*>(OFFRAMP_BINARY)};
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execv(OFFRAMP_BINARY, argv.data());
    _exit(127);
  }
  void kill_now() const { ::kill(child_, SIGKILL); }
  Outcome wait() const {
    int status = 0;
    ::waitpid(child_, &status, 0);
    return {
        WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text(folder_ / "out"), read_text(folder_ / "err")};
  }

 private:
  TempFolder folder_;
  pid_t child_ = -1;
};

inline Outcome run_offramp(const std::vector<std::string>& words) { return Program(words).wait(); }

// The words of one line, divided by spaces.
inline Outcome run_offramp_line(const std::string& line) {
  std::istringstream in(line);
  return run_offramp({std::istream_iterator<std::string>(in), {}});
}

}  // namespace offramp::test
