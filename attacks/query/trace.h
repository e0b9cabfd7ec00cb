#pragma once
// A recorded trace: what a victim answered to n images and how long it took each time. On disk a folder with
// times.csv (index,t1..tr in ns), outputs.npy ([n,classes] float32), order.csv (when each time was measured;
// may be missing) and trace.json (docs/reference/formats.md). Also a black box that answers from a trace.
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "attacks/query/black_box.h"

namespace offramp::attacks {

// How the times were taken; everything but `seed` may be left at its default by another system.
struct TraceInfo {
  std::string victim = {};         // free text
  std::string images = {};         // what the images are: the specs that the query verb was given
  std::string images_digest = {};  // of the pixels (digest_of); empty: unknown
  std::uint64_t seed = 0;          // of the order of the queries
  double sigma1_ns = 0;            // noise of one measurement, from the pilot; 0: not measured
  double gap_ns = 0;               // smallest gap between neighbouring exits in the pilot; 0: none seen
  std::string repetitions_because = {};
  std::vector<std::string> image_parts = {};  // `images`, one by one; empty: not known
  int side = 0, channels = 0;                 // of the images; 0: not known
  friend bool operator==(const TraceInfo&, const TraceInfo&) = default;
};

struct Trace {
  TraceInfo info;
  std::int64_t samples = 0;
  int classes = 0;
  int repetitions = 0;
  std::vector<std::int64_t> times_ns;  // [samples, repetitions] in the order measured
  std::vector<std::int32_t> order;  // [samples, repetitions] position in its pass, from 0; empty: not known
  std::vector<float> outputs;       // [samples, classes]

  std::vector<double> times_as_double() const { return {times_ns.begin(), times_ns.end()}; }
  friend bool operator==(const Trace&, const Trace&) = default;
};

// Each file atomically; trace.json last, so that a folder with it is whole. Throws FileError.
void write_trace(const std::filesystem::path& folder, const Trace& trace);
// Throws FileError that names file and place: a missing file, a count that disagrees with another file, times
// that are not whole positive numbers, indices out of order, rows that are not probabilities.
Trace read_trace(const std::filesystem::path& folder);
bool has_trace(const std::filesystem::path& folder);

// order.csv alone, for times without answers. Throws FileError.
std::vector<std::int32_t> read_order(const std::filesystem::path& path,
                                     std::int64_t samples,
                                     int repetitions);

// FNV-1a, 64 bit, over pixels rounded to 1/255: what ties a trace to its images.
std::uint64_t fingerprint(std::span<const float> pixels);
std::string digest_of(const ImageSource& images);

// Answers the images of a trace; each further query of an image gives its next recorded time, starting over
// after the last. Images that the trace does not have are a ValueError.
class RecordedBlackBox final : public BlackBox {
 public:
  // images: those of the trace, in its order. Throws ValueError where their number or digest differs.
  RecordedBlackBox(Trace trace, const ImageSource& images);
  int classes() const override { return trace_.classes; }
  Answer query(const Tensor& images, Timing timing) override;

 private:
  Trace trace_;
  std::unordered_map<std::uint64_t, std::size_t> row_of_;
  std::vector<int> asked_;
};

}  // namespace offramp::attacks
