#include "tools/frame/program.h"

#include "base/atomic_file.h"
#include "base/errors.h"
#include "base/json_file.h"
#include "base/memory_limit.h"
#include "base/utf8.h"
#include "kernels/ranks/rank_error.h"
#include "tools/frame/build_info.h"
#include "tools/frame/environment.h"
#include "tools/frame/interrupt.h"
#include "tools/frame/nearest.h"
#include "tools/frame/outputs.h"
#include "tools/frame/ranks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>
#include <system_error>

namespace offramp::tools {
namespace {

void declare_common(Options& options, Common& common, const VerbInfo& info) {
  options.add("device", common.device, "where the numbers are computed").choices({"cpu", "cuda"});
  options.add("seed", common.seed, "every random number follows from it").range(0, 9.2e18);
  options
      .add("threads", common.threads, "CPU threads, 0: all, or OMP_NUM_THREADS; results do not depend on it")
      .range(0, 4096)
      .not_in_config();
  options
      .add("memory-mb",
           common.memory_mb,
           "limit of the CPU's tensors in 1e6 bytes, 0: four fifths of what there is")
      .range(0, 1e9)
      .not_in_config();
  options
      .add("conv",
           common.conv,
           "convolutions and products by the library that is found (oneDNN; cuDNN and cuBLASLt), by cuDNN "
           "or not at all, or by our own kernels")
      .choices({"library", "cudnn", "native"});
  options.add("conv-plans", common.conv_plans, "file of measured cuDNN plans, made where it is missing");
  options.add("tf32", common.tf32, "cuDNN and cuBLASLt may round float32 inputs to 10 bits of mantissa");
  options.add("log", common.log, "progress on stderr as text, or as one JSON object a line")
      .choices({"text", "json"})
      .not_in_config();
  if (!info.run_folder) {
    options.add("json", common.json, "write the answer, as JSON, to this file").not_in_config().written();
    options.gone("--out", "is the folder of a run; the answer as JSON goes to a file with --json FILE");
  } else {
    options.add("out", common.out, "run folder").not_in_config();
    options.add("resume", common.resume, "go on with the unfinished run in --out, with its configuration")
        .not_in_config();
    options.add("force", common.force, "replace the run in --out").not_in_config();
  }
}

bool asks_for_help(const std::vector<std::string>& words) {
  return std::ranges::any_of(words, [](const auto& word) { return word == "--help" || word == "-h"; });
}

// What is wrong with the options is said in the form that they ask for.
bool asks_for_json(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] == "--log=json" || (words[i] == "--log" && i + 1 < words.size() && words[i + 1] == "json"))
      return true;
  return false;
}

std::filesystem::path default_out(const VerbInfo& info) {
  std::string name = info.name;
  std::replace(name.begin(), name.end(), ' ', '-');
  return std::filesystem::path("out") / name;
}

// The folder keeps the configuration but for what is about one call: of that, what this call was held to.
std::string resume_command(const VerbInfo& info, const Common& common) {
  std::string command =
      launch_prefix() + "offramp " + info.name + " --resume --out " + shell_quoted(common.out.string());
  if (common.threads > 0) command += fmt::format(" --threads {}", common.threads);
  if (common.memory_mb > 0) command += fmt::format(" --memory-mb {}", common.memory_mb);
  return command;
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

constexpr std::string_view kConfigHelp =
    "  --config FILE.toml        settings from a file; flags and --set win over it\n"
    "  --set KEY=VALUE           one setting by its key in such a file\n";

}  // namespace

RunFolder& Session::folder() {
  if (!folder_) {
    const Existing existing = common_.force    ? Existing::kForce
                              : common_.resume ? Existing::kResume
                                               : Existing::kRefuse;
    folder_ = std::make_unique<RunFolder>(common_.out,
                                          info_.name,
                                          options_,
                                          environment_json(common_.seed, common_.threads, common_.device),
                                          existing);
  }
  return *folder_;
}

std::string Session::what_is_kept() const {
  if (!folder_) return "";
  if (!std::filesystem::exists(common_.out / "config.toml"))
    return fmt::format("\n  {} is gone, and with it what this run had saved", common_.out.string());
  return fmt::format(
      "\n  {} keeps what was saved; go on with: {}", common_.out.string(), resume_command(info_, common_));
}

void Session::may_write(const std::string& flag, const std::filesystem::path& path) const {
  check_output(flag, path, Written::kFile, options_);
}

void Session::will_read(const std::string& what, const std::string& text) const {
  check_late_input(what, text, options_);
}

void Session::answer_json(const nlohmann::ordered_json& object, std::string_view summary) {
  answer(common_.json.empty() ? object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
                              : std::string(summary),
         object);
}

void Session::answer(std::string_view text, const nlohmann::ordered_json& object) {
  if (!common_.json.empty()) write_json_file(common_.json, object);
  print(json() ? object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
               : visible(text));
}

void Program::add(std::unique_ptr<Verb> verb) { verbs_.push_back(std::move(verb)); }

std::string Program::help_text() const {
  std::string out = fmt::format(
      "offramp {}: train networks with early exits, and measure what their exits give away\n\n"
      "usage: offramp VERB [options]      offramp VERB --help explains a verb and its options\n",
      build_info().version);
  std::vector<std::string> groups;
  std::string steps;
  std::size_t width = 0;
  for (const auto& verb : verbs_) {
    const VerbInfo info = verb->info();
    if (std::find(groups.begin(), groups.end(), info.group) == groups.end()) groups.push_back(info.group);
    if (info.first_step) steps += "  " + info.example + "\n";
    width = std::max(width, info.name.size());
  }
  for (const std::string& group : groups) {
    out += "\n" + group + "\n";
    for (const auto& verb : verbs_) {
      const VerbInfo info = verb->info();
      if (info.group == group) out += fmt::format("  {:<{}}  {}\n", info.name, width, info.summary);
    }
  }
  out +=
      "\nEvery verb takes\n"
      "  --device cpu|cuda  --seed N  --threads N  --log text|json  --config FILE.toml  --set KEY=VALUE\n"
      "Verbs that compute something write a run folder: --out DIR, and --resume or --force if it is "
      "there already.\n"
      "stdout has the answer, stderr the progress. Exit codes: 0 done, 1 failed, 2 wrong use.\n"
      "Out of memory and a full disk are 1: what a run had saved stays, and --resume goes on from there.\n"
      "Ctrl-C stops at the next good place (go on with --resume), a second Ctrl-C kills.\n"
      "\nofframp help man [VERB] prints a manual page, offramp help completion bash|zsh|fish what a shell needs\n"
      "to complete; offramp help files DIR writes all of them below DIR/share.\n";
  if (!steps.empty()) out += "\nFirst steps\n" + steps;
  return out;
}

std::string Program::help_text(Verb& verb) const {
  const VerbInfo info = verb.info();
  Common common;
  common.out = default_out(info);
  Options own, shared;
  verb.declare(own);
  declare_common(shared, common, info);
  std::string out = fmt::format("offramp {}: {}\n\n  {}\n", info.name, info.summary, info.example);
  if (!info.details.empty()) out += "\n" + info.details + "\n";
  out += own.help_text();
  std::string shared_text = shared.help_text();
  out += "\nOptions of every verb" + shared_text.substr(shared_text.find('\n', 1)) + std::string(kConfigHelp);
  return out;
}

std::string Program::group_text(const std::string& prefix) const {
  std::string out;
  for (const auto& verb : verbs_) {
    const VerbInfo info = verb->info();
    if (info.name.starts_with(prefix + " "))
      out += fmt::format("  offramp {:<24}  {}\n", info.name, info.summary);
  }
  return out;
}

Verb* Program::find(const std::vector<std::string>& words, std::size_t& used) const {
  Verb* best = nullptr;
  used = 0;
  for (const auto& verb : verbs_) {
    const std::vector<std::string> name = words_of(verb->info().name);
    if (name.size() > used && name.size() <= words.size() &&
        std::equal(name.begin(), name.end(), words.begin())) {
      best = verb.get();
      used = name.size();
    }
  }
  return best;
}

int Program::unknown_verb(const std::vector<std::string>& words) const {
  // "dataset" alone, or "dataset inof": the verbs below it, else the nearest of all.
  const std::string below = group_text(words[0]);
  std::string typed = words[0];
  if (!below.empty() && words.size() > 1 && !words[1].starts_with("-")) typed += " " + words[1];
  if (!below.empty() && typed == words[0]) {
    const bool asked = words.size() > 1 && (words[1] == "--help" || words[1] == "-h");
    if (asked) {
      print(below);
      return kDone;
    }
    std::fputs(("offramp: " + words[0] + " is one of\n" + below).c_str(), stderr);
    return kWrongUse;
  }
  std::vector<std::string> known;
  for (const auto& verb : verbs_) {
    known.push_back(verb->info().name);
    if (known.back().find(' ') != std::string::npos && below.empty())
      known.push_back(words_of(known.back())[0]);
  }
  std::fputs(fmt::format("offramp: unknown verb {}; nearest known: {}\nofframp --help lists them all\n",
                         in_quotes(typed),
                         nearest(typed, known))
                 .c_str(),
             stderr);
  return kWrongUse;
}

int Program::run_verb(Verb& verb, const std::vector<std::string>& words) {
  const VerbInfo info = verb.info();
  Common common;
  common.out = default_out(info);
  Options options;
  declare_common(options, common, info);
  verb.declare(options);
  Log log = Log::to_stderr(asks_for_json(words) ? LogFormat::kJson : LogFormat::kText);
  Session session(info, options, common, log);
  Launch here;
  RankEnd end{.failed = true};
  const auto mute = [&] {  // rank 0 speaks for all
    if (!here.first()) log = Log({.write = [](std::string_view) {}, .seconds = log.settings().seconds});
  };
  const auto fail = [&](int code, const std::string& message) {
    log.error(message);
    end.why = message;
    return code;
  };
  const auto run = [&]() -> int {
    try {
      here = launch();
      mute();
      if (here.several() && !info.ranks)
        throw UsageError(info.name + ": runs in one process; mpirun is for offramp train");
      std::vector<std::string> all = words;
      const auto resumes = [](const std::string& word) {
        return word == "--resume" || word == "--resume=true" || word == "--resume=yes" ||
               word == "--resume=on" || word == "--resume=1";
      };
      if (info.run_folder && std::ranges::any_of(words, resumes)) {
        // The folder's own configuration first, so that `--resume --out DIR` is enough.
        std::filesystem::path out = common.out;
        for (std::size_t i = 0; i < words.size(); ++i) {
          if (words[i] == "--out" && i + 1 < words.size()) out = words[i + 1];
          if (words[i].starts_with("--out=")) out = words[i].substr(6);
        }
        if (here.first() && !std::filesystem::exists(out) && !asks_for_help(words))
          throw UsageError(fmt::format("{}: --resume: {} is not there, so there is no run to go on with",
                                       info.name,
                                       in_quotes(out.string())));
        if (std::filesystem::exists(out / "config.toml"))
          all.insert(all.begin(), {"--config", (out / "config.toml").string()});
      }
      if (!options.parse(info.name, all)) {
        if (here.first()) print(help_text(verb));
        return kDone;
      }
      if (common.resume && common.force)
        throw UsageError(info.name + ": --resume and --force exclude each other");
      log = Log::to_stderr(common.log == "json" ? LogFormat::kJson : LogFormat::kText);
      mute();
      check_outputs(options);
      if (common.force) check_replaced_run(common.out, options);
      if (prepare_device_) prepare_device_(common, log);
      return verb.run(session);
    } catch (const Stopped& stopped) {
      log.error(fmt::format("{}: {}{}",
                            info.name,
                            interrupting_signal() != 0
                                ? fmt::format("interrupted by signal {}", interrupting_signal())
                                : stopped.what(),
                            info.run_folder ? "; go on with: " + resume_command(info, common) : ""));
      return kFailed;
    } catch (const RankLost& error) {
      // Where rank 0 is the one that is gone the next one speaks.
      if (error.rank() == 0 && here.rank == 1) log = Log::to_stderr(LogFormat::kText);
      end.gone = true;
      return fail(kFailed,
                  fmt::format("{}: {}\n  {} keeps what was saved; go on with: {}",
                              info.name,
                              error.what(),
                              common.out.string(),
                              resume_command(info, common)));
    } catch (const RankError& error) {
      return fail(kFailed, info.name + ": " + error.what() + session.what_is_kept());
    } catch (const UsageError& error) {
      return fail(kWrongUse,
                  std::string(error.what()) + "\n  offramp " + info.name + " --help explains the options");
    } catch (const ValueError& error) {  // a setting that a room below refused
      return fail(kWrongUse, info.name + ": " + error.what());
    } catch (const std::bad_alloc&) {  // whatever the standard library wanted
      return fail(
          kFailed,
          fmt::format(
              "{}: out of memory ({}: {:.0f} MB); use a smaller batch, network or data set, or fewer threads{}",
              info.name,
              memory_limit().source,
              static_cast<double>(memory_limit().bytes) / 1e6,
              session.what_is_kept()));
    } catch (const std::exception& error) {
      return fail(kFailed, info.name + ": " + error.what() + session.what_is_kept());
    }
  };
  const int code = run();
  if (!here.several() || !info.ranks) return code;
  end.failed = code != kDone;
  try {
    end_rank(end);
  } catch (
      const DeviceError& error) {  // no rank hears another one without the library: each speaks for itself
    if (!here.first())
      Log::to_stderr(LogFormat::kText).error(fmt::format("rank {}: {}", here.rank, error.what()));
    return kFailed;
  }
  return code;
}

std::vector<VerbText> Program::described() const {
  std::vector<VerbText> all;
  for (const auto& verb : verbs_) {
    const VerbInfo info = verb->info();
    Common common;
    common.out = default_out(info);
    Options own, shared;
    verb->declare(own);
    declare_common(shared, common, info);
    all.push_back({info, own.described(), shared.described()});
  }
  return all;
}

// help VERB; help man [VERB]; help completion SHELL; help files DIR.
int Program::help(const std::vector<std::string>& words) {
  const auto wrong = [](const std::string& why) {
    std::fputs(("offramp help: " + why + "\n").c_str(), stderr);
    return kWrongUse;
  };
  const std::string version(build_info().version);
  if (words[0] == "man" && words.size() == 1) {
    print(man_page(described(), version));
    return kDone;
  }
  if (words[0] == "man") {
    const std::string name = fmt::format("{}", fmt::join(words.begin() + 1, words.end(), " "));
    for (const VerbText& verb : described())
      if (verb.info.name == name) {
        print(man_page(verb, version));
        return kDone;
      }
    return unknown_verb({words.begin() + 1, words.end()});
  }
  if (words[0] == "completion") {
    const std::string shell = words.size() == 2 ? words[1] : "";
    if (shell != "bash" && shell != "zsh" && shell != "fish")
      return wrong("completion: expected bash, zsh or fish");
    print(shell == "bash"  ? bash_completion(described())
          : shell == "zsh" ? zsh_completion(described())
                           : fish_completion(described()));
    return kDone;
  }
  if (words[0] == "files") {
    if (words.size() != 2) return wrong("files: expected the folder in which share/ is made");
    const std::filesystem::path share = std::filesystem::path(words[1]) / "share";
    try {
      const auto write = [&](const std::filesystem::path& file, const std::string& text) {
        std::filesystem::create_directories((share / file).parent_path());
        write_file_atomically(share / file, text);
      };
      const auto verbs = described();
      write("man/man1/offramp.1", man_page(verbs, version));
      for (const VerbText& verb : verbs)
        write("man/man1/" + page_name(verb.info.name) + ".1", man_page(verb, version));
      write("bash-completion/completions/offramp", bash_completion(verbs));
      write("zsh/vendor-completions/_offramp", zsh_completion(verbs));
      write("fish/vendor_completions.d/offramp.fish", fish_completion(verbs));
    } catch (const std::exception& error) {
      std::fputs(fmt::format("offramp help: {}\n", error.what()).c_str(), stderr);
      return kFailed;
    }
    return kDone;
  }
  std::vector<std::string> rest = words;
  rest.emplace_back("--help");
  return dispatch(rest);
}

int Program::dispatch(const std::vector<std::string>& words) {
  if (words.empty()) {
    std::fputs(help_text().c_str(), stderr);
    return kWrongUse;
  }
  if (words[0] == "--help" || words[0] == "-h" || (words[0] == "help" && words.size() == 1)) {
    print(help_text());
    return kDone;
  }
  if (words[0] == "--version") {
    print(fmt::format("offramp {} ({}, {}, CUDA {})\n",
                      build_info().version,
                      build_info().commit,
                      build_info().compiler,
                      build_info().cuda));
    return kDone;
  }
  if (words[0] == "help") return help({words.begin() + 1, words.end()});
  if (words[0].starts_with("-")) {
    std::fputs(fmt::format("offramp: the verb comes first, got {}\nofframp --help lists the verbs\n",
                           in_quotes(words[0]))
                   .c_str(),
               stderr);
    return kWrongUse;
  }
  std::size_t used = 0;
  Verb* const verb = find(words, used);
  if (verb == nullptr) return unknown_verb(words);
  return run_verb(*verb, {words.begin() + static_cast<std::ptrdiff_t>(used), words.end()});
}

int Program::run(const std::vector<std::string>& words) {
  const int code = dispatch(words);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fputs(("offramp: stdout: " + std::generic_category().message(errno) + "\n").c_str(), stderr);
    return code == kDone ? kFailed : code;
  }
  return code;
}

}  // namespace offramp::tools
