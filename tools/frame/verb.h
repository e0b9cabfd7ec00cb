// One verb of the program: `offramp train`, or nested, `offramp extract query`. How to add one:
// docs/adding-a-verb.md.
#pragma once

#include "tools/frame/log.h"
#include "tools/frame/options.h"
#include "tools/frame/run_folder.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace offramp::tools {

struct VerbInfo {
  std::string name;          // "extract query": spaces nest
  std::string group;         // heading in `offramp --help`; verbs of one heading stand together
  std::string summary;       // one line
  std::string example;       // one line that works: "offramp extract query --victim out/vgg --queries 1000"
  std::string details = {};  // paragraphs for `offramp VERB --help`
  bool run_folder = false;   // has --out, --resume and --force
  bool first_step = false;   // the example appears under "First steps"
  bool ranks = false;        // divides its work among the processes of an mpirun
};

// The options that every verb has, read.
struct Common {
  std::uint64_t seed = 1;
  std::string device = "cpu";
  int threads = 0;             // 0: every CPU this process may use
  std::int64_t memory_mb = 0;  // limit of the CPU's tensors; 0: four fifths of what there is
  std::string conv = "library";
  std::filesystem::path conv_plans;  // empty: no table
  bool tf32 = false;
  std::string log = "text";
  std::filesystem::path json;  // file for the answer of a verb without run folder; empty: none
  std::filesystem::path out;
  bool resume = false, force = false;
};

// What the program hands to a verb that runs.
class Session {
 public:
  Session(const VerbInfo& info, const Options& options, const Common& common, Log& out_log)
      : log(out_log), info_(info), options_(options), common_(common) {}

  Log& log;

  std::uint64_t seed() const { return common_.seed; }
  // On the command line or in a file, whatever the value; where a run goes on its own configuration is such a file.
  bool given(const std::string& key) const { return options_.find_key(key)->given(); }
  bool seed_given() const { return given("seed"); }
  const std::string& device() const { return common_.device; }
  int threads() const { return common_.threads; }
  bool resume() const { return common_.resume; }
  bool json() const { return common_.log == "json"; }

  // The run folder, --out or out/VERB; made at the first call, so that wrong use found before leaves no
  // trace.
  RunFolder& folder();
  const std::filesystem::path& folder_path() const { return common_.out; }

  // The end of a message about a run that stopped on the way; empty before folder() was called.
  std::string what_is_kept() const;

  // The verb's answer on stdout: `text` for people, `object` on one line with --log json. With --json FILE
  // `object` also goes to the file, atomically.
  void answer(std::string_view text, const nlohmann::ordered_json& object);
  // Where JSON is the answer for people too: `object` on stdout, or with --json FILE in the file and `summary` on
  // stdout.
  void answer_json(const nlohmann::ordered_json& object, std::string_view summary);
  // For a file whose name the verb makes up itself: throws where it may not be written (tools/frame/outputs.h).
  void may_write(const std::string& flag, const std::filesystem::path& path) const;
  // For what the verb learns late that it reads (tools/frame/outputs.h).
  void will_read(const std::string& what, const std::string& text) const;
  const std::filesystem::path& json_file() const { return common_.json; }

 private:
  const VerbInfo& info_;
  const Options& options_;
  const Common& common_;
  std::unique_ptr<RunFolder> folder_;
};

class Verb {
 public:
  virtual ~Verb() = default;
  virtual VerbInfo info() const = 0;
  virtual void declare(Options& options) = 0;
  // 0 done, 1 failed (a check that found something wrong). Throws UsageError for wrong use, anything else for
  // failure, Interrupted (tools/frame/interrupt.h) after having saved what --resume needs.
  virtual int run(Session& session) = 0;
};

}  // namespace offramp::tools
