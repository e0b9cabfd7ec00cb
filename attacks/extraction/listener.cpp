#include "attacks/extraction/listener.h"

namespace offramp::attacks {

void Listener::note(const std::string&, const Fields&) {}
void Listener::warn(const std::string&) {}
void Listener::progress(const std::string&, std::int64_t, std::int64_t, const std::string&, const Fields&) {}
bool Listener::stop_requested() { return false; }

void stop_if_requested(Listener& listener) {
  if (listener.stop_requested()) throw Stopped("stopped as asked; the same call goes on from what was saved");
}

}  // namespace offramp::attacks
