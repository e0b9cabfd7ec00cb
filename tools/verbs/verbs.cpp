#include "tools/verbs/verbs.h"

namespace offramp::tools {

void add_verbs(Program& program) {
  program.add(make_devices_verb());
  program.add(make_dataset_info_verb());
  program.add(make_dataset_verify_verb());
  program.add(make_train_verb());
  program.add(make_eval_verb());
  program.add(make_tune_verb());
  program.add(make_infer_verb());
  program.add(make_import_verb());
  program.add(make_bench_op_verb());
  program.add(make_bench_step_verb());
  program.add(make_bench_image_verb());
  program.add(make_profile_verb());
  program.add(make_curves_verb());
  program.add(make_demo_verb());
  program.add(make_extract_run_verb());
  program.add(make_extract_query_verb());
  program.add(make_extract_fit_verb());
  program.add(make_extract_score_verb());
  program.add(make_extract_estimate_verb());
  program.add(make_extract_search_verb());
  program.add(make_stats_roc_verb());
  program.add(make_stats_compare_verb());
  program.add(make_stats_divergence_verb());
  program.add(make_stats_queries_verb());
}

}  // namespace offramp::tools
