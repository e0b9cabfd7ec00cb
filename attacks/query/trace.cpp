#include "attacks/query/trace.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>
#include <utility>

#include "base/atomic_file.h"
#include "base/errors.h"
#include "base/hash.h"
#include "base/json_file.h"
#include "base/number_table.h"
#include "nets/data/npy.h"

namespace offramp::attacks {
namespace {

constexpr const char* kFormat = "offramp-trace";
constexpr int kVersion = 1;

// What a CSV file of the trace has beside the index: one column a repetition.
struct Columns {
  char prefix;  // of their names
  const char* what;
};
constexpr Columns kTimes{'t', "a whole number of nanoseconds"};
constexpr Columns kOrder{'p', "a position from 0"};

std::string header_of(Columns columns, int repetitions) {
  std::string header = "index";
  for (int r = 1; r <= repetitions; ++r) header += std::string(",") + columns.prefix + std::to_string(r);
  return header;
}

// [samples, repetitions]
std::vector<std::int64_t> read_rows(const std::filesystem::path& path,
                                    Columns columns,
                                    std::int64_t samples,
                                    int repetitions) {
  const NumberTable table = read_number_table(path);
  const auto fail = [&path](const std::string& what) { throw FileError(path.string(), what); };
  const std::string prefix(1, columns.prefix);
  const auto places = table.numbered(prefix);
  if (places.size() != static_cast<std::size_t>(repetitions))
    fail("expected the columns of " + std::to_string(repetitions) + " repetitions, " +
         in_quotes(prefix + "1") + " to " + in_quotes(prefix + std::to_string(repetitions)) + ", found " +
         table.columns_found());
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  const auto index = table.whole_numbers(table.index_of("index"), "an index from 0", 0, kMost);
  for (std::size_t row = 0; row < index.size(); ++row)
    if (index[row] != static_cast<std::int64_t>(row))
      fail("line " + std::to_string(table.line_of(row)) + ": expected index " + std::to_string(row) +
           ", found " + std::to_string(index[row]));
  if (static_cast<std::int64_t>(table.rows()) != samples)
    fail("expected " + std::to_string(samples) + " rows as trace.json says, found " +
         std::to_string(table.rows()));
  std::vector<std::int64_t> values(table.rows() * places.size());
  for (std::size_t r = 0; r < places.size(); ++r) {
    const auto column = table.whole_numbers(places[r], columns.what, 0, kMost);
    for (std::size_t row = 0; row < column.size(); ++row) values[row * places.size() + r] = column[row];
  }
  return values;
}

template <class T>
std::string rows_text(Columns columns, std::span<const T> values, int repetitions) {
  std::string text = header_of(columns, repetitions) + '\n';
  for (std::size_t at = 0, row = 0; at < values.size(); ++row) {
    text += std::to_string(row);
    for (int r = 0; r < repetitions; ++r) text += ',' + std::to_string(values[at++]);
    text += '\n';
  }
  return text;
}

void read_outputs(const std::filesystem::path& path, Trace& trace) {
  if (!std::filesystem::exists(path)) throw FileError(path.string(), "a file of the trace is missing");
  data::NpyArray array = data::read_npy(path);
  const std::vector<std::int64_t> wanted = {trace.samples, trace.classes};
  if (array.shape != wanted || !std::holds_alternative<std::vector<float>>(array.values))
    throw FileError(path.string(),
                    "expected float32 " + format_shape(wanted) + " as trace.json says, got shape " +
                        format_shape(array.shape));
  trace.outputs = std::get<std::vector<float>>(std::move(array.values));
  const std::size_t width = static_cast<std::size_t>(trace.classes);
  for (std::size_t row = 0; row * width < trace.outputs.size(); ++row) {
    double sum = 0;
    bool in_range = true;
    for (std::size_t c = 0; c < width; ++c) {
      const float p = trace.outputs[row * width + c];
      in_range = in_range && p >= 0 && p <= 1;  // false for NaN
      sum += p;
    }
    // Rounding of `classes` float32 probabilities stays far below a thousandth; logits do not.
    if (!in_range || std::abs(sum - 1) > 1e-3)
      throw FileError(path.string(),
                      "expected rows of probabilities that sum to 1, got a sum of " + std::to_string(sum) +
                          " in row " + std::to_string(row));
  }
}

}  // namespace

void write_trace(const std::filesystem::path& folder, const Trace& trace) {
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / "times.csv",
                        rows_text<std::int64_t>(kTimes, trace.times_ns, trace.repetitions));
  if (trace.order.empty()) {
    std::filesystem::remove(folder / "order.csv");
  } else {
    write_file_atomically(folder / "order.csv",
                          rows_text<std::int32_t>(kOrder, trace.order, trace.repetitions));
  }
  data::NpyArray outputs;
  outputs.shape = {trace.samples, trace.classes};
  outputs.values = trace.outputs;
  data::write_npy(folder / "outputs.npy", outputs);

  nlohmann::ordered_json json;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["samples"] = trace.samples;
  json["classes"] = trace.classes;
  json["repetitions"] = trace.repetitions;
  json["victim"] = trace.info.victim;
  json["images"] = trace.info.images;
  if (!trace.info.image_parts.empty()) json["image_parts"] = trace.info.image_parts;
  if (trace.info.side > 0) json["side"] = trace.info.side;
  if (trace.info.channels > 0) json["channels"] = trace.info.channels;
  json["images_digest"] = trace.info.images_digest;
  json["seed"] = trace.info.seed;
  json["sigma1_ns"] = trace.info.sigma1_ns;
  json["gap_ns"] = trace.info.gap_ns;
  json["repetitions_because"] = trace.info.repetitions_because;
  write_json_file(folder / "trace.json", json);
}

bool has_trace(const std::filesystem::path& folder) { return std::filesystem::exists(folder / "trace.json"); }

Trace read_trace(const std::filesystem::path& folder) {
  const auto path = folder / "trace.json";
  const nlohmann::json json = read_json_file(path);
  if (const auto format = json.find("format"); format == json.end() || *format != kFormat)
    throw FileError(path.string(), "expected \"format\": \"" + std::string(kFormat) + "\"");
  if (const int version = json_member<int>(json, "version", path); version != kVersion)
    throw FileError(path.string(), "expected version 1, got " + std::to_string(version));
  Trace trace;
  trace.samples = json_member<std::int64_t>(json, "samples", path);
  trace.classes = json_member<int>(json, "classes", path);
  trace.repetitions = json_member<int>(json, "repetitions", path);
  if (trace.samples < 1 || trace.classes < 2 || trace.repetitions < 1)
    throw FileError(path.string(), "expected samples >= 1, classes >= 2, repetitions >= 1");
  // What another system may leave out.
  const auto optional = [&](const char* key, auto& value) { json_member_if_there(json, key, path, value); };
  optional("victim", trace.info.victim);
  optional("images", trace.info.images);
  optional("images_digest", trace.info.images_digest);
  optional("seed", trace.info.seed);
  optional("sigma1_ns", trace.info.sigma1_ns);
  optional("gap_ns", trace.info.gap_ns);
  optional("repetitions_because", trace.info.repetitions_because);
  optional("image_parts", trace.info.image_parts);
  optional("side", trace.info.side);
  optional("channels", trace.info.channels);
  if (trace.info.side < 0 || trace.info.channels < 0)
    throw FileError(path.string(), "expected side and channels from 0");
  trace.times_ns = read_rows(folder / "times.csv", kTimes, trace.samples, trace.repetitions);
  if (std::filesystem::exists(folder / "order.csv"))
    trace.order = read_order(folder / "order.csv", trace.samples, trace.repetitions);
  read_outputs(folder / "outputs.npy", trace);
  return trace;
}

std::vector<std::int32_t> read_order(const std::filesystem::path& path,
                                     std::int64_t samples,
                                     int repetitions) {
  const auto rows = read_rows(path, kOrder, samples, repetitions);
  std::vector<std::int32_t> order(rows.size());
  // Each pass asks every image once: a position that is missing, taken or too large has no other reading.
  std::vector<bool> taken(rows.size());
  for (std::size_t at = 0; at < rows.size(); ++at) {
    const auto r = static_cast<std::size_t>(repetitions);
    const auto place = at % r * static_cast<std::size_t>(samples) + static_cast<std::size_t>(rows[at]);
    if (rows[at] >= samples || taken[place])
      throw FileError(path.string(),
                      "line " + std::to_string(at / r + 2) + ": expected each position 0.." +
                          std::to_string(samples - 1) + " once in column p" + std::to_string(at % r + 1) +
                          ", got " + std::to_string(rows[at]) + (rows[at] < samples ? " again" : ""));
    taken[place] = true;
    order[at] = static_cast<std::int32_t>(rows[at]);
  }
  return order;
}

std::uint64_t fingerprint(std::span<const float> pixels) {
  Fnv1a hash;
  for (const float p : pixels) hash.add(static_cast<std::uint8_t>(std::lround(p * 255.0f)));
  return hash.value();
}

namespace {

// Calls f(index, fingerprint) for every image, in order.
template <class F>
void for_each_fingerprint(const ImageSource& images, F f) {
  constexpr int kBlock = 512;
  std::vector<std::int32_t> indices;
  for (int first = 0; first < images.count; first += kBlock) {
    indices.clear();
    for (int i = first; i < std::min(first + kBlock, images.count); ++i) indices.push_back(i);
    const Tensor block = images.load(indices);
    const std::vector<float> pixels = block.to_host<float>();
    const std::size_t size = pixels.size() / indices.size();
    for (std::size_t i = 0; i < indices.size(); ++i)
      f(indices[i], fingerprint(std::span(pixels).subspan(i * size, size)));
  }
}

}  // namespace

std::string digest_of(const ImageSource& images) {
  Fnv1a hash;
  // The bytes of each fingerprint, the lowest first.
  for_each_fingerprint(images, [&](std::int32_t, std::uint64_t print) {
    for (int byte = 0; byte < 8; ++byte) hash.add(static_cast<std::uint8_t>(print >> (8 * byte)));
  });
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash.value()));
  return text;
}

RecordedBlackBox::RecordedBlackBox(Trace trace, const ImageSource& images) : trace_(std::move(trace)) {
  if (images.count != trace_.samples)
    throw ValueError("RecordedBlackBox: the trace has " + std::to_string(trace_.samples) +
                     " images, given were " + std::to_string(images.count));
  if (!trace_.info.images_digest.empty() && digest_of(images) != trace_.info.images_digest)
    throw ValueError("RecordedBlackBox: the images are not those of the trace (their digest differs)");
  for_each_fingerprint(images, [&](std::int32_t index, std::uint64_t print) {
    row_of_.emplace(print, static_cast<std::size_t>(index));
  });
  asked_.assign(static_cast<std::size_t>(trace_.samples), 0);
}

Answer RecordedBlackBox::query(const Tensor& images, Timing timing) {
  const auto pixels = images.to_host<float>();
  const std::size_t n = static_cast<std::size_t>(images.shape().n());
  const std::size_t width = static_cast<std::size_t>(trace_.classes);
  Answer answer;
  std::vector<float> values;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t size = pixels.size() / n;
    const auto row = row_of_.find(fingerprint(std::span(pixels).subspan(i * size, size)));
    if (row == row_of_.end())
      throw ValueError("RecordedBlackBox: image " + std::to_string(i) + " of the query is not in the trace");
    const auto* outputs = trace_.outputs.data() + row->second * width;
    values.insert(values.end(), outputs, outputs + width);
    if (timing == Timing::kPerQuery) {
      const int repetition = asked_[row->second]++ % trace_.repetitions;
      answer.nanoseconds.push_back(
          trace_.times_ns[row->second * static_cast<std::size_t>(trace_.repetitions) +
                          static_cast<std::size_t>(repetition)]);
    }
  }
  answer.probabilities = Tensor::from<float>(
      {static_cast<std::int64_t>(n), static_cast<std::int64_t>(trace_.classes)}, values, Device::cpu());
  answer.labels = labels_of(answer.probabilities);
  return answer;
}

}  // namespace offramp::attacks
