#include "tools/frame/ranks.h"

#include "tools/frame/interrupt.h"
#include "tools/frame/options.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace offramp::tools {
namespace {

int number_in_environment(const char* name, int otherwise) {
  const char* const text = std::getenv(name);
  int value = otherwise;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), value);
  return value;
}

std::unique_ptr<MpiTransport>& joined() {
  static std::unique_ptr<MpiTransport> transport;
  return transport;
}

}  // namespace

Launch launch() {
  const Launch found{number_in_environment("OMPI_COMM_WORLD_RANK", 0),
                     number_in_environment("OMPI_COMM_WORLD_SIZE", 1)};
  const int other = number_in_environment("PMI_SIZE", 1);
  if (!found.several() && other > 1)
    throw UsageError(fmt::format(
        "this is one of {} processes that another MPI started; take the mpirun of Open MPI (Debian: openmpi-bin)",
        other));
  return found;
}

MpiTransport& ranks() {
  if (!joined()) joined() = std::make_unique<MpiTransport>(interrupted);
  return *joined();
}

std::string launch_prefix() {
  const Launch here = launch();
  return here.several() ? fmt::format("mpirun -n {} ", here.size) : "";
}

void end_rank(const RankEnd& end) {
  MpiTransport& others = ranks();
  if (end.failed && !end.gone) others.farewell(end.why);
  const double patience = end.gone ? 0 : end.failed ? 30 : 1e9;
  if (!others.leave(patience)) joined().release();  // MPI's own end would wait for who is gone
}

}  // namespace offramp::tools
