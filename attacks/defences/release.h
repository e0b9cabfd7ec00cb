// When a defended answer is sent, for a server whose clock starts before its net does (when a request has been read).
#pragma once

#include <chrono>

#include "attacks/defences/defence_file.h"

namespace offramp::attacks {

// The answer to one image, begun at `start`, ready now, from exit `exit` (from 0): TimeGuard's delay counts from now, a
// padding's deadline from start, moved back by `slack` (what the server does besides the net, which the plan's times do
// not have in them). May lie in the past. ValueError: an exit that the plan does not know.
std::chrono::steady_clock::time_point release_time(const Defence& defence,
                                                   const Tensor& image,
                                                   int exit,
                                                   std::chrono::steady_clock::time_point start,
                                                   std::chrono::nanoseconds slack);

}  // namespace offramp::attacks
