// In the place of remote.cpp in a build without HTTP.
#include "attacks/query/remote.h"

namespace offramp::attacks {
namespace {

[[noreturn]] void no_http() {
  throw RemoteError(
      "remote victim: this build has no HTTP (OFFRAMP_HTTP is off; the standalone binary does without it)");
}

}  // namespace

class RemoteBlackBox::Connection {};

void choose_for_network(QueryOptions& options) {
  options.pilot_repetitions = 60;
  options.min_repetitions = 40;
  options.max_repetitions = 400;
  options.until_promised = true;
}

bool is_remote(const std::string& victim) {
  return victim.starts_with("http://") || victim.starts_with("https://") || victim.starts_with("unix:");
}
RemoteBlackBox::RemoteBlackBox(const std::string&, RemoteOptions) { no_http(); }
RemoteBlackBox::~RemoteBlackBox() = default;
RemoteBlackBox::RemoteBlackBox(RemoteBlackBox&&) noexcept = default;
int RemoteBlackBox::classes() const { no_http(); }
Answer RemoteBlackBox::query(const Tensor&, Timing) { no_http(); }
const std::vector<std::int64_t>& RemoteBlackBox::shape() const { no_http(); }
std::string RemoteBlackBox::description() const { no_http(); }
std::int64_t RemoteBlackBox::requests() const { no_http(); }
std::int64_t RemoteBlackBox::repeated() const { no_http(); }

}  // namespace offramp::attacks
