#pragma once
// What a victim gives away beside its time (an axis of the study): all probabilities, the largest k, rounded ones, or
// the label alone. A black box in front of another one: the attacker behind it sees no more.
//
// Answers stay rows of probabilities, so that every attack works on them: what is not told is spread evenly over the classes
// that are not named, which is all that is known of them.
#include <cstdint>
#include <string>

#include "attacks/query/black_box.h"

namespace offramp::attacks {

enum class Shown { kFull, kTopK, kRounded, kLabel };

struct ShownOptions {
  Shown shown = Shown::kFull;
  int top = 1;       // kTopK: classes that are named with their probabilities
  int decimals = 2;  // kRounded: to so many digits behind the point, then scaled to sum 1
  friend bool operator==(const ShownOptions&, const ShownOptions&) = default;
};

// "full", "top-3", "rounded-2", "label", and back. ValueError that lists the forms.
std::string to_text(const ShownOptions& options);
ShownOptions shown_from(const std::string& text);

class ShownBlackBox final : public BlackBox {
 public:
  // The victim must outlive this. Throws ValueError: top outside 1..classes, decimals outside 0..7.
  ShownBlackBox(BlackBox& victim, const ShownOptions& options);
  int classes() const override { return victim_.classes(); }
  Answer query(const Tensor& images, Timing timing) override;

 private:
  BlackBox& victim_;
  ShownOptions options_;
};

// One row, as the attacker completes it. Ties of the largest go to the lower class.
void show(const ShownOptions& options, std::span<float> probabilities);

}  // namespace offramp::attacks
