#include "tools/frame/event_file.h"

#include "base/append.h"
#include "base/atomic_file.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/protobuf_writer.h"

#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

namespace offramp::tools {
namespace {

namespace event_proto {
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;
}
constexpr std::size_t kLengthBytes = 8, kCrcBytes = 4;

std::string little_endian(std::uint64_t value, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

double now_in_seconds() {
  using namespace std::chrono;
  return duration<double>(system_clock::now().time_since_epoch()).count();
}

ProtobufMessage event_at(std::int64_t step) {
  ProtobufMessage event;
  event.add_double(event_proto::kWallTime, now_in_seconds()).add_int(event_proto::kStep, step);
  return event;
}

// Of a message that event_at() began: the step, a varint behind the tag and 8 bytes of the time and its own tag.
std::optional<std::int64_t> step_of(std::string_view message) {
  constexpr std::size_t kBegin = 1 + 8 + 1;
  std::uint64_t step = 0;
  for (std::size_t i = kBegin; i < message.size() && i < kBegin + 10; ++i) {
    step |= std::uint64_t{static_cast<unsigned char>(message[i]) & 0x7fu} << (7 * (i - kBegin));
    if ((message[i] & 0x80) == 0) return static_cast<std::int64_t>(step);
  }
  return std::nullopt;
}

// The whole records at the front of `file` whose step is at most `last_step`.
std::string kept_records(std::string_view file, std::int64_t last_step) {
  std::string kept;
  while (file.size() >= kLengthBytes + 2 * kCrcBytes) {
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), kLengthBytes);
    if (length > file.size() - kLengthBytes - 2 * kCrcBytes) break;
    const std::string_view message = file.substr(kLengthBytes + kCrcBytes, length);
    const std::string_view record = file.substr(0, kLengthBytes + 2 * kCrcBytes + length);
    if (tf_record(message) != record) break;  // damaged: nothing behind it can be trusted
    const auto step = step_of(message);
    if (step && *step <= last_step) kept += record;
    file.remove_prefix(record.size());
  }
  return kept;
}

}  // namespace

std::string tf_record(std::string_view message) {
  const std::string length = little_endian(message.size(), kLengthBytes);
  return length + little_endian(masked_crc32c(length), kCrcBytes) + std::string(message) +
         little_endian(masked_crc32c(message), kCrcBytes);
}

EventFile::EventFile(std::filesystem::path path, std::int64_t last_step) : path_(std::move(path)) {
  std::string kept;
  if (std::ifstream in(path_, std::ios::binary); in)
    kept = kept_records(std::string{std::istreambuf_iterator<char>(in), {}}, last_step);
  if (kept.empty()) {
    ProtobufMessage first = event_at(0);
    first.add_text(event_proto::kFileVersion, "brain.Event:2");
    kept = tf_record(first.bytes());
  }
  write_file_atomically(path_, kept);
}

void EventFile::add(std::int64_t step, const Scalars& scalars) {
  ProtobufMessage summary;
  for (const auto& [tag, value] : scalars) {
    ProtobufMessage one;  // Summary.Value
    one.add_text(1, tag).add_float(2, static_cast<float>(value));
    summary.add_message(1, std::move(one));
  }
  ProtobufMessage event = event_at(step);
  event.add_message(event_proto::kSummary, std::move(summary));
  // Made anew it would lack the record that says what it is.
  if (!std::filesystem::exists(path_)) throw FileError(path_.string(), "append: the file is gone");
  append_whole(path_, tf_record(event.bytes()), "record");
}

}  // namespace offramp::tools
