// Where the samples of a data set leave: x the cost of getting so far, y who is still in the net. The area
// under the steps is the mean cost.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "figures.h"
#include "tools/report/svg_writer.h"

namespace offramp::guide {
namespace {

std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

std::string early_exit_figure(const std::filesystem::path& answer) {
  std::ifstream file(answer);
  const auto eval = nlohmann::json::parse(file, nullptr, false);
  if (!eval.is_object() || !eval.contains("policy"))
    throw std::runtime_error(answer.string() +
                             ": expected what `offramp eval --log json` prints for a net with thresholds");
  const auto& exits = eval.at("exits");
  const auto left = eval.at("policy").at("histogram").get<std::vector<double>>();
  const auto samples = eval.at("samples").get<double>();
  const double whole = exits.back().at("relative_macs").get<double>();

  constexpr double kWidth = 860, kHeight = 350, kLeft = 66, kRight = 845, kTop = 84, kBottom = 262;
  const auto x_of = [&](double cost) { return kLeft + (kRight - kLeft) * cost / whole; };
  const auto y_of = [&](double share) { return kBottom - (kBottom - kTop) * share; };
  report::SvgWriter svg(kWidth, kHeight, "Where the pictures leave");
  svg.rect(0, 0, kWidth, kHeight, "ground");
  svg.text(16, 24, "Easy pictures leave early", "title");
  svg.text(16,
           43,
           number("%.0f pictures; the coloured area is the mean cost: ", samples) +
               number("%.0f %% of the net without exits, ",
                      100 * eval.at("policy").at("relative_macs").get<double>()) +
               number("%.2f %% right ", 100 * eval.at("policy").at("accuracy").get<double>()) +
               number("(last exit for all: %.2f %%)", 100 * exits.back().at("accuracy").get<double>()),
           "sub");
  for (const double share : {0.0, 0.5, 1.0}) {
    svg.line(kLeft, y_of(share), kRight, y_of(share), "grid");
    svg.text(kLeft - 8, y_of(share) + 4, number("%.0f %%", 100 * share), "tick", report::Anchor::kEnd);
  }
  svg.text_up(18, (kTop + kBottom) / 2, "still in the net", "label");
  double inside = samples, before = 0;
  for (std::size_t e = 0; e < left.size(); ++e) {
    const double cost = exits[e].at("relative_macs").get<double>();
    const std::string colour = std::to_string(e % 8);
    svg.rect(x_of(before),
             y_of(inside / samples),
             x_of(cost) - x_of(before),
             kBottom - y_of(inside / samples),
             "bars f" + colour);
    svg.line(x_of(cost), kTop - 14, x_of(cost), kBottom + 8, "rule");
    const bool last = e + 1 == left.size();
    const double at = x_of(cost) - 6;
    const auto say = [&](double y, const std::string& text, const char* css) {
      svg.text(at, y, text, css, report::Anchor::kEnd);
    };
    say(kTop - 6, last ? "end" : "exit " + std::to_string(e + 1), "label");
    say(kBottom + 22, number("%.1f %% leave", 100 * left[e] / samples), "note");
    say(kBottom + 38, number("cost %.2f", cost), "tick");
    if (exits[e].contains("milliseconds"))
      say(kBottom + 54, number("%.0f us", 1000 * exits[e].at("milliseconds").get<double>()), "tick");
    inside -= left[e];
    before = cost;
  }
  svg.text((kLeft + kRight) / 2,
           kHeight - 12,
           std::string("cost so far: multiply-adds, as a share of the net without exits") +
               (exits[0].contains("milliseconds") ? "; time of one picture" : ""),
           "label",
           report::Anchor::kMiddle);
  return report::standalone_svg(std::move(svg).inline_svg());
}

}  // namespace offramp::guide
