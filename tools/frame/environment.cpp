#include "tools/frame/environment.h"

#include "base/cpu_level.h"
#include "base/cpus.h"
#include "tools/frame/build_info.h"

#include <fmt/format.h>

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>

namespace offramp::tools {
namespace {

std::string after_colon(const std::string& line) {
  const std::size_t colon = line.find(':');
  const std::size_t begin = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
  return begin == std::string::npos ? "" : line.substr(begin);
}

void read_cpuinfo(Machine& machine) {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with("model name") && machine.cpu_model.empty()) machine.cpu_model = after_colon(line);
    if (!line.starts_with("flags")) continue;
    std::istringstream words(after_colon(line));
    const std::vector<std::string> flags{std::istream_iterator<std::string>(words), {}};
    for (const char* name : kInterestingFlags) {
      if (std::find(flags.begin(), flags.end(), name) != flags.end()) machine.cpu_flags.emplace_back(name);
    }
    break;  // every CPU says the same
  }
  if (machine.cpu_model.empty()) machine.cpu_model = "unknown";
}

void read_meminfo(Machine& machine) {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  std::uint64_t kib = 0;
  while (in >> name >> kib && std::getline(in, unit)) {
    if (name == "MemTotal:") machine.memory_bytes = kib * 1024;
    if (name == "MemAvailable:") machine.available_bytes = kib * 1024;
  }
}

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

Machine this_machine() {
  Machine machine;
  read_cpuinfo(machine);
  read_meminfo(machine);
  machine.cpus = static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  machine.usable_cpus = usable_cpus();
  utsname name{};
  if (uname(&name) == 0) machine.system = fmt::format("{} {} {}", name.sysname, name.release, name.machine);
  return machine;
}

nlohmann::ordered_json environment_json(std::uint64_t seed, int threads, const std::string& device) {
  const Machine machine = this_machine();
  const BuildInfo& build = build_info();
  return {{"started", utc_now()},
          {"seed", seed},
          {"device", device},
          {"threads", threads > 0 ? threads : machine.usable_cpus},
          {"spin_count", variable("GOMP_SPINCOUNT")},  // tools/frame/thread_waiting.h
          {"wait_policy", variable("OMP_WAIT_POLICY")},
          {"build",
           {{"version", build.version},
            {"commit", build.commit},
            {"compiler", build.compiler},
            {"type", build.build_type},
            {"cpu_arch", build.cpu_arch},
            {"cpu_level", dispatches() ? to_text(used_cpu_level()) : build.cpu_arch},
            {"convolution", build.convolution},
            {"threading", build.threading},
            {"cuda", build.cuda},
            {"sanitizer", build.sanitizer}}},
          {"machine",
           {{"system", machine.system},
            {"cpu", machine.cpu_model},
            {"cpu_flags", machine.cpu_flags},
            {"cpus", machine.cpus},
            {"usable_cpus", machine.usable_cpus},
            {"memory_bytes", machine.memory_bytes}}}};
}

}  // namespace offramp::tools
