#pragma once
// What `dataset info` and `dataset verify` print, as values.
#include <string>
#include <vector>

#include "nets/data/open_dataset.h"
#include "nets/data/transform.h"

namespace offramp::data {

struct ClassCount {
  std::string name;
  int count = 0;
};

struct DatasetInfo {
  std::string family, source;
  bool is_table = false;
  int n = 0, h = 0, w = 0, c = 0;  // images; for tables c is the number of features, h = w = 1
  std::vector<ClassCount> classes = {};
  Normalisation statistics = {};  // images: per channel; tables: over all features, one value
  int repeats = 0;  // samples whose values equal those of an earlier sample (found by a 64-bit hash)
};
DatasetInfo describe(const ImageSet& set);
DatasetInfo describe(const TableSet& set);

struct Verification {
  std::vector<std::string> problems;  // the messages of everything that would stop a run; empty: sound
  std::vector<std::string> notes;     // what was checked, and counts that differ from the published set
  bool sound() const { return problems.empty(); }
};
// Reads every file of every split that the family has. Picture files are all decoded, so that all broken ones
// are named, not only the first (at most `max_problems`; then the number of further ones). An unknown family
// throws DataError, as open_dataset does.
Verification verify_dataset(const std::string& spec, const OpenOptions& options = {}, int max_problems = 50);

}  // namespace offramp::data
