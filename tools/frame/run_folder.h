// The folder of one run, which explains itself:
//   config.toml    the resolved configuration; `offramp VERB --config config.toml` runs it again
//   env.json       versions, commit, CPU, threads, seed; "earlier": those of the parts before --resume
//   inputs.json    SHA-256 of each net that the run takes: a resumed run goes on with the same
//   metrics.jsonl  one JSON object a line, appended while it runs
//   results.json   the answer, written once and atomically
//   *.csv, plots/, checkpoints/, report.html as the verb needs
//   .offramp-files what the run wrote: --force removes these and leaves what else is there
//   DONE           written last; without it the run did not finish
// One process at a time writes it (.offramp-lock); reading asks nobody.
#pragma once

#include "base/written_files.h"
#include "tools/frame/options.h"
#include "tools/frame/run_files.h"
#include "tools/frame/run_lock.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace offramp::tools {

enum class Existing {
  kRefuse,  // a folder that holds a run is an error
  kResume,  // --resume: go on with a run of the same configuration
  kForce,   // --force: remove that run's files and begin again
};

class RunFolder {
 public:
  // Creates `path` or, as `existing` says, takes over the run in it; writes config.toml and env.json. Throws
  // UsageError if the folder holds something that is no run (never touched, whatever `existing` is), a run of
  // another verb or configuration (naming the first difference), a finished run with kResume, any run with
  // kRefuse, or a run that another process is writing.
  RunFolder(std::filesystem::path path,
            const std::string& verb,
            const Options& options,
            const nlohmann::ordered_json& environment,
            Existing existing);

  const std::filesystem::path& path() const { return path_; }
  bool resumed() const { return resumed_; }  // there was an unfinished run to go on with

  // Ties the run to a file that it takes. Throws UsageError where the run was begun with other content.
  void bind(const std::filesystem::path& input);

  // One line of metrics.jsonl, complete in the file when this returns.
  void metric(const nlohmann::ordered_json& object);
  // Removes the lines of metrics.jsonl for which `keep` is false: what an interrupted run logged after its
  // checkpoint.
  void keep_metrics(const std::function<bool(const nlohmann::json&)>& keep);

  void write_json(const std::string& name, const nlohmann::ordered_json& object);  // atomically
  void results(const nlohmann::ordered_json& object) { write_json("results.json", object); }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  std::filesystem::path folder(const std::string& name);  // a subfolder, created
  void done();                                            // writes DONE

 private:
  std::filesystem::path path_;
  RunLock lock_;
  std::unique_ptr<RunFiles> files_;
  std::unique_ptr<WriteWatch> watch_;  // before the files that it tells of go
  bool resumed_ = false;
};

// The files that the run in `folder` wrote, relative to it; none where there is no run.
std::set<std::string> written_by_run(const std::filesystem::path& folder);

// The settings of the run in `folder`: key ("train.epochs") to value as TOML spells it. FileError where there
// is none.
std::map<std::string, std::string> run_settings(const std::filesystem::path& folder);

}  // namespace offramp::tools
