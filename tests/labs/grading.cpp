// main() of every grader: GRADER SOLUTION.so [FIRST_SEED [SEEDS]]. 0: right; 1: wrong, and why; 2: wrong use.
// The solution runs in a child, so that a crash or a loop without end is an answer too.
#include "tests/labs/grading.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace offramp::labs {
namespace {

void* opened = nullptr;
constexpr unsigned kSeconds = 50;  // for the 20 seeds of tools/lab; more seeds have more

int grade_all(const char* path, std::uint64_t first, std::uint64_t seeds) {
  opened = dlopen(path, RTLD_NOW);
  if (opened == nullptr) {
    std::fprintf(stderr, "%s: the solution cannot be opened: %s\n", kLab, dlerror());
    return 2;
  }
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    try {
      grade(seed);
    } catch (const Wrong& w) {
      std::printf("%s: not yet (seed %llu)\n  seen: %s\n  why:  %s\n",
                  kLab,
                  static_cast<unsigned long long>(seed),
                  w.what.c_str(),
                  w.why.c_str());
      return 1;
    }
  }
  std::printf("%s: right, on %llu seeds\n", kLab, static_cast<unsigned long long>(seeds));
  return 0;
}

}  // namespace

void* symbol(const char* name) {
  void* found = dlsym(opened, name);
  if (found == nullptr)
    wrong("The grader calls it by that name; it stands in an extern \"C\" block.",
          "the file does not define {}",
          name);
  return found;
}

std::size_t first_difference(const double* a, const double* b, std::size_t n, double relative, double scale) {
  for (std::size_t i = 0; i < n; ++i)
    if (!close(a[i], b[i], relative, scale)) return i;  // NaN is close to nothing
  return n;
}

bool all_close(const double* a, const double* b, std::size_t n, double relative, double scale) {
  return first_difference(a, b, n, relative, scale) == n;
}

}  // namespace offramp::labs

int main(int argc, char** argv) {
  using namespace offramp::labs;
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: %s SOLUTION.so [FIRST_SEED [SEEDS]]\n", argv[0]);
    return 2;
  }
  const std::uint64_t first = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const std::uint64_t seeds = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 20;
  const pid_t child = fork();
  if (child == 0) {
    alarm(kSeconds + static_cast<unsigned>(seeds / 4));
    const int code = grade_all(argv[1], first, seeds);
    std::fflush(stdout);
    _exit(code);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return 2;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  const int signal = WTERMSIG(status);
  std::printf("%s: not yet\n  seen: the solution ended with signal %d (%s)\n  why:  %s\n",
              kLab,
              signal,
              strsignal(signal),
              signal == SIGALRM ? "It took longer than 50 seconds: a loop without end?"
                                : "As a rule an index outside of its array.");
  return 1;
}
