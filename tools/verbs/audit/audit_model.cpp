// Audit: the model itself: accuracy, cost, time, and where inputs leave at which threshold.
#include "attacks/extraction/images.h"
#include "nets/exits/evaluation.h"
#include "nets/training/loader_source.h"
#include "tools/frame/table.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/net/net_latency.h"

#include <fmt/format.h>

#include <numeric>

namespace offramp::tools::audit {
namespace {

constexpr int kTimedImages = 100;

std::string histogram_text(const std::vector<std::int64_t>& histogram, int n) {
  std::string text;
  for (const std::int64_t count : histogram)
    text += (text.empty() ? "" : " / ") + fmt::format("{:.1f}", 100.0 * static_cast<double>(count) / n);
  return text;
}

}  // namespace

Section audit_model(Work& work, const Target& target) {
  Section s{.name = "model", .title = "The model"};
  if (!target.loaded) return skipped(s.name, s.title, "", "there is no model, only its times");
  const nets::Network& net = *target.loaded->net;
  nets::LoaderSource source(
      target.images, data::Augmentation{}, nets::LoaderSource::evaluation(250, {}), net.device());
  const nets::ExitOutputs outputs = outputs_with_progress(work.session, "model", net, source);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(std::min(kTimedImages, target.images.n)));
  std::iota(rows.begin(), rows.end(), 0);
  const attacks::ImageSource images = attacks::image_source(target.images);
  const std::vector<double> ms = exit_milliseconds(net, images.load(rows).to(net.device()), kTimedImages);
  const std::vector<double> right = nets::accuracy(outputs);
  const auto& costs = net.costs();

  report::Table exits{
      .columns = {{"exit"}, {"accuracy %"}, {"MACs"}, {"share of the net %"}, {"ms, batch 1"}},
      .caption = fmt::format("Every exit on {} images, one thread", outputs.n)};
  s.data["exits"] = nlohmann::ordered_json::array();
  for (std::size_t e = 0; e < right.size(); ++e) {
    const double share = static_cast<double>(costs.exits[e].macs) / static_cast<double>(costs.plain.macs);
    exits.rows.push_back({std::to_string(e + 1),
                          fmt::format("{:.2f}", 100 * right[e]),
                          with_thousands(costs.exits[e].macs),
                          fmt::format("{:.1f}", 100 * share),
                          fmt::format("{:.4f}", ms[e])});
    s.data["exits"].push_back({{"accuracy", right[e]},
                               {"macs", costs.exits[e].macs},
                               {"relative_macs", share},
                               {"milliseconds", ms[e]}});
  }
  s.tables.push_back(exits);

  report::Table thresholds{.columns = {{"threshold"},
                                       {"accuracy %"},
                                       {"MACs %"},
                                       {"ms"},
                                       {"leave at exit 1 / 2 / .. %", report::Align::kLeft}},
                           .caption = "One threshold for all exits; in bold the model's own"};
  s.data["thresholds"] = nlohmann::ordered_json::array();
  report::Series curve{.name = "accuracy", .draw = report::Draw::kLineAndPoints};
  const auto row = [&](const std::string& name, const nets::ExitPolicy& policy) {
    const nets::PolicyResult result = nets::apply(policy, outputs, costs);
    double mean_ms = 0;
    for (std::size_t e = 0; e < ms.size(); ++e)
      mean_ms += ms[e] * static_cast<double>(result.histogram[e]) / outputs.n;
    thresholds.rows.push_back({name,
                               fmt::format("{:.2f}", 100 * result.accuracy),
                               fmt::format("{:.1f}", 100 * result.relative_macs),
                               fmt::format("{:.4f}", mean_ms),
                               histogram_text(result.histogram, outputs.n)});
    s.data["thresholds"].push_back({{"threshold", name},
                                    {"accuracy", result.accuracy},
                                    {"relative_macs", result.relative_macs},
                                    {"mean_macs", result.mean_macs},
                                    {"milliseconds", mean_ms},
                                    {"histogram", result.histogram}});
    return result;
  };
  if (net.num_exits() > 1) {
    const auto own = row("own", target.loaded->policy);
    thresholds.strong_rows.push_back(0);
    s.data["policy"] = {{"accuracy", own.accuracy},
                        {"relative_macs", own.relative_macs},
                        {"mean_macs", own.mean_macs},
                        {"histogram", own.histogram},
                        {"thresholds", target.loaded->policy.thresholds}};
    for (const double t : {.5, .6, .7, .8, .9, .95, .99}) {
      const auto result = row(fmt::format("{:g}", t), nets::ExitPolicy::uniform(net.num_exits(), t));
      curve.x.push_back(100 * result.relative_macs);
      curve.y.push_back(100 * result.accuracy);
      curve.point_labels.push_back(fmt::format("{:g}", t));
    }
    s.tables.push_back(thresholds);
    report::XyChart chart;
    chart.frame.title = "What exits save";
    chart.frame.subtitle = "one threshold for all exits, beside each point";
    chart.frame.x.label = "MACs, % of the whole net";
    chart.frame.y.label = "accuracy, %";
    chart.series.push_back(curve);
    s.figures.push_back({report::render(chart), "Accuracy and mean cost by threshold."});
  } else {
    s.paragraphs.push_back("The net has one exit: its time tells nothing of the exit.");
  }
  s.data["images"] = outputs.n;
  s.data["net"] = net.options().name;
  s.data["num_exits"] = net.num_exits();
  s.data["plain_macs"] = costs.plain.macs;
  s.data["accuracy"] = right.back();
  if (target.threshold_given)
    s.paragraphs.push_back(
        fmt::format("The threshold that was given, {:g} at every exit, stands for the model's own.",
                    target.loaded->policy.thresholds.empty() ? 0 : target.loaded->policy.thresholds[0]));
  else if (!target.tuned)
    s.paragraphs.push_back(
        "The model came without thresholds of its own: 0.9 at every exit is taken for them (offramp tune chooses better ones).");
  return s;
}

}  // namespace offramp::tools::audit
