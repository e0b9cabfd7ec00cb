// The file of records: safetensors, one tensor a member of Records, sizes and the model's name in the metadata.
#include <cmath>
#include <cstring>

#include "attacks/membership/records.h"
#include "base/errors.h"
#include "base/safetensors.h"
#include "nets/graph/metadata_text.h"

namespace offramp::attacks::membership {
namespace {

namespace st = safetensors;
constexpr const char* kFormat = "offramp membership records 1";

template <class T>
constexpr st::Dtype dtype_of() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return st::Dtype::kU8;
  if constexpr (std::is_same_v<T, std::int32_t>) return st::Dtype::kI32;
  if constexpr (std::is_same_v<T, std::int64_t>) return st::Dtype::kI64;
  if constexpr (std::is_same_v<T, float>) return st::Dtype::kF32;
  return st::Dtype::kF64;
}

// Every array of the records with its name and width a record.
template <class R, class F>
void for_each_array(R& r, F f) {
  f("row", r.row, 1);
  f("member", r.member, 1);
  f("label", r.label, 1);
  f("predicted", r.predicted, 1);
  f("exit", r.exit, 1);
  f("scores", r.scores, r.classes);
  f("loss", r.loss, 1);
  f("margin", r.margin, 1);
  if (r.feature_size > 0) f("feature", r.feature, r.feature_size);
  if (r.repetitions > 0) f("times_ns", r.times_ns, r.repetitions);
}

}  // namespace

void check(const Records& r, const std::string& what) {
  const auto fail = [&](const std::string& message) { throw DataError(what + ": " + message); };
  if (r.size() == 0) fail("there are no records");
  if (r.classes < 2 || r.num_exits < 1 || r.feature_size < 0 || r.repetitions < 0)
    fail("expected at least 2 classes and 1 exit, got " + std::to_string(r.classes) + " and " +
         std::to_string(r.num_exits));
  for_each_array(r, [&](const char* name, const auto& values, int width) {
    if (values.size() != r.size() * static_cast<std::size_t>(width))
      fail("expected " + std::to_string(r.size()) + " x " + std::to_string(width) + " values of " + name +
           ", got " + std::to_string(values.size()));
    if constexpr (std::is_floating_point_v<typename std::decay_t<decltype(values)>::value_type>) {
      for (std::size_t i = 0; i < values.size(); ++i)
        if (!std::isfinite(values[i]))
          fail(std::string(name) + " must be finite, record " +
               std::to_string(i / static_cast<std::size_t>(width)) + " has one that is not");
    }
  });
  for (std::size_t i = 0; i < r.size(); ++i) {
    const auto in = [&](const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
      if (value < least || value > most)
        fail(std::string("expected ") + name + " from " + std::to_string(least) + " to " +
             std::to_string(most) + ", record " + std::to_string(i) + " has " + std::to_string(value));
    };
    in("a membership", r.member[i], 0, 1);
    in("a label", r.label[i], 0, r.classes - 1);
    in("a predicted class", r.predicted[i], 0, r.classes - 1);
    in("an exit", r.exit[i], 1, r.num_exits);
    in("a row", r.row[i], 0, INT32_MAX);
    if (r.loss[i] < 0)
      fail("a loss is at least 0, record " + std::to_string(i) + " has " + std::to_string(r.loss[i]));
    double sum = 0;
    for (const float p : r.scores_of(i)) {
      if (p < 0) fail("scores are at least 0, record " + std::to_string(i) + " has " + std::to_string(p));
      sum += static_cast<double>(p);
    }
    if (std::abs(sum - 1) > 1e-4)
      fail("scores add up to 1, those of record " + std::to_string(i) + " to " + std::to_string(sum));
  }
  for (const std::int64_t t : r.times_ns)
    if (t < 1) fail("times are at least 1 ns, got " + std::to_string(t));
}

void write_records(const std::filesystem::path& path, const Records& records) {
  check(records, path.string());
  std::vector<st::Source> sources;
  for_each_array(records, [&](const char* name, const auto& values, int width) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    std::vector<std::int64_t> shape = {static_cast<std::int64_t>(records.size())};
    if (width > 1) shape.push_back(width);
    sources.push_back({name, dtype_of<T>(), shape, std::as_bytes(std::span(values))});
  });
  st::write(path,
            sources,
            {{"format", kFormat},
             {"model", records.model},
             {"records", std::to_string(records.size())},
             {"classes", std::to_string(records.classes)},
             {"num_exits", std::to_string(records.num_exits)},
             {"feature_size", std::to_string(records.feature_size)},
             {"repetitions", std::to_string(records.repetitions)}});
}

Records read_records(const std::filesystem::path& path) {
  const st::Reader file(path);
  const auto text = [&](const char* key) -> const std::string& {
    const auto at = file.metadata().find(key);
    if (at == file.metadata().end())
      throw FileError(path.string(), std::string("expected records of a membership audit, found no ") + key);
    return at->second;
  };
  if (text("format") != kFormat)
    throw FileError(path.string(), std::string("expected format ") + in_quotes(kFormat));
  const auto count = [&](const char* key, int least, int most) {
    const int value = nets::text::read_number<int>(key, text(key));
    if (value < least || value > most)
      throw FileError(path.string(),
                      std::string("expected ") + key + " from " + std::to_string(least) + " to " +
                          std::to_string(most) + ", found " + std::to_string(value));
    return value;
  };
  Records r{.model = text("model"),
            .classes = count("classes", 2, 1 << 20),
            .num_exits = count("num_exits", 1, 1 << 10),
            .feature_size = count("feature_size", 0, 1 << 24),
            .repetitions = count("repetitions", 0, 1 << 20)};
  const int n = count("records", 1, INT32_MAX);
  for_each_array(r, [&](const char* name, auto& values, int width) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    std::vector<std::int64_t> shape = {n};
    if (width > 1) shape.push_back(width);
    const auto bytes = file.bytes(file.expect(name, dtype_of<T>(), shape));
    values.resize(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
  });
  check(r, path.string());
  return r;
}

}  // namespace offramp::attacks::membership
