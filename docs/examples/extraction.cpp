// A whole extraction: a net of ours is asked about pictures, its exits are found from running time, a copy is trained and
// judged. Files go to FOLDER; started again, it goes on from them.
//   extraction CHECKPOINT FOLDER [QUERIES [EPOCHS]]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <string>
#include <vector>

#include "attacks/extraction/extraction.h"
#include "nets/data/open_dataset.h"

using namespace offramp;

namespace {

// Says what the stages say; see attacks/extraction/listener.h for progress and stopping.
class Printer final : public attacks::Listener {
  void note(const std::string& text, const Fields&) override { std::printf("%s\n", text.c_str()); }
};

data::ImageSet some(const data::ImageSet& set, int first, int count) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), first);
  return data::subset(set, rows);
}

void extract(const char* checkpoint, const char* folder, int queries, int epochs) {
  attacks::ExtractionPlan plan;
  plan.folder = folder;
  plan.victim = checkpoint;
  // The last of the training set: pictures of the victim's kind that `train` did not show it.
  const data::ImageSet all = data::open_images("fashion-mnist", "train");
  plan.queries = some(all, all.n - queries, queries);
  plan.test = some(data::open_images("fashion-mnist", "test"), 0, queries);
  plan.copy.net.name = "small-cnn";
  plan.copy.fit.epochs = epochs;
  plan.copy.fit.learning_rate = 0.03;
  plan.knockoff_learning_rate = 0.1;

  Printer printer;
  const attacks::ExtractionOutcome found = attacks::run_extraction(plan, printer);

  std::printf("%zu exits found, right for %.2f %% of the queries\n",
              found.estimate.num_exits,
              100 * found.exits.accuracy);
  for (const attacks::ContestantScore& net : found.scores)
    std::printf("%-8s  accuracy %.2f %%, class and exit as the victim %.2f %%, cost %.2f of its\n",
                net.name.c_str(),
                100 * net.accuracy,
                100 * net.test.class_and_exit,
                net.ratio_ops_profiler);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 5) {
    std::fputs("usage: extraction CHECKPOINT FOLDER [QUERIES [EPOCHS]]\n", stderr);
    return 2;
  }
  try {
    extract(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 8000, argc > 4 ? std::atoi(argv[4]) : 20);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "extraction: %s\n", error.what());
    return 1;
  }
  return 0;
}
