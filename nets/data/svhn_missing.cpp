// SVHN where the build has no libmatio.
#include "nets/data/data_error.h"
#include "nets/data/svhn.h"

namespace offramp::data {

ImageSet read_svhn(const std::filesystem::path& path) {
  fail_in_file("svhn", "expected a build with libmatio (-DOFFRAMP_MATIO=ON), this one has none", path);
}

}  // namespace offramp::data
