#include "nets/families/families.h"

#include <charconv>

#include "base/errors.h"
#include "kernels/losses.h"

namespace offramp::nets {

// A family's function, defined in the file of its name.
Backbone vgg16(const NetOptions& options);
Backbone resnet(const NetOptions& options, int blocks_per_stage);
Backbone mobilenet(const NetOptions& options);
Backbone mobilenet_v2(const NetOptions& options);
Backbone wide_resnet_32_4(const NetOptions& options);
Backbone msdnet(const NetOptions& options, int num_exits);
Backbone msdnet_growing(const NetOptions& options, int num_exits);
Backbone fcn18(const NetOptions& options, int width);
Backbone small_cnn(const NetOptions& options);

namespace {

int exactly(const Family& family, const std::string& name) { return name == family.form ? 1 : 0; }

// The integer where the form has <...>, or -1.
int number_of(const Family& family, const std::string& name) {
  const std::string form = family.form, prefix = form.substr(0, form.find('<'));
  if (!name.starts_with(prefix)) return -1;
  int number = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, number);
  return error == std::errc{} && stop == end ? number : -1;
}

// Blocks of a stage: n of 6n + 2 layers.
int resnet_blocks(const Family& family, const std::string& name) {
  const int depth = number_of(family, name);
  return depth >= 8 && depth <= 1202 && (depth - 2) % 6 == 0 ? (depth - 2) / 6 : 0;
}

int fcn_model(const Family& family, const std::string& name) {
  const int model = number_of(family, name);
  return model >= 1 && model <= 4 ? model : 0;
}

int exits_in_name(const Family& family, const std::string& name) {
  const int exits = number_of(family, name);
  return exits >= 2 && exits <= kMaxExits ? exits : 0;
}

constexpr Family kFamilies[] = {
    {.form = "vgg-16",
     .example = "vgg-16",
     .number_in = exactly,
     .make = [](const NetOptions& o, int) { return vgg16(o); },
     .weight_decay = 5e-4},
    {.form = "resnet-<6n+2>",
     .example = "resnet-8",
     .number_in = resnet_blocks,
     .make = resnet,
     .weight_decay = 1e-4},
    {.form = "mobilenet",
     .example = "mobilenet",
     .number_in = exactly,
     .make = [](const NetOptions& o, int) { return mobilenet(o); },
     .weight_decay = 1e-4},
    {.form = "mobilenet-v2",
     .example = "mobilenet-v2",
     .number_in = exactly,
     .make = [](const NetOptions& o, int) { return mobilenet_v2(o); },
     .weight_decay = 1e-4},
    {.form = "wrn-32-4",
     .example = "wrn-32-4",
     .number_in = exactly,
     .make = [](const NetOptions& o, int) { return wide_resnet_32_4(o); },
     .weight_decay = 5e-4},
    // The two published recipes are msdnet-7 and msdnet-growing-5.
    {.form = "msdnet-<exits>",
     .example = "msdnet-2",
     .number_in = exits_in_name,
     .make = msdnet,
     .weight_decay = 1e-4},
    {.form = "msdnet-growing-<exits>",
     .example = "msdnet-growing-2",
     .number_in = exits_in_name,
     .make = msdnet_growing,
     .weight_decay = 1e-4},
    // Widths are the paper's; the reference code has 3702 for the third.
    {.form = "fcn-18-<1..4>",
     .example = "fcn-18-1",
     .number_in = fcn_model,
     .make = [](const NetOptions& o, int model) { return fcn18(o, 1024 * model); },
     .weight_decay = 1e-4,
     .takes = Takes::kRows},
    {.form = "small-cnn",
     .example = "small-cnn",
     .number_in = exactly,
     .make = [](const NetOptions& o, int) { return small_cnn(o); },
     .weight_decay = 1e-4},
};

void append(std::string& list, const std::string& form) { list += (list.empty() ? "" : ", ") + form; }

}  // namespace

std::span<const Family> families() { return kFamilies; }

const Family* family_of(const std::string& name) {
  for (const Family& family : kFamilies) {
    if (family.number_in(family, name) > 0) return &family;
  }
  return nullptr;
}

const Family& known_family(const std::string& name) {
  if (const Family* family = family_of(name)) return *family;
  std::string known;
  for (const Family& family : kFamilies) append(known, family.form);
  throw ValueError("net: expected one of " + known + ", got " + in_quotes(name));
}

std::string forms_that_take(Takes takes) {
  std::string forms;
  for (const Family& family : kFamilies) {
    if (family.takes == takes) append(forms, family.form);
  }
  return forms;
}

std::vector<std::string> net_names() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.form);
  return names;
}

}  // namespace offramp::nets
