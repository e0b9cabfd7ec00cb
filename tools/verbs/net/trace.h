// One picture through all exits of a net, as `offramp trace` shows it.
#pragma once

#include "nets/data/image_file.h"
#include "nets/exits/exit_policy.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace offramp::tools {

struct ExitTrace {
  struct Exit {
    std::vector<float> probabilities;  // [classes]
    std::vector<std::size_t> ranking;  // [classes] classes by falling probability, of equals the first
    double confidence = 0;             // probability of ranking[0]
    std::int64_t macs = 0;             // up to this exit, earlier exits included
    double share = 0;                  // of the MACs of the whole net with all its exits
    double ms = -1;                    // from pixels to this exit's answer; negative: not measured
  };
  std::string picture, net;              // what was asked, and the name of the net's family
  std::string truth;                     // the label; empty: not known
  std::vector<std::string> class_names;  // [classes], shown as they are
  nets::ExitPolicy policy;
  std::vector<Exit> exits;
  nets::ExitChoice choice;  // where the picture stops, and who answers
  data::Picture seen = {};  // the pixels that the net was given
  std::size_t top = 3;      // classes to show of each exit

  std::size_t stopped() const { return static_cast<std::size_t>(choice.stopped); }
  std::size_t answered() const { return static_cast<std::size_t>(choice.answered); }
  const std::string& said_by(std::size_t exit) const { return class_names[exits[exit].ranking[0]]; }
};

// What happens at an exit: "0.4711 < 0.9, goes on".
std::string decision_text(const ExitTrace& trace, std::size_t exit);
// One sentence: what is answered, where, at what share of the cost.
std::string answer_text(const ExitTrace& trace);
// The whole as a page of HTML.
std::string trace_page(const ExitTrace& trace);

}  // namespace offramp::tools
