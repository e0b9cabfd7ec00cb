#include <cmath>
#include <cstring>

#include "attacks/membership/label_only.h"
#include "base/errors.h"
#include "base/safetensors.h"
#include "nets/graph/metadata_text.h"

namespace offramp::attacks::membership {
namespace {
constexpr const char* kSignalFormat = "offramp membership signal 1";
}

void write_signal(const std::filesystem::path& path, const Signal& s) {
  std::vector<std::int64_t> record(s.record.begin(), s.record.end());
  const auto m = static_cast<std::int64_t>(s.record.size());
  safetensors::write(
      path,
      std::vector<safetensors::Source>{
          {"record", safetensors::Dtype::kI64, {m}, std::as_bytes(std::span(record))},
          {"value", safetensors::Dtype::kF64, {m, s.columns}, std::as_bytes(std::span(s.value))}},
      {{"format", kSignalFormat}, {"queries", std::to_string(s.queries)}});
}

Signal read_signal(const std::filesystem::path& path, std::size_t records) {
  const safetensors::Reader file(path);
  const auto format = file.metadata().find("format");
  const auto queries = file.metadata().find("queries");
  if (format == file.metadata().end() || format->second != kSignalFormat || queries == file.metadata().end())
    throw FileError(path.string(), std::string("expected format ") + in_quotes(kSignalFormat));
  const auto* value = file.find("value");
  if (value == nullptr || value->dtype != safetensors::Dtype::kF64 || value->shape.size() != 2 ||
      value->shape[1] < 1)
    throw FileError(path.string(), "expected a tensor value [records, settings] of F64");
  const auto& entry =
      file.expect("record", safetensors::Dtype::kI64, std::vector<std::int64_t>{value->shape[0]});
  Signal s{.columns = static_cast<int>(value->shape[1])};
  s.queries = nets::text::read_number<std::int64_t>("queries", queries->second);
  std::vector<std::int64_t> record(static_cast<std::size_t>(value->shape[0]));
  std::memcpy(record.data(), file.bytes(entry).data(), file.bytes(entry).size());
  s.value.resize(record.size() * static_cast<std::size_t>(s.columns));
  std::memcpy(s.value.data(), file.bytes(*value).data(), file.bytes(*value).size());
  for (const std::int64_t i : record) {
    if (i < 0 || static_cast<std::size_t>(i) >= records)
      throw FileError(path.string(),
                      "expected records below " + std::to_string(records) + ", found " + std::to_string(i));
    s.record.push_back(static_cast<std::size_t>(i));
  }
  for (const double v : s.value)
    if (!std::isfinite(v)) throw FileError(path.string(), "expected finite values");
  return s;
}

}  // namespace offramp::attacks::membership
