// cuDNN and cuBLASLt through stand-ins that compute on the host (fake_cudnn.cpp, fake_cublaslt.cpp): the
// ctest entry names them in the environment. That the convolutions and products are right with them is a run
// of kernels_tests.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/errors.h"
#include "kernels/conv2d.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/cublaslt_product.h"
#include "kernels/cuda/cudnn_conv.h"
#include "kernels/cuda/dynamic_library.h"
#include "kernels/cuda/plan_table.h"
#include "kernels/cuda/vendor_libraries.h"
#include "kernels/linear.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/cuda/fake_cudnn.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/temp_folder.h"

namespace offramp::test {
namespace {

const Conv2dGeom kGeom{2, 5, 6, 8, 16, 3, 3, 1, 1, 1};

FakeCudnnCounts& fake_counts() {
  void* library = dlopen(std::getenv("OFFRAMP_CUDNN"), RTLD_NOW);
  auto* get = reinterpret_cast<FakeCudnnCounts* (*)()>(dlsym(library, "fake_cudnn_counts"));
  return *get();
}

template <class T>
void run_forward(cuda::Context& ctx, const Conv2dGeom& g) {
  DeviceArray<T> x(random_vector<T>(static_cast<std::size_t>(g.x_size()), 1));
  DeviceArray<float> w(random_vector(static_cast<std::size_t>(g.w_size()), 2));
  DeviceArray<T> y(static_cast<std::size_t>(g.y_size()));
  cuda::conv2d_forward(ctx, g, x.data(), w.data(), static_cast<const float*>(nullptr), y.data());
}

TEST(Libraries, TheStateNamesVersionAndFile) {
  EXPECT_TRUE(cuda::cudnn_state().usable);
  EXPECT_EQ(cuda::cudnn_state().text, "9.9.9 (" + std::string(std::getenv("OFFRAMP_CUDNN")) + ")");
  EXPECT_EQ(cuda::cublaslt_state().text, "13.9.9 (" + std::string(std::getenv("OFFRAMP_CUBLASLT")) + ")");
}

TEST(Libraries, APlanIsMadeOnceAProblem) {
  cuda::Context ctx;
  ASSERT_NE(ctx.cudnn(), nullptr);
  const std::int64_t before = fake_counts().finalized_plans;
  run_forward<float>(ctx, kGeom);
  run_forward<float>(ctx, kGeom);
  EXPECT_EQ(ctx.cudnn()->plans(), 1u);
  EXPECT_EQ(fake_counts().finalized_plans, before + 1);
  Conv2dGeom other = kGeom;
  other.n = 3;
  run_forward<float>(ctx, other);
  run_forward<bf16>(ctx, kGeom);
  EXPECT_EQ(ctx.cudnn()->plans(), 3u);
}

TEST(Libraries, OnlyEnginesThatRepeatTheirBitsAndKeepFloatsAreTaken) {
  cuda::Context ctx;
  run_forward<float>(ctx, kGeom);
  EXPECT_EQ(fake_counts().last_engine, 4);  // 1 is not deterministic, 2 rounds, 3 refuses
  run_forward<bf16>(ctx, kGeom);
  EXPECT_EQ(fake_counts().last_engine, 2);
  cuda::Context tf32(cuda::ContextOptions{.tf32 = true});
  run_forward<float>(tf32, kGeom);
  EXPECT_EQ(fake_counts().last_engine, 2);
}

TEST(Libraries, EveryDescriptorIsDestroyed) {
  const std::int64_t before = fake_counts().live_descriptors;
  {
    cuda::Context ctx;
    run_forward<bf16>(ctx, kGeom);
    EXPECT_EQ(fake_counts().live_descriptors, before + 1);  // the plan
  }
  EXPECT_EQ(fake_counts().live_descriptors, before);
  EXPECT_EQ(fake_counts().live_at_destroy, before) << "plans belong to the handle and go before it";
}

TEST(Libraries, NativeOpensNone) {
  cuda::Context ctx(cuda::ContextOptions{.conv = cuda::ConvBackend::kNative});
  EXPECT_EQ(ctx.cudnn(), nullptr);
  EXPECT_EQ(ctx.cublaslt(), nullptr);
}

TEST(Libraries, ARefusingLibraryIsReplacedOrNamed) {
  fake_counts().refuse_handles = true;
  const cuda::Context ctx;
  EXPECT_EQ(ctx.cudnn(), nullptr);
  try {
    const cuda::Context wanted(cuda::ContextOptions{.conv = cuda::ConvBackend::kCudnn});
    ADD_FAILURE() << "expected a DeviceError";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(
        error.what(),
        "cuda: cuDNN was asked for: cudnn: cudnnCreate: CUDNN_STATUS_NOT_INITIALIZED (no device that this "
        "library knows)");
  }
  fake_counts().refuse_handles = false;
}

TEST(Libraries, MeasuredPlansAreKeptInATable) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "plans.txt";
  const cuda::ContextOptions options{.plan_table = path.string()};
  const std::string key = "forward f32->f32 n2 5x6x8 k16 3x3 stride 1 pad 1 groups 1";
  {
    cuda::Context ctx(options);
    const std::int64_t before = fake_counts().executions;
    run_forward<float>(ctx, kGeom);
    EXPECT_GT(fake_counts().executions, before + 2);  // engines 4 and 5 were measured
  }
  const std::string first = read_text(path);
  EXPECT_NE(first.find("offramp convolution plans 1, host execution (fibers), cuDNN 90909\n" + key + " = "),
            std::string::npos)
      << first;

  // The other plan of the two, so that it is seen to be the table's.
  const bool was_four = first.find(" = 4 ") != std::string::npos;
  std::ofstream(path) << first.substr(0, first.find(" = ") + 3) << (was_four ? "5 2=15\n" : "4 2=14\n");
  cuda::Context ctx(options);
  const std::int64_t before = fake_counts().executions;
  run_forward<float>(ctx, kGeom);
  EXPECT_EQ(fake_counts().executions, before + 1);
  EXPECT_EQ(fake_counts().last_engine, was_four ? 5 : 4);
}

TEST(Libraries, APlanThatFailsIsLeftOutAndNamed) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "plans.txt";
  fake_counts().failing_engine = 4;
  cuda::Context ctx(cuda::ContextOptions{.plan_table = path.string()});
  run_forward<float>(ctx, kGeom);
  fake_counts().failing_engine = 0;
  EXPECT_EQ(fake_counts().last_engine, 5);
  ASSERT_EQ(ctx.cudnn()->skipped().size(), 1u);
  const std::string& said = ctx.cudnn()->skipped()[0];
  EXPECT_EQ(said.find("forward f32->f32 n2 5x6x8 k16 3x3 stride 1 pad 1 groups 1: plan 4 "), 0u) << said;
  EXPECT_NE(said.find("this engine fails"), std::string::npos) << said;
}

TEST(Libraries, OurOwnKernelIsAChoiceOfTheTable) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "plans.txt";
  const cuda::ContextOptions options{.plan_table = path.string()};
  {
    cuda::Context ctx(options);
    fake_counts().failing_engine = -1;  // all of them
    run_forward<bf16>(ctx, kGeom);
    fake_counts().failing_engine = 0;
    EXPECT_FALSE(ctx.cudnn()->skipped().empty());
  }
  const std::string line = "\nforward bf16->bf16 n2 5x6x8 k16 3x3 stride 1 pad 1 groups 1 = own\n";
  EXPECT_NE(read_text(path).find(line), std::string::npos) << read_text(path);
  cuda::Context ctx(options);
  const std::int64_t before = fake_counts().executions;
  run_forward<bf16>(ctx, kGeom);
  EXPECT_EQ(fake_counts().executions, before) << "the library was asked";
}

TEST(PlanTable, WhatCannotBeUsedIsLeftOutWithAWarning) {
  const TempFolder folder;
  const std::string path = (folder.path() / "plans.txt").string();
  const cuda::ConvProblem problem{.g = kGeom, .adds = true};
  const std::string head = "offramp convolution plans 1, GPU, cuDNN 1\n";
  cuda::PlanTable table(path, "GPU", "1");
  EXPECT_EQ(table.warning(), "");
  table.add(problem, "3 1=2");
  EXPECT_EQ(read_text(path),
            head + "forward f32->f32 n2 5x6x8 k16 3x3 stride 1 pad 1 groups 1 adds = 3 1=2\n");
  EXPECT_EQ(cuda::PlanTable(path, "GPU", "1").find(problem), "3 1=2");

  const cuda::PlanTable other(path, "GPU", "2");
  EXPECT_EQ(other.find(problem), std::nullopt);
  EXPECT_EQ(other.warning(),
            path +
                ": measured again, because it is for 'offramp convolution plans 1, GPU, cuDNN 1', expected "
                "'offramp "
                "convolution plans 1, GPU, cuDNN 2'");
  std::ofstream(path) << head << "forward = 1\nhalf a li";
  const cuda::PlanTable broken(path, "GPU", "1");
  EXPECT_EQ(broken.size(), 0u);
  EXPECT_EQ(broken.warning(),
            path + ": measured again, because line 3 is no 'convolution = plan': 'half a li'");

  cuda::PlanTable nowhere((folder.path() / "missing" / "plans.txt").string(), "GPU", "1");
  EXPECT_THROW(nowhere.add(problem, "1"), DeviceError);
}

TEST(PlanTable, EveryPartOfAProblemIsInItsKey) {
  const cuda::ConvProblem base{.g = kGeom};
  std::vector<cuda::ConvProblem> all(8, base);
  all[1].pass = cuda::ConvPass::kBackwardInput;
  all[2].in = cuda::NumberType::kBf16;
  all[3].out = cuda::NumberType::kBf16;
  all[4].tf32 = true;
  all[5].bias = true;
  all[6].residual = true;
  all[7].relu = true;
  for (int Conv2dGeom::*member : {&Conv2dGeom::n,
                                  &Conv2dGeom::h,
                                  &Conv2dGeom::w,
                                  &Conv2dGeom::c,
                                  &Conv2dGeom::k,
                                  &Conv2dGeom::r,
                                  &Conv2dGeom::s,
                                  &Conv2dGeom::stride,
                                  &Conv2dGeom::pad,
                                  &Conv2dGeom::groups}) {
    all.push_back(base);
    all.back().g.*member += 20;
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      EXPECT_NE(cuda::PlanTable::key(all[i]), cuda::PlanTable::key(all[j])) << i << " " << j;
    }
  }
}

TEST(Libraries, ProductsOfOneShapeShareAPlan) {
  cuda::Context ctx;
  ASSERT_NE(ctx.cublaslt(), nullptr);
  const LinearGeom g{3, 8, 4};
  DeviceArray<float> x(random_vector(24, 1)), w(random_vector(32, 2)), b(random_vector(4, 3));
  DeviceArray<float> y(12);
  for (int i = 0; i < 2; ++i) cuda::linear_forward(ctx, g, x.data(), w.data(), b.data(), y.data());
  EXPECT_EQ(ctx.cublaslt()->plans(), 1u);
  cuda::linear_forward(ctx, g, x.data(), w.data(), nullptr, y.data());
  EXPECT_EQ(ctx.cublaslt()->plans(), 2u);
}

TEST(DynamicLibrary, SaysWhatWasTriedAndWhatIsMissing) {
  const TempFolder folder;
  setenv("OFFRAMP_TEST_LIBRARY", folder.path().c_str(), 1);
  const cuda::LibrarySearch search{.file = "libnothing.so.9", .variable = "OFFRAMP_TEST_LIBRARY"};
  const cuda::DynamicLibrary named(search);
  EXPECT_FALSE(named.is_open());
  const std::string file = (folder.path() / "libnothing.so.9").string();
  EXPECT_EQ(named.problem(),
            "OFFRAMP_TEST_LIBRARY=" + folder.path().string() + ": " + file +
                ": cannot open shared object file: No such file or directory");
  setenv("OFFRAMP_TEST_LIBRARY", std::getenv("OFFRAMP_CUDNN"), 1);
  cuda::DynamicLibrary other(search);
  EXPECT_TRUE(other.is_open()) << other.problem();
  void (*function)() = nullptr;
  other.find(function, "no_such_function");
  EXPECT_EQ(function, nullptr);
  EXPECT_FALSE(other.is_open());
  EXPECT_EQ(other.problem(),
            std::string(std::getenv("OFFRAMP_CUDNN")) + ": has no function no_such_function");

  unsetenv("OFFRAMP_TEST_LIBRARY");
  EXPECT_EQ(cuda::DynamicLibrary(search).problem(),
            "libnothing.so.9: cannot open shared object file: No such file or directory");
  EXPECT_EQ(cuda::DynamicLibrary(search, true).problem(),
            "not looked for, because kernels run on the host (OFFRAMP_TEST_LIBRARY can name one)");
}

TEST(DynamicLibrary, LooksBesidePyTorchWhenItIsNamed) {
  const TempFolder folder;
  const std::filesystem::path torch = folder.path() / "torch", beside = folder.path() / "nvidia" / "lib";
  std::filesystem::create_directories(torch);
  std::filesystem::create_directories(beside);
  std::filesystem::copy_file(std::getenv("OFFRAMP_CUDNN"), beside / "libnothing.so.9");
  const cuda::LibrarySearch search{.file = "libnothing.so.9",
                                   .variable = "OFFRAMP_TEST_LIBRARY",
                                   .pytorch_folders = {"lib", "../nvidia/lib"}};
  EXPECT_FALSE(cuda::DynamicLibrary(search).is_open());
  setenv("OFFRAMP_PYTORCH", torch.c_str(), 1);
  EXPECT_TRUE(cuda::DynamicLibrary(search).is_open());
  setenv("OFFRAMP_PYTORCH", beside.c_str(), 1);
  EXPECT_EQ(cuda::DynamicLibrary(search).problem(),
            "libnothing.so.9: cannot open shared object file: No such file or directory; nor is it in the "
            "libraries "
            "beside OFFRAMP_PYTORCH=" +
                beside.string());
  unsetenv("OFFRAMP_PYTORCH");
}

}  // namespace
}  // namespace offramp::test
