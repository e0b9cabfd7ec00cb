// What a package brings beside the program: manual pages and completion for shells, made of the declarations that --help
// is made of.
#pragma once

#include "tools/frame/options.h"
#include "tools/frame/verb.h"

#include <string>
#include <vector>

namespace offramp::tools {

struct VerbText {
  VerbInfo info;
  std::vector<OptionText> own, shared;  // its own options, and those that every verb has
};

std::vector<std::string> words_of(const std::string& verb);  // "extract query": two

// Pages of section 1 in the macros of man(7): offramp(1), offramp-train(1), ..
std::string man_page(const std::vector<VerbText>& verbs, const std::string& version);
std::string man_page(const VerbText& verb, const std::string& version);
std::string page_name(const std::string& verb);  // "extract query": "offramp-extract-query"

// Scripts that complete verbs, options and the words that options take; files elsewhere.
std::string bash_completion(const std::vector<VerbText>& verbs);
std::string zsh_completion(const std::vector<VerbText>& verbs);
std::string fish_completion(const std::vector<VerbText>& verbs);

}  // namespace offramp::tools
