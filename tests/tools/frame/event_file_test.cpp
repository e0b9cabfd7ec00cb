#include "tools/frame/event_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <ctime>

#include "base/crc32c.h"
#include "base/errors.h"
#include "tests/nets/onnx/onnx_reader.h"
#include "tests/support/temp_folder.h"

namespace offramp::tools {
namespace {

using test::read_text;
using test::TempFolder;
using test::onnx::Field;
using test::onnx::fields_of;

struct Event {
  double time = 0;
  std::int64_t step = 0;
  std::string version;
  EventFile::Scalars scalars;
};

// Reads the frames as TFRecord has them, sums checked.
std::vector<Event> events_of(const std::string& file) {
  std::vector<Event> events;
  std::string_view in = file;
  const auto number = [&](std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i)
      value |= std::uint64_t{static_cast<unsigned char>(in.at(i))} << (8 * i);
    in.remove_prefix(bytes);
    return value;
  };
  while (!in.empty()) {
    const std::string_view length_bytes = in.substr(0, 8);
    const std::uint64_t length = number(8);
    EXPECT_EQ(number(4), masked_crc32c(length_bytes));
    const std::string_view message = in.substr(0, length);
    in.remove_prefix(length);
    EXPECT_EQ(number(4), masked_crc32c(message));
    Event& event = events.emplace_back();
    for (const Field& f : fields_of(message)) {
      if (f.number == 1) std::memcpy(&event.time, &f.value, sizeof event.time);
      if (f.number == 2) event.step = static_cast<std::int64_t>(f.value);
      if (f.number == 3) event.version = f.bytes;
      if (f.number != 5) continue;
      for (const Field& value : fields_of(f.bytes)) {
        const auto parts = fields_of(value.bytes);
        float scalar = 0;
        std::memcpy(&scalar, &parts.at(1).value, sizeof scalar);
        event.scalars.emplace_back(std::string(parts.at(0).bytes), static_cast<double>(scalar));
      }
    }
  }
  return events;
}

TEST(EventFile, HoldsTheVersionAndOneEventAStep) {
  const TempFolder folder;
  const auto path = folder / "events.out.tfevents.offramp";
  EventFile file(path, 0);
  file.add(7, {{"loss", 0.5}, {"test_accuracy/exit_1", 0.25}});
  file.add(300, {{"loss", 0.125}});
  const std::vector<Event> events = events_of(read_text(path));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].version, "brain.Event:2");
  EXPECT_NEAR(events[0].time, static_cast<double>(std::time(nullptr)), 60);
  EXPECT_EQ(events[1].step, 7);
  EXPECT_EQ(events[1].scalars, (EventFile::Scalars{{"loss", 0.5}, {"test_accuracy/exit_1", 0.25}}));
  EXPECT_EQ(events[2].step, 300);
  EXPECT_EQ(events[2].scalars, (EventFile::Scalars{{"loss", 0.125}}));
}

TEST(EventFile, GoesOnBehindTheCheckpointAndDropsWhatACrashCut) {
  const TempFolder folder;
  const auto path = folder / "events.out.tfevents.offramp";
  {
    EventFile file(path, 0);
    for (const int step : {100, 200, 300}) file.add(step, {{"loss", 1.0 / step}});
  }
  const std::string whole = read_text(path);
  test::write_text(path, whole.substr(0, whole.size() - 3));  // a kill while step 300 was written
  EventFile(path, 1000).add(300, {{"loss", 0.75}});
  auto events = events_of(read_text(path));
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[2].step, 200);
  EXPECT_EQ(events[3].scalars.at(0).second, 0.75);
  EventFile(path, 100).add(150, {{"loss", 0.5}});  // the checkpoint is of step 100
  events = events_of(read_text(path));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].step, 100);
  EXPECT_EQ(events[2].step, 150);
  test::write_text(path, "no events at all");
  const EventFile again(path, 100);
  EXPECT_EQ(events_of(read_text(path)).size(), 1u);
}

TEST(EventFile, SaysWhereItCannotBeWritten) {
  const TempFolder folder;
  EXPECT_THROW(EventFile(folder / "missing" / "events", 0), FileError);
  EventFile file(folder / "events", 0);
  std::filesystem::remove(folder / "events");
  EXPECT_THROW(file.add(1, {{"loss", 1}}), FileError);
}

}  // namespace
}  // namespace offramp::tools
