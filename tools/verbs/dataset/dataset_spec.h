// What every verb that reads a data set shares: the option's help, and wrong specs as wrong use.
#pragma once

#include "nets/data/data_error.h"
#include "nets/data/families.h"
#include "tools/frame/options.h"

#include <fmt/format.h>

#include <string>

namespace offramp::tools {

// The forms of a data set on the command line, one a line, for VerbInfo::details.
inline std::string dataset_forms() {
  std::string out = "Data sets:\n";
  for (const data::Family& family : data::families())
    out += fmt::format("  {:<15}{}\n", family.name, family.form);
  out +=
      "A path alone is enough where its content says what it is. Options follow a '?', quoted in most shells:\n"
      "'tiny-imagenet:/data/tiny?side=32' resizes all pictures to 32x32.";
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
