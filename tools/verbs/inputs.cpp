#include "tools/verbs/inputs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/embedded_weights.h"
#include "base/mapped_file.h"
#include "nets/data/class_names.h"
#include "nets/data/text.h"
#include "nets/data/transform.h"
#include "tools/verbs/dataset/dataset_spec.h"

namespace offramp::tools {
namespace {

struct Part {
  std::string spec, split = "train";
  std::int64_t first = 0, count = -1;  // -1: to the end
};

Part parse_part(const std::string& text) {
  Part part{.spec = text};
  const auto fail = [&text] {
    throw UsageError("images: expected DATASET[@SPLIT][[FIRST:COUNT]], got '" + text + "'");
  };
  if (part.spec.ends_with(']')) {
    const std::size_t open = part.spec.rfind('[');
    if (open == std::string::npos) fail();
    const std::string range = part.spec.substr(open + 1, part.spec.size() - open - 2);
    const std::size_t colon = range.find(':');
    if (colon == std::string::npos) fail();
    const auto first = data::parse_int(range.substr(0, colon)),
               count = data::parse_int(range.substr(colon + 1));
    if (!first || !count || *first < 0 || *count < 1) fail();
    part.first = *first;
    part.count = *count;
    part.spec.resize(open);
  }
  if (const std::size_t at = part.spec.rfind('@'); at != std::string::npos) {
    part.split = part.spec.substr(at + 1);
    part.spec.resize(at);
    if (part.split != "train" && part.split != "test" && part.split != "all") fail();
  }
  return part;
}

// A set as the nets take it: channels and side of `input`.
data::ImageSet fit_to(const data::ImageSet& set, const nets::Extent& input) {
  data::ImageSet out = input.c == 3 ? data::grey_to_rgb(set) : input.c == 1 ? data::rgb_to_grey(set) : set;
  if (out.c != input.c)
    throw DataError(fmt::format(
        "images: the net takes {} channels, the images have {} ({})", input.c, out.c, set.source));
  return out.h == input.h && out.w == input.w ? out : data::resize_to(out, input.h);
}

std::filesystem::path first_in(const std::filesystem::path& given, const std::vector<const char*>& names) {
  if (!std::filesystem::is_directory(given)) return given;
  for (const char* name : names)
    if (std::filesystem::exists(given / name)) return given / name;
  throw UsageError(fmt::format("{}: expected a checkpoint or a run folder with one, found none of {} in it",
                               given.string(),
                               fmt::join(names, ", ")));
}

}  // namespace

std::filesystem::path checkpoint_of(const std::filesystem::path& given) {
  return first_in(
      given,
      {"victim.safetensors", "checkpoints/last.safetensors", "copy.safetensors", "substitute.safetensors"});
}

std::filesystem::path checkpoint_or_own(const std::string& verb, const std::filesystem::path& given) {
  if (!given.empty()) return checkpoint_of(given);
  const std::filesystem::path own = embedded::this_program();
  if (embedded::weights_of(own, MappedFile(own).bytes()).empty()) {
    throw UsageError(
        verb +
        ": expected a checkpoint (--weights FILE), got none, and this program carries no weights; offramp "
        "embed MODEL --to FILE makes one that does");
  }
  return own;
}

std::filesystem::path copy_checkpoint_of(const std::filesystem::path& given) {
  return first_in(given, {"substitute.safetensors", "copy.safetensors", "checkpoints/last.safetensors"});
}

data::OpenOptions open_options(const Session& session) {
  data::OpenOptions open;
  open.seed = session.seed();
  open.threads = session.threads();
  return open;
}

data::Dataset open_set(const std::string& set, const std::string& split, const data::OpenOptions& open) {
  const data::DatasetSpec spec = checked_spec(set, open);
  try {
    return data::open_dataset(set, split, open);
  } catch (const DataError& error) {
    if (data::family_of(spec.family).list == nullptr || !std::filesystem::is_directory(spec.argument)) throw;
    throw DataError(std::string(error.what()) + "; offramp dataset verify " + shell_quoted(set) +
                    " names every picture that is in the way");
  }
}

data::ImageSet open_pictures(Session& session,
                             const TrainedOn& trained,
                             const Samples& samples,
                             const nets::Extent& input) {
  data::Dataset opened = open_set(samples.set, samples.split, samples.open);
  auto* set = std::get_if<data::ImageSet>(&opened);
  if (set == nullptr) throw UsageError(samples.set + ": expected pictures, this is a table");
  warn_if_changed(session, trained, samples, opened);
  if (samples.held_out > 0) *set = data::subset(*set, samples.rows(set->n));
  if (!trained.class_names.empty()) {
    try {
      data::match_classes(trained.class_names, set->class_names, set->labels, samples.set);
    } catch (const DataError& error) {
      throw UsageError(error.what());
    }
  }
  return fit_to(*set, input);
}

std::string query_image_forms() {
  return "Images are named DATASET[@SPLIT][[FIRST:COUNT]], SPLIT train (default), test or all, and resized to what the "
         "victim takes:\n"
         "  fashion-mnist@train[50000:4000]   4,000 images from the 50,001st on\n"
         "  synthetic:leaves:8000             8,000 generated pictures\n"
         "Several (--images A --images B) are put one behind the other.\n" +
         dataset_forms();
}

namespace {

// The set that a part was taken from, for the next part: sets are read and decoded whole.
struct OpenedSet {
  std::string spec, split;
  data::ImageSet images;
};

data::ImageSet open_part(Session& session,
                         const std::string& text,
                         const nets::Extent& input,
                         OpenedSet& opened) {
  const Part part = parse_part(text);
  if (opened.spec != part.spec || opened.split != part.split) {
    data::OpenOptions open = open_options(session);
    open.side_of_files = input.h;
    checked_spec(part.spec, open);
    opened = {};
    opened = {part.spec, part.split, data::open_images(part.spec, part.split, open)};
  }
  const data::ImageSet& set = opened.images;
  const std::int64_t count = part.count < 0 ? set.n - part.first : part.count;
  if (part.first + count > set.n || count < 1)
    throw UsageError(fmt::format("images: '{}' wants images {} to {}, the set has {}",
                                 text,
                                 part.first,
                                 part.first + count - 1,
                                 set.n));
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(static_cast<std::int32_t>(part.first + i));
  session.log.info(fmt::format("images: {} of {}, part {}", count, part.spec, part.split));
  if (const int squashed = set.h == set.w ? set.squashed : set.n; squashed > 0)
    session.log.info(
        fmt::format("{} of the {} pictures there are not square: they are squashed to {}x{}, not cropped",
                    squashed,
                    set.n,
                    input.h,
                    input.h));
  return fit_to(data::subset(set, rows), input);
}

}  // namespace

data::ImageSet open_labelled_images(Session& session, const std::string& text, const nets::Extent& input) {
  OpenedSet opened;
  return open_part(session, text, input, opened);
}

data::ImageSet open_query_images(Session& session,
                                 const std::vector<std::string>& parts,
                                 const nets::Extent& input) {
  if (parts.empty()) throw UsageError("images: name at least one part");
  data::ImageSet all;
  OpenedSet opened;
  for (const std::string& text : parts) {
    data::ImageSet set = open_part(session, text, input, opened);
    set.class_names = {"unlabelled"};  // an attacker has no labels
    std::fill(set.labels.begin(), set.labels.end(), 0);
    all = all.n == 0 ? std::move(set) : data::concat(all, set);
  }
  return all;
}

data::ImageSet open_grouped_images(Session& session,
                                   const std::vector<std::string>& parts,
                                   const nets::Extent& input) {
  if (parts.empty()) throw UsageError("images: name at least one part");
  data::ImageSet all;
  std::vector<std::int32_t> labels;
  std::vector<std::string> names;
  OpenedSet opened;
  for (const std::string& text : parts) {
    data::ImageSet set = open_part(session, text, input, opened);
    const auto before = static_cast<std::int32_t>(names.size());
    for (const auto label : set.labels) labels.push_back(before + label);
    names.insert(names.end(), set.class_names.begin(), set.class_names.end());
    set.class_names = {"unlabelled"};
    std::fill(set.labels.begin(), set.labels.end(), 0);
    all = all.n == 0 ? std::move(set) : data::concat(all, set);
  }
  all.labels = std::move(labels);
  all.class_names = std::move(names);
  return all;
}

void say_single_exit(Session& session, const nets::LoadedNet& victim) {
  if (victim.net->num_exits() == 1)
    session.log.warn(
        "the victim has a single exit: its running time tells nothing, and a copy has no exits to learn");
}

void describe_images(const std::vector<std::string>& parts,
                     const data::ImageSet& images,
                     attacks::QueryOptions& query) {
  query.images = joined(parts);
  query.image_parts = parts;
  query.side = images.h;
  query.channels = images.c;
}

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, " + "));
}

}  // namespace offramp::tools
