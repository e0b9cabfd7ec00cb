#pragma once
// A small well-formedness checker: tags nest and close, attributes are quoted and unique, references are
// known, no bare < or & in text. Enough for what our writers may produce; not a validator.
#include <string>
#include <string_view>
#include <vector>

namespace offramp::report {

struct XmlFacts {
  std::string error;               // empty: well formed
  std::vector<std::string> names;  // of all elements, in document order
  std::string text;                // of all text nodes, references resolved
  int count(std::string_view name) const;
};

XmlFacts check_xml(std::string_view document);

}  // namespace offramp::report
