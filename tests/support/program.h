// The real offramp binary in a subprocess. The test target defines OFFRAMP_BINARY.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
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
  int code = -1;  // negative: the signal that ended it
  std::string out, err;
  std::string text() const { return out + err; }
};

// What the program finds; as a rule nothing out of the ordinary.
struct Surroundings {
  decltype(RLIMIT_AS) resource = RLIMIT_CORE;  // the limit that is lowered to `bytes`
  rlim_t bytes = 0;
  std::string stdout_to = {};  // a file, e.g. /dev/full; empty: Outcome::out
  std::string program = OFFRAMP_BINARY;
};

// Started with `words`; its streams go to files in a folder of its own.
class Program {
 public:
  explicit Program(const std::vector<std::string>& words, const Surroundings& around = {}) {
    const std::string out = around.stdout_to.empty() ? (folder_ / "out").string() : around.stdout_to,
                      err = (folder_ / "err").string();
    std::vector<char*> argv = {const_cast<char*>(around.program.c_str())};
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    child_ = fork();
    if (child_ != 0) return;
    constexpr int kCreate = O_WRONLY | O_CREAT | O_TRUNC;
    const rlimit limit{around.bytes, around.bytes};
    if (dup2(open("/dev/null", O_RDONLY), STDIN_FILENO) < 0 ||
        dup2(open(out.c_str(), kCreate, 0600), STDOUT_FILENO) < 0 ||
        dup2(open(err.c_str(), kCreate, 0600), STDERR_FILENO) < 0 || setrlimit(around.resource, &limit) != 0)
      _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
  pid_t pid() const { return child_; }
  void send(int signal) const { ::kill(child_, signal); }
  Outcome wait() const {
    int status = 0;
    ::waitpid(child_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
            std::filesystem::exists(folder_ / "out") ? read_text(folder_ / "out") : "",
            read_text(folder_ / "err")};
  }

 private:
  TempFolder folder_;
  pid_t child_ = -1;
};

inline Outcome run_offramp(const std::vector<std::string>& words, const Surroundings& around = {}) {
  return Program(words, around).wait();
}

// The words of one line, divided by spaces.
inline Outcome run_offramp_line(const std::string& line, const Surroundings& around = {}) {
  std::istringstream in(line);
  return run_offramp({std::istream_iterator<std::string>(in), {}}, around);
}

}  // namespace offramp::test
