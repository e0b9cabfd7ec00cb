#include "attacks/query/trace.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/atomic_file.h"
#include "base/errors.h"
#include "nets/data/npy.h"

namespace offramp::attacks {
namespace {

constexpr const char* kFormat = "offramp-trace";
constexpr int kVersion = 1;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw FileError(path.string(), "a file of the trace is missing or cannot be read");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// What a CSV file of the trace has beside the index: one column a repetition.
struct Columns {
  char prefix;  // of their names
  const char* what;
};
constexpr Columns kTimes{'t', "whole number of nanoseconds"};
constexpr Columns kOrder{'p', "position from 0"};

std::string header_of(Columns columns, int repetitions) {
  std::string header = "index";
  for (int r = 1; r <= repetitions; ++r) header += std::string(",") + columns.prefix + std::to_string(r);
  return header;
}

// Cursor over such a file; messages count lines from 1.
class RowReader {
 public:
  RowReader(std::filesystem::path path, std::string_view text, Columns columns)
      : path_(std::move(path)), text_(text), columns_(columns) {}

  bool next_line(std::string_view& line) {
    if (at_ >= text_.size()) return false;
    const std::size_t end = std::min(text_.find('\n', at_), text_.size());
    line = text_.substr(at_, end - at_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    at_ = end + 1;
    ++line_;
    return true;
  }
  std::int64_t number(std::string_view field) const {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size() || value < 0)
      fail(std::string("expected a ") + columns_.what + ", got " + in_quotes(field));
    return value;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(path_.string(), what + ", line " + std::to_string(line_));
  }

 private:
  std::filesystem::path path_;
  std::string_view text_;
  Columns columns_;
  std::size_t at_ = 0;
  int line_ = 0;
};

std::string_view take_field(std::string_view& line) {
  const std::size_t comma = std::min(line.find(','), line.size());
  const std::string_view field = line.substr(0, comma);
  line.remove_prefix(std::min(comma + 1, line.size()));
  return field;
}

// [samples, repetitions]
std::vector<std::int64_t> read_rows(const std::filesystem::path& path,
                                    Columns columns,
                                    std::int64_t samples,
                                    int repetitions) {
  const std::string text = read_text(path);
  RowReader reader(path, text, columns);
  const std::string header = header_of(columns, repetitions);
  std::string_view line;
  if (!reader.next_line(line))
    reader.fail("expected the header " + in_quotes(header) + ", the file is empty");
  if (line != header) reader.fail("expected the header " + in_quotes(header) + ", got " + in_quotes(line));
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(samples * repetitions));
  std::int64_t rows = 0;
  while (reader.next_line(line)) {
    if (rows == samples)
      reader.fail("expected " + std::to_string(samples) + " rows as trace.json says, there are more");
    std::int64_t fields = 1;
    for (const char ch : line) fields += ch == ',' ? 1 : 0;
    if (fields != repetitions + 1)
      reader.fail("expected " + std::to_string(repetitions + 1) + " fields, got " + std::to_string(fields));
    if (reader.number(take_field(line)) != rows) reader.fail("expected index " + std::to_string(rows));
    for (int r = 0; r < repetitions; ++r) values.push_back(reader.number(take_field(line)));
    ++rows;
  }
  if (rows != samples)
    reader.fail("expected " + std::to_string(samples) + " rows as trace.json says, got " +
                std::to_string(rows));
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

template <class T>
T member(const nlohmann::json& json, const char* key, const std::filesystem::path& path) {
  const auto at = json.find(key);
  if (at == json.end()) throw FileError(path.string(), "expected the key " + in_quotes(key));
  try {
    return at->get<T>();
  } catch (const nlohmann::json::exception&) {
    throw FileError(path.string(), "the value of " + in_quotes(key) + " has another type: " + at->dump());
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
  json["images_digest"] = trace.info.images_digest;
  json["seed"] = trace.info.seed;
  json["sigma1_ns"] = trace.info.sigma1_ns;
  json["gap_ns"] = trace.info.gap_ns;
  json["repetitions_because"] = trace.info.repetitions_because;
  write_file_atomically(folder / "trace.json", json.dump(2) + "\n");
}

bool has_trace(const std::filesystem::path& folder) { return std::filesystem::exists(folder / "trace.json"); }

Trace read_trace(const std::filesystem::path& folder) {
  const auto path = folder / "trace.json";
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(read_text(path));
  } catch (const nlohmann::json::parse_error& error) {
    throw FileError(path.string(), error.byte, "expected JSON");
  }
  if (!json.is_object() || json.value("format", "") != kFormat)
    throw FileError(path.string(), "expected \"format\": \"" + std::string(kFormat) + "\"");
  if (const int version = member<int>(json, "version", path); version != kVersion)
    throw FileError(path.string(), "expected version 1, got " + std::to_string(version));
  Trace trace;
  trace.samples = member<std::int64_t>(json, "samples", path);
  trace.classes = member<int>(json, "classes", path);
  trace.repetitions = member<int>(json, "repetitions", path);
  if (trace.samples < 1 || trace.classes < 2 || trace.repetitions < 1)
    throw FileError(path.string(), "expected samples >= 1, classes >= 2, repetitions >= 1");
  // What another system may leave out.
  const auto optional = [&]<class T>(const char* key, T& value) {
    if (json.contains(key)) value = member<T>(json, key, path);
  };
  optional("victim", trace.info.victim);
  optional("images", trace.info.images);
  optional("images_digest", trace.info.images_digest);
  optional("seed", trace.info.seed);
  optional("sigma1_ns", trace.info.sigma1_ns);
  optional("gap_ns", trace.info.gap_ns);
  optional("repetitions_because", trace.info.repetitions_because);
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
                      "expected each position 0.." + std::to_string(samples - 1) + " once in column p" +
                          std::to_string(at % r + 1) + ", got " + std::to_string(rows[at]) +
                          (rows[at] < samples ? " again" : "") + ", line " + std::to_string(at / r + 2));
    taken[place] = true;
    order[at] = static_cast<std::int32_t>(rows[at]);
  }
  return order;
}

std::uint64_t fingerprint(std::span<const float> pixels) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const float p : pixels) {
    hash ^= static_cast<std::uint64_t>(std::lround(p * 255.0f)) & 0xff;
    hash *= 0x100000001b3u;
  }
  return hash;
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
  std::uint64_t hash = 0xcbf29ce484222325u;
  for_each_fingerprint(images, [&](std::int32_t, std::uint64_t print) {
    for (int byte = 0; byte < 8; ++byte) {
      hash ^= (print >> (8 * byte)) & 0xff;
      hash *= 0x100000001b3u;
    }
  });
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
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
