// The scales, and all studies.
#include "tools/verbs/reproduce/study_builder.h"

namespace offramp::tools::reproduce {

const std::vector<Scale>& scales() {
  static const std::vector<Scale> all = {{.name = "smoke",
                                          .small = true,
                                          .victim_epochs = 3,
                                          .copy_epochs = 2,
                                          .msdnet_epochs = 2,
                                          .queries = 120,
                                          .repetitions = 4,
                                          .es_rounds = 2,
                                          .es_steps = 2,
                                          .timed_images = 10,
                                          .membership_epochs = 3,
                                          .examples = 20},
                                         {.name = "short",
                                          .victim_epochs = 30,
                                          .copy_epochs = 20,
                                          .msdnet_epochs = 60,
                                          .queries = 20000,
                                          .membership_epochs = 30,
                                          .examples = 200},
                                         {.name = "full"}};
  return all;
}

std::vector<Study> studies(const Settings& settings) {
  Builder b(settings);
  extraction_studies(b);
  membership_studies(b);
  robustness_studies(b);
  return b.take();
}

}  // namespace offramp::tools::reproduce
