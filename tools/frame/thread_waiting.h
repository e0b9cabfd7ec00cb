// How the threads of the CPU kernels wait for each other.
#pragma once

namespace offramp::tools {

// Bounds the time that a thread of the OpenMP runtime spins at the end of a loop before it sleeps. The
// runtime reads its environment before main(), so this starts the program again, once, with GOMP_SPINCOUNT
// set; it does nothing where the user has set that or OMP_WAIT_POLICY, or where the build has no OpenMP.
// `argv`: main's.
void bound_spinning(char** argv);

}  // namespace offramp::tools
