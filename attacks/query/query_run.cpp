#include "attacks/query/query_run.h"

#include <algorithm>
#include <random>
#include <utility>

#include "attacks/query/run_state.h"
#include "base/errors.h"
#include "base/hash.h"

namespace offramp::attacks {
namespace {

void check(const ImageSource& images, const QueryOptions& options) {
  if (images.count < 1) throw ValueError("query: there are no images");
  if (!(options.near_duplicates >= 0 && options.near_duplicates <= 1))
    throw ValueError("query: near_duplicates must lie in [0, 1]");
  if (options.block < 1 || options.repetitions < 0 || options.min_repetitions < 1 ||
      options.max_repetitions < options.min_repetitions)
    throw ValueError(
        "query: block >= 1, repetitions >= 0 and 1 <= min_repetitions <= max_repetitions are wanted");
}

// Throws FileError where `trace`, finished, is not what is wanted now.
void check_finished(const std::filesystem::path& path,
                    const Trace& trace,
                    const RunBinding& now,
                    int wanted_repetitions) {
  RunBinding old{
      static_cast<int>(trace.samples), trace.classes, trace.info.seed, trace.info.images_digest, {}};
  old.choice.repetitions = trace.repetitions;
  check_same(path, old, now, wanted_repetitions);
}

RepetitionChoice first_choice(BlackBox& victim,
                              const ImageSource& images,
                              const QueryOptions& options,
                              const std::function<void(const QueryProgress&)>& report) {
  if (options.repetitions == 0)
    return run_pilot(victim, images, options, [&](std::int64_t done, std::int64_t total) {
      if (report) report({done, total});
    });
  RepetitionChoice choice;
  choice.repetitions = options.repetitions;
  choice.because = std::to_string(options.repetitions) + " repetitions: as asked";
  return choice;
}

}  // namespace

Tensor near_duplicates(
    const Tensor& images, std::span<const std::int32_t> indices, double reach, std::uint64_t seed, int pass) {
  std::vector<float> values = images.to_host<float>();
  const std::size_t size = indices.empty() ? 0 : values.size() / indices.size();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    std::mt19937_64 rng(Fnv1a().add(seed).add(pass).add(indices[i]).value());
    for (float& value : std::span(values).subspan(i * size, size)) {
      const double uniform = static_cast<double>(rng() >> 11) * 0x1p-53;
      value = static_cast<float>(std::clamp(value + reach * (2 * uniform - 1), 0.0, 1.0));
    }
  }
  return Tensor::from<float>(images.shape(), values, images.device());
}

Trace query_victim(BlackBox& victim,
                   const ImageSource& images,
                   const std::filesystem::path& folder,
                   const QueryOptions& options,
                   const std::function<void(const QueryProgress&)>& report) {
  check(images, options);
  std::filesystem::create_directories(folder);
  QueryRunState state(folder);
  RunBinding run{images.count, victim.classes(), options.seed, digest_of(images), {}};
  if (has_trace(folder)) {
    Trace trace = read_trace(folder);
    check_finished(folder / "trace.json", trace, run, options.repetitions);
    state.remove();
    return trace;
  }
  if (state.begun()) {
    run = state.take_over(run, options.repetitions);
  } else {
    run.choice = first_choice(victim, images, options, report);
    state.write(run);
  }

  const std::int64_t n = images.count;
  std::int64_t done = state.open(run);
  Trace trace;
  std::vector<std::int32_t> order;
  int order_of = -1;
  for (bool enough = false; !enough;) {
    const std::int64_t total = n * run.choice.repetitions;
    while (done < total) {
      const int pass = static_cast<int>(done / n);
      if (pass != order_of) order = query_order(images.count, run.seed, order_of = pass);
      const std::int64_t at = done % n, count = std::min<std::int64_t>(options.block, n - at);
      const std::span indices(order.data() + at, static_cast<std::size_t>(count));
      Tensor batch = images.load(indices);
      if (options.near_duplicates > 0 && pass > 0) {
        batch = near_duplicates(batch, indices, options.near_duplicates, run.seed, pass);
      }
      state.append(victim.query(batch, Timing::kPerQuery), pass == 0);
      done += count;
      if (report) report({done, total, &run.choice});
    }
    trace.order = positions_of(run);
    trace.times_ns = state.times(run, trace.order);
    enough = options.repetitions > 0;
    if (!enough) {
      const auto more =
          more_repetitions(trace.times_as_double(), run.choice.repetitions, run.choice, options, trace.order);
      enough = more.repetitions == run.choice.repetitions;
      if (!enough) {
        run.choice = more;
        state.write(run);
      }
    }
  }
  trace.info = {options.victim,
                options.images,
                run.images_digest,
                run.seed,
                run.choice.sigma1_ns,
                run.choice.gap_ns,
                run.choice.because,
                options.image_parts,
                options.side,
                options.channels};
  trace.samples = n;
  trace.classes = run.classes;
  trace.repetitions = run.choice.repetitions;
  trace.outputs = state.outputs(run);
  write_trace(folder, trace);
  state.remove();
  return trace;
}

}  // namespace offramp::attacks
