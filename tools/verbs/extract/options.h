// The options of an extraction, each declared once and bound to the struct of the attack that it sets.
#pragma once

#include "attacks/extraction/stages.h"
#include "tools/frame/verb.h"

namespace offramp::tools {

void declare(Options& options, attacks::QueryOptions& query);     // extract query, run
void declare(Options& options, attacks::EstimatePlan& estimate);  // extract estimate, run
void declare(Options& options, attacks::CopyPlan& copy);          // extract fit, run
void declare(Options& options, attacks::SearchPlan& search);      // extract search, run

// GROUP.answers, a form of attacks::shown_from: extract query, run, baseline.
void declare_answers(Options& options, const std::string& group, std::string& form);

// What a session decides for every stage: the seed, the threads.
void set_session(const Session& session, attacks::QueryOptions& query);
void set_session(const Session& session, attacks::EstimatePlan& estimate);
void set_session(const Session& session, attacks::CopyPlan& copy);
void set_session(const Session& session, attacks::SearchPlan& search);

}  // namespace offramp::tools
