// Launches of one training step (batch 128, bf16, four exits, our own kernels), read from its recorded graph
// without running anything: nodes of the graph, and for each source file the launches, those of fewer blocks
// than an H100 or H200 has multiprocessors, and the fewest blocks.
//   step_launches                 prints the table
//   step_launches --check FILE    fails where it is not the committed one
//   step_launches --update FILE   writes it
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "engine/captured_step.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/host/config.h"
#include "tools/bench/training_step.h"

namespace {

using offramp::cuda::host::LaunchRecord;
constexpr unsigned kMultiprocessors = 132;

struct Site {
  int launches = 0, few = 0;
  unsigned least = ~0u;
};

std::string rows_of(const char* net) {
  offramp::bench::StepOptions o;
  o.net.name = net;
  o.net.num_exits = 4;
  o.net.precision = offramp::nets::Precision::kMixed;
  o.capture = true;
  offramp::bench::TrainingStep step(o, offramp::Device::cuda());
  step.run();  // plans, scratch, the step's memory
  std::vector<LaunchRecord> launches;
  offramp::cuda::host::launch_log = &launches;
  step.run();  // records
  offramp::cuda::host::launch_log = nullptr;
  std::map<std::string, Site> sites;
  for (const LaunchRecord& launch : launches) {
    const char* slash = std::strrchr(launch.file, '/');
    Site& site = sites[slash == nullptr ? launch.file : slash + 1];
    ++site.launches;
    site.few += launch.blocks < kMultiprocessors;
    site.least = std::min(site.least, launch.blocks);
  }
  std::ostringstream text;
  text << "| " << net << " | all | " << step.operations() << " | | |\n";
  for (const auto& [file, site] : sites) {
    text << "| " << net << " | " << file << " | " << site.launches << " | " << site.few << " | " << site.least
         << " |\n";
  }
  return text.str();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (argc != 1 && !(argc == 3 && (mode == "--check" || mode == "--update"))) {
    std::fprintf(stderr, "usage: step_launches [--check FILE | --update FILE]\n");
    return 2;
  }
  offramp::cuda::host::config().streams = offramp::cuda::host::StreamWork::kNever;
  offramp::cuda::set_default_options({.conv = offramp::cuda::ConvBackend::kNative});
  std::string table =
      "# Launches of a training step\n\nMade by `step_launches --update` of the preset cuda-host: batch 128, "
      "bf16, four exits, our own kernels. Operations of the\nrecorded step, and of each file the launches, those "
      "of fewer than 132 blocks, and the fewest blocks.\n\n| net | file | operations | few blocks | fewest |\n"
      "|---|---|---|---|---|\n";
  for (const char* net : {"vgg-16", "resnet-56", "mobilenet"}) table += rows_of(net);
  if (mode.empty()) {
    std::fputs(table.c_str(), stdout);
    return 0;
  }
  if (mode == "--update") {
    std::ofstream(argv[2]) << table;
    return 0;
  }
  std::ostringstream committed;
  committed << std::ifstream(argv[2]).rdbuf();
  if (committed.str() == table) return 0;
  std::printf("%s is not what a step launches. If that is meant: step_launches --update, and say why.\n%s",
              argv[2],
              table.c_str());
  return 1;
}
