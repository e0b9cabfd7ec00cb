#include "nets/data/image_file.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(ppm) {
  if (bytes.empty() || bytes[0] != 'P') return;  // another format's
  fuzz::take_or_refuse([&] { data::to_rgb(data::decode_picture(bytes, "input")); });
}
