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
}

}  // namespace offramp::tools
