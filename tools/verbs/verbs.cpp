#include "tools/verbs/verbs.h"

#include <memory>

// A row a verb, in the order of `offramp --help`: NAME stands for make_NAME_verb() of the verb's own file.
// clang-format off
#define OFFRAMP_VERBS(ROW) \
  ROW(devices) \
  ROW(dataset_info) \
  ROW(dataset_verify) \
  ROW(train) \
  ROW(eval) \
  ROW(tune) \
  ROW(infer) \
  ROW(trace) \
  ROW(serve) \
  ROW(import) \
  ROW(export) \
  ROW(embed) \
  ROW(bench_op) \
  ROW(bench_step) \
  ROW(bench_image) \
  ROW(bench_exits) \
  ROW(profile) \
  ROW(curves) \
  ROW(demo) \
  ROW(audit) \
  ROW(extract_run) \
  ROW(extract_query) \
  ROW(extract_fit) \
  ROW(extract_score) \
  ROW(extract_baseline) \
  ROW(extract_estimate) \
  ROW(extract_search) \
  ROW(reproduce) \
  ROW(membership_train) \
  ROW(membership_attack) \
  ROW(membership_channel) \
  ROW(membership_report) \
  ROW(defend_plan) \
  ROW(defend_check) \
  ROW(evade_attack) \
  ROW(evade_transfer) \
  ROW(evade_slowdown) \
  ROW(evade_surrogate) \
  ROW(stats_roc) \
  ROW(stats_compare) \
  ROW(stats_divergence) \
  ROW(stats_queries) \
  ROW(stats_leakage) \
  ROW(stats_timing)
// clang-format on

namespace offramp::tools {

#define OFFRAMP_DECLARE(name) std::unique_ptr<Verb> make_##name##_verb();
OFFRAMP_VERBS(OFFRAMP_DECLARE)
#undef OFFRAMP_DECLARE

void add_verbs(Program& program) {
#define OFFRAMP_ADD(name) program.add(make_##name##_verb());
  OFFRAMP_VERBS(OFFRAMP_ADD)
#undef OFFRAMP_ADD
}

}  // namespace offramp::tools
