#include "tools/frame/run_folder.h"

#include "base/append.h"
#include "base/atomic_file.h"
#include "base/json_file.h"
#include "base/sha256.h"
#include "tools/frame/build_info.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>
#include <utility>

namespace offramp::tools {
namespace {

constexpr std::string_view kFirstLine = "# offramp run: ";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw FileError(path.string(), "read: cannot be read");
  return text.str();
}

// Text that is no UTF-8 (a name of the system's, a class of a data set) must not cost a run its answer.
std::string json_text(const nlohmann::ordered_json& object, int indent) {
  return object.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// key -> value as written, of the files that resolved_toml() writes (one `key = value` a line).
std::map<std::string, std::string> settings_of(const std::string& toml) {
  std::map<std::string, std::string> out;
  std::istringstream lines(toml);
  std::string line, section;
  while (std::getline(lines, line)) {
    if (line.starts_with('[') && line.ends_with(']')) {
      section = line.substr(1, line.size() - 2) + ".";
    } else if (const std::size_t equals = line.find(" = ");
               equals != std::string::npos && !line.starts_with('#')) {
      out[section + line.substr(0, equals)] = line.substr(equals + 3);
    }
  }
  return out;
}

// The first setting that differs, as "train.epochs is 10 there and 20 here"; empty if none does. What a
// folder of an older program does not name had its default there.
std::string first_difference(const std::string& there,
                             const std::string& here,
                             const Options& options,
                             bool resume) {
  std::map<std::string, std::string> a;  // under the names of today
  for (auto& [key, value] : settings_of(there)) {
    const Option* const option = options.find_key(key);
    a[option == nullptr ? key : option->key()] = std::move(value);
  }
  const auto b = settings_of(here);
  std::map<std::string, std::string> all = a;
  all.insert(b.begin(), b.end());
  for (const auto& [key, value] : all) {
    const Option* const option = options.find_key(key);
    if (resume && option != nullptr && option->is_free_on_resume()) continue;
    const auto x = std::as_const(a).find(key), y = b.find(key);
    const bool has_default =
        option != nullptr && !std::holds_alternative<std::monostate>(option->default_value());
    const std::string there_value = x != a.end()  ? x->second
                                    : has_default ? toml_text(option->default_value())
                                                  : "not set",
                      here_value = y == b.end() ? "not set" : y->second;
    if (there_value != here_value)
      return fmt::format("{} is {} there and {} here", key, there_value, here_value);
  }
  return "";
}

// `environment` with those of the parts that were run before, oldest first: they may be of another build.
nlohmann::ordered_json with_earlier(const std::filesystem::path& path, nlohmann::ordered_json environment) {
  if (!std::filesystem::exists(path)) return environment;
  auto last = nlohmann::ordered_json::parse(read_file(path), nullptr, false);
  if (!last.is_object()) throw FileError(path.string(), "expected a JSON object");
  auto earlier = nlohmann::ordered_json::array();
  if (const auto found = last.find("earlier"); found != last.end()) {
    earlier = std::move(*found);
    last.erase("earlier");
  }
  earlier.push_back(std::move(last));
  environment["earlier"] = std::move(earlier);
  return environment;
}

// The verb of a run, by its configuration.
std::string verb_of(const std::string& toml) {
  const auto settings = settings_of(toml);
  const auto verb = settings.find("verb");
  return verb == settings.end() || verb->second.size() < 2 ? ""
                                                           : verb->second.substr(1, verb->second.size() - 2);
}

// Nothing in it, or only what is left of a run that was being begun or removed when its process died.
bool is_free(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != RunLock::kName && name != RunFiles::kName && !is_temporary_of(name, RunFiles::kName) &&
        !is_temporary_of(name, "config.toml"))
      return false;
  }
  return true;
}

enum class Found { kNothing, kRunToReplace, kRunToResume };

// What is in `folder` and may be done with it. Throws UsageError where `existing` does not allow it; changes
// nothing.
Found find_run(const std::filesystem::path& folder,
               const std::string& config,
               const Options& options,
               Existing existing) {
  const std::string where = folder.string();
  if (!std::filesystem::exists(folder)) return Found::kNothing;
  if (!std::filesystem::is_directory(folder)) throw UsageError(where + ": a folder wanted, this is a file");
  if (!std::filesystem::exists(folder / "config.toml")) {
    if (is_free(folder)) return Found::kNothing;
    throw UsageError(where + ": is not empty and holds no run; choose another --out");
  }
  const std::string old = read_file(folder / "config.toml");
  if (!old.starts_with(kFirstLine))
    throw UsageError(where + ": its config.toml is not of a run; choose another --out");
  if (existing == Existing::kForce) return Found::kRunToReplace;
  const std::string difference = first_difference(old, config, options, existing == Existing::kResume);
  if (!difference.empty())
    throw UsageError(where + ": holds a run of another configuration (" + difference +
                     "); choose another --out, or --force to replace it");
  const bool finished = std::filesystem::exists(folder / "DONE");
  if (existing == Existing::kRefuse)
    throw UsageError(where + (finished
                                  ? ": holds this run, finished; --force runs it again"
                                  : ": holds this run, unfinished; --resume goes on, --force begins again"));
  if (finished && first_difference(old, config, options, false).empty())
    throw UsageError(where + ": holds this run, finished; nothing to resume, --force runs it again");
  return Found::kRunToResume;
}

}  // namespace

std::map<std::string, std::string> run_settings(const std::filesystem::path& folder) {
  const auto path = folder / "config.toml";
  const std::string text = read_file(path);
  if (!text.starts_with(kFirstLine)) throw FileError(path.string(), "is not of a run");
  return settings_of(text);
}

std::set<std::string> written_by_run(const std::filesystem::path& folder) {
  std::error_code none;
  const auto config = folder / "config.toml";
  if (!std::filesystem::is_regular_file(config, none)) return {};
  std::ifstream in(config, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};  // none where it may not be read
  if (!text.starts_with(kFirstLine)) return {};
  std::set<std::string> names = RunFiles(folder, verb_of(text)).names();
  names.insert({"config.toml", RunFiles::kName});
  return names;
}

RunFolder::RunFolder(std::filesystem::path path,
                     const std::string& verb,
                     const Options& options,
                     const nlohmann::ordered_json& environment,
                     Existing existing)
    : path_(std::move(path)) {
  const std::string config =
      fmt::format("{}run again with: offramp {} --config config.toml (offramp {}, {})\n{}",
                  kFirstLine,
                  verb,
                  build_info().version,
                  build_info().commit,
                  options.resolved_toml(verb));
  // A folder that a process writes says that first; one that is refused stays without a lock of ours.
  if (std::filesystem::exists(path_ / RunLock::kName)) lock_.take(path_);
  find_run(path_, config, options, existing);
  std::error_code ec;
  std::filesystem::create_directories(path_, ec);
  if (ec) throw FileError(path_.string(), "create the folder: " + ec.message());
  if (!lock_.taken()) lock_.take(path_);
  const Found found = find_run(path_, config, options, existing);  // now nobody else changes it

  resumed_ = found == Found::kRunToResume;
  const std::string old_verb = found == Found::kNothing ? "" : verb_of(read_file(file("config.toml")));
  files_ = std::make_unique<RunFiles>(path_, old_verb);
  if (!resumed_) files_->remove_all();
  const auto recorded = resumed_ ? with_earlier(file("env.json"), environment) : environment;
  files_->rewrite();
  watch_ = std::make_unique<WriteWatch>(path_, [this](const auto& written) { files_->add(written); });
  if (resumed_) {
    files_->remove_temporaries_of_all();
    std::filesystem::remove(file("DONE"));
    keep_metrics([](const nlohmann::json&) { return true; });  // drops a line that a crash cut off
  }
  write_file_atomically(file("config.toml"), config);
  write_json("env.json", recorded);
}

void RunFolder::bind(const std::filesystem::path& input) {
  const auto path = file("inputs.json");
  nlohmann::ordered_json inputs = nlohmann::ordered_json::object();
  if (std::filesystem::exists(path)) inputs = nlohmann::ordered_json(read_json_file(path));
  const std::string digest = sha256_of_file(input), name = input.string();
  if (const auto before = inputs.find(name); before != inputs.end()) {
    if (*before != digest)
      throw UsageError(fmt::format(
          "{}: has changed since the run in {} began with it; bring the old file back, or begin again with --force",
          name,
          path_.string()));
    return;
  }
  inputs[name] = digest;
  write_json("inputs.json", inputs);
}

void RunFolder::metric(const nlohmann::ordered_json& object) {
  append_whole(file("metrics.jsonl"), json_text(object, -1), "line");
}

void RunFolder::keep_metrics(const std::function<bool(const nlohmann::json&)>& keep) {
  if (!std::filesystem::exists(file("metrics.jsonl"))) return;
  std::istringstream lines(read_file(file("metrics.jsonl")));
  std::string line, kept;
  while (std::getline(lines, line)) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_discarded() && keep(object)) kept += line + "\n";
  }
  write_file_atomically(file("metrics.jsonl"), kept);
}

void RunFolder::write_json(const std::string& name, const nlohmann::ordered_json& object) {
  write_file_atomically(file(name), json_text(object, 2));
}

std::filesystem::path RunFolder::folder(const std::string& name) {
  std::filesystem::create_directories(path_ / name);
  return path_ / name;
}

void RunFolder::done() { write_file_atomically(file("DONE"), ""); }

}  // namespace offramp::tools
