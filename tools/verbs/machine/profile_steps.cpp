#include "tools/verbs/machine/profile_steps.h"

#include <fmt/format.h>

#include <charconv>

namespace offramp::tools {

std::unique_ptr<ProfilerWindow> profiler_window(const Device& device, const std::string& steps) {
  if (steps.empty()) return nullptr;
  std::int64_t first = -1, last = -1;
  const char* end = steps.data() + steps.size();
  const auto [colon, first_error] = std::from_chars(steps.data(), end, first);
  bool good = first_error == std::errc() && colon != end && *colon == ':';
  if (good) {
    const auto [rest, last_error] = std::from_chars(colon + 1, end, last);
    good = last_error == std::errc() && rest == end && first >= 0 && first <= last;
  }
  if (!good) {
    throw UsageError(fmt::format("--profile-steps: expected A:B with 0 <= A <= B, got '{}'", steps));
  }
  if (device.kind() != DeviceKind::kCuda) {
    throw UsageError("--profile-steps marks steps for Nsight: it wants --device cuda");
  }
  return std::make_unique<ProfilerWindow>(device, first, last);
}

}  // namespace offramp::tools
