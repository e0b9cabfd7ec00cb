#include "nets/data/image_annotations.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(gtsrb) {
  for (const int want : {-1, 3}) fuzz::take_or_refuse([&] { data::parse_gtsrb_csv(bytes, want, "input"); });
}
