// What every verb that reads a data set shares: the option's help, and wrong specs as wrong use.
#pragma once

#include "nets/data/data_error.h"
#include "nets/data/open_dataset.h"
#include "tools/frame/options.h"

#include <fmt/format.h>

#include <string>

namespace offramp::tools {

// The forms of a data set on the command line, one a line, for VerbInfo::details.
inline std::string dataset_forms() {
  std::string out = "Data sets:\n";
  for (const data::Family& family : data::known_families())
    out += fmt::format("  {:<15}{}\n", family.name, family.form);
  out += "Options follow a '?': tiny-imagenet:/data/tiny?side=32";
  return out;
}

// parse_spec, with UsageError for a spec that names no known family or option.
inline data::DatasetSpec checked_spec(const std::string& spec, data::OpenOptions defaults = {}) {
  try {
    return data::parse_spec(spec, std::move(defaults));
  } catch (const DataError& error) {
    throw UsageError(error.what());
  }
}

}  // namespace offramp::tools
