#include "tools/verbs/reproduce/plan.h"

#include "base/atomic_file.h"
#include "base/embedded_weights.h"
#include "base/errors.h"
#include "base/json_file.h"
#include "tools/frame/interrupt.h"
#include "tools/frame/options.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

namespace offramp::tools::reproduce {
namespace {

namespace fs = std::filesystem;

// Files about a stage, beside those that it makes.
fs::path about(const Stage& stage, const Settings& settings, const char* ending) {
  return settings.folder / "logs" / (stage.id + ending);
}

// What makes a stage what it is; threads are no part of it.
Words command_of(const Stage& stage, const Settings& settings) {
  Words words = stage.words;
  for (std::size_t i = 0; i + 1 < settings.common.size(); i += 2)
    if (settings.common[i] == "--seed")
      words.insert(words.end(), {settings.common[i], settings.common[i + 1]});
  return words;
}

// Exit code of this program called with `words`, 128 + signal where one killed it.
int call(const Words& words, const fs::path& log) {
  static const std::string self = embedded::this_program().string();
  std::vector<char*> argv{const_cast<char*>(self.c_str())};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw Error(fmt::format("reproduce: no process could be started: {}", std::strerror(errno)));
  if (child == 0) {
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (out < 0 || ::dup2(out, STDOUT_FILENO) < 0) ::_exit(126);
    ::execv(self.c_str(), argv.data());
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw Error("reproduce: a stage's process was lost");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

namespace {

bool made_by_another_command(const Stage& stage, const Settings& settings) {
  const fs::path command = about(stage, settings, ".command.json");
  return fs::exists(command) &&
         read_json_file(command)["command"] != nlohmann::json(command_of(stage, settings));
}

}  // namespace

State state_of(const Stage& stage, const Settings& settings) {
  const fs::path at = settings.folder / stage.id;
  const bool done = fs::exists(stage.has_folder ? at / "DONE" : at);
  const bool begun = stage.has_folder && fs::exists(at / "config.toml");
  if ((done || begun) && made_by_another_command(stage, settings))
    throw UsageError(fmt::format("{} was made with other settings ({}): name another --folder",
                                 at.string(),
                                 about(stage, settings, ".command.json").string()));
  return done ? State::kDone : begun ? State::kBegun : State::kNew;
}

std::vector<Stage> stages_of(const std::vector<Study>& studies) {
  std::vector<Stage> all;
  std::set<std::string> known;
  for (const Study& study : studies)
    for (const Stage& stage : study.stages)
      if (known.insert(stage.id).second) all.push_back(stage);
  return all;
}

Ran run_stages(const std::vector<Stage>& stages, const Settings& settings, bool keep_going, Log& log) {
  Ran ran;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    throw_if_interrupted();
    const Stage& stage = stages[i];
    const State state = state_of(stage, settings);
    if (state == State::kDone) {
      ++ran.skipped;
      continue;
    }
    const fs::path at = settings.folder / stage.id, text = about(stage, settings, ".txt");
    fs::create_directories(text.parent_path());
    fs::create_directories(at.parent_path());
    write_json_file(about(stage, settings, ".command.json"), {{"command", command_of(stage, settings)}});
    Words words = stage.words;
    words.insert(words.end(), settings.common.begin(), settings.common.end());
    words.insert(words.end(), {stage.has_folder ? "--out" : "--json", at.string()});
    if (state == State::kBegun) words.push_back("--resume");
    log.info(fmt::format("stage {} of {}: {}{}",
                         i + 1,
                         stages.size(),
                         stage.id,
                         state == State::kBegun ? ", gone on with" : ""),
             {{"stage", stage.id}, {"of", stages.size()}, {"at", i + 1}});
    const int code = call(words, text);
    throw_if_interrupted();
    if (code == 0) {
      ++ran.made;
      continue;
    }
    ran.failed.push_back(stage.id);
    std::string command = "offramp";
    for (const std::string& word : words) command += " " + word;
    log.error(fmt::format("stage {} failed with code {}: {}", stage.id, code, command));
    if (!keep_going) break;
  }
  return ran;
}

std::vector<Measured> measure(const std::vector<Study>& studies, const Settings& settings) {
  std::map<std::string, Stage> stages;
  for (const Stage& stage : stages_of(studies)) stages.emplace(stage.id, stage);
  std::vector<Measured> all;
  for (const Study& study : studies) {
    for (const Row& row : study.rows) {
      const fs::path at = settings.folder / row.stage,
                     answer = at.extension() == ".json" ? at : at / "results.json";
      std::optional<nlohmann::json> results;
      const auto stage = stages.find(row.stage);
      const bool ours = stage == stages.end() || !made_by_another_command(stage->second, settings);
      if (ours && fs::exists(answer == at ? at : at / "DONE")) results = read_json_file(answer);
      for (const Metric& metric : row.metrics)
        all.push_back({study.name,
                       row.cell,
                       row.name,
                       metric.name,
                       results ? metric.read(*results) : std::nullopt,
                       metric.paper});
    }
  }
  return all;
}

}  // namespace offramp::tools::reproduce
