#include "tools/verbs/inputs.h"

#include <fmt/format.h>

#include <algorithm>

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
  data::ImageSet out = input.c == 3 && set.c == 1 ? data::grey_to_rgb(set) : set;
  if (out.c != input.c)
    throw DataError(fmt::format(
        "images: the net takes {} channels, the images have {} ({})", input.c, out.c, set.source));
  return out.h == input.h && out.w == input.w ? out : data::resize_to(out, input.h);
}

data::OpenOptions options_of(const Session& session) {
  data::OpenOptions open;
  open.seed = session.seed();
  open.threads = session.threads();
  return open;
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

std::filesystem::path copy_checkpoint_of(const std::filesystem::path& given) {
  return first_in(given, {"substitute.safetensors", "copy.safetensors", "checkpoints/last.safetensors"});
}

data::Dataset open_set(const Session& session, const std::string& spec, const std::string& split) {
  const data::OpenOptions open = options_of(session);
  checked_spec(spec, open);
  return data::open_dataset(spec, split, open);
}

data::ImageSet open_pictures(const Session& session,
                             const std::string& spec,
                             const std::string& split,
                             const nets::Extent& input) {
  const data::OpenOptions open = options_of(session);
  checked_spec(spec, open);
  return fit_to(data::open_images(spec, split, open), input);
}

std::string query_image_forms() {
  return "Images are named DATASET[@SPLIT][[FIRST:COUNT]], SPLIT train (default), test or all:\n"
         "  fashion-mnist@train[50000:4000]   4,000 images from the 50,001st on\n"
         "  synthetic:leaves:8000             8,000 generated pictures\n"
         "Several are put one behind the other.\n" +
         dataset_forms();
}

data::ImageSet open_labelled_images(const Session& session,
                                    const std::string& text,
                                    const nets::Extent& input) {
  const Part part = parse_part(text);
  const data::OpenOptions open = options_of(session);
  checked_spec(part.spec, open);
  const data::ImageSet set = data::open_images(part.spec, part.split, open);
  const std::int64_t count = part.count < 0 ? set.n - part.first : part.count;
  if (part.first + count > set.n || count < 1)
    throw UsageError(fmt::format("images: '{}' wants images {} to {}, the set has {}",
                                 text,
                                 part.first,
                                 part.first + count - 1,
                                 set.n));
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(static_cast<std::int32_t>(part.first + i));
  return fit_to(data::subset(set, rows), input);
}

data::ImageSet open_query_images(const Session& session,
                                 const std::vector<std::string>& parts,
                                 const nets::Extent& input) {
  if (parts.empty()) throw UsageError("images: name at least one part");
  data::ImageSet all;
  for (const std::string& text : parts) {
    data::ImageSet set = open_labelled_images(session, text, input);
    set.class_names = {"unlabelled"};  // an attacker has no labels
    std::fill(set.labels.begin(), set.labels.end(), 0);
    all = all.n == 0 ? std::move(set) : data::concat(all, set);
  }
  return all;
}

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, " + "));
}

}  // namespace offramp::tools
