#include "tools/verbs/extract/session_listener.h"

#include "tools/frame/interrupt.h"

namespace offramp::tools {

void SessionListener::note(const std::string& text, const Fields& fields) { log_.info(text, fields); }

void SessionListener::warn(const std::string& text) { log_.warn(text); }

void SessionListener::progress(const std::string& name,
                               std::int64_t total,
                               std::int64_t done,
                               const std::string& unit,
                               const Fields& fields) {
  if (!progress_ || name != name_ || total != total_) {
    progress_.reset();  // its last line comes before the next one begins
    name_ = name;
    total_ = total;
    progress_ = std::make_unique<Progress>(
        log_, name, static_cast<std::uint64_t>(total), unit, static_cast<std::uint64_t>(done));
  }
  progress_->update(static_cast<std::uint64_t>(done), fields);
  if (done >= total) progress_.reset();
}

bool SessionListener::stop_requested() { return interrupted(); }

}  // namespace offramp::tools
