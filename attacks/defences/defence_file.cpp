#include "attacks/defences/defence_file.h"

#include <cmath>
#include <utility>

#include "base/errors.h"
#include "base/json_file.h"
#include "stats/padding/padding.h"

namespace offramp::attacks {
namespace {

constexpr const char* kFormat = "offramp defence";

constexpr std::pair<InputHash, const char*> kHashes[] = {{InputHash::kPerceptual, "perceptual"},
                                                         {InputHash::kAverage, "average"},
                                                         {InputHash::kAveragePublished, "average-published"},
                                                         {InputHash::kExact, "exact"}};

nlohmann::ordered_json json_of(const InputSeedOptions& seed) {
  return {
      {"hash", to_text(seed.hash)}, {"secret", seed.secret}, {"label", seed.label}, {"bytes", seed.bytes}};
}

InputSeedOptions seed_of(const std::string& file, const nlohmann::json& json) {
  if (!json.contains("seed") || !json["seed"].is_object()) throw FileError(file, "expected an object 'seed'");
  const nlohmann::json& in = json["seed"];
  InputSeedOptions seed;
  seed.hash = input_hash_from(json_member<std::string>(in, "hash", file));
  seed.secret = json_member<std::string>(in, "secret", file);
  seed.label = json_member<std::string>(in, "label", file);
  seed.bytes = json_member<int>(in, "bytes", file);
  input_uniform("", seed);  // for its checks
  return seed;
}

}  // namespace

std::string to_text(InputHash hash) {
  for (const auto& [value, name] : kHashes) {
    if (value == hash) return name;
  }
  throw ValueError("input hash: not one of those known");
}

InputHash input_hash_from(const std::string& text) {
  std::string known;
  for (const auto& [value, name] : kHashes) {
    if (text == name) return value;
    known += std::string(known.empty() ? "" : ", ") + name;
  }
  throw ValueError("input hash: expected one of " + known + ", got '" + text + "'");
}

void write_defence(const std::filesystem::path& path, const Defence& defence) {
  nlohmann::ordered_json json = {{"format", kFormat}, {"version", 1}, {"name", defence.name}};
  if (defence.time_guard) {
    json["kind"] = "time-guard";
    json["sigma_ns"] = defence.time_guard->sigma_ns;
    if (std::isfinite(defence.time_guard->cap_ns)) json["cap_ns"] = defence.time_guard->cap_ns;
    json["seed"] = json_of(defence.time_guard->seed);
  } else if (defence.padding) {
    json["kind"] = "padding";
    json["deadlines_ns"] = defence.padding->deadlines_ns;
    json["channel"] = defence.padding->channel;
    json["seed"] = json_of(defence.padding->seed);
  } else {
    throw ValueError("write_defence: neither TimeGuard nor a padding");
  }
  write_json_file(path, json);
}

Defence read_defence(const std::filesystem::path& path) {
  const std::string file = path.string();
  const nlohmann::json json = read_json_file(path);
  if (json_member<std::string>(json, "format", file) != kFormat ||
      json_member<int>(json, "version", file) != 1) {
    throw FileError(file, "expected a defence of version 1, as `offramp defend plan` writes it");
  }
  const auto kind = json_member<std::string>(json, "kind", file);
  Defence defence;
  defence.name = json_member<std::string>(json, "name", file);
  try {
    if (kind == "time-guard") {
      TimeGuardOptions options;
      options.sigma_ns = json_member<double>(json, "sigma_ns", file);
      json_member_if_there(json, "cap_ns", file, options.cap_ns);
      options.seed = seed_of(file, json);
      time_guarded([](const Tensor&, std::span<float>) {}, options);  // for its checks
      defence.time_guard = options;
    } else if (kind == "padding") {
      PaddingPlan plan;
      plan.deadlines_ns = json_member<std::vector<double>>(json, "deadlines_ns", file);
      plan.channel = json_member<std::vector<double>>(json, "channel", file);
      plan.seed = seed_of(file, json);
      padded([](const Tensor&, std::span<float>) {},
             [](const Tensor&, std::span<float>) { return 0; },
             plan);  // for its checks
      defence.padding = plan;
    } else {
      throw FileError(file, "expected the kind time-guard or padding, found '" + kind + "'");
    }
  } catch (const ValueError& error) {
    throw FileError(file, error.what());
  }
  return defence;
}

void check(const Defence& defence, int num_exits) {
  if (!defence.padding) return;  // TimeGuard asks about no exits
  const std::size_t planned = defence.padding->deadlines_ns.size();
  if (planned != static_cast<std::size_t>(num_exits))
    throw ValueError("the defence " + in_quotes(defence.name) + " is for " + std::to_string(planned) +
                     " exits, the net has " + std::to_string(num_exits) +
                     "; offramp defend plan makes one for it");
}

VictimFunction defended(VictimFunction plain, ExitVictim one, const Defence& defence) {
  if (defence.time_guard) return time_guarded(std::move(plain), *defence.time_guard);
  if (!defence.padding) throw ValueError("defended: neither TimeGuard nor a padding");
  return padded(std::move(plain), std::move(one), *defence.padding);
}

}  // namespace offramp::attacks
