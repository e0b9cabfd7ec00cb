#include "kernels/ranks/mpi_library.h"

#include <cstdlib>
#include <type_traits>

#include "base/errors.h"

#if !OFFRAMP_NO_DLOPEN
#include <dlfcn.h>
#endif

namespace offramp::mpi {
namespace {

[[noreturn]] void mpi_missing(const std::string& why) {
  throw DeviceError(
      "mpi: this process was started by mpirun as one of several, and Open MPI cannot be opened (" + why +
      "); Debian: openmpi-bin, or OFFRAMP_MPI=FILE names the library; without mpirun it is not needed");
}

#if OFFRAMP_NO_DLOPEN
Api open_mpi() { mpi_missing("this is a static build, which opens no libraries"); }
#else
Api open_mpi() {
  const char* named = std::getenv("OFFRAMP_MPI");
  const std::string file = named != nullptr && *named != '\0' ? named : "libmpi.so.40";
  // Global: the library's own plug-ins look for its names.
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) mpi_missing(dlerror());
  Api api;
  api.path = file;
  const auto address = [&](const char* name) {
    void* const found = dlsym(library, name);
    if (found == nullptr) mpi_missing(file + " has no " + name + ", so it is no Open MPI");
    return found;
  };
  const auto find = [&](auto*& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)> >(address(name));
  };
  find(api.init_thread, "MPI_Init_thread");
  find(api.finalize, "MPI_Finalize");
  find(api.comm_rank, "MPI_Comm_rank");
  find(api.comm_size, "MPI_Comm_size");
  find(api.comm_set_errhandler, "MPI_Comm_set_errhandler");
  find(api.isend, "MPI_Isend");
  find(api.irecv, "MPI_Irecv");
  find(api.recv, "MPI_Recv");
  find(api.test, "MPI_Test");
  find(api.iprobe, "MPI_Iprobe");
  api.world = address("ompi_mpi_comm_world");
  api.byte = address("ompi_mpi_byte");
  api.errors_return = address("ompi_mpi_errors_return");
  return api;
}
#endif

}  // namespace

const Api& api() {
  static const Api* const opened = new Api(open_mpi());  // never closed: its threads may outlive statics
  return *opened;
}

}  // namespace offramp::mpi
