#include "tools/verbs/trained_on.h"

#include "nets/data/class_names.h"
#include "nets/data/inspect.h"
#include "nets/data/split.h"
#include "nets/data/transform.h"
#include "nets/graph/metadata_text.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/inputs.h"

#include <fmt/format.h>

#include <algorithm>

namespace offramp::tools {
namespace {

constexpr const char* kSetKey = "data.set";
constexpr const char* kSideKey = "data.side";
constexpr const char* kPaddingKey = "data.padding";
constexpr const char* kGreyKey = "data.grey";
constexpr const char* kHeldOutKey = "data.held_out";
constexpr const char* kSeedKey = "data.seed";
constexpr const char* kContentsKey = "data.contents";
constexpr const char* kClassesKey = "data.classes";

bool has_test_part(const data::DatasetSpec& spec) {
  const std::vector<std::string> parts = data::splits_of(spec);
  return std::ranges::find(parts, "test") != parts.end();
}

// Whether a set without test part is the one that the net was trained on, however its path is spelled.
bool is_training_set(const TrainedOn& data, const Samples& samples) {
  return samples.set == data.set ||
         (!data.contents.empty() &&
          data::fingerprint(open_set(samples.set, "train", samples.open)) == data.contents);
}

data::DatasetSpec spec_of(const Samples& samples, bool from_checkpoint) {
  try {
    const data::DatasetSpec spec = checked_spec(samples.set, samples.open);
    data::splits_of(spec);  // looks into the files
    return spec;
  } catch (const Error& error) {
    if (!from_checkpoint) throw;
    throw UsageError(
        fmt::format("the net was trained on {}, which is not found from here; --data names where it is ({})",
                    in_quotes(samples.set),
                    error.what()));
  }
}

void choose_held_out(Session& session, const TrainedOn& data, Samples& samples, int count) {
  samples.split = "train";
  samples.held_out = count;
  if (data.set.empty()) return;
  if (data.held_out == 0 || count > data.held_out || samples.seed != data.seed)
    session.log.warn(fmt::format(
        "the net was trained on some of these {} samples: it saw all but {} held out with --seed {}",
        count,
        data.held_out,
        data.seed));
}

void say_what_comes_from(Session& session, const TrainedOn& data, const Samples& samples, bool set_too) {
  std::vector<std::string> parts;
  if (set_too) parts.push_back(samples.set);
  if (data.side > 0) parts.push_back(fmt::format("pictures resized to {}x{}", data.side, data.side));
  if (samples.held_out > 0 && samples.held_out == data.held_out && samples.seed == data.seed)
    parts.push_back(fmt::format("{} held-out samples (seed {})", samples.held_out, samples.seed));
  if (!data.class_names.empty()) parts.push_back(fmt::format("{} class names", data.class_names.size()));
  if (set_too || data.side > 0)
    session.log.info(fmt::format("data from the checkpoint: {}", fmt::join(parts, ", ")));
}

}  // namespace

TrainedOn trained_on(const nets::Metadata& metadata) {
  TrainedOn out;
  const auto read = [&]<class T>(const char* key, T& value) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return;
    if constexpr (std::is_same_v<T, std::string>)
      value = found->second;
    else
      value = nets::text::read_number<T>(key, found->second);
  };
  int grey = 0;
  std::string classes;
  read(kSetKey, out.set);
  read(kSideKey, out.side);
  read(kPaddingKey, out.padding);
  read(kGreyKey, grey);
  read(kHeldOutKey, out.held_out);
  read(kSeedKey, out.seed);
  read(kContentsKey, out.contents);
  read(kClassesKey, classes);
  if (out.side < 0 || out.padding < 0 || out.held_out < 0)
    throw ValueError("metadata data.*: expected sizes and counts from 0");
  out.grey = grey != 0;
  if (!classes.empty()) out.class_names = data::decode_class_names(classes);
  return out;
}

nets::Metadata to_metadata(const TrainedOn& data) {
  return {{kSetKey, data.set},
          {kSideKey, std::to_string(data.side)},
          {kPaddingKey, std::to_string(data.padding)},
          {kGreyKey, data.grey ? "1" : "0"},
          {kHeldOutKey, std::to_string(data.held_out)},
          {kSeedKey, std::to_string(data.seed)},
          {kContentsKey, data.contents},
          {kClassesKey, data::encode_class_names(data.class_names)}};
}

data::Picture as_trained(data::Picture picture, const TrainedOn& data, const nets::Extent& input) {
  const int inner = input.h - 2 * data.padding;
  if (data.grey) picture = data::to_grey(std::move(picture));
  if (data.padding > 0 && inner > 0 && (picture.h != input.h || picture.w != input.h)) {
    picture = data::pad_zero(data::resize_to(picture, inner), data.padding);
  } else {
    picture = data::resize_to(picture, input.h);
  }
  return input.c == 1 ? data::to_grey(std::move(picture)) : data::to_rgb(std::move(picture));
}

std::vector<std::int32_t> Samples::rows(int count) const {
  if (held_out == 0) return {};
  if (held_out >= count)
    throw UsageError(fmt::format("--held-out: the {} set has {} samples, got {}", split, count, held_out));
  return data::split_held_out(count, held_out, seed).held_out;
}

std::vector<std::int32_t> Samples::others(int count) const {
  return held_out == 0 ? std::vector<std::int32_t>{} : data::split_held_out(count, held_out, seed).train;
}

std::string Samples::text() const {
  if (held_out > 0) return fmt::format("{} held-out samples of {}", held_out, set);
  return split == "all" ? "all of " + set : split + " set of " + set;
}

void warn_if_changed(Session& session,
                     const TrainedOn& data,
                     const Samples& samples,
                     const data::Dataset& set) {
  if (samples.held_out == 0 || data.contents.empty() || data::fingerprint(set) == data.contents) return;
  session.log.warn(fmt::format(
      "{} is not what the net was trained on (its contents changed, or are read in another way): some of "
      "the {} held-out samples may be samples that the net was trained on",
      samples.set,
      samples.held_out));
}

void say_what_is_found(Session& session, const std::string& set, const data::OpenOptions& open) {
  const data::DatasetSpec spec = checked_spec(set, open);
  const std::string found = data::what_is_found(spec);
  if (spec.path_alone || found.find("test part") != std::string::npos)
    session.log.info(fmt::format("{}: {}", spec.text, found));
}

Samples samples_for(Session& session,
                    const TrainedOn& data,
                    const nets::Extent& input,
                    const SamplesWanted& wanted) {
  Samples samples{.set = wanted.set.empty() ? data.set : wanted.set, .open = open_options(session)};
  const bool from_checkpoint = wanted.set.empty();
  if (samples.set.empty())
    throw UsageError("--data is wanted: the checkpoint does not say what the net was trained on");
  if (from_checkpoint) session.will_read("holds the checkpoint's training data", samples.set);
  samples.seed = session.seed_given() || data.set.empty() ? session.seed() : data.seed;
  if (from_checkpoint) samples.open.seed = samples.seed;
  samples.open.side = data.side;
  samples.open.side_of_files = input.h > 1 ? input.h : 0;

  const data::DatasetSpec spec = spec_of(samples, from_checkpoint);
  std::string note;
  if (wanted.held_out && *wanted.held_out > 0) {
    choose_held_out(session, data, samples, *wanted.held_out);
  } else if (wanted.split == "held-out") {
    if (data.held_out == 0)
      throw UsageError(
          "--split held-out: the checkpoint knows of no held-out samples; train with --held-out N");
    choose_held_out(session, data, samples, data.held_out);
  } else if (wanted.split != "auto") {
    samples.split = wanted.split;
  } else if (!has_test_part(spec)) {
    if (data.held_out > 0 && is_training_set(data, samples)) {
      choose_held_out(session, data, samples, data.held_out);
      note = "there is no test part: the samples that training held out stand in for it";
    } else if (!from_checkpoint && data::splits_of(spec).front() == "all") {
      samples.split = "all";
      note = "the set has no parts: all of it is the test part";
    }  // else opening it says what is missing
  }
  say_what_comes_from(session, data, samples, from_checkpoint);
  if (!from_checkpoint) say_what_is_found(session, samples.set, samples.open);
  if (!note.empty()) session.log.info(fmt::format("{}: {}", spec.text, note));
  return samples;
}

}  // namespace offramp::tools
