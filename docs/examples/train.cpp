// Trains a net with four exits on Fashion-MNIST, chooses one threshold for them and saves it.
//   train CHECKPOINT [IMAGES [EPOCHS]]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <vector>

#include "nets/data/augment.h"
#include "nets/data/open_dataset.h"
#include "nets/data/transform.h"
#include "nets/graph/state_dict.h"
#include "nets/training/loader_source.h"
#include "nets/training/trainer.h"

using namespace offramp;

namespace {

void train(const char* checkpoint, int images, int epochs) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(images));
  std::iota(rows.begin(), rows.end(), 0);
  const data::ImageSet set = data::subset(data::open_images("fashion-mnist", "train"), rows);
  const auto normalisation = data::compute_normalisation(set);

  nets::NetOptions options;
  options.name = "small-cnn";
  options.classes = set.num_classes();
  options.channels = set.c;
  options.side = set.h;
  options.num_exits = 4;
  options.mean = normalisation.mean;
  options.std = normalisation.std;
  nets::Network net(options, Device::cpu());
  nets::initialize(net, /*seed=*/1);

  nets::TrainOptions recipe = nets::reference_options(options.name, nets::TrainKind::kJoint);
  recipe.epochs = epochs;
  nets::LoaderSource source(set,
                            data::recommended_augmentation(set),
                            nets::LoaderSource::training(recipe.batch_size, recipe.seed),
                            net.device());
  nets::Trainer trainer(net, recipe, source);
  while (!trainer.done()) {
    const nets::StepReport step = trainer.step();
    if (!step.epoch_end) continue;
    std::printf("epoch %d: loss %.3f, right at each exit:", step.epoch_end->epoch, step.epoch_end->loss);
    for (const double share : step.epoch_end->exit_accuracy) std::printf(" %.1f %%", 100 * share);
    std::printf("\n");
  }
  nets::save_checkpoint(checkpoint, net, nets::ExitPolicy::uniform(net.num_exits(), 0.9));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fputs("usage: train CHECKPOINT [IMAGES [EPOCHS]]\n", stderr);
    return 2;
  }
  try {
    train(argv[1], argc > 2 ? std::atoi(argv[2]) : 36000, argc > 3 ? std::atoi(argv[3]) : 8);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train: %s\n", error.what());
    return 1;
  }
  return 0;
}
