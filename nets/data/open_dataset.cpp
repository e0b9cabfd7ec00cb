#include "nets/data/open_dataset.h"

#include <algorithm>

#include "nets/data/data_error.h"
#include "nets/data/families.h"
#include "nets/data/text.h"
#include "nets/data/transform.h"

namespace offramp::data {
namespace fs = std::filesystem;
namespace {

void check_split(const std::string& split) {
  if (split != "train" && split != "test" && split != "all")
    throw DataError("dataset: expected split train, test or all, found " + in_quotes(split));
}

// Where the options begin; npos: there are none. A '?' may also stand in the name of a file.
std::size_t options_at(const std::string& text) {
  const std::size_t question = text.rfind('?');
  if (question == std::string::npos) return question;
  std::error_code error;
  const std::size_t colon = text.find(':');
  const bool is_name =
      fs::exists(text, error) || (colon != std::string::npos && fs::exists(text.substr(colon + 1), error));
  return is_name ? std::string::npos : question;
}

void read_options(const std::string& tail, const std::string& text, OpenOptions& options) {
  for (const auto option : split_fields(tail, '&')) {
    const std::size_t equals = option.find('=');
    const std::int64_t value =
        equals == std::string_view::npos ? -1 : parse_int(option.substr(equals + 1)).value_or(-1);
    const std::string_view name = option.substr(0, equals);
    if (name == "side" && value >= 1 && value <= 4096)
      options.side = static_cast<int>(value);
    else if (name == "seed" && value >= 0)
      options.seed = static_cast<std::uint64_t>(value);
    else
      throw DataError("dataset: expected side=1..4096 or seed=0.. behind '?', found " + in_quotes(option) +
                      " in " + in_quotes(text));
  }
}

// "train" of a set without parts is all of it.
std::string part_for(const DatasetSpec& spec, const std::string& split) {
  const std::vector<std::string> parts = splits_of(spec);
  if (std::ranges::find(parts, split) != parts.end()) return split;
  if (parts.front() == "all" && split == "train") return "all";
  fail_in_file(spec.family,
               "the set has no " + split + " part, only " + parts.front() +
                   (split == "test" ? ": train sets samples of it aside (--held-out N)" : ""),
               spec.argument);
}

Dataset open_all(const DatasetSpec& spec) {
  const Family& family = family_of(spec.family);
  if (family.all_is_train) return family.open(spec, "train");
  const std::vector<std::string> parts = splits_of(spec);
  Dataset out = family.open(spec, parts.front());
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const Dataset next = family.open(spec, parts[i]);
    if (next.index() != out.index())
      fail_in_file(spec.family, "expected parts of one kind, found images and a table", spec.argument);
    if (const auto* images = std::get_if<ImageSet>(&next))
      out = concat(std::get<ImageSet>(out), *images);
    else
      out = concat(std::get<TableSet>(out), std::get<TableSet>(next));
  }
  return out;
}

}  // namespace

DatasetSpec parse_spec(const std::string& text, OpenOptions defaults) {
  DatasetSpec spec;
  spec.options = std::move(defaults);
  const std::size_t question = options_at(text);
  const std::string head = text.substr(0, question);
  const std::size_t colon = head.find(':');
  spec.text = head;
  spec.family = head.substr(0, colon);
  if (colon != std::string::npos) spec.argument = head.substr(colon + 1);
  const auto known = [&](const Family& family) { return family.name == spec.family; };
  if (std::ranges::none_of(families(), known) && fs::exists(head)) {
    const auto found = std::ranges::find_if(
        families(), [&](const Family& family) { return family.holds != nullptr && family.holds(head); });
    if (found == families().end())
      fail_in_file("dataset", "expected a folder, .npz, .csv or .mat, found another file", head);
    spec.family = found->name;
    spec.path_alone = true;
    spec.argument = head;
  }
  family_of(spec.family);  // or throws
  if (question != std::string::npos) read_options(text.substr(question + 1), text, spec.options);
  return spec;
}

std::string what_is_found(const DatasetSpec& spec) {
  const Family& family = family_of(spec.family);
  if (family.found != nullptr) return family.found(spec);
  const std::vector<std::string> parts = splits_of(spec);
  std::string out(family.name);
  if (parts.front() == "all") return out + ", one set without parts";
  for (std::size_t i = 0; i < parts.size(); ++i) out += (i == 0 ? ", part " : " and ") + parts[i];
  return out;
}

std::string side_hint(const DatasetSpec& spec) {
  return "give it as " + shell_quoted(spec.text + "?side=32") +
         ", with the quotes, to resize all pictures to 32x32";
}

std::vector<std::string> splits_of(const DatasetSpec& spec) { return family_of(spec.family).splits(spec); }

Dataset open_dataset(const std::string& text, const std::string& split, const OpenOptions& options) {
  check_split(split);
  const DatasetSpec spec = parse_spec(text, options);
  Dataset out = split == "all" ? open_all(spec) : family_of(spec.family).open(spec, part_for(spec, split));
  if (auto* images = std::get_if<ImageSet>(&out)) {
    if (spec.options.side != 0) *images = resize_to(*images, spec.options.side);
    images->family = spec.family;
    check(*images, spec.family);
  } else {
    check(std::get<TableSet>(out), spec.family);
  }
  return out;
}

ImageSet open_images(const std::string& spec, const std::string& split, const OpenOptions& options) {
  Dataset set = open_dataset(spec, split, options);
  if (auto* images = std::get_if<ImageSet>(&set)) return std::move(*images);
  throw DataError("dataset: expected images, " + in_quotes(spec) + " is a table");
}

TableSet open_table(const std::string& spec, const std::string& split, const OpenOptions& options) {
  Dataset set = open_dataset(spec, split, options);
  if (auto* table = std::get_if<TableSet>(&set)) return std::move(*table);
  throw DataError("dataset: expected a table, " + in_quotes(spec) + " is a set of images");
}

}  // namespace offramp::data
