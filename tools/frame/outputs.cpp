#include "tools/frame/outputs.h"

#include "base/embedded_weights.h"
#include "base/errors.h"
#include "tools/frame/run_folder.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <set>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace offramp::tools {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code none;
  return fs::exists(path, none);
}

bool is_folder(const fs::path& path) {
  std::error_code none;
  return fs::is_directory(path, none);
}

// By links of both kinds too.
bool same_file(const fs::path& a, const fs::path& b) {
  std::error_code none;
  return fs::equivalent(a, b, none);
}

fs::path real(const fs::path& path) {
  std::error_code none;
  const fs::path found = fs::weakly_canonical(fs::absolute(path), none);
  return none ? path : found;
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  const fs::path within = real(path).lexically_relative(real(folder));
  return !within.empty() && *within.begin() != "..";
}

bool is_program(const fs::path& path) {
  std::array<char, 64> head{};
  std::ifstream in(path, std::ios::binary);
  in.read(head.data(), head.size());
  return embedded::is_program(std::as_bytes(std::span(head.data(), static_cast<std::size_t>(in.gcount()))));
}

// The path that a text names: the text itself, or what is left of the name of a data set ("idx:FOLDER@test[0:9]",
// "folder:PETS?side=16") or of a net ("FILE@last").
std::vector<fs::path> named_by(std::string text) {
  std::vector<fs::path> found;
  const auto take = [&] {
    if (!text.empty() && is_there(text)) found.emplace_back(text);
  };
  take();
  for (const char mark : {'[', '@', '?'}) {
    if (const std::size_t at = text.rfind(mark); at != std::string::npos) {
      text.resize(at);
      take();
    }
  }
  text = text.substr(text.find(':') + 1);  // npos + 1 is 0: taken again, which does no harm
  take();
  return found;
}

struct Input {
  std::string reader;  // and what he does: "--data reads"
  fs::path path;       // which exists
};

std::vector<Input> inputs_of(const Options& options) {
  std::vector<Input> inputs;
  const auto add = [&inputs](const Option& option, const std::string& text) {
    for (fs::path& path : named_by(text)) inputs.push_back({option.flag_name() + " reads", std::move(path)});
  };
  for (const Option& option : options.all()) {
    if (option.is_written() || option.has_choices() || option.key() == "out") continue;
    if (const auto* text = std::get_if<std::string>(&option.value())) add(option, *text);
    if (const auto* words = std::get_if<std::vector<std::string>>(&option.value()))
      for (const std::string& word : *words) add(option, word);
  }
  return inputs;
}

// The folder of the run that wrote `file`; empty where none did.
fs::path run_that_wrote(const fs::path& file) {
  const fs::path path = real(file);
  for (fs::path folder = path.parent_path();; folder = folder.parent_path()) {
    if (written_by_run(folder).contains(path.lexically_relative(folder).generic_string())) return folder;
    if (folder == folder.parent_path()) return {};
  }
}

// No reader of data sets reads these, and every verb that writes one may write it again; but for what a folder of ours is read by.
bool is_answer(const fs::path& path) {
  for (const char* name : {"trace.json", "query.json", "plan.json", "split.json", "defence.json"})
    if (path.filename() == name) return false;
  const fs::path ending = path.extension();
  return ending == ".json" || ending == ".svg" || ending == ".html";
}

void refuse_what_is_read(const std::string& where, const fs::path& output, const Input& input) {
  if (same_file(output, input.path))
    throw UsageError(where + " is the file that " + input.reader + "; choose another name");
  if (is_folder(input.path) && written_by_run(input.path).empty() && !is_answer(output) &&
      lies_in(output, input.path))
    throw UsageError(where + " is there already and lies in " + in_quotes(input.path.string()) + ", which " +
                     input.reader + "; choose another name");
}

}  // namespace

void check_output(const std::string& flag, const fs::path& output, Written kind, const Options& options) {
  const std::string where = flag + ": " + output.string();
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!is_folder(folder))
    throw FileError(output.string(), flag + ": the folder " + in_quotes(folder.string()) + " is not there");
  if (!is_there(output)) return;
  std::error_code none;
  if (!fs::is_regular_file(output, none))
    throw FileError(output.string(), flag + ": a regular file wanted, this is a folder or a device");
  for (const Input& input : inputs_of(options)) refuse_what_is_read(where, output, input);
  if (const fs::path run = run_that_wrote(output); !run.empty())
    throw UsageError(where + " is a file of the run in " + in_quotes(run.string()) +
                     ", which needs it; choose another name");
  const bool replaces_program = is_program(output);
  if (kind == Written::kFile && replaces_program)
    throw UsageError(where + " is a program; choose another name");
  if (kind == Written::kProgram && !replaces_program)
    throw UsageError(where +
                     " is there and no program, and only a program is replaced by one; choose another name");
}

void check_outputs(const Options& options) {
  std::vector<std::pair<std::string, fs::path>> checked;
  for (const Option& option : options.all()) {
    if (!option.is_written()) continue;
    const fs::path output = std::get<std::string>(option.value());
    if (output.empty()) continue;
    check_output(option.flag_name(), output, *option.is_written(), options);
    for (const auto& [flag, other] : checked) {
      if (real(other) == real(output))
        throw UsageError(flag + " and " + option.flag_name() + " name one file, " + output.string());
    }
    checked.emplace_back(option.flag_name(), output);
  }
}

void check_late_input(const std::string& what, const std::string& text, const Options& options) {
  for (const Option& option : options.all()) {
    if (!option.is_written()) continue;
    const fs::path output = std::get<std::string>(option.value());
    if (output.empty() || !is_there(output)) continue;
    for (const fs::path& path : named_by(text))
      refuse_what_is_read(option.flag_name() + ": " + output.string(), output, {what, path});
  }
}

void check_replaced_run(const fs::path& out, const Options& options) {
  if (!is_folder(out)) return;
  const std::set<std::string> files = written_by_run(out);
  if (files.empty()) return;
  for (const Input& input : inputs_of(options)) {
    if (!lies_in(input.path, out)) continue;
    const bool goes = std::ranges::any_of(
        files, [&](const std::string& file) { return lies_in(out / file, input.path); });  // or is it
    if (goes)
      throw UsageError("--force: would remove " + in_quotes(input.path.string()) + ", which " + input.reader +
                       "; choose another --out");
  }
}

}  // namespace offramp::tools
