// A session as the listener of an attack: notes into the log, progress as its line, Ctrl-C as the wish to stop.
#pragma once

#include "attacks/extraction/listener.h"
#include "tools/frame/verb.h"

#include <memory>
#include <string>

namespace offramp::tools {

class SessionListener final : public attacks::Listener {
 public:
  explicit SessionListener(Session& session) : log_(session.log) {}
  void note(const std::string& text, const Fields& fields) override;
  void warn(const std::string& text) override;
  void progress(const std::string& name,
                std::int64_t total,
                std::int64_t done,
                const std::string& unit,
                const Fields& fields) override;
  bool stop_requested() override;

 private:
  Log& log_;
  std::string name_;
  std::int64_t total_ = 0;
  std::unique_ptr<Progress> progress_;
};

}  // namespace offramp::tools
