// devices, --device and --conv from the outside: what a machine lacks is said in words and by the exit code.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/program.h"

namespace {

using Answer = offramp::test::Outcome;

bool says(const Answer& answer, const std::string& words) {
  return answer.text().find(words) != std::string::npos;
}

TEST(DevicesVerb, ListsWhatTheBuildAndTheMachineHave) {
  const Answer answer = offramp::test::run_offramp_line("devices");
  EXPECT_EQ(answer.code, 0);
  EXPECT_TRUE(says(answer, "cpu\n")) << answer.text();
#if OFFRAMP_HAS_CUDA
  for (const char* name : {"  cuDNN        ", "  cuBLASLt     "})
    EXPECT_TRUE(says(answer, name)) << answer.text();
#else
  EXPECT_TRUE(says(answer, "not built; configure with -DOFFRAMP_CUDA=on")) << answer.text();
#endif
}

TEST(DevicesVerb, ConvCudnnIsForTheGpu) {
  const Answer answer = offramp::test::run_offramp_line("bench op --conv cudnn --filter none");
  EXPECT_EQ(answer.code, 2);
  EXPECT_TRUE(says(answer, "conv: cudnn computes on --device cuda, the device is cpu")) << answer.text();
}

#if !OFFRAMP_HAS_CUDA
TEST(DevicesVerb, ABuildWithoutCudaSaysSo) {
  const Answer answer = offramp::test::run_offramp_line("bench op --device cuda");
  EXPECT_EQ(answer.code, 1);
  EXPECT_TRUE(says(answer, "cuda: this build has no CUDA back end (configure with -DOFFRAMP_CUDA=on)"))
      << answer.text();
}
#elif !OFFRAMP_CUDA_HOST
TEST(DevicesVerb, AMachineWithoutADriverSaysSo) {
  const Answer devices = offramp::test::run_offramp_line("devices");
  if (says(devices, "  usable ")) GTEST_SKIP() << "there is a device";
  EXPECT_TRUE(says(devices, "not usable   built (CUDA ")) << devices.text();
  if (!says(devices, "no NVIDIA driver (libcuda.so.1 was not found)")) GTEST_SKIP() << "there is a driver";
  const Answer train =
      offramp::test::run_offramp_line("train --net small-cnn --data folder:/nowhere --device cuda");
  EXPECT_EQ(train.code, 1);
  EXPECT_TRUE(
      says(train,
           "train: cuda: expected a CUDA device, found none: no NVIDIA driver (libcuda.so.1 was not found)"))
      << train.text();
}

TEST(DevicesVerb, AMissingLibraryIsNamedWithItsPath) {
  setenv("OFFRAMP_CUDNN", "/nowhere/libcudnn.so.9", 1);
  setenv("OFFRAMP_CUBLASLT", "/nowhere", 1);
  const Answer answer = offramp::test::run_offramp_line("devices");
  unsetenv("OFFRAMP_CUDNN");
  unsetenv("OFFRAMP_CUBLASLT");
  EXPECT_EQ(answer.code, 0);
  EXPECT_TRUE(says(answer, "OFFRAMP_CUDNN=/nowhere/libcudnn.so.9: /nowhere/libcudnn.so.9: cannot open"))
      << answer.text();
  EXPECT_TRUE(says(answer, "OFFRAMP_CUBLASLT=/nowhere: /nowhere: cannot open")) << answer.text();
}
#endif

}  // namespace
