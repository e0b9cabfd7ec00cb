// A stand-in for cudart: every call succeeds and does nothing, until the test says that calls fail; then each
// returns cudaErrorMemoryAllocation and leaves it as the last error, as cudart does.
#include "tests/kernels/cuda_host/fake_cudart.h"

#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>

namespace {

bool failing = false;
int calls = 0;
cudaError_t left_behind = cudaSuccess;

cudaError_t result() {
  ++calls;
  if (!failing) return cudaSuccess;
  left_behind = cudaErrorMemoryAllocation;
  return left_behind;
}

}  // namespace

void fail_cuda_calls(bool fail) { failing = fail; }
int cuda_calls() { return calls; }

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t error = left_behind;
  left_behind = cudaSuccess;
  return error;
}
const char* cudaGetErrorName(cudaError_t) { return "a name"; }
const char* cudaGetErrorString(cudaError_t) { return "a reason"; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return result();
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return result();
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return result();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int) { return result(); }
cudaError_t cudaSetDevice(int) { return result(); }
cudaError_t cudaDeviceSynchronize() { return result(); }
cudaError_t cudaMalloc(void** memory, size_t) {
  *memory = nullptr;
  return result();
}
cudaError_t cudaFree(void*) { return result(); }
cudaError_t cudaMallocHost(void** memory, size_t) {
  *memory = nullptr;
  return result();
}
cudaError_t cudaFreeHost(void*) { return result(); }
cudaError_t cudaMemcpyAsync(void*, const void*, size_t, cudaMemcpyKind, cudaStream_t) { return result(); }
cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t) { return result(); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned) { return result(); }
cudaError_t cudaStreamDestroy(cudaStream_t) { return result(); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return result(); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return result(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t*, unsigned) { return result(); }
cudaError_t cudaEventDestroy(cudaEvent_t) { return result(); }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return result(); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return result(); }
cudaError_t cudaEventElapsedTime(float*, cudaEvent_t, cudaEvent_t) { return result(); }
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) { return result(); }
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*) { return result(); }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus*) { return result(); }
cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t*, size_t*) { return result(); }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long) { return result(); }
cudaError_t cudaGraphDestroy(cudaGraph_t) { return result(); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) { return result(); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return result(); }
cudaError_t cudaProfilerStart() { return result(); }
cudaError_t cudaProfilerStop() { return result(); }

}  // extern "C"
