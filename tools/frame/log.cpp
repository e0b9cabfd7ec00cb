#include "tools/frame/log.h"

#include "base/utf8.h"

#include <fmt/format.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace offramp::tools {
namespace {

constexpr double kTerminalEvery = 0.1;  // seconds between two drawings
constexpr double kPlainEvery = 5;
constexpr std::size_t kBarWidth = 20;

std::string fields_text(const nlohmann::ordered_json& fields) {
  std::string out;
  for (const auto& [key, value] : fields.items()) {
    if (value.is_number_float()) {
      out += fmt::format("  {} {:.4g}", key, value.get<double>());
    } else {
      out += fmt::format("  {} {}",
                         key,
                         value.is_string()
                             ? value.get<std::string>()
                             : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }
  }
  return out;
}

std::string rate_text(double rate) {
  return rate >= 100 ? fmt::format("{:.0f}", rate) : fmt::format("{:.3g}", rate);
}

}  // namespace

std::string format_duration(double seconds) {
  if (!(seconds >= 0) || !std::isfinite(seconds)) return "?";
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{:02}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

Log Log::to_stderr(LogFormat format) {
  Settings settings;
  settings.format = format;
  settings.terminal = format == LogFormat::kText && ::isatty(STDERR_FILENO) == 1;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) settings.columns = size.ws_col;
  settings.write = [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); };
  settings.seconds = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  return Log(std::move(settings));
}

void Log::info(std::string_view message, const nlohmann::ordered_json& fields) {
  event("info", message, fields);
}
void Log::warn(std::string_view message, const nlohmann::ordered_json& fields) {
  event("warning", message, fields);
}
void Log::error(std::string_view message) { event("error", message, {}); }

void Log::event(std::string_view level, std::string_view message, const nlohmann::ordered_json& fields) {
  if (settings_.format == LogFormat::kJson) {
    nlohmann::ordered_json object{{"event", level}, {"message", message}};
    for (const auto& [key, value] : fields.items()) object[key] = value;
    json_line(object);
    return;
  }
  std::string out;
  if (!line_.empty()) out = "\r\x1b[K";  // the progress line makes room and comes back below
  if (level != "info") out += std::string(level) + ": ";
  out += visible(message) + "\n" + line_;
  settings_.write(out);
}

void Log::json_line(const nlohmann::ordered_json& object) {
  settings_.write(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

Progress::Progress(Log& log, std::string label, std::uint64_t total, std::string unit, std::uint64_t before)
    : log_(log),
      label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      before_(before),
      done_(before),
      start_(log.settings_.seconds()),
      shown_(start_) {}

Progress::~Progress() {
  try {
    show(true);
  } catch (const std::exception&) {  // a progress line must not end the program
    log_.line_.clear();
  }
}

void Progress::update(std::uint64_t done, const nlohmann::ordered_json& fields) {
  done_ = done;
  if (!fields.is_null()) fields_ = fields;
  const double now = log_.settings_.seconds();
  if (now - shown_ < (log_.settings_.terminal ? kTerminalEvery : kPlainEvery)) return;
  shown_ = now;
  show(false);
}

void Progress::show(bool last) {
  const double elapsed = log_.settings_.seconds() - start_;
  const double rate = elapsed > 0 ? static_cast<double>(done_ - std::min(done_, before_)) / elapsed : 0;
  const double share =
      total_ > 0 ? std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)) : 0;
  const double eta =
      total_ > 0 && rate > 0 ? static_cast<double>(total_ - std::min(total_, done_)) / rate : NAN;
  if (log_.settings_.format == LogFormat::kJson) {
    nlohmann::ordered_json object{
        {"event", last ? "progress_end" : "progress"}, {"label", label_}, {"done", done_}};
    if (total_ > 0) object["total"] = total_;
    object["unit"] = unit_;
    object["elapsed_s"] = elapsed;
    object["rate"] = rate;
    if (!last && std::isfinite(eta)) object["eta_s"] = eta;
    for (const auto& [key, value] : fields_.items()) object[key] = value;
    log_.json_line(object);
    return;
  }
  std::string text = label_ + "  ";
  if (total_ > 0) {
    if (log_.settings_.terminal && !last) {
      const auto filled = static_cast<std::size_t>(share * kBarWidth);
      text += "[" + std::string(filled, '=') + std::string(kBarWidth - filled, ' ') + "] ";
    }
    text += fmt::format("{:3.0f}%  {}/{} {}", std::floor(share * 100), done_, total_, unit_);
  } else {
    text += fmt::format("{} {}", done_, unit_);
  }
  text += fmt::format("  {} {}/s", rate_text(rate), unit_);
  if (last) {
    text += "  in " + format_duration(elapsed);
  } else if (total_ > 0) {
    text += "  ETA " + format_duration(eta);
  }
  text += fields_text(fields_);
  if (!log_.settings_.terminal) {
    log_.settings_.write(text + "\n");
    return;
  }
  if (last) {
    log_.settings_.write("\r\x1b[K" + text + "\n");
    log_.line_.clear();
    return;
  }
  log_.line_ = text.substr(0, static_cast<std::size_t>(std::max(1, log_.settings_.columns - 1)));
  log_.settings_.write("\r\x1b[K" + log_.line_);
}

}  // namespace offramp::tools
