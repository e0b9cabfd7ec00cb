// Runs the stages of studies: each is a call of this program in a process of its own, skipped when its mark is there, gone on
// with where it was killed.
#pragma once

#include "tools/frame/log.h"
#include "tools/verbs/reproduce/study.h"

namespace offramp::tools::reproduce {

enum class State { kNew, kBegun, kDone };
// Throws UsageError where the stage was made by another command: settings changed, so another folder is wanted.
State state_of(const Stage& stage, const Settings& settings);

// The stages of all these studies, every one once, in an order in which they can be made.
std::vector<Stage> stages_of(const std::vector<Study>& studies);

struct Ran {
  int made = 0, skipped = 0;
  std::vector<std::string> failed;  // stages
};
// What a stage prints lies in logs/ID.txt. Stops at the first stage that fails, or with keep_going makes all others. Throws
// Interrupted where a signal asked to stop.
Ran run_stages(const std::vector<Stage>& stages, const Settings& settings, bool keep_going, Log& log);

// The numbers of all rows; those of stages that are not done, or that another command made, are empty.
std::vector<Measured> measure(const std::vector<Study>& studies, const Settings& settings);

}  // namespace offramp::tools::reproduce
