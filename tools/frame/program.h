// The command line as a whole: finds the verb, reads its options, runs it, turns errors into messages and
// exit codes.
#pragma once

#include "tools/frame/manual.h"
#include "tools/frame/verb.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace offramp::tools {

inline constexpr int kDone = 0, kFailed = 1, kWrongUse = 2;

class Program {
 public:
  void add(std::unique_ptr<Verb> verb);
  // Called with the name given by --device before a verb runs; throws DeviceError if it is not there.
  void prepare_device_with(std::function<void(const Common&, Log&)> prepare) {
    prepare_device_ = std::move(prepare);
  }

  // `words`: the command line without the program's name. Returns the exit code.
  int run(const std::vector<std::string>& words);

  std::string help_text() const;
  std::string help_text(Verb& verb) const;

 private:
  int help(const std::vector<std::string>& words);
  std::vector<VerbText> described() const;
  int dispatch(const std::vector<std::string>& words);
  int run_verb(Verb& verb, const std::vector<std::string>& words);
  Verb* find(const std::vector<std::string>& words, std::size_t& used) const;
  std::string group_text(const std::string& prefix) const;
  int unknown_verb(const std::vector<std::string>& words) const;

  std::vector<std::unique_ptr<Verb>> verbs_;
  std::function<void(const Common&, Log&)> prepare_device_;
};

}  // namespace offramp::tools
