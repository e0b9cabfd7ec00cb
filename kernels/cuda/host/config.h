#pragma once
// How the host runs CUDA threads, read once from the environment.
#include <cstdint>
#include <vector>

namespace offramp::cuda::host {

enum class ThreadOrder { kForward, kReverse, kRandom };
// When the work of a stream runs: as it is submitted, or as late as a device might, when somebody waits for
// it. Late shows whoever reads a copy that has not arrived, or reuses memory that is still to be read.
// Never is for counting the launches of a step whose sizes would take hours here (tests/nets/cuda).
enum class StreamWork { kAtOnce, kLate, kNever };

struct LaunchRecord {
  const char* file;
  unsigned blocks;
};

struct Config {
  ThreadOrder order = ThreadOrder::kForward;  // OFFRAMP_HOST_ORDER: forward, reverse, random
  std::uint64_t seed = 1;                     // OFFRAMP_HOST_SEED: of the random order
  StreamWork streams = StreamWork::kAtOnce;   // OFFRAMP_HOST_STREAMS: at-once, late
  int architecture = 90;                      // that kernels say they were compiled for; tests lower it
  int devices = 1;                            // OFFRAMP_HOST_DEVICES: how many the runtime lists, 0 to 16
  int workers = 1;                            // OFFRAMP_HOST_WORKERS: OS threads that run blocks, 1 to 256

  static Config from_environment();  // throws DeviceError that names the variable and what it accepts
};

// Where the launches of kernels are written down while it is set; null: nowhere.
inline std::vector<LaunchRecord>* launch_log = nullptr;

Config& config();  // of the process; tests change it

}  // namespace offramp::cuda::host
