#pragma once
// What `dataset info` and `dataset verify` print, as values.
#include <cstdint>
#include <functional>
#include <map>
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

// Hash of the samples, their size, labels and class names, 16 hex digits: equal for the same set read the same way.
std::string fingerprint(const Dataset& set);

struct VerifyOptions {
  OpenOptions open = {};
  std::string split = "both";  // train, test, all, or both: every part that the set has
  // Called while picture files are decoded, one call at a time; what it throws ends the work.
  std::function<void(const std::string& split, int done, int total)> progress = {};
};
struct Verification {
  std::vector<std::string> problems;  // the messages of everything that would stop a run; empty: sound
  std::vector<std::string> notes;     // what was checked, counts that differ from the published set, warnings
  std::int64_t good = 0;              // samples
  // Fingerprint of the decoded samples and labels of each sound part: formats without checksums (IDX, CIFAR, PPM, CSV) can
  // change without a trace, but not without another fingerprint.
  std::map<std::string, std::string> contents;
  bool sound() const { return problems.empty(); }
};
// Reads every file of every part. Picture files are all decoded, so that all broken ones are named, not only the first;
// pictures must have one size, in all parts, unless they are resized. An unknown family throws DataError, as open_dataset does.
Verification verify_dataset(const std::string& spec, const VerifyOptions& options = {});

}  // namespace offramp::data
