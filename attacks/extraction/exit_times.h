#pragma once
// What the owner of a net knows about its exits and an attacker does not: who leaves where, and how long each exit
// takes. For the plan of a defence and for the check of one.
#include <cstdint>
#include <functional>
#include <vector>

#include "attacks/query/black_box.h"
#include "nets/exits/exit_policy.h"
#include "nets/graph/network.h"

namespace offramp::attacks {

struct ExitTimeOptions {
  int images = 200;      // of the set, timed through every exit; fewer where the set has fewer
  int repetitions = 10;  // of each
  std::uint64_t seed = 1;
  // What else is computed before an answer is sent, and takes its time: the random draw of a defence. Empty: nothing.
  std::function<void(const Tensor& image)> also = {};
};

struct ExitTimes {
  std::vector<std::vector<double>> ns;  // [exits][images * repetitions]
};

// Times of every exit, each forced on the same images, batch 1, as InProcessBlackBox times them; exits take turns, so
// that a slow spell of the machine meets all. `net` on a device with one thread. ValueError: no images, a count < 1.
ExitTimes exit_times(const nets::Network& net, const ImageSource& images, const ExitTimeOptions& options);

// The exit of every image under the policy, from 0.
std::vector<int> exits_taken(const nets::Network& net,
                             const nets::ExitPolicy& policy,
                             const ImageSource& images);

}  // namespace offramp::attacks
