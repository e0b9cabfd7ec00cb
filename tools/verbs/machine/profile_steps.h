// --profile-steps A:B: which steps Nsight records.
#pragma once

#include "engine/profiler_window.h"
#include "tools/frame/verb.h"

#include <memory>
#include <string>

namespace offramp::tools {

// "3:5": steps 3, 4 and 5, counted from 0; empty: null. Throws UsageError for anything else, and on the CPU.
std::unique_ptr<ProfilerWindow> profiler_window(const Device& device, const std::string& steps);

}  // namespace offramp::tools
