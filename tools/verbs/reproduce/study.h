// The tables and studies of the papers as data: stages (calls of this program's own verbs, each with a folder of its own) and
// rows (numbers read from what the stages wrote, beside what the paper prints). studies.cpp declares them, plan.cpp runs
// them, judge.cpp holds the hypotheses against the rows.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace offramp::tools::reproduce {

using Words = std::vector<std::string>;

// How much is spent. smoke: seconds a stage, small nets on generated pictures, to see that everything works; its numbers
// mean nothing. full: what the papers used.
struct Scale {
  std::string name;
  bool small = false;  // small-cnn on generated pictures stands for every net and data set
  int victim_epochs = 100, copy_epochs = 100, msdnet_epochs = 300;
  int queries = 100000;  // of an extraction
  int repetitions = 10;  // of a timed query; 0: as the pilot says
  int es_rounds = 10, es_steps = 30;
  int timed_images = 500;
  int membership_epochs = 100;
  int examples = 1000;  // adversarial, of an attack
};
const std::vector<Scale>& scales();

// What the user says about a run.
struct Settings {
  Scale scale;
  std::map<std::string, std::string>
      data;  // "cifar10", "cifar100", "gtsrb", "svhn", "fmnist", "unrelated", "rows": specs
  std::filesystem::path folder;
  Words common;  // --device, --threads, --seed
};

// A call of a verb. With a run folder it is done when that holds DONE, and goes on with --resume; without one its answer
// (--json) is its mark.
struct Stage {
  std::string id;  // "victims/vgg-16-cifar10-4": the folder, or with ".json" the file of the answer
  Words words;     // verb and options; no --out, --json or common ones
  bool has_folder = true;
};

// One number of a row: where it lies in the JSON of the row's stage, and what the paper prints.
struct Metric {
  std::string name;
  std::function<std::optional<double>(const nlohmann::json&)> read;
  std::optional<double> paper = {};
};
struct Row {
  std::string cell;   // "VGG, CIFAR10"
  std::string name;   // "Ours"
  std::string stage;  // whose results
  std::vector<Metric> metrics;
};

struct Study {
  std::string name;     // "extraction-main"
  std::string source;   // "v2 Table 1"
  std::string summary;  // one line
  std::vector<Stage> stages = {};
  std::vector<Row> rows = {};
};

// All studies for these settings, in the order of the papers. Stages that several need have one id.
std::vector<Study> studies(const Settings& settings);

// Labelled pictures of four kinds, an npz file of 320 and 120 of them: what the smoke scale has in the place of every data
// set. The same bytes every time.
void write_smoke_pictures(const std::filesystem::path& path);

// What came of a row.
struct Measured {
  std::string study, cell, row, metric;
  std::optional<double> ours, paper;
};

struct Verdict {
  std::string hypothesis;  // "H1"
  std::string claim;
  enum class Holds { kYes, kNo, kOpen } holds = Holds::kOpen;
  std::string because;  // the numbers, or what is missing
};
std::vector<Verdict> judge(const std::vector<Measured>& measured);
const char* to_text(Verdict::Holds holds);

}  // namespace offramp::tools::reproduce
