// offramp demo: a victim is trained, its exits are recovered from running time, a copy is stolen and judged.
// Real images (Debian's dataset-fashion-mnist), one command, minutes on two cores.
//
// Victim: small-cnn with 4 exits (a net of ours, of no paper), joint SDN training. Queries: the first paper's
// mix, a tenth of them images of the same kind that the victim never saw, the rest unrelated pictures. The
// sizes are far below the papers'.
#include "nets/data/augment.h"
#include "nets/data/open_dataset.h"
#include "nets/data/text.h"
#include "nets/data/transform.h"
#include "nets/exits/choose_policy.h"
#include "nets/training/loader_source.h"
#include "nets/training/trainer.h"
#include "tools/frame/interrupt.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/extract/extract_report.h"
#include "tools/verbs/extract/options.h"
#include "tools/verbs/extract/score_text.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

namespace offramp::tools {
namespace {

// Parts of Fashion-MNIST's training set; they do not overlap.
struct Sizes {
  int train = 36000, held_out = 5000, own_queries = 1200, leaves = 10800, test = 10000;
  int victim_epochs = 8, fit_epochs = 20;
  int timed = 1000;
};
constexpr Sizes kSmoke = {.train = 6000,
                          .held_out = 1500,
                          .own_queries = 600,
                          .leaves = 1200,
                          .test = 2000,
                          .victim_epochs = 3,
                          .fit_epochs = 6,
                          .timed = 200};

class DemoVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "demo",
            .group = "Attack",
            .summary = "train a victim, recover its exits from time, steal a copy, report",
            .example = "offramp demo",
            .details = "Needs Debian's package dataset-fashion-mnist (tools/setup installs it).",
            .run_folder = true,
            .first_step = true};
  }

  void declare(Options& options) override {
    options.add("demo.smoke", smoke_, "a much smaller run that only shows that everything works");
    options.add("demo.data", data_, "data set of the victim");
  }

  int run(Session& session) override {
    const Sizes sizes = smoke_ ? kSmoke : Sizes{};
    data::OpenOptions open;
    open.seed = session.seed();
    checked_spec(data_, open);
    const auto all = data::open_images(data_, "train", open);
    auto test = data::open_images(data_, "test", open);
    const int wanted = sizes.train + sizes.held_out + sizes.own_queries;
    if (all.n < wanted || test.n < sizes.test)
      throw UsageError(fmt::format("demo: {} has {} training images, {} are wanted", data_, all.n, wanted));
    test = part(test, 0, sizes.test);
    const auto train = part(all, 0, sizes.train), held_out = part(all, sizes.train, sizes.held_out);

    RunFolder& folder = session.folder();
    const auto victim_accuracy = train_victim(session, sizes, train, held_out);
    const attacks::ExtractionPlan plan = plan_for(session, sizes, folder, test);
    SessionListener listener(session);
    const auto outcome = attacks::run_extraction(plan, listener);
    const double tau = outcome.contestants.front().policy.thresholds.front();
    write_extraction_report(
        folder.file("report.html"),
        outcome,
        plan.queries,
        plan.test,
        {.title = "Stealing an early-exit network",
         .subtitle = smoke_ ? "offramp demo --smoke: far too small to judge the attack" : "offramp demo",
         .class_names = test.class_names,
         .config = data::read_text(folder.file("config.toml")),
         .environment = data::read_text(folder.file("env.json")),
         .victim_accuracy = victim_accuracy,
         .victim_text = fmt::format(
             "small-cnn (six convolutions of 16 to 64 channels, a net of ours) with 4 exits, trained "
             "on {} images for {} epochs; leaves at confidence {:.3f}, chosen on {} held-out images "
             "as the cheapest within half a point of the full net",
             sizes.train,
             sizes.victim_epochs,
             tau,
             sizes.held_out),
         .queries_text = fmt::format(
             "{} images of the same kind that the victim never saw and {} generated pictures "
             "(synthetic:leaves); copies are trained on all for {} epochs, our thresholds searched "
             "on the images of the same kind",
             sizes.own_queries,
             sizes.leaves,
             sizes.fit_epochs),
         .test_text = fmt::format("{} images of {}", test.n, data_)});
    folder.results(score_json(outcome));
    folder.done();
    session.answer(score_text(outcome) + "\n" + verdict(outcome) +
                       "\n\nreport: " + folder.file("report.html").string() + "\n",
                   score_json(outcome));
    return kDone;
  }

 private:
  static data::ImageSet part(const data::ImageSet& set, int first, int count) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
    std::iota(rows.begin(), rows.end(), first);
    return data::subset(set, rows);
  }

  // Accuracy of each exit in each epoch; writes victim.safetensors with the owner's thresholds.
  std::vector<std::vector<double>> train_victim(Session& session,
                                                const Sizes& sizes,
                                                const data::ImageSet& train,
                                                const data::ImageSet& held_out) {
    const auto path = session.folder().file("victim.safetensors");
    const auto checkpoint = session.folder().folder("checkpoints") / "victim.safetensors";
    const auto history_of = [](const std::filesystem::path& file) {
      return nlohmann::json::parse(safetensors::Reader(file).metadata().at("demo.history"))
          .get<std::vector<std::vector<double>>>();
    };
    if (std::filesystem::exists(path)) return history_of(path);

    const auto normalisation = data::compute_normalisation(train);
    nets::NetOptions options;
    options.name = "small-cnn";
    options.classes = train.num_classes();
    options.channels = train.c;
    options.side = train.h;
    options.num_exits = 4;
    options.mean = normalisation.mean;
    options.std = normalisation.std;
    nets::Network net(options, Device::by_name(session.device()));
    nets::initialize(net, session.seed());
    nets::TrainOptions training = nets::reference_options(options.name, nets::TrainKind::kJoint);
    training.epochs = sizes.victim_epochs;
    training.seed = session.seed();
    nets::LoaderSource source(train,
                              data::recommended_augmentation(train),
                              nets::LoaderSource::training(training.batch_size, training.seed),
                              net.device());
    nets::Trainer trainer(net, training, source);
    std::vector<std::vector<double>> history;
    if (std::filesystem::exists(checkpoint)) {
      trainer.load(checkpoint);
      history = history_of(checkpoint);
    }
    const auto metadata = [&] {
      nets::Metadata out = to_metadata({.set = data_,
                                        .padding = train.padded > 0 ? data::kPadding : 0,
                                        .grey = data::is_grey(train),
                                        .seed = session.seed(),
                                        .class_names = train.class_names});
      out.emplace("demo.history", nlohmann::json(history).dump());
      return out;
    };
    {
      const auto per_epoch = static_cast<std::uint64_t>(train.n);
      std::uint64_t done =
          per_epoch * static_cast<std::uint64_t>(trainer.epoch() - 1) +
          static_cast<std::uint64_t>(trainer.batch()) * static_cast<std::uint64_t>(training.batch_size);
      Progress progress(
          session.log, "train victim", per_epoch * static_cast<std::uint64_t>(training.epochs), "img", done);
      while (!trainer.done()) {
        const auto step = trainer.step();
        progress.update(done += static_cast<std::uint64_t>(step.samples), {{"loss", step.loss}});
        if (step.epoch_end) {
          history.push_back(step.epoch_end->exit_accuracy);
          trainer.save(checkpoint, metadata());
        }
        if (interrupted()) {
          trainer.save(checkpoint, metadata());
          throw_if_interrupted();
        }
      }
    }

    // The owner's rule (training.md 4): the cheapest threshold whose accuracy is within half a point of the
    // full net's.
    const nets::ExitOutputs outputs = attacks::exit_table(net, held_out);
    std::vector<double> costs;
    for (const auto& cost : net.costs().exits) costs.push_back(static_cast<double>(cost.ops_profiler));
    const auto choice = nets::choose_policy(outputs, costs, {.max_drop = 0.005});
    if (!choice)
      throw std::runtime_error("demo: no threshold keeps the victim within half a point of its full net");
    nets::save_checkpoint(path, net, choice->policy, metadata());
    session.log.info(
        fmt::format("victim: held-out accuracy {:.2f} % in full, {:.2f} % with exits at {:.1f} % of the cost "
                    "(threshold {:.3f})",
                    100 * choice->last_exit_accuracy,
                    100 * choice->accuracy,
                    100 * choice->mean_cost / static_cast<double>(net.costs().plain.ops_profiler),
                    choice->policy.thresholds.front()));
    return history;
  }

  attacks::ExtractionPlan plan_for(Session& session,
                                   const Sizes& sizes,
                                   const RunFolder& folder,
                                   const data::ImageSet& test) const {
    attacks::ExtractionPlan plan;
    plan.folder = folder.path();
    plan.victim = folder.file("victim.safetensors");
    const std::vector<std::string> parts = {
        fmt::format("{}@train[{}:{}]", data_, sizes.train + sizes.held_out, sizes.own_queries),
        fmt::format("synthetic:leaves:{}", sizes.leaves)};
    plan.queries = open_query_images(session, parts, {test.c, test.h, test.w});
    plan.test = test;
    plan.device = Device::by_name(session.device());
    set_session(session, plan.query);
    set_session(session, plan.estimate);
    set_session(session, plan.copy);
    set_session(session, plan.search);
    plan.query.max_repetitions = smoke_ ? 20 : 60;
    plan.query.victim = plan.victim.string();
    describe_images(parts, plan.queries, plan.query);
    plan.copy.net.name =
        "small-cnn";  // v1 gives the baseline the victim's architecture; the copy here gets the same
    plan.copy.fit.epochs = sizes.fit_epochs;
    // Every exit of the strategy loss has weight 1, those of the baseline begin near 0: a smaller step.
    plan.copy.fit.learning_rate = 0.03;
    plan.knockoff_learning_rate = 0.1;
    plan.search.first = sizes.own_queries;  // the copy will meet images of this kind
    plan.score = {.timed_images = sizes.timed, .seed = session.seed()};
    return plan;
  }

  bool smoke_ = false;
  std::string data_ = "fashion-mnist";
};

}  // namespace

std::unique_ptr<Verb> make_demo_verb() { return std::make_unique<DemoVerb>(); }

}  // namespace offramp::tools
