#pragma once
// Training of a substitute on what a victim answered: the trainer of nets/training with an objective over the
// recorded answers (attacks/extraction/objective.h).
//
//   Fit fit(net, options, images, {trace.outputs, exits});
//   while (!fit.trainer().done())
//     if (const auto end = fit.trainer().step().epoch_end) epochs.push_back(fit_epoch(*end));
#include <filesystem>
#include <memory>
#include <vector>

#include "attacks/extraction/objective.h"
#include "nets/graph/network.h"
#include "nets/training/loader_source.h"
#include "nets/training/trainer.h"

namespace offramp::attacks {

// Means over an epoch, as seen by training.
struct FitEpoch {
  int epoch = 0;  // from 1
  double learning_rate = 0, loss = 0, strategy_loss = 0;
  std::vector<double> exit_loss;       // [num_exits]
  std::vector<double> exit_agreement;  // [num_exits] share of images where the exit says the victim's class
};
FitEpoch fit_epoch(const nets::EpochReport& report);

// The trainer of a substitute and what it needs.
class Fit {
 public:
  // Net (initialised or loaded), images and targets must outlive the fit. Throws what make_objective() and the
  // trainer throw, ShapeError where the net does not take the images.
  Fit(nets::Network& net, const FitOptions& options, const data::ImageSet& images, const FitTargets& targets);
  nets::Trainer& trainer() { return trainer_; }
  // Share of the images that the victim's most frequent class is the answer to: the agreement of an exit that
  // has learnt nothing.
  double constant_agreement() const;

 private:
  std::unique_ptr<nets::Objective> objective_;
  int classes_;
  std::vector<std::int32_t> labels_;  // the victim's class of each image
  nets::LoaderSource source_;
  nets::Trainer trainer_;
};

// exits at equal cost, as many as estimated; the backbone and everything else as in `base`. An MSDNet's own exits, as many:
// its name says their number.
nets::NetOptions substitute_options(nets::NetOptions base, int estimated_exits);
// Takes over every parameter and running statistic of the same name and shape from a net trained on something
// else; what does not fit (classifiers of another class count) stays as drawn. Returns their number; throws
// FileError for a damaged file, ValueError where nothing fits.
int start_from(nets::Network& net, const std::filesystem::path& checkpoint);

}  // namespace offramp::attacks
