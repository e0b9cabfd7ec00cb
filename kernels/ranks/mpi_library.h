#pragma once
// The functions of Open MPI that we call, found at run time, so that a program that nobody started with mpirun never
// opens the library. Its handles are addresses inside the library and its interface has been stable since version 1.7;
// another MPI (MPICH, Intel) has another one and is refused by name.
#include <cstddef>
#include <string>

namespace offramp::mpi {

struct Status {
  int source = 0, tag = 0, error = 0, cancelled = 0;
  std::size_t bytes = 0;
};

struct Api {
  using Handle = void*;
  using Request = void*;
  int (*init_thread)(int*, char***, int, int*) = nullptr;
  int (*finalize)() = nullptr;
  int (*comm_rank)(Handle, int*) = nullptr;
  int (*comm_size)(Handle, int*) = nullptr;
  int (*comm_set_errhandler)(Handle, Handle) = nullptr;
  int (*isend)(const void*, int, Handle, int, int, Handle, Request*) = nullptr;
  int (*irecv)(void*, int, Handle, int, int, Handle, Request*) = nullptr;
  int (*recv)(void*, int, Handle, int, int, Handle, Status*) = nullptr;
  int (*test)(Request*, int*, Status*) = nullptr;
  int (*iprobe)(int, int, Handle, int*, Status*) = nullptr;
  Handle world = nullptr, byte = nullptr, errors_return = nullptr;
  std::string path;  // what was opened
};
inline constexpr int kAnySource = -1, kThreadFunneled = 1;

// Opened on the first call: libmpi.so.40, or the file that OFFRAMP_MPI names. Throws DeviceError where it is missing or
// is no Open MPI.
const Api& api();

}  // namespace offramp::mpi
