// What a verb says while it works, on stderr (stdout is for its answer): plain lines, or one JSON object a
// line with --log json. A Progress is one line that is rewritten on a terminal, and a plain line every few
// seconds elsewhere.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

namespace offramp::tools {

enum class LogFormat { kText, kJson };

class Log {
 public:
  struct Settings {
    LogFormat format = LogFormat::kText;
    bool terminal = false;                        // rewrite the progress line
    int columns = 80;                             // of the terminal
    std::function<void(std::string_view)> write;  // raw bytes out
    std::function<double()> seconds;              // a clock that never goes back
  };
  explicit Log(Settings settings) : settings_(std::move(settings)) {}
  // stderr, the steady clock, the size of the terminal if it is one.
  static Log to_stderr(LogFormat format);

  // `fields` are for --log json; `message` says the same to people.
  void info(std::string_view message, const nlohmann::ordered_json& fields = {});
  void warn(std::string_view message, const nlohmann::ordered_json& fields = {});
  void error(std::string_view message);

  const Settings& settings() const { return settings_; }

 private:
  friend class Progress;
  void event(std::string_view level, std::string_view message, const nlohmann::ordered_json& fields);
  void json_line(const nlohmann::ordered_json& object);

  Settings settings_;
  std::string line_;  // the progress line on the terminal now; empty if none
};

// Progress of `total` steps; a total of 0 means that it is not known.
class Progress {
 public:
  // `unit` names what is counted: "img", "queries". `before` steps were done by an earlier run: they count
  // for the share, not for the rate.
  Progress(Log& log, std::string label, std::uint64_t total, std::string unit, std::uint64_t before = 0);
  ~Progress();  // a last line, with the mean rate
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` steps so far; fields such as {"loss", 0.12} are shown behind. Cheap to call often.
  void update(std::uint64_t done, const nlohmann::ordered_json& fields = {});

 private:
  void show(bool last);

  Log& log_;
  std::string label_, unit_;
  std::uint64_t total_, before_, done_;
  double start_, shown_;
  nlohmann::ordered_json fields_;
};

// "2.5 s", "03:25", "1:02:07".
std::string format_duration(double seconds);

}  // namespace offramp::tools
