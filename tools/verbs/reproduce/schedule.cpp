#include "tools/verbs/reproduce/schedule.h"

#include "base/atomic_file.h"
#include "base/embedded_weights.h"
#include "base/errors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace offramp::tools::reproduce {
namespace {

namespace fs = std::filesystem;

// Whether `word` names `path` or something in it, alone or among others.
bool names_path(const std::string& word, const std::string& path) {
  for (std::size_t at = word.find(path); at != std::string::npos; at = word.find(path, at + 1)) {
    const std::size_t end = at + path.size();
    if (end == word.size() || std::string_view("/,[]@?").find(word[end]) != std::string_view::npos)
      return true;
  }
  return false;
}

// What a stage makes, and what it changes: tune writes its thresholds into the net.
std::vector<std::string> written_by(const Stage& stage, const Settings& settings) {
  std::vector<std::string> paths{(settings.folder / stage.id).string()};
  if (stage.words[0] == "tune") paths.push_back(stage.words.at(1));
  return paths;
}

bool takes_times(const Stage& stage) {
  return (stage.words[0] == "extract" && stage.words[1] == "run") ||
         (stage.words[0] == "membership" && stage.words[1] == "attack");
}

void write_script(const fs::path& path, const std::string& text) {
  write_file_atomically(path, text);
  fs::permissions(path, fs::perms::owner_all | fs::perms::group_read | fs::perms::others_read);
}

std::string list_name(std::size_t level) { return fmt::format("level-{:02}.txt", level + 1); }

// The files that write_schedule() writes, whatever else lies beside them (logs of jobs).
void remove_plan(const fs::path& folder) {
  for (const char* name : {"stage.sh", "collect.sh", "Makefile", "run.sh", "array.sh", "submit.sh"})
    fs::remove(folder / name);
  for (std::size_t l = 0; fs::remove(folder / list_name(l)); ++l) {
  }
}

std::string mark_of(const Stage& stage) { return "../" + stage.id + (stage.has_folder ? "/DONE" : ""); }

std::string makefile(const std::vector<Stage>& stages,
                     const std::vector<std::vector<std::size_t>>& needs,
                     const std::vector<Level>& levels) {
  std::string text =
      "# make -j JOBS: a level after the other; of those that take times one at a time. make -k goes on past a failure.\n"
      ".PHONY: all";
  for (std::size_t l = 0; l < levels.size(); ++l) text += fmt::format(" level-{:02}", l + 1);
  text += "\nall:\n";
  for (std::size_t l = 0; l < levels.size(); ++l)
    text += fmt::format("\t+$(MAKE) {}level-{:02}\n", levels[l].alone ? "-j1 " : "", l + 1);
  text += "\t./collect.sh\n";
  for (std::size_t l = 0; l < levels.size(); ++l) {
    text += fmt::format("level-{:02}:", l + 1);
    for (const std::size_t s : levels[l].stages) text += " " + mark_of(stages[s]);
    text += "\n";
  }
  for (std::size_t s = 0; s < stages.size(); ++s) {
    text += "\n" + mark_of(stages[s]) + ":";
    if (!needs[s].empty()) text += " |";
    for (const std::size_t need : needs[s]) text += " " + mark_of(stages[need]);
    text += "\n\t./stage.sh " + stages[s].id + "\n";
  }
  return text;
}

std::string parallel_script(const std::vector<Level>& levels, int threads) {
  std::string text = fmt::format(
      "#!/bin/bash\n"
      "# GNU parallel, a level after the other; of those that take times one at a time. JOBS=N sets how many run side by\n"
      "# side, arguments go to parallel (--sshlogin ..: the folder must be the same on every machine).\n"
      "cd \"$(dirname \"$0\")\" || exit 1\n"
      "jobs=${{JOBS:-{}}}\n"
      "failed=0\n",
      threads > 0 ? fmt::format("$(( $(nproc) > {0} ? $(nproc) / {0} : 1 ))", threads) : "1");
  for (std::size_t l = 0; l < levels.size(); ++l)
    text += fmt::format(
        "parallel --jobs {} --joblog {}.log --line-buffer \"$@\" \"$PWD/stage.sh\" :::: {} || failed=1\n",
        levels[l].alone ? "1" : "\"$jobs\"",
        list_name(l),
        list_name(l));
  return text + "./collect.sh && exit \"$failed\"\n";
}

std::string slurm_script(const std::vector<Level>& levels, int threads) {
  std::string text = fmt::format(
      "#!/bin/bash\n"
      "# Slurm: a job array a level, each behind the one before; those that take times have their nodes to themselves. Arguments\n"
      "# go to sbatch (--partition=.., --time=..). A stage whose needs failed says so and fails.\n"
      "set -euo pipefail\n"
      "cd \"$(dirname \"$0\")\"\n"
      "before=\n"
      "array() {{\n"
      "  before=$(sbatch --parsable ${{before:+--dependency=afterany:$before}} --job-name=offramp --output=%x-%A-%a.txt{} \\\n"
      "    --array=\"1-$2\" \"${{@:3}}\" array.sh \"$1\")\n"
      "  echo \"$1: job $before, $2 stages\"\n"
      "}}\n",
      threads > 0 ? fmt::format(" --cpus-per-task={}", threads) : "");
  for (std::size_t l = 0; l < levels.size(); ++l)
    text += fmt::format("array {} {}{} \"$@\"\n",
                        list_name(l),
                        levels[l].stages.size(),
                        levels[l].alone ? " --exclusive" : "");
  return text +
         "last=$(sbatch --parsable --dependency=\"afterany:$before\" --job-name=offramp --output=%x-%A.txt \"$@\" "
         "collect.sh)\necho \"collect: job $last\"\n";
}

}  // namespace

std::vector<std::vector<std::size_t>> needs_of(const std::vector<Stage>& stages, const Settings& settings) {
  std::vector<std::vector<std::size_t>> needs(stages.size());
  for (std::size_t s = 0; s < stages.size(); ++s)
    for (std::size_t before = 0; before < s; ++before)
      if (std::ranges::any_of(written_by(stages[before], settings), [&](const std::string& path) {
            return std::ranges::any_of(stages[s].words,
                                       [&](const std::string& word) { return names_path(word, path); });
          }))
        needs[s].push_back(before);
  return needs;
}

std::vector<Level> levels_of(const std::vector<Stage>& stages,
                             const std::vector<std::vector<std::size_t>>& needs) {
  std::vector<Level> levels;
  std::vector<bool> placed(stages.size(), false);
  for (std::size_t left = stages.size(); left > 0;) {
    Level together, alone{{}, true};
    for (std::size_t s = 0; s < stages.size(); ++s)
      if (!placed[s] && std::ranges::all_of(needs[s], [&](std::size_t need) { return placed[need]; }))
        (takes_times(stages[s]) ? alone : together).stages.push_back(s);
    levels.push_back(together.stages.empty() ? alone : together);
    for (const std::size_t s : levels.back().stages) placed[s] = true;
    left -= levels.back().stages.size();
  }
  return levels;
}

std::string write_schedule(Engine engine,
                           const std::vector<Stage>& stages,
                           const Settings& settings,
                           const Words& words) {
  const fs::path folder = settings.folder / "plan";
  fs::create_directories(folder);
  remove_plan(folder);  // of another choice of studies
  const auto needs = needs_of(stages, settings);
  const auto levels = levels_of(stages, needs);
  for (std::size_t l = 0; l < levels.size(); ++l) {
    std::string list;
    for (const std::size_t s : levels[l].stages) list += stages[s].id + "\n";
    write_file_atomically(folder / list_name(l), list);
  }
  std::string command = "exec " + shell_quoted(embedded::this_program().string());
  for (const std::string& word : words) command += " " + shell_quoted(word);
  const std::string head =
      "#!/bin/sh\ncd " + shell_quoted(fs::current_path().string()) + " || exit 1\n" + command;
  write_script(folder / "stage.sh", head + " --stage \"$1\"\n");
  write_script(folder / "collect.sh", head + " --collect\n");

  int threads = 0;
  for (std::size_t i = 0; i + 1 < settings.common.size(); ++i)
    if (settings.common[i] == "--threads") threads = std::stoi(settings.common[i + 1]);
  switch (engine) {
    case Engine::kMake:
      write_file_atomically(folder / "Makefile", makefile(stages, needs, levels));
      return "make -C " + shell_quoted(folder.string());
    case Engine::kParallel:
      write_script(folder / "run.sh", parallel_script(levels, threads));
      return shell_quoted((folder / "run.sh").string());
    case Engine::kSlurm:
      // Slurm keeps a copy of what it is given elsewhere: the list and the stage are found from where it was called.
      write_script(folder / "array.sh",
                   "#!/bin/sh\nexec ./stage.sh \"$(sed -n \"${SLURM_ARRAY_TASK_ID}p\" \"$1\")\"\n");
      write_script(folder / "submit.sh", slurm_script(levels, threads));
      return shell_quoted((folder / "submit.sh").string());
  }
  return {};
}

}  // namespace offramp::tools::reproduce
