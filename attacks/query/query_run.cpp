#include "attacks/query/query_run.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "base/atomic_file.h"
#include "base/errors.h"
#include "base/written_files.h"
#include "kernels/philox.h"
#include "stats/bandwidth.h"
#include "stats/exits/exit_estimation.h"

namespace offramp::attacks {
namespace {

constexpr std::uint32_t kOrderStream = 0xA77AC001u;  // step = pass
constexpr std::uint32_t kPilotStep = 0xffffffffu;

std::vector<std::int32_t> shuffled(int count, std::uint64_t seed, std::uint32_t step) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const PhiloxKey key{seed, kOrderStream, 0, step};
  for (std::size_t i = order.size(); i-- > 1;)  // Fisher-Yates, as nets/data/split.h
    std::swap(order[i], order[static_cast<std::size_t>((std::uint64_t{key.word(i)} * (i + 1)) >> 32)]);
  return order;
}

// A file that only grows: what a kill leaves is a prefix of what an uninterrupted run writes.
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

std::uint64_t size_or_zero(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

// What a run in progress is bound to (query.json).
struct Begun {
  int samples = 0, classes = 0;
  std::uint64_t seed = 0;
  std::string images_digest;
  RepetitionChoice choice;
};

void write_begun(const std::filesystem::path& path, const Begun& b) {
  const nlohmann::ordered_json json = {{"samples", b.samples},
                                       {"classes", b.classes},
                                       {"seed", b.seed},
                                       {"images_digest", b.images_digest},
                                       {"repetitions", b.choice.repetitions},
                                       {"sigma1_ns", b.choice.sigma1_ns},
                                       {"gap_ns", b.choice.gap_ns},
                                       {"repetitions_because", b.choice.because}};
  write_file_atomically(path, json.dump(2) + "\n");
}

Begun read_begun(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  try {
    const auto json = nlohmann::json::parse(in);
    Begun b;
    b.samples = json.at("samples");
    b.classes = json.at("classes");
    b.seed = json.at("seed");
    b.images_digest = json.at("images_digest");
    b.choice = {
        json.at("repetitions"), json.at("sigma1_ns"), json.at("gap_ns"), json.at("repetitions_because")};
    return b;
  } catch (const nlohmann::json::exception& error) {
    throw FileError(path.string(), "expected the state of a query run: " + std::string(error.what()));
  }
}

void check_same(const std::filesystem::path& path,
                const Begun& old,
                const Begun& now,
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

double smallest_gap(const stats::ExitEstimate& estimate) {
  double gap = 0;
  for (std::size_t e = 1; e < estimate.num_exits; ++e) {
    const double step = estimate.centres_ns[e] - estimate.centres_ns[e - 1];
    gap = gap == 0 ? step : std::min(gap, step);
  }
  return gap;
}

void read_exactly(const std::filesystem::path& path, void* to, std::size_t bytes) {
  std::ifstream in(path, std::ios::binary);
  if (!in.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes)))
    throw FileError(path.string(), "expected " + std::to_string(bytes) + " bytes");
}

// The position of each image in each pass, [samples, repetitions].
std::vector<std::int32_t> positions_of(const Begun& run) {
  const auto n = static_cast<std::size_t>(run.samples), r = static_cast<std::size_t>(run.choice.repetitions);
  std::vector<std::int32_t> positions(n * r);
  for (std::size_t pass = 0; pass < r; ++pass) {
    const auto order = query_order(run.samples, run.seed, static_cast<int>(pass));
    for (std::size_t i = 0; i < n; ++i)
      positions[static_cast<std::size_t>(order[i]) * r + pass] = static_cast<std::int32_t>(i);
  }
  return positions;
}

// [samples, repetitions] from what the passes wrote, each in its own order.
std::vector<std::int64_t> read_times(const std::filesystem::path& path,
                                     const Begun& run,
                                     std::span<const std::int32_t> positions) {
  const auto n = static_cast<std::size_t>(run.samples), r = static_cast<std::size_t>(run.choice.repetitions);
  std::vector<std::int64_t> raw(n * r), times(n * r);
  read_exactly(path, raw.data(), raw.size() * sizeof(std::int64_t));
  for (std::size_t at = 0; at < times.size(); ++at)
    times[at] = raw[at % r * n + static_cast<std::size_t>(positions[at])];
  return times;
}

RepetitionChoice run_pilot(BlackBox& victim,
                           const ImageSource& images,
                           const QueryOptions& options,
                           const std::function<void(const QueryProgress&)>& report) {
  auto chosen = shuffled(images.count, options.seed, kPilotStep);
  chosen.resize(static_cast<std::size_t>(std::min(images.count, options.pilot_samples)));
  const std::size_t r = static_cast<std::size_t>(options.pilot_repetitions);
  std::vector<double> times(chosen.size() * r);
  std::vector<std::int32_t> positions(times.size());
  for (std::size_t pass = 0; pass < r; ++pass) {
    const auto order = shuffled(
        static_cast<int>(chosen.size()), options.seed, kPilotStep - 1 - static_cast<std::uint32_t>(pass));
    std::vector<std::int32_t> indices;
    for (const auto place : order) indices.push_back(chosen[static_cast<std::size_t>(place)]);
    const Answer answer = victim.query(images.load(indices), Timing::kPerQuery);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(order[i]) * r + pass;
      times[at] = static_cast<double>(answer.nanoseconds[i]);
      positions[at] = static_cast<std::int32_t>(i);
    }
    if (report)
      report(
          {static_cast<std::int64_t>((pass + 1) * chosen.size()), static_cast<std::int64_t>(times.size())});
  }
  return choose_repetitions(times, options.pilot_repetitions, options, positions);
}

}  // namespace

std::vector<std::int32_t> query_order(int count, std::uint64_t seed, int pass) {
  return shuffled(count, seed, static_cast<std::uint32_t>(pass));
}

RepetitionChoice choose_repetitions(std::span<const double> times_ns,
                                    int repetitions,
                                    const QueryOptions& options,
                                    stats::MeasurementOrder order) {
  if (repetitions < 2 || repetitions % 2 != 0)
    throw ValueError("choose_repetitions: needs an even number of repetitions, at least 2, got " +
                     std::to_string(repetitions));
  RepetitionChoice choice;
  // Pairs of single measurements: the noise of one. Its outliers, however many, do not follow the law of
  // averages that the choice rests on.
  const auto noise_of_one = [](std::span<const double> times) {
    return stats::measured_noise(times, 2, stats::TimeStatistic::kMinimum, 0.5);
  };
  const auto r = static_cast<std::size_t>(repetitions);
  choice.sigma1_ns = noise_of_one(times_ns);
  if (!order.empty() && r >= stats::kLeastForSpeed)
    choice.sigma1_ns =
        std::min(choice.sigma1_ns, noise_of_one(stats::even_out_speed(times_ns, r, order).times_ns));
  const auto pilot = stats::estimate_exits(times_ns, r, {.order = order});
  choice.gap_ns = smallest_gap(pilot);
  char text[240];
  if (choice.gap_ns > 0) {
    const double ratio = choice.sigma1_ns / choice.gap_ns;
    const double needed = std::ceil(std::min(36 * ratio * ratio, 1e6));
    choice.repetitions =
        std::clamp(static_cast<int>(needed), options.min_repetitions, options.max_repetitions);
    std::snprintf(
        text,
        sizeof text,
        "%d repetitions: one measurement has noise %.0f ns, neighbouring exits are at least %.0f ns "
        "apart, six sigma need %.0f",
        choice.repetitions,
        choice.sigma1_ns,
        choice.gap_ns,
        needed);
  } else {
    choice.repetitions = options.min_repetitions;
    std::snprintf(text,
                  sizeof text,
                  "%d repetitions: one measurement has noise %.0f ns, the pilot saw a single exit",
                  choice.repetitions,
                  choice.sigma1_ns);
  }
  choice.because = text;
  return choice;
}

RepetitionChoice more_repetitions(std::span<const double> times_ns,
                                  int repetitions,
                                  const RepetitionChoice& chosen,
                                  const QueryOptions& options,
                                  stats::MeasurementOrder order) {
  if (repetitions < 2 || repetitions >= options.max_repetitions) return chosen;
  const auto so_far =
      stats::estimate_exits(times_ns, static_cast<std::size_t>(repetitions), {.order = order});
  double gap = smallest_gap(so_far);
  if (gap == 0 || (chosen.gap_ns > 0 && chosen.gap_ns < gap)) gap = chosen.gap_ns;
  if (gap == 0 || 6 * so_far.sigma_ns <= gap) return chosen;
  const double ratio = 6 * so_far.sigma_ns / gap;
  RepetitionChoice choice = chosen;
  // Ten more at least: the noise that decides is itself an estimate, and every look at it costs a pass
  // anyway.
  choice.repetitions =
      static_cast<int>(std::clamp(std::ceil(repetitions * ratio * ratio),
                                  static_cast<double>(std::min(repetitions + 10, options.max_repetitions)),
                                  static_cast<double>(options.max_repetitions)));
  choice.gap_ns = gap;
  char text[240];
  std::snprintf(
      text,
      sizeof text,
      "%d repetitions: after %d the noise of a query (%s of its times) is still %.0f ns, neighbouring "
      "exits are at least %.0f ns apart",
      choice.repetitions,
      repetitions,
      stats::name_of(so_far.statistic),
      so_far.sigma_ns,
      gap);
  choice.because = text;
  return choice;
}

Trace query_victim(BlackBox& victim,
                   const ImageSource& images,
                   const std::filesystem::path& folder,
                   const QueryOptions& options,
                   const std::function<void(const QueryProgress&)>& report) {
  if (images.count < 1) throw ValueError("query: there are no images");
  if (options.block < 1 || options.repetitions < 0 || options.min_repetitions < 1 ||
      options.max_repetitions < options.min_repetitions)
    throw ValueError(
        "query: block >= 1, repetitions >= 0 and 1 <= min_repetitions <= max_repetitions are wanted");
  std::filesystem::create_directories(folder);
  const auto state_path = folder / "query.json", times_path = folder / "times.part",
             outputs_path = folder / "outputs.part";
  Begun now{images.count, victim.classes(), options.seed, digest_of(images), {}};
  if (has_trace(folder)) {
    Trace trace = read_trace(folder);
    Begun old{static_cast<int>(trace.samples), trace.classes, trace.info.seed, trace.info.images_digest, {}};
    old.choice.repetitions = trace.repetitions;
    check_same(folder / "trace.json", old, now, options.repetitions);
    for (const auto& path : {times_path, outputs_path, state_path}) std::filesystem::remove(path);
    return trace;
  }
  if (std::filesystem::exists(state_path)) {
    const Begun old = read_begun(state_path);
    check_same(state_path, old, now, options.repetitions);
    now = old;
  } else {
    if (options.repetitions > 0) {
      now.choice.repetitions = options.repetitions;
      now.choice.because = std::to_string(options.repetitions) + " repetitions: as asked";
    } else {
      now.choice = run_pilot(victim, images, options, report);
    }
    write_begun(state_path, now);
  }

  // A block's outputs (first pass only) reach the disk before its times, so what both files hold is done.
  const std::int64_t n = images.count;
  const std::size_t width = static_cast<std::size_t>(now.classes);
  std::int64_t total = n * now.choice.repetitions;
  std::int64_t done =
      std::min(static_cast<std::int64_t>(size_or_zero(times_path) / sizeof(std::int64_t)), total);
  done = std::min(
      done,
      done > n ? done : static_cast<std::int64_t>(size_or_zero(outputs_path) / (width * sizeof(float))));
  std::vector<std::int64_t> times;      // [n, repetitions]
  std::vector<std::int32_t> positions;  // of times
  {
    AppendFile outputs(outputs_path, static_cast<std::uint64_t>(std::min(done, n)) * width * sizeof(float));
    AppendFile raw_times(times_path, static_cast<std::uint64_t>(done) * sizeof(std::int64_t));
    std::vector<std::int32_t> order;
    int order_of = -1;
    for (bool enough = false; !enough;) {
      while (done < total) {
        const int pass = static_cast<int>(done / n);
        if (pass != order_of) order = query_order(images.count, now.seed, order_of = pass);
        const std::int64_t at = done % n, count = std::min<std::int64_t>(options.block, n - at);
        const std::span indices(order.data() + at, static_cast<std::size_t>(count));
        const Answer answer = victim.query(images.load(indices), Timing::kPerQuery);
        if (pass == 0) {
          const auto values = answer.probabilities.to_host<float>();
          outputs.append(values.data(), values.size() * sizeof(float));
        }
        raw_times.append(answer.nanoseconds.data(), answer.nanoseconds.size() * sizeof(std::int64_t));
        done += count;
        if (report) report({done, total, &now.choice});
      }
      positions = positions_of(now);
      times = read_times(times_path, now, positions);
      enough = options.repetitions > 0;
      if (!enough) {
        const std::vector<double> as_double(times.begin(), times.end());
        const RepetitionChoice more =
            more_repetitions(as_double, now.choice.repetitions, now.choice, options, positions);
        enough = more.repetitions == now.choice.repetitions;
        if (!enough) {
          now.choice = more;
          total = n * now.choice.repetitions;
          write_begun(state_path, now);
        }
      }
    }
  }

  Trace trace;
  trace.info = {options.victim,
                options.images,
                now.images_digest,
                now.seed,
                now.choice.sigma1_ns,
                now.choice.gap_ns,
                now.choice.because};
  trace.samples = n;
  trace.classes = now.classes;
  trace.repetitions = now.choice.repetitions;
  trace.times_ns = std::move(times);
  trace.order = std::move(positions);
  std::vector<float> raw_outputs(static_cast<std::size_t>(n) * width);
  read_exactly(outputs_path, raw_outputs.data(), raw_outputs.size() * sizeof(float));
  trace.outputs.resize(raw_outputs.size());
  const auto first_order = query_order(images.count, now.seed, 0);
  for (std::size_t i = 0; i < first_order.size(); ++i)
    std::copy_n(raw_outputs.begin() + static_cast<std::ptrdiff_t>(i * width),
                width,
                trace.outputs.begin() +
                    static_cast<std::ptrdiff_t>(static_cast<std::size_t>(first_order[i]) * width));
  write_trace(folder, trace);
  for (const auto& path : {times_path, outputs_path, state_path}) std::filesystem::remove(path);
  return trace;
}

}  // namespace offramp::attacks
