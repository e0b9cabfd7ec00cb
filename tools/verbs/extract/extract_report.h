// report.html of an extraction: one file with everything a reader needs to judge it.
#pragma once

#include "attacks/extraction/extraction.h"

#include <filesystem>
#include <string>
#include <vector>

namespace offramp::tools {

struct ReportContext {
  std::string title, subtitle;
  std::vector<std::string> class_names;
  std::string config;       // config.toml as it stands
  std::string environment;  // env.json as it stands
  // Accuracy of each exit of the victim per epoch of its training, where the run trained it: [epoch][exit].
  std::vector<std::vector<double>> victim_accuracy;
  std::string victim_text, queries_text, test_text;
};

void write_extraction_report(const std::filesystem::path& path,
                             const attacks::ExtractionOutcome& outcome,
                             const data::ImageSet& queries,
                             const data::ImageSet& test,
                             const ReportContext& context);

}  // namespace offramp::tools
