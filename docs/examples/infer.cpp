// Early exit in ten lines: a checkpoint of `offramp train` and `offramp tune` answers four pictures.
//   infer CHECKPOINT
#include <cstdint>
#include <cstdio>
#include <exception>
#include <vector>

#include "attacks/extraction/images.h"
#include "nets/data/open_dataset.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "nets/graph/state_dict.h"

using namespace offramp;

namespace {

void answer_four(const char* checkpoint) {
  const nets::LoadedNet loaded = nets::load_net(checkpoint, Device::cpu());
  const nets::FrozenNet net(*loaded.net);  // batch norms folded, weights packed once
  const data::ImageSet test = data::open_images("fashion-mnist", "test");
  const std::vector<std::int32_t> four{0, 1, 2, 3};
  const Tensor pictures = attacks::image_source(test).load(four);  // [4,3,32,32] float32 in [0,1]
  const nets::EarlyExitResult answer = nets::infer(net, loaded.policy, pictures);
  for (std::size_t i = 0; i < four.size(); ++i) {
    const char* name = test.class_names[static_cast<std::size_t>(answer.label[i])].c_str();
    std::printf("%s, %.1f %% sure, left at exit %d\n", name, 100.0 * answer.confidence[i], answer.exit[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: infer CHECKPOINT\n", stderr);
    return 2;
  }
  try {
    answer_four(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "infer: %s\n", error.what());
    return 1;
  }
  return 0;
}
