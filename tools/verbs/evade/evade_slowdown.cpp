// offramp evade slowdown: attacks that keep every exit unsure, their baselines, and detectors of such traffic.
#include "attacks/evasion/detector.h"
#include "attacks/evasion/universal.h"
#include "base/atomic_file.h"
#include "stats/membership/control.h"
#include "stats/roc.h"
#include "tools/frame/interrupt.h"
#include "tools/frame/table.h"
#include "tools/report/figures.h"
#include "tools/report/html_report.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/evade/text.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <numeric>
#include <set>

namespace offramp::tools::evade {
namespace {

using namespace attacks::evasion;
using nlohmann::ordered_json;

class EvadeSlowdownVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "evade slowdown",
        .group = "Attack",
        .summary = "inputs that make a net with exits run to its end, and whether that can be seen",
        .example = "offramp evade slowdown out/mobilenet --data cifar10:DIR --norm linf --rad 0.05",
        .details =
            "DeepSloth: for each image (sample), one perturbation for all (universal) and one a class (class), the\n"
            "latter two made on training images. Baselines: pgd-last (eps 1/32, step .001, 20 steps on the last exit),\n"
            "pgd-avg and pgd-max (the same on the mean loss and on the exit that harms most), uap.\n"
            "Efficacy: the area under the share of images that have left, over the cost; 1 is all at once, near 0 is\n"
            "nobody early. --rad R chooses the threshold as DeepSloth does: of .05 .. .95 the cheapest whose accuracy on\n"
            "the clean images is above (1 - R) times the last exit's.\n"
            "Detectors learn from the first half of the clean images and are judged on the second: a trajectory score\n"
            "per image (confidences of the internal classifiers), a histogram score per window of images (exits taken).\n"
            "Writes examples/, exits.csv, plots/, report.html.",
        .run_folder = true};
  }

  void declare(Options& o) override {
    o.add("slowdown.victim", checkpoint_, "checkpoint, or run folder of train").positional().required();
    evade::declare(o, "slowdown", images_);
    o.add("slowdown.norms", norms_, "of DeepSloth; several: again")
        .flag("--norm")
        .choices({"linf", "l2", "l1"});
    o.add("slowdown.forms", forms_, "of DeepSloth; several: again")
        .flag("--form")
        .choices({"sample", "universal", "class"});
    o.add("slowdown.baselines", baselines_, "attacks on accuracy beside it; several: again")
        .flag("--baseline")
        .choices({"pgd-last", "pgd-avg", "pgd-max", "uap"});
    o.add("slowdown.training_images",
          training_,
          "images of the training part for universal perturbations and uap")
        .range(1, 1e6);
    o.add("slowdown.steps",
          steps_,
          "iterations of each DeepSloth; 0: its own (30, 550, 250; universal 20, 550, 100)")
        .range(0, 1e6);
    o.add("slowdown.rad", rad_, "choose the threshold by relative accuracy drop: 0.05 or 0.15").range(0, 1);
    o.add("slowdown.window", window_, "images of one window of the histogram detector").range(2, 1e6);
    o.add("slowdown.batch", batch_, "images at once; examples do not depend on it")
        .range(1, 1e5)
        .not_in_config();
    evade::declare(o, "slowdown", policy_);
  }

  int run(Session& session) override {
    if (rad_ && policy_.threshold)
      throw UsageError("--rad chooses the threshold that --threshold gives: one of the two");
    if (rad_ &&
        (policy_.rule != evade::PolicyOptions().rule || policy_.fallback != evade::PolicyOptions().fallback))
      throw UsageError(
          "--rule and --fallback are those of --threshold; --rad chooses among those of >= and last");
    const Device device = Device::by_name(session.device());
    OpenVictim open = open_victim(checkpoint_, device, policy_);
    if (!open.victim.is_dynamic())
      throw UsageError(checkpoint_ + ": has one exit; nothing can be slowed down");
    const Images images = open_images(session, images_, open, device);
    if (images.n < 4 * window_) {
      throw UsageError(
          fmt::format("slowdown: {} images, the detectors want at least four windows of {} (--window)",
                      images.n,
                      window_));
    }
    RunFolder& folder = session.folder();
    folder.bind(open.file);
    examples_ = folder.folder("examples");
    if (rad_)
      open.victim.policy = policy_by_accuracy_drop(open.victim, judge(open.victim, images).outputs, *rad_);
    const Victim& victim = open.victim;
    const Judgement clean = judge(victim, images);
    std::vector<Row> rows = {{.name = "clean", .images = images, .judgement = clean}};
    for (const std::string& norm : norms_) {
      for (const std::string& form : forms_) rows.push_back(sloth(session, open, device, images, norm, form));
    }
    for (const std::string& name : baselines_) rows.push_back(baseline(session, open, device, images, name));

    Table table({"attack",
                 "efficacy",
                 "mean MACs %",
                 "accuracy %",
                 "mean L2",
                 "PSNR dB",
                 "image AUC",
                 "TPR at 5 %",
                 "window AUC"});
    Table exits({"attack", "exit", "images"});
    ordered_json results{{"victim", json_of(open)}, {"images", images.n}, {"attacks", ordered_json::array()}};
    std::vector<ExitSeries> bars;
    std::vector<std::string> curves;
    for (const Row& row : rows)
      results["attacks"].push_back(describe(row, rows[0], victim, table, exits, bars, curves));
    exits.write_csv(folder.file("exits.csv"));
    figures(folder, rows, bars, curves, table);
    folder.results(results);
    folder.done();
    std::string thresholds;
    for (const double t : victim.policy.thresholds) thresholds += fmt::format(" {:.4g}", t);
    session.answer(
        table.text() +
            fmt::format("{} images; thresholds{}; MACs of the whole net = 100 %\n", images.n, thresholds),
        results);
    return kDone;
  }

 private:
  struct Row {
    std::string name;
    Images images;
    Judgement judgement;
    int without_training = 0;  // images of classes that have no perturbation; they count all the same
  };

  // Training images, opened once, when somebody asks.
  const Images& training(Session& session, const OpenVictim& open, const Device& device) {
    if (trained_on_.n == 0) {
      trained_on_ = open_images(
          session, {.data = images_.data, .split = "train", .first = 0, .count = training_}, open, device);
    }
    return trained_on_;
  }

  // Where an interrupted run left it, else made and written.
  template <class Make>
  Row universal_row(Session& session,
                    const Victim& victim,
                    const Images& images,
                    const std::string& name,
                    Norm norm,
                    double eps,
                    Make make) {
    const std::filesystem::path file = examples_ / (name + ".npz");
    Examples examples{.images = images,
                      .exit = std::vector<std::int32_t>(images.numbers.size(), 0),
                      .macs = std::vector<double>(images.numbers.size(), 0)};
    if (session.resume() && std::filesystem::exists(file)) {
      examples = read_examples(file, images);
      if (examples.images.n != images.n) throw FileError(file.string(), "holds examples of other images");
    } else {
      examples.images = make();
      write_examples(file, examples);
    }
    check_bounds(norm, eps, images, examples.images);
    return {.name = name, .images = examples.images, .judgement = judge(victim, examples.images)};
  }

  Row sample_row(Session& session,
                 const Victim& victim,
                 const Images& images,
                 const std::string& name,
                 const Attack& attack,
                 const Settings& settings) {
    const MadeExamples made =
        make_examples(session, examples_ / (name + ".npz"), name, victim, attack, images, settings, batch_);
    return {.name = name, .images = made.examples.images, .judgement = judge(victim, made.examples.images)};
  }

  Row sloth(Session& session,
            const OpenVictim& open,
            const Device& device,
            const Images& images,
            const std::string& norm_name,
            const std::string& form) {
    const Norm norm = norm_name == "l2" ? Norm::kL2 : norm_name == "l1" ? Norm::kL1 : Norm::kLinf;
    const std::string name = fmt::format("sloth-{}-{}", norm_name, form);
    if (form == "sample") {
      const Attack& attack = attack_named("sloth-" + norm_name);
      Settings settings = attack.defaults;
      settings.seed = session.seed();
      if (steps_ > 0) settings.steps = steps_;
      return sample_row(session, open.victim, images, name, attack, settings);
    }
    UniversalSettings s = universal_defaults(norm);
    s.seed = session.seed();
    if (steps_ > 0) s.steps = steps_;
    Row row = universal_row(session, open.victim, images, name, norm, s.eps, [&] {
      const Images& from = training(session, open, device);
      const std::uint64_t all = static_cast<std::uint64_t>(s.steps) *
                                static_cast<std::uint64_t>(form == "class" ? open.victim.classes() : 1);
      Progress progress(session.log, name, all, "steps");
      std::uint64_t done = 0;
      s.progress = [&](int, int) {
        throw_if_interrupted();
        progress.update(++done);
      };
      if (form == "class")
        return apply_universal(images, norm, s.eps, class_universal_sloth(open.victim, from, norm, s));
      return apply_universal(images, norm, s.eps, universal_sloth(open.victim, from, norm, s));
    });
    if (form == "class") {
      const std::vector<std::int32_t>& labels = training(session, open, device).labels;
      const std::set<std::int32_t> known(labels.begin(), labels.end());
      for (const std::int32_t label : images.labels) row.without_training += known.contains(label) ? 0 : 1;
    }
    if (row.without_training > 0)
      session.log.warn(fmt::format(
          "{}: {} of {} images are of classes that the {} training images lack; they stay as they are and "
          "count all the same (--training-images)",
          name,
          row.without_training,
          images.n,
          trained_on_.n));
    return row;
  }

  Row baseline(Session& session,
               const OpenVictim& open,
               const Device& device,
               const Images& images,
               const std::string& name) {
    if (name == "uap") {
      return universal_row(session, open.victim, images, name, Norm::kLinf, UapSettings{}.eps, [&] {
        const Images from = part(training(session, open, device), 0, 100);
        const Uap uap = universal_adversarial(open.victim, from, {});
        session.log.info(fmt::format("uap: fools {:.0f} % of {} training images after {} passes",
                                     100 * uap.fooled,
                                     from.n,
                                     uap.passes));
        return apply_universal(images, Norm::kLinf, UapSettings{}.eps, uap.delta);
      });
    }
    const Attack& attack = attack_named(name == "pgd-last"  ? "pgd"
                                        : name == "pgd-max" ? "max-average"
                                                            : "pgd-avg");
    Settings settings = attack.defaults;
    settings.eps = 0.03125;
    settings.step = 0.001;
    settings.steps = 20;
    settings.seed = session.seed();
    settings.path = {Through::kOneExit, open.victim.num_exits() - 1};
    return sample_row(session, open.victim, images, name, attack, settings);
  }

  // Half the images: calibration, or judging.
  static std::vector<int> half(int n, bool second) {
    std::vector<int> rows;
    for (int i = second ? n / 2 : 0; i < (second ? n : n / 2); ++i) rows.push_back(i);
    return rows;
  }

  std::vector<double> window_scores(const HistogramDetector& detector, const Judgement& judgement) const {
    const std::vector<int> rows = half(static_cast<int>(judgement.n()), true);
    std::vector<double> scores;
    const auto size = static_cast<std::size_t>(window_);
    for (std::size_t first = 0; first + size <= rows.size(); first += size) {
      scores.push_back(detector.score(judgement, std::span(rows).subspan(first, size)));
    }
    return scores;
  }

  ordered_json describe(const Row& row,
                        const Row& clean,
                        const Victim& victim,
                        Table& table,
                        Table& exits,
                        std::vector<ExitSeries>& bars,
                        std::vector<std::string>& curves) const {
    const ExitChange change = exit_change(victim, clean.judgement, row.judgement);
    const Rate wrong =
        transfer_of(clean.judgement, row.judgement, clean.judgement, row.judgement).unconditional;
    MadeExamples made;
    made.examples = {row.images, {}, std::vector<double>(static_cast<std::size_t>(row.images.n), 0)};
    measure(made, clean.images);
    double macs = 0;
    for (const std::int32_t exit : row.judgement.exit)
      macs += static_cast<double>(victim.exit_macs[static_cast<std::size_t>(exit)]);
    macs /= static_cast<double>(row.judgement.n()) * static_cast<double>(victim.exit_macs.back());
    ordered_json json{
        {"attack", row.name},
        {"efficacy", change.efficacy_attacked},
        {"mean_macs_share", macs},
        {"accuracy", 1 - wrong.share->estimate},
        {"exits", change.attacked},
        {"exit_change", json_of(change)},
        {"mean_l2", made.l2},
        {"psnr_db", std::isfinite(made.psnr_db) ? ordered_json(made.psnr_db) : ordered_json(nullptr)},
        {"images_without_perturbation", row.without_training}};
    std::string auc = "-", tpr = "-", window = "-";
    if (&row != &clean) {
      const std::vector<int> first = half(clean.images.n, false), second = half(clean.images.n, true);
      const TrajectoryDetector trajectory(clean.judgement, first);
      std::vector<double> attacked, honest;
      for (const int i : second) {
        attacked.push_back(trajectory.score(row.judgement, i));
        honest.push_back(trajectory.score(clean.judgement, i));
      }
      const stats::Roc by_image = stats::roc_curve(attacked, honest);
      const stats::Interval interval = stats::delong_auc(attacked, honest);
      const HistogramDetector histogram(clean.judgement, first);
      const stats::Roc by_window = stats::roc_curve(window_scores(histogram, row.judgement),
                                                    window_scores(histogram, clean.judgement));
      auc = fmt::format("{:.3f} [{:.3f}, {:.3f}]", by_image.auc, interval.low, interval.high);
      tpr = fmt::format("{:.3f}", stats::tpr_at_fpr(by_image, 0.05));
      window = fmt::format("{:.3f}", by_window.auc);
      json["detector"] = {{"image_auc", json_of(interval)},
                          {"image_tpr_at_5_percent", stats::tpr_at_fpr(by_image, 0.05)},
                          {"window", window_},
                          {"window_auc", by_window.auc}};
      std::vector<double> fpr, hit;
      for (const stats::RocPoint& point : by_image.points) {
        fpr.push_back(point.fpr);
        hit.push_back(point.tpr);
      }
      curves.push_back(report::roc(fmt::format("{}: seen image by image, AUC {:.3f}", row.name, by_image.auc),
                                   fmt::format("{} attacked, {} clean", attacked.size(), honest.size()),
                                   fpr,
                                   hit));
    }
    table.row({row.name,
               fmt::format("{:.3f}", change.efficacy_attacked),
               fmt::format("{:.1f}", 100 * macs),
               fmt::format("{:.1f}", 100 * (1 - wrong.share->estimate)),
               fmt::format("{:.3f}", made.l2),
               std::isfinite(made.psnr_db) ? fmt::format("{:.2f}", made.psnr_db) : "-",
               auc,
               tpr,
               window});
    for (std::size_t e = 0; e < change.attacked.size(); ++e) {
      exits.row({row.name, std::to_string(e + 1), std::to_string(change.attacked[e])});
    }
    bars.push_back({row.name, change.attacked});
    return json;
  }

  // Mean confidence at each exit.
  static std::string trajectories(const std::vector<Row>& rows) {
    report::XyChart chart;
    chart.frame.title = "How sure each exit is";
    chart.frame.x.label = "exit";
    chart.frame.y = {.label = "mean confidence", .min = 0.0, .max = 1.0};
    for (const Row& row : rows) {
      report::Series line{.name = row.name, .draw = report::Draw::kLineAndPoints};
      const auto& outputs = row.judgement.outputs;
      for (int e = 0; e < outputs.num_exits; ++e) {
        double sum = 0;
        for (int i = 0; i < outputs.n; ++i) sum += outputs.confidence[outputs.at(i, e)];
        line.x.push_back(e + 1);
        line.y.push_back(sum / outputs.n);
      }
      chart.series.push_back(std::move(line));
    }
    return report::render(chart);
  }

  static void figures(RunFolder& folder,
                      const std::vector<Row>& rows,
                      const std::vector<ExitSeries>& bars,
                      const std::vector<std::string>& curves,
                      const Table& table) {
    report::HtmlReport page("Slowdown attacks", fmt::format("{} images", rows[0].images.n));
    page.section("Result");
    page.folded("table", table.text());
    const std::string exits = exit_bars("Where images leave", bars), sure = trajectories(rows);
    write_plot(folder, "exits", exits);
    write_plot(folder, "confidence", sure);
    page.section("Exits");
    page.figure(exits, "What a window detector sees.");
    page.figure(sure, "What an image detector sees.");
    page.section("Detection");
    for (std::size_t i = 0; i < curves.size(); ++i) {
      write_plot(folder, "roc-" + file_word(rows[i + 1].name), curves[i]);
      page.figure(curves[i], "Trajectory detector, judged on images that it did not learn from.");
    }
    write_file_atomically(folder.file("report.html"), page.html());
  }

  std::string checkpoint_;
  ImageOptions images_;
  std::vector<std::string> norms_ = {"linf"}, forms_ = {"sample", "universal", "class"},
                           baselines_ = {"pgd-last", "pgd-avg", "pgd-max", "uap"};
  int training_ = 1250, steps_ = 0, window_ = 20, batch_ = 50;
  std::optional<double> rad_;
  PolicyOptions policy_;
  std::filesystem::path examples_;
  Images trained_on_;
};

}  // namespace
}  // namespace offramp::tools::evade

namespace offramp::tools {

std::unique_ptr<Verb> make_evade_slowdown_verb() { return std::make_unique<evade::EvadeSlowdownVerb>(); }

}  // namespace offramp::tools
