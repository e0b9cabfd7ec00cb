#pragma once
// Who follows an attack that runs for minutes: hears what it found, sees how far it is, and may ask it to stop.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/stopped.h"

namespace offramp::attacks {

// Thrown by a stage that was asked to stop, after it has saved what the same call needs to go on.
using offramp::Stopped;

// Hears nothing and never stops; override what you want to hear.
class Listener {
 public:
  using Fields = nlohmann::ordered_json;
  virtual ~Listener() = default;
  // A sentence for people, and the same as fields for programs.
  virtual void note(const std::string& text, const Fields& fields);
  virtual void warn(const std::string& text);
  // `done` of `total` units of the step called `name`. The first call of a step may come with some done (by an earlier
  // run), the last has all done.
  virtual void progress(const std::string& name,
                        std::int64_t total,
                        std::int64_t done,
                        const std::string& unit,
                        const Fields& fields);
  virtual bool stop_requested();
};

// Throws Stopped where a stop is wanted.
void stop_if_requested(Listener& listener);

}  // namespace offramp::attacks
