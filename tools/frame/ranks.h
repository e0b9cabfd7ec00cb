// The processes of one run that mpirun started (docs/guide/several-machines.md). Rank 0 speaks and writes; the others say
// what went wrong to it.
#pragma once

#include "kernels/ranks/mpi_transport.h"

#include <string>

namespace offramp::tools {

struct Launch {
  int rank = 0, size = 1;
  bool several() const { return size > 1; }
  bool first() const { return rank == 0; }
};

// By what mpirun left in the environment. Throws UsageError for the mpirun of another MPI.
Launch launch();

// Joins the others at the first call and waits for them. Throws DeviceError where Open MPI is missing.
MpiTransport& ranks();

// How such a run is started again: "mpirun -n 2 ", empty for one process.
std::string launch_prefix();

// The end of a rank: tells the others where `failed`, and returns when all may go. `gone`: a rank is not there any more,
// or this one has little time.
struct RankEnd {
  bool failed = false, gone = false;
  std::string why = {};  // empty: asked to stop
};
void end_rank(const RankEnd& end);

}  // namespace offramp::tools
