#pragma once
// A query run in progress, on disk: query.json (what it is bound to), times.part (int64 nanoseconds in the order asked)
// and outputs.part (float32 rows of the first pass). Both parts only grow: what a kill leaves is a prefix of what an
// uninterrupted run writes, and a run goes on behind what both hold.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "attacks/query/pilot.h"
#include "attacks/query/trace.h"

namespace offramp::attacks {

// What a run is bound to.
struct RunBinding {
  int samples = 0, classes = 0;
  std::uint64_t seed = 0;
  std::string images_digest;
  RepetitionChoice choice;
};

// Throws FileError that names the first difference between what `path` was begun with and what is wanted now;
// wanted_repetitions 0: any.
void check_same(const std::filesystem::path& path,
                const RunBinding& old,
                const RunBinding& now,
                int wanted_repetitions);

class AppendFile;

class QueryRunState {
 public:
  explicit QueryRunState(const std::filesystem::path& folder);
  ~QueryRunState();

  bool begun() const;
  // The binding of the run that was begun here. Throws FileError where it differs from `now`.
  RunBinding take_over(const RunBinding& now, int wanted_repetitions) const;
  void write(const RunBinding& binding) const;

  // Opens both parts behind the queries that both hold; returns their number.
  std::int64_t open(const RunBinding& binding);
  // A block of answers behind the last one. Outputs (first pass only) reach the disk before the times, so that what
  // both files hold is done.
  void append(const Answer& answer, bool first_pass);

  // Everything that was asked, as a trace in the order of the images; without TraceInfo.
  std::vector<std::int64_t> times(const RunBinding& binding, std::span<const std::int32_t> positions) const;
  std::vector<float> outputs(const RunBinding& binding) const;
  void remove();  // the three files

 private:
  std::filesystem::path state_path_, times_path_, outputs_path_;
  std::unique_ptr<AppendFile> times_, outputs_;
};

// The position of each image in each pass, [samples, repetitions].
std::vector<std::int32_t> positions_of(const RunBinding& run);
// The order of the images in pass `pass`, from 0.
std::vector<std::int32_t> query_order(int count, std::uint64_t seed, int pass);

}  // namespace offramp::attacks
