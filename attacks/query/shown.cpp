#include "attacks/query/shown.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/errors.h"

namespace offramp::attacks {
namespace {

std::vector<std::size_t> largest_first(std::span<const float> row) {
  std::vector<std::size_t> order(row.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return row[a] > row[b]; });
  return order;
}

int number_behind(const std::string& text, const std::string& prefix) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + prefix.size(), end, value);
  return read.ec == std::errc() && read.ptr == end ? value : -1;
}

}  // namespace

std::string to_text(const ShownOptions& o) {
  switch (o.shown) {
    case Shown::kFull:
      return "full";
    case Shown::kTopK:
      return "top-" + std::to_string(o.top);
    case Shown::kRounded:
      return "rounded-" + std::to_string(o.decimals);
    case Shown::kLabel:
      return "label";
  }
  throw ValueError("answers: unknown kind");
}

ShownOptions shown_from(const std::string& text) {
  if (text == "full") return {};
  if (text == "label") return {.shown = Shown::kLabel};
  if (text.starts_with("top-"))
    if (const int k = number_behind(text, "top-"); k >= 1) return {.shown = Shown::kTopK, .top = k};
  if (text.starts_with("rounded-"))
    if (const int d = number_behind(text, "rounded-"); d >= 0 && d <= 7)
      return {.shown = Shown::kRounded, .decimals = d};
  throw ValueError("answers: expected full, top-K, rounded-DIGITS (0 to 7) or label, got " + in_quotes(text));
}

void show(const ShownOptions& o, std::span<float> row) {
  if (o.shown == Shown::kFull) return;
  if (o.shown == Shown::kRounded) {
    const double unit = std::pow(10.0, o.decimals);
    double sum = 0;
    std::vector<double> rounded;
    for (const float p : row) sum += rounded.emplace_back(std::round(static_cast<double>(p) * unit));
    for (std::size_t i = 0; i < row.size(); ++i)
      row[i] = static_cast<float>(sum > 0 ? rounded[i] / sum : 1 / static_cast<double>(row.size()));
    return;
  }
  const auto order = largest_first(row);
  const std::size_t told = o.shown == Shown::kLabel ? 1 : static_cast<std::size_t>(o.top);
  double rest = 1;
  for (std::size_t i = 0; i < told; ++i) rest -= static_cast<double>(row[order[i]]);
  if (o.shown == Shown::kLabel) row[order[0]] = 1, rest = 0;
  const double each = told < row.size() ? std::max(rest, 0.0) / static_cast<double>(row.size() - told) : 0;
  for (std::size_t i = told; i < row.size(); ++i) row[order[i]] = static_cast<float>(each);
}

ShownBlackBox::ShownBlackBox(BlackBox& victim, const ShownOptions& options)
    : victim_(victim), options_(options) {
  if (options.shown == Shown::kTopK && (options.top < 1 || options.top > victim.classes()))
    throw ValueError("answers: the victim has " + std::to_string(victim.classes()) + " classes, top " +
                     std::to_string(options.top) + " are wanted");
  if (options.shown == Shown::kRounded && (options.decimals < 0 || options.decimals > 7))
    throw ValueError("answers: 0 to 7 digits can be shown, got " + std::to_string(options.decimals));
}

Answer ShownBlackBox::query(const Tensor& images, Timing timing) {
  Answer answer = victim_.query(images, timing);
  auto values = answer.probabilities.to_host<float>();
  const auto width = static_cast<std::size_t>(classes());
  for (std::size_t at = 0; at < values.size(); at += width)
    show(options_, std::span(values).subspan(at, width));
  answer.probabilities = Tensor::from<float>(answer.probabilities.shape(), values, Device::cpu());
  answer.labels = labels_of(answer.probabilities);  // rounding may make several classes the first
  return answer;
}

}  // namespace offramp::attacks
