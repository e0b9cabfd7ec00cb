// Stages for more than one process: which needs which, what may run side by side, and the files with which make, GNU
// parallel and Slurm run them. Every job is a call of this program with --stage.
#pragma once

#include "tools/verbs/reproduce/study.h"

namespace offramp::tools::reproduce {

// For each stage the earlier ones that write what it reads, as indices.
std::vector<std::vector<std::size_t>> needs_of(const std::vector<Stage>& stages, const Settings& settings);

// Stages whose needs lie in earlier levels. Those that take times have levels of their own: nothing may run beside them on
// the same machine.
struct Level {
  std::vector<std::size_t> stages;
  bool alone = false;
};
std::vector<Level> levels_of(const std::vector<Stage>& stages,
                             const std::vector<std::vector<std::size_t>>& needs);

enum class Engine { kMake, kParallel, kSlurm };

// Writes FOLDER/SCALE/plan/: stage.sh and collect.sh (this program called with `words`), a list of stages a level, and
// the Makefile, run.sh or submit.sh that runs them. Returns the command that starts it all. Throws FileError.
std::string write_schedule(Engine engine,
                           const std::vector<Stage>& stages,
                           const Settings& settings,
                           const Words& words);

}  // namespace offramp::tools::reproduce
