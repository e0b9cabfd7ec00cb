#include "tools/verbs/extract/served_victim.h"

#include <chrono>
#include <cstdint>
#include <sstream>
#include <vector>

#include "nets/data/text.h"
#include "tools/frame/interrupt.h"

namespace offramp::tools {
namespace {

// "3,32,32"
std::vector<std::int64_t> extents_of(const std::string& text) {
  std::vector<std::int64_t> numbers;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) {
    const auto number = data::parse_int(word);
    if (!number || *number < 1)
      throw UsageError("--shape: expected whole numbers as in 3,32,32, got '" + text + "'");
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace

void ServedVictim::declare(Options& options, const std::string& group) {
  options.add(group + ".model", options_.model, "served: name of the model, where the server has several");
  options.add(
      group + ".shape", shape_, "served: shape of one image, C,H,W, where the server does not tell it");
  options.add(group + ".input", options_.input, "served: the tensor of the images, where there are several");
  options.add(group + ".output",
              options_.output,
              "served: the tensor of the probabilities or logits; default: the first");
  options.add(group + ".json_tensors",
              options_.json,
              "served: numbers as JSON even where the server takes binary tensors");
  options
      .add(group + ".patience",
           patience_s_,
           "served: seconds that a server which is away or busy is asked again")
      .range(0, 1e6)
      .free_on_resume();
}

bool ServedVictim::named() const {
  return !shape_.empty() || !options_.model.empty() || !options_.input.empty() || !options_.output.empty();
}

std::unique_ptr<attacks::RemoteBlackBox> ServedVictim::connect(Session& session,
                                                               const std::string& url) const {
  attacks::RemoteOptions options = options_;
  options.shape = extents_of(shape_);
  options.patience = std::chrono::milliseconds(static_cast<std::int64_t>(1000 * patience_s_));
  options.on_wait = [&session, said = std::string()](const std::string& why) mutable {
    throw_if_interrupted();
    if (why != said) session.log.warn("waiting for the server: " + (said = why));
  };
  auto victim = std::make_unique<attacks::RemoteBlackBox>(url, std::move(options));
  if (victim->shape().size() != 3)
    throw UsageError(url + ": the served model takes rows of features, not pictures");
  session.log.info(victim->description());
  return victim;
}

nets::Extent input_of(const attacks::RemoteBlackBox& victim) {
  nets::Extent input;
  input.c = static_cast<int>(victim.shape().at(0));
  input.h = static_cast<int>(victim.shape().at(1));
  input.w = static_cast<int>(victim.shape().at(2));
  return input;
}

}  // namespace offramp::tools
