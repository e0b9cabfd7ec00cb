#pragma once
// The table of nets: one row a family. Help, messages, training defaults and the generic tests read it, so that a
// new net is a file with its function, a row here and a line in CMake.
#include <span>
#include <string>

#include "nets/families/backbone.h"

namespace offramp::nets {

enum class Takes { kPixels, kRows };

struct Family {
  const char* form;     // of its names, as help prints it: "resnet-<6n+2>"
  const char* example;  // one of them, for tests: the smallest
  // The number in a name of this form (1 where the form has none), 0 for other names.
  int (*number_in)(const Family& family, const std::string& name);
  Backbone (*make)(const NetOptions& options, int number);
  double weight_decay;  // of training, where nothing else is asked for
  Takes takes = Takes::kPixels;
};

std::span<const Family> families();
// Null for a name of no family.
const Family* family_of(const std::string& name);
// Throws ValueError that lists the forms.
const Family& known_family(const std::string& name);
// The forms of those families: "vgg-16, resnet-<6n+2>, ...".
std::string forms_that_take(Takes takes);

}  // namespace offramp::nets
