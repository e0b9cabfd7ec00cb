// kernels/cuda/runtime_device.cpp over a cudart that fails: what is thrown or reported is not left behind as the
// last error, where the next launch would find it.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "kernels/cuda/runtime.h"
#include "tests/kernels/cuda_host/fake_cudart.h"

namespace offramp::cuda {
namespace {

using Call = std::pair<const char*, std::function<void()>>;

// Calls the failing cudart, and looks at what is left.
void expect_nothing_left(const Call& call, bool throws) {
  SCOPED_TRACE(call.first);
  const int before = cuda_calls();
  fail_cuda_calls(true);
  if (throws) {
    try {
      call.second();
      ADD_FAILURE() << "expected a DeviceError";
    } catch (const DeviceError& error) {
      EXPECT_NE(std::string(error.what()).find("a reason"), std::string::npos) << error.what();
    }
  } else {
    call.second();
  }
  fail_cuda_calls(false);
  EXPECT_GT(cuda_calls(), before);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(DeviceRuntime, AnErrorThatIsThrownIsNotLeftBehind) {
  char bytes[8] = {};
  const std::vector<Call> calls{
      {"device_properties", [] { static_cast<void>(device_properties(0)); }},
      {"set_device", [] { set_device(0); }},
      {"synchronize_device", [] { synchronize_device(); }},
      {"device_malloc", [] { static_cast<void>(device_malloc(8)); }},
      {"pinned_malloc", [] { static_cast<void>(pinned_malloc(8)); }},
      {"copy_async", [&] { copy_async(bytes, bytes, 8, Copy::kDeviceToDevice, nullptr); }},
      {"memset_async", [&] { memset_async(bytes, 0, 8, nullptr); }},
      {"create_stream", [] { static_cast<void>(create_stream()); }},
      {"synchronize_stream", [] { synchronize_stream(nullptr); }},
      {"create_event", [] { static_cast<void>(create_event(Timing::kYes)); }},
      {"record_event", [] { record_event(nullptr, nullptr); }},
      {"wait_event", [] { wait_event(nullptr, nullptr); }},
      {"synchronize_event", [] { synchronize_event(nullptr); }},
      {"elapsed_ms", [] { static_cast<void>(elapsed_ms(nullptr, nullptr)); }},
      {"begin_capture", [] { begin_capture(nullptr); }},
      {"end_capture", [] { static_cast<void>(end_capture(nullptr)); }},
      {"is_capturing", [] { static_cast<void>(is_capturing(nullptr)); }},
      {"launch_graph", [] { launch_graph(nullptr, nullptr); }},
      {"start_profiler", [] { start_profiler(); }},
      {"stop_profiler", [] { stop_profiler(); }}};
  for (const Call& call : calls) expect_nothing_left(call, true);
}

TEST(DeviceRuntime, AnErrorThatIsReportedIsNotLeftBehind) {
  char byte = 0;
  const std::vector<Call> calls{
      {"device_count", [] { EXPECT_EQ(device_count(), 0); }},
      {"why_no_device", [] { EXPECT_EQ(why_no_device(), "a reason"); }},
      {"runtime_version", [] { EXPECT_EQ(runtime_version(), "CUDA, version unknown"); }},
      {"device_free", [&] { device_free(&byte); }},
      {"pinned_free", [&] { pinned_free(&byte); }},
      {"destroy_stream", [] { destroy_stream(nullptr); }},
      {"destroy_event", [] { destroy_event(nullptr); }},
      {"abandon_capture", [] { abandon_capture(nullptr); }},
      {"destroy_graph", [] { destroy_graph(nullptr); }}};
  for (const Call& call : calls) expect_nothing_left(call, false);
}

}  // namespace
}  // namespace offramp::cuda
