#include "nets/data/svhn.h"

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

TEST(Svhn, ABuildWithoutItsLibrarySaysSo) {
  EXPECT_MESSAGE(read_svhn("train_32x32.mat"), "svhn: expected a build with libmatio (-DOFFRAMP_MATIO=ON)");
  EXPECT_MESSAGE(read_svhn("train_32x32.mat"), "train_32x32.mat");
}

}  // namespace
}  // namespace offramp::data
