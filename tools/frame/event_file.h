// Scalars for TensorBoard: a file of Event messages (event.proto, summary.proto), each framed as a TFRecord: length
// (8 bytes), masked CRC-32C of the length (4), the message, masked CRC-32C of the message (4), all little-endian.
// TensorBoard finds a file by "tfevents" in its name and follows it as it grows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace offramp::tools {

// One record of such a file.
std::string tf_record(std::string_view message);

class EventFile {
 public:
  using Scalars = std::vector<std::pair<std::string, double>>;  // tag, value

  // Goes on with the events up to `last_step` where the file is there (what an interrupted run wrote after its checkpoint,
  // and a record that a crash cut off, are dropped), or begins it. Throws FileError where it cannot be written.
  EventFile(std::filesystem::path path, std::int64_t last_step);

  // One event, complete in the file when this returns; the time is now.
  void add(std::int64_t step, const Scalars& scalars);

 private:
  std::filesystem::path path_;
};

}  // namespace offramp::tools
