#include "attacks/query/run_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <type_traits>
#include <utility>

#include "base/errors.h"
#include "base/json_file.h"
#include "base/written_files.h"

namespace offramp::attacks {

class AppendFile {
 public:
  AppendFile(const std::filesystem::path& path, std::uint64_t keep_bytes) : path_(path) {
    announce_write(path);
    fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(keep_bytes)) != 0 || ::lseek(fd_, 0, SEEK_END) < 0)
      fail("cannot be opened");
  }
  ~AppendFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(const void* data, std::size_t bytes) {
    const auto* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t written = ::write(fd_, at, bytes);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail("cannot be written");
      at += written;
      bytes -= static_cast<std::size_t>(written);
    }
    if (::fdatasync(fd_) != 0) fail("cannot be written");
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw FileError(path_.string(), std::string(what) + ": " + std::strerror(errno));
  }
  std::filesystem::path path_;
  int fd_ = -1;
};

namespace {

std::uint64_t size_or_zero(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

void read_exactly(const std::filesystem::path& path, void* to, std::size_t bytes) {
  std::ifstream in(path, std::ios::binary);
  if (!in.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes)))
    throw FileError(path.string(), "expected " + std::to_string(bytes) + " bytes");
}

}  // namespace

void check_same(const std::filesystem::path& path,
                const RunBinding& old,
                const RunBinding& now,
                int wanted_repetitions) {
  const auto differs = [&](const char* what, const std::string& was, const std::string& is) {
    if (was != is)
      throw FileError(path.string(),
                      std::string("was begun with ") + what + " " + was + ", now " + is +
                          ": go on with the same, or use another folder");
  };
  differs("samples", std::to_string(old.samples), std::to_string(now.samples));
  differs("classes", std::to_string(old.classes), std::to_string(now.classes));
  differs("seed", std::to_string(old.seed), std::to_string(now.seed));
  differs("images of digest", old.images_digest, now.images_digest);
  if (wanted_repetitions > 0)
    differs("repetitions", std::to_string(old.choice.repetitions), std::to_string(wanted_repetitions));
}

std::vector<std::int32_t> query_order(int count, std::uint64_t seed, int pass) {
  return shuffled(count, seed, static_cast<std::uint32_t>(pass));
}

std::vector<std::int32_t> positions_of(const RunBinding& run) {
  const auto n = static_cast<std::size_t>(run.samples), r = static_cast<std::size_t>(run.choice.repetitions);
  std::vector<std::int32_t> positions(n * r);
  for (std::size_t pass = 0; pass < r; ++pass) {
    const auto order = query_order(run.samples, run.seed, static_cast<int>(pass));
    for (std::size_t i = 0; i < n; ++i)
      positions[static_cast<std::size_t>(order[i]) * r + pass] = static_cast<std::int32_t>(i);
  }
  return positions;
}

QueryRunState::QueryRunState(const std::filesystem::path& folder)
    : state_path_(folder / "query.json"),
      times_path_(folder / "times.part"),
      outputs_path_(folder / "outputs.part") {}

QueryRunState::~QueryRunState() = default;

bool QueryRunState::begun() const { return std::filesystem::exists(state_path_); }

RunBinding QueryRunState::take_over(const RunBinding& now, int wanted_repetitions) const {
  const auto json = read_json_file(state_path_);
  const auto take = [&](const char* key, auto& value) {
    value = json_member<std::remove_reference_t<decltype(value)>>(json, key, state_path_);
  };
  RunBinding old;
  take("samples", old.samples);
  take("classes", old.classes);
  take("seed", old.seed);
  take("images_digest", old.images_digest);
  take("repetitions", old.choice.repetitions);
  take("sigma1_ns", old.choice.sigma1_ns);
  take("gap_ns", old.choice.gap_ns);
  take("repetitions_because", old.choice.because);
  check_same(state_path_, old, now, wanted_repetitions);
  if (old.choice.repetitions < 1)
    throw FileError(state_path_.string(),
                    "expected at least 1 repetition, got " + std::to_string(old.choice.repetitions));
  return old;
}

void QueryRunState::write(const RunBinding& b) const {
  write_json_file(state_path_,
                  {{"samples", b.samples},
                   {"classes", b.classes},
                   {"seed", b.seed},
                   {"images_digest", b.images_digest},
                   {"repetitions", b.choice.repetitions},
                   {"sigma1_ns", b.choice.sigma1_ns},
                   {"gap_ns", b.choice.gap_ns},
                   {"repetitions_because", b.choice.because}});
}

std::int64_t QueryRunState::open(const RunBinding& b) {
  const std::int64_t n = b.samples, total = n * b.choice.repetitions;
  const std::size_t row = static_cast<std::size_t>(b.classes) * sizeof(float);
  std::int64_t done =
      std::min(static_cast<std::int64_t>(size_or_zero(times_path_) / sizeof(std::int64_t)), total);
  // Answers of the first pass that are missing are asked for again, whatever was asked after them.
  if (const auto answered = static_cast<std::int64_t>(size_or_zero(outputs_path_) / row);
      answered < std::min(done, n))
    done = answered;
  outputs_ = std::make_unique<AppendFile>(outputs_path_, static_cast<std::uint64_t>(std::min(done, n)) * row);
  times_ = std::make_unique<AppendFile>(times_path_, static_cast<std::uint64_t>(done) * sizeof(std::int64_t));
  return done;
}

void QueryRunState::append(const Answer& answer, bool first_pass) {
  if (first_pass) {
    const auto values = answer.probabilities.to_host<float>();
    outputs_->append(values.data(), values.size() * sizeof(float));
  }
  times_->append(answer.nanoseconds.data(), answer.nanoseconds.size() * sizeof(std::int64_t));
}

std::vector<std::int64_t> QueryRunState::times(const RunBinding& run,
                                               std::span<const std::int32_t> positions) const {
  const auto n = static_cast<std::size_t>(run.samples), r = static_cast<std::size_t>(run.choice.repetitions);
  std::vector<std::int64_t> raw(n * r), ordered(n * r);
  read_exactly(times_path_, raw.data(), raw.size() * sizeof(std::int64_t));
  // The passes stand one behind the other, each in its own order.
  for (std::size_t at = 0; at < ordered.size(); ++at)
    ordered[at] = raw[at % r * n + static_cast<std::size_t>(positions[at])];
  return ordered;
}

std::vector<float> QueryRunState::outputs(const RunBinding& run) const {
  const auto n = static_cast<std::size_t>(run.samples), width = static_cast<std::size_t>(run.classes);
  std::vector<float> raw(n * width), ordered(n * width);
  read_exactly(outputs_path_, raw.data(), raw.size() * sizeof(float));
  const auto order = query_order(run.samples, run.seed, 0);
  for (std::size_t i = 0; i < n; ++i)
    std::copy_n(raw.begin() + static_cast<std::ptrdiff_t>(i * width),
                width,
                ordered.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(order[i]) * width));
  return ordered;
}

void QueryRunState::remove() {
  times_.reset();
  outputs_.reset();
  for (const auto& path : {times_path_, outputs_path_, state_path_}) std::filesystem::remove(path);
}

}  // namespace offramp::attacks
