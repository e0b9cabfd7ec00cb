// offramp trace: one picture through all exits of a net: what each would say, how sure it is, who answers, at what cost.
#include "tools/verbs/net/trace.h"

#include "base/atomic_file.h"
#include "base/utf8.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "tools/frame/table.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/net_latency.h"
#include "tools/verbs/net/pictures.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace offramp::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int kBarWidth = 40;  // characters for a probability of 1

// "######----|----------": `#` up to the value, `|` at the threshold, where there is one within [0,1].
std::string text_bar(double value, const double* threshold) {
  std::string bar(kBarWidth, ' ');
  const auto filled = static_cast<std::size_t>(std::lround(std::clamp(value, 0.0, 1.0) * kBarWidth));
  std::fill_n(bar.begin(), filled, '#');
  if (threshold != nullptr && *threshold >= 0 && *threshold <= 1) {
    const auto at = std::min<std::size_t>(static_cast<std::size_t>(*threshold * kBarWidth), kBarWidth - 1);
    bar[at] = '|';
  }
  bar.erase(bar.find_last_not_of(' ') + 1);
  return bar;
}

std::vector<std::size_t> ranking_of(const std::vector<float>& probabilities) {
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return probabilities[a] > probabilities[b];
  });
  return order;
}

std::string trace_text(const ExitTrace& trace) {
  std::size_t widest = 0;
  for (const auto& exit : trace.exits)
    for (std::size_t k = 0; k < trace.top; ++k)
      widest = std::max(widest, trace.class_names[exit.ranking[k]].size());
  std::string text = fmt::format("{}{}: {}, {} exits\n",
                                 trace.picture,
                                 trace.truth.empty() ? "" : " (" + trace.truth + ")",
                                 trace.net,
                                 trace.exits.size());
  for (std::size_t e = 0; e < trace.exits.size(); ++e) {
    const ExitTrace::Exit& exit = trace.exits[e];
    text += fmt::format(
        "\nexit {}: {} MACs, {:.1f} % of all", e + 1, with_thousands(exit.macs), 100 * exit.share);
    if (exit.ms >= 0) text += fmt::format(", {:.3f} ms", exit.ms);
    text += "\n";
    const double* threshold = e < trace.policy.thresholds.size() ? &trace.policy.thresholds[e] : nullptr;
    for (std::size_t k = 0; k < trace.top; ++k) {
      const std::size_t label = exit.ranking[k];
      const std::string line = fmt::format("  {:<{}}  {:.4f}  {}",
                                           trace.class_names[label],
                                           widest,
                                           exit.probabilities[label],
                                           text_bar(exit.probabilities[label], k == 0 ? threshold : nullptr));
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    text += "  " + decision_text(trace, e) + "\n";
  }
  return text + "\n" + answer_text(trace) + "\n";
}

ordered_json trace_json(const ExitTrace& trace) {
  ordered_json exits = ordered_json::array();
  for (std::size_t e = 0; e < trace.exits.size(); ++e) {
    const ExitTrace::Exit& exit = trace.exits[e];
    ordered_json one{{"exit", e + 1},
                     {"label", exit.ranking[0]},
                     {"class", trace.said_by(e)},
                     {"confidence", exit.confidence},
                     {"threshold", nullptr},
                     {"decision",
                      e > trace.stopped()    ? "not reached"
                      : e == trace.stopped() ? "leaves"
                                             : "goes on"},
                     {"macs", exit.macs},
                     {"share", exit.share},
                     {"milliseconds", nullptr},
                     {"probabilities", exit.probabilities}};
    if (e < trace.policy.thresholds.size()) one["threshold"] = trace.policy.thresholds[e];
    if (exit.ms >= 0) one["milliseconds"] = exit.ms;
    exits.push_back(std::move(one));
  }
  const ExitTrace::Exit& answer = trace.exits[trace.answered()];
  ordered_json object{{"picture", trace.picture}, {"truth", nullptr}, {"net", trace.net}};
  if (!trace.truth.empty()) object["truth"] = trace.truth;
  object["rule"] = to_text(trace.policy.rule);
  object["fallback"] = to_text(trace.policy.fallback);
  object["classes"] = trace.class_names;
  object["exits"] = std::move(exits);
  object["answer"] = {{"label", answer.ranking[0]},
                      {"class", trace.said_by(trace.answered())},
                      {"exit", trace.stopped() + 1},
                      {"answered", trace.answered() + 1},
                      {"confidence", answer.confidence}};
  return object;
}

class TraceVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "trace",
        .group = "Train and use nets",
        .summary = "follow one picture through the exits: what each says, who answers, at what cost",
        .example = "offramp trace 'fashion-mnist@test[7:1]' --model out/small --html trace.html",
        .details =
            "The picture is a JPEG, PNG or PPM file, treated as those that the net was trained on, or one "
            "image of a data set:\nDATASET[@SPLIT][FIRST:1], SPLIT train (default), test or all; FIRST counts "
            "from 0. All exits are computed; those behind\nthe one where the picture leaves are what `infer` "
            "would not have paid for. The bars end at the probability, a | is the\nthreshold. MACs are those "
            "of one picture up to the exit, earlier exits included; times are medians at batch 1."};
  }

  void declare(Options& o) override {
    o.add("trace.image", image_, "picture file, or one image of a data set").positional().required();
    o.add("trace.model", model_, kCheckpointOrOwn).alias("trace.weights", "--weights");
    o.add("trace.threshold", threshold_, "one threshold for all exits instead of the checkpoint's policy")
        .range(0, 1);
    o.add("trace.top", top_, "classes to show of each exit").range(1, 1000);
    o.add("trace.repetitions", repetitions_, "runs for the time of each exit; 0: not measured").range(0, 1e6);
    o.add("trace.html", html_, "write a page: the picture, every exit, its course").not_in_config().written();
  }

  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    const std::filesystem::path checkpoint = checkpoint_or_own("trace", model_);
    const nets::LoadedNet loaded = nets::load_net(checkpoint, device);
    const nets::Network& net = *loaded.net;
    const TrainedOn trained = trained_on(loaded.metadata);
    ExitTrace trace;
    trace.picture = visible(image_);
    trace.net = net.architecture().name;
    trace.policy = picture_policy("trace", model_.empty() ? "CHECKPOINT" : model_, loaded, threshold_);
    trace.top = std::min(static_cast<std::size_t>(top_), static_cast<std::size_t>(net.classes()));
    trace.seen = picture(session, net, trained, trace);
    name_classes(trained, net, trace);
    follow(net, pixels_of("trace", trace.seen, net, device), trace);
    if (!html_.empty()) write_file_atomically(html_, trace_page(trace));
    session.answer(trace_text(trace), trace_json(trace));
    return kDone;
  }

 private:
  // The picture as the net takes it; of an image of a data set also its label.
  data::Picture picture(Session& session,
                        const nets::Network& net,
                        const TrainedOn& trained,
                        ExitTrace& trace) const {
    std::error_code error;
    if (fs::is_directory(image_, error))
      throw UsageError(fmt::format("trace: expected one picture, {} is a folder; offramp infer takes folders",
                                   visible(image_)));
    if (!image_.ends_with(']') || fs::exists(image_, error)) {
      say_how_pictures_are_treated(session, net, trained, trained.class_names);
      return as_trained(data::read_picture(image_), trained, net.input());
    }
    const data::ImageSet set = open_labelled_images(session, image_, net.input());
    if (set.n != 1)
      throw UsageError(fmt::format(
          "trace: expected one image, '{}' has {}; [7:1] is the eighth alone", visible(image_), set.n));
    trace.truth = visible(set.class_names[static_cast<std::size_t>(set.labels[0])]);
    const auto pixels = set.image(0);
    return {.h = set.h, .w = set.w, .c = set.c, .pixels = {pixels.begin(), pixels.end()}};
  }

  static void name_classes(const TrainedOn& trained, const nets::Network& net, ExitTrace& trace) {
    for (int c = 0; c < net.classes(); ++c) {
      const auto at = static_cast<std::size_t>(c);
      trace.class_names.push_back(at < trained.class_names.size() ? visible(trained.class_names[at])
                                                                  : fmt::format("class {}", c));
    }
  }

  void follow(const nets::Network& net, const Tensor& x, ExitTrace& trace) const {
    const nets::FrozenNet frozen(net);
    const NoGrad no_grad;
    const auto& costs = net.costs().exits;
    std::vector<double> confidence;
    for (const Tensor& logits : frozen.forward(x)) {
      const nets::Cost& cost = costs[trace.exits.size()];
      ExitTrace::Exit exit{.probabilities = softmax(logits).to_host<float>(), .ranking = {}};
      nets::check_finite(exit.probabilities, static_cast<int>(trace.exits.size()));
      exit.ranking = ranking_of(exit.probabilities);
      exit.confidence = exit.probabilities[exit.ranking[0]];
      exit.macs = cost.macs;
      exit.share = static_cast<double>(cost.macs) / static_cast<double>(costs.back().macs);
      confidence.push_back(exit.confidence);
      trace.exits.push_back(std::move(exit));
    }
    trace.choice = nets::choose_exit(trace.policy, confidence);
    if (repetitions_ == 0) return;
    const std::vector<double> ms = exit_milliseconds(net, x, repetitions_);
    for (std::size_t e = 0; e < ms.size(); ++e) trace.exits[e].ms = ms[e];
  }

  std::string image_;
  fs::path model_, html_;
  std::optional<double> threshold_;
  int top_ = 3, repetitions_ = 20;
};

}  // namespace

std::string decision_text(const ExitTrace& trace, std::size_t e) {
  if (e > trace.stopped()) return "not reached";
  if (e + 1 == trace.exits.size()) return "the end of the net";
  const bool leaves = e == trace.stopped(), at_least = trace.policy.rule == nets::ExitRule::kAtLeast;
  return fmt::format("confidence {:.4f} {} threshold {:.6g}: {}",
                     trace.exits[e].confidence,
                     leaves ? (at_least ? ">=" : ">") : (at_least ? "<" : "<="),
                     trace.policy.thresholds[e],
                     leaves ? "leaves here" : "goes on");
}

std::string answer_text(const ExitTrace& trace) {
  const ExitTrace::Exit& stop = trace.exits[trace.stopped()];
  std::string text =
      fmt::format("answer: {}, {:.2f} % sure, left at exit {} of {} after {:.1f} % of the MACs",
                  trace.said_by(trace.answered()),
                  100 * trace.exits[trace.answered()].confidence,
                  trace.stopped() + 1,
                  trace.exits.size(),
                  100 * stop.share);
  if (trace.answered() != trace.stopped())
    text += fmt::format("; nobody was sure, exit {} was the most confident", trace.answered() + 1);
  const std::size_t last = trace.exits.size() - 1;
  if (trace.stopped() < last && trace.exits[last].ranking[0] != trace.exits[trace.answered()].ranking[0])
    text += fmt::format("; the end of the net would have said {}", trace.said_by(last));
  if (!trace.truth.empty()) text += fmt::format("; the label is {}", trace.truth);
  return text;
}

std::unique_ptr<Verb> make_trace_verb() { return std::make_unique<TraceVerb>(); }

}  // namespace offramp::tools
