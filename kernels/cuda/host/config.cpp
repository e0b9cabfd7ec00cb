#include "kernels/cuda/host/config.h"

#include <cstdlib>
#include <string>

#include "base/errors.h"

namespace offramp::cuda::host {
namespace {

std::uint64_t number(const char* name, const std::string& text, std::uint64_t low, std::uint64_t high) {
  std::size_t used = 0;
  std::uint64_t value = 0;
  try {
    if (!text.empty() && text[0] >= '0' && text[0] <= '9') value = std::stoull(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || value < low || value > high) {
    throw DeviceError(std::string(name) + ": expected a whole number from " + std::to_string(low) + " to " +
                      std::to_string(high) + ", got '" + text + "'");
  }
  return value;
}

}  // namespace

Config Config::from_environment() {
  Config c;
  if (const char* text = std::getenv("OFFRAMP_HOST_ORDER")) {
    const std::string order = text;
    if (order == "forward") {
      c.order = ThreadOrder::kForward;
    } else if (order == "reverse") {
      c.order = ThreadOrder::kReverse;
    } else if (order == "random") {
      c.order = ThreadOrder::kRandom;
    } else {
      throw DeviceError("OFFRAMP_HOST_ORDER: expected forward, reverse or random, got '" + order + "'");
    }
  }
  if (const char* text = std::getenv("OFFRAMP_HOST_STREAMS")) {
    const std::string streams = text;
    if (streams != "at-once" && streams != "late") {
      throw DeviceError("OFFRAMP_HOST_STREAMS: expected at-once or late, got '" + streams + "'");
    }
    c.streams = streams == "late" ? StreamWork::kLate : StreamWork::kAtOnce;
  }
  if (const char* text = std::getenv("OFFRAMP_HOST_SEED")) {
    c.seed = number("OFFRAMP_HOST_SEED", text, 0, UINT64_MAX);
  }
  if (const char* text = std::getenv("OFFRAMP_HOST_DEVICES")) {
    c.devices = static_cast<int>(number("OFFRAMP_HOST_DEVICES", text, 0, 16));
  }
  if (const char* text = std::getenv("OFFRAMP_HOST_WORKERS")) {
    c.workers = static_cast<int>(number("OFFRAMP_HOST_WORKERS", text, 1, 256));
  }
  return c;
}

Config& config() {
  static Config the_config = Config::from_environment();
  return the_config;
}

}  // namespace offramp::cuda::host
