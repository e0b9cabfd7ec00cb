// Every verb of the program, in the order of `offramp --help`. One line here, one line in verbs.cpp, one
// file.
#pragma once

#include "tools/frame/program.h"

#include <memory>

namespace offramp::tools {

std::unique_ptr<Verb> make_train_verb();
std::unique_ptr<Verb> make_eval_verb();
std::unique_ptr<Verb> make_tune_verb();
std::unique_ptr<Verb> make_infer_verb();
std::unique_ptr<Verb> make_import_verb();
std::unique_ptr<Verb> make_bench_op_verb();
std::unique_ptr<Verb> make_bench_step_verb();
std::unique_ptr<Verb> make_bench_image_verb();
std::unique_ptr<Verb> make_profile_verb();
std::unique_ptr<Verb> make_curves_verb();
std::unique_ptr<Verb> make_devices_verb();
std::unique_ptr<Verb> make_dataset_info_verb();
std::unique_ptr<Verb> make_dataset_verify_verb();
std::unique_ptr<Verb> make_demo_verb();
std::unique_ptr<Verb> make_extract_run_verb();
std::unique_ptr<Verb> make_extract_query_verb();
std::unique_ptr<Verb> make_extract_fit_verb();
std::unique_ptr<Verb> make_extract_score_verb();
std::unique_ptr<Verb> make_extract_estimate_verb();
std::unique_ptr<Verb> make_extract_search_verb();
std::unique_ptr<Verb> make_stats_roc_verb();
std::unique_ptr<Verb> make_stats_compare_verb();
std::unique_ptr<Verb> make_stats_divergence_verb();
std::unique_ptr<Verb> make_stats_queries_verb();

void add_verbs(Program& program);

}  // namespace offramp::tools
