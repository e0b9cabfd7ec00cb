#include "nets/graph/state_names.h"

#include <algorithm>
#include <string_view>

namespace offramp::nets {
namespace {

// What wrappers put before or into the names of the modules that they wrap: DataParallel and averaged models
// (module.), torch.compile (_orig_mod.), Lightning and others that keep the net as a member (model., net.).
constexpr std::string_view kPrefixes[] = {"module.", "_orig_mod.", "model.", "net."};
constexpr std::string_view kInfixes[] = {".module.", "._orig_mod."};

std::string without_infixes(std::string text) {
  for (const std::string_view infix : kInfixes)
    for (std::size_t at = text.find(infix); at != std::string::npos; at = text.find(infix, at))
      text.replace(at, infix.size(), ".");
  return text;
}

}  // namespace

PlainName plain_name(const std::string& name, const std::function<bool(const std::string&)>& known) {
  std::size_t begin = 0;
  while (true) {
    const std::string rest = name.substr(begin);
    if (known(rest)) return {rest, name.substr(0, begin)};
    if (std::string inner = without_infixes(rest); known(inner))
      return {std::move(inner), name.substr(0, begin)};
    const auto prefix = std::find_if(std::begin(kPrefixes), std::end(kPrefixes), [&](std::string_view p) {
      return rest.starts_with(p) && rest.size() > p.size();
    });
    if (prefix == std::end(kPrefixes)) return {rest, name.substr(0, begin)};
    begin += prefix->size();
  }
}

bool is_counter(const std::string& name) {
  return name == "n_averaged" || name.ends_with(".n_averaged") || name.ends_with("num_batches_tracked");
}

}  // namespace offramp::nets
