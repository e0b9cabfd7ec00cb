// Audit: slowdown by DeepSloth (attacks/evasion), white box, in chunks until its share of the time is used.
#include "attacks/evasion/measures.h"
#include "nets/training/loader_source.h"
#include "tools/frame/interrupt.h"
#include "tools/verbs/audit/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace offramp::tools::audit {
namespace {

namespace ev = attacks::evasion;
constexpr int kChunk = 25, kMostImages = 250;
constexpr double kSlowdownShare = 0.1;

void append(ev::Judgement& all, ev::Judgement more) {
  const auto put = [](auto& to, auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  if (all.n() == 0) {
    all = std::move(more);
    return;
  }
  all.outputs.n += more.outputs.n;
  put(all.outputs.confidence, more.outputs.confidence);
  put(all.outputs.predicted, more.outputs.predicted);
  put(all.outputs.labels, more.outputs.labels);
  put(all.outputs.probabilities, more.outputs.probabilities);
  put(all.label, more.label);
  put(all.exit, more.exit);
}

}  // namespace

Section audit_slowdown(Work& work, const Target& target) {
  Section s{.name = "slowdown", .title = "Slowdown"};
  if (target.source == Source::kServed)
    return skipped(
        s.name,
        s.title,
        "slowdown",
        "it needs the gradients of the net: offramp audit of the checkpoint (against a copy: offramp evade transfer)");
  if (!target.loaded) return skipped(s.name, s.title, "slowdown", "there is no model, only its times");
  const nets::Network& net = *target.loaded->net;
  if (net.num_exits() == 1)
    return skipped(s.name, s.title, "slowdown", "the net has one exit: every input costs the same");
  ev::Victim victim = ev::victim_of(target.name, net, target.loaded->policy);
  victim.before_gradient = throw_if_interrupted;
  const ev::Attack& attack = ev::attack_named("sloth-linf");
  const int most = std::min(kMostImages, target.images.n);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(most));
  std::iota(rows.begin(), rows.end(), 0);
  nets::LoaderSource source(
      target.images, data::Augmentation{}, nets::LoaderSource::evaluation(most, rows), net.device());
  const ev::Images images = ev::images_of(source, net.input());
  ev::Settings settings = attack.defaults;
  settings.seed = work.settings.seed;
  ev::Judgement clean, attacked;
  const double until = work.budget.used() + kSlowdownShare * work.budget.total();
  Progress progress(work.session.log, "slowdown", static_cast<std::uint64_t>(most), "img");
  int done = 0;
  while (done < most && (done == 0 || work.budget.used() < until)) {
    const ev::Images chunk = ev::part(images, done, std::min(kChunk, most - done));
    const ev::Examples examples = ev::craft(victim, attack, chunk, settings, {.batch = kChunk});
    append(clean, ev::judge(victim, chunk));
    append(attacked, ev::judge(victim, examples.images));
    progress.update(static_cast<std::uint64_t>(done += chunk.n));
  }
  const ev::ExitChange change = ev::exit_change(victim, clean, attacked);
  const auto mean_macs = [&](const ev::Judgement& j) {
    double sum = 0;
    for (const auto e : j.exit) sum += static_cast<double>(victim.exit_macs[static_cast<std::size_t>(e)]);
    return sum / static_cast<double>(j.n());
  };
  const double before = mean_macs(clean), after = mean_macs(attacked),
               whole = static_cast<double>(net.costs().plain.macs);
  const auto bars = [](const std::vector<int>& counts) {
    std::string text;
    for (const int c : counts) text += (text.empty() ? "" : " / ") + std::to_string(c);
    return text;
  };
  report::Table table{
      .columns = {{"images", report::Align::kLeft},
                  {"mean MACs %"},
                  {"efficacy"},
                  {"leave at exit 1 / 2 / ..", report::Align::kLeft}},
      .caption = fmt::format(
          "{} of the first {} images, {} with eps {:.4g} and {} steps; efficacy 1: all leave at once",
          done,
          most,
          attack.name,
          settings.eps,
          settings.steps)};
  table.rows.push_back({"as they are",
                        fmt::format("{:.1f}", 100 * before / whole),
                        fmt::format("{:.3f}", change.efficacy_clean),
                        bars(change.clean)});
  table.rows.push_back({"attacked",
                        fmt::format("{:.1f}", 100 * after / whole),
                        fmt::format("{:.3f}", change.efficacy_attacked),
                        bars(change.attacked)});
  s.tables.push_back(table);
  if (done < most)
    s.paragraphs.push_back(fmt::format(
        "The time allowed {} images; offramp evade slowdown takes more, in three norms, with universal forms and detectors.",
        done));
  const double factor = after / before;
  s.data = {{"images", done},
            {"mean_macs_clean", before},
            {"mean_macs_attacked", after},
            {"factor", factor},
            {"efficacy_clean", change.efficacy_clean},
            {"efficacy_attacked", change.efficacy_attacked},
            {"exits_clean", change.clean},
            {"exits_attacked", change.attacked},
            {"eps", settings.eps},
            {"steps", settings.steps}};
  const auto later = change.at_least_one.share;
  if (later && later->low > 0.05) {
    s.findings.push_back(
        {"slowdown",
         Kind::kFail,
         factor > 2 ? "error" : "warning",
         fmt::format(
             "changes of {:.3g} a pixel make answers cost {:.2f} times as much; {:.1f} % of the images leave later ({:.1f} % at least)",
             settings.eps,
             factor,
             100 * later->estimate,
             100 * later->low)});
  } else {
    s.findings.push_back(
        {"slowdown",
         Kind::kOpen,
         "none",
         fmt::format("this attack makes answers cost {:.2f} times as much; another one may do more",
                     factor)});
  }
  return s;
}

}  // namespace offramp::tools::audit
