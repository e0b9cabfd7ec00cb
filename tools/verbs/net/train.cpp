// offramp train: a net with exits on a data set, resumable after any step.
#include "tools/frame/event_file.h"
#include "tools/frame/interrupt.h"
#include "tools/frame/ranks.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/machine/profile_steps.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/net/train_report.h"
#include "tools/verbs/verbs.h"

#include "kernels/ranks/rank_error.h"
#include "nets/data/split.h"
#include "nets/families/families.h"
#include "nets/training/trainer.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/nccl_transport.h"
#endif

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace offramp::tools {
namespace {

using nlohmann::ordered_json;

class TrainVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "train",
        .group = "Train and use nets",
        .summary = "train a net with exits",
        .example = "offramp train --net small-cnn --data fashion-mnist --epochs 3 --out out/small",
        .details =
            "Joint training: every internal classifier's loss with a weight that rises to the fraction of "
            "the net's cost at its place\n(--loss-weights sdn: the list 0.15, 0.30, ...). Milestones of "
            "the learning rate keep their share of a shorter run.\nA killed run goes on with --resume and "
            "gives the same bits. Then offramp tune chooses the thresholds of the exits. Nets: " +
            nets::forms_that_take(nets::Takes::kPixels) + ";\nfor tables " +
            nets::forms_that_take(nets::Takes::kRows) +
            ".\nPictures of your own lie in one folder a class, in FOLDER/ or in FOLDER/train/ and FOLDER/test/; "
            "--side N resizes them.\nThe checkpoint keeps data set, side, held-out samples and class names for "
            "tune, eval, infer and extract.\n"
            "Several processes, on one machine or more: mpirun -n 2 offramp train ... --shards 2 (Open MPI). Every batch is\n"
            "cut into --shards parts, whose sums are added in their order, so as many ranks as divide the number give the\n"
            "same bits, one process too; the last bits depend on the number. Rank 0 alone writes the run folder.\n" +
            dataset_forms(),
        .run_folder = true,
        .first_step = true,
        .ranks = true};
  }

  void declare(Options& o) override {
    o.add("net.name", net_.name, "which net").flag("--net");
    o.add("net.exits",
          net_.num_exits,
          "exits in all, the end included; 1: plain, 0: the placement's own number")
        .range(0, 16);
    o.add("net.placement", placement_, "where exits stand").choices({"equal-cost", "sdn", "ccs", "explicit"});
    o.add("net.exits_after", net_.exits_after, "blocks, for --placement explicit");
    o.add("net.form", form_, "of an exit").choices({"linear", "two-layer"});
    o.add("net.width_divisor", net_.width_divisor, "divide all widths: small nets for trials").range(1, 64);
    o.add("data.set", data_, "data set: a path, or one of the forms above").flag("--data").required();
    o.add("data.side", side_, "resize all pictures to a square of so many pixels; 0: they have one size")
        .range(0, 4096);
    o.add("data.augment",
          augment_,
          "flips and crops as recommended for the data set; pictures and arrays of your own have none");
    o.add("data.held_out",
          held_out_,
          "training samples set aside (for tune), and tested on instead of the test set; 0: none, but a "
          "fifth of a set without test part")
        .range(0, 1e7);
    o.add("train.kind", kind_, "joint, or exits-only: a frozen trunk").choices({"joint", "exits-only"});
    o.add(
         "train.recipe",
         recipe_,
         "sdn: the reference's settings; msdnet: 300 epochs, rate 0.1 that falls behind epochs 150 and 225, weight "
         "decay 1e-4, plain sum of the losses (with --batch 64)")
        .choices({"sdn", "msdnet"});
    o.add("train.from", from_, "start from this checkpoint's values (exits-only: the trunk)");
    o.add("train.precision", precision_, "bf16: mixed precision").choices({"f32", "bf16"});
    o.add("train.epochs",
          epochs_,
          "passes over the training set (default 100; exits-only 25, --recipe msdnet 300)")
        .range(1, 100000);
    o.add("train.batch", batch_, "samples a step").range(1, 65536);
    o.add(
         "train.shards",
         shards_,
         "parts of a batch over which sums are taken one by one, so that so many processes or fewer give the same "
         "bits; 0: undivided, under mpirun a part for each process")
        .range(0, nets::kMaxShards);
    o.add("train.optimizer", optimizer_, "default: sgd; exits-only adam").choices({"default", "sgd", "adam"});
    o.add("train.learning_rate", learning_rate_, "default 0.1 with sgd, 0.001 with adam");
    o.add("train.weight_decay", weight_decay_, "default 5e-4 for vgg and wrn, 1e-4 else");
    o.add(
        "train.milestones",
        milestones_,
        "epochs of a 100-epoch run (exits-only: 25, --recipe msdnet: 300) at which the rate falls to a tenth");
    o.add("train.schedule", schedule_, "of the rate: steps at the milestones, or half a cosine (MSDNet)")
        .choices({"steps", "cosine"});
    o.add("train.loss_weights", loss_weights_, "final weights of the internal losses")
        .choices({"cost", "sdn"});
    o.add("train.moving_trunk",
          moving_trunk_,
          "exits-only: running averages and dropout of the trunk stay active");
    o.add("train.checkpoint_every",
          checkpoint_every_,
          "steps between checkpoints, besides the end of each epoch")
        .range(0, 1e9)
        .free_on_resume();
    o.add("train.capture", capture_, "a step is one CUDA graph launch; same bits (--device cuda)")
        .free_on_resume();
    o.add("train.tensorboard",
          tensorboard_,
          "scalars for TensorBoard too: tensorboard/events.out.tfevents.offramp")
        .free_on_resume();
    o.add("train.profile_steps",
          profile_steps_,
          "A:B: the steps that Nsight records (docs/reference/profiling.md)")
        .not_in_config();
  }

  int run(Session& session) override {
    if (kind_ == "exits-only" && from_.empty())
      throw UsageError(
          "train: --kind exits-only trains the exits of a frozen trunk; --from CHECKPOINT gives the trunk");
    const Launch here = launch();
    nets::Ranks together;
    if (here.several()) {
      together.host = &ranks();
    }
    if (shards_ == 0) shards_ = shards_of_the_run(session, here, together.host);
    const Device device = Device::by_name(session.device());
#if OFFRAMP_HAS_CUDA
    std::unique_ptr<DeviceTransport> nccl;
    if (here.several() && device.kind() == DeviceKind::kCuda) {
      std::string why;
      nccl = cuda::open_nccl(*together.host, device.cuda_context(), why);
      if (!nccl) session.log.warn(why + ": what the ranks exchange goes through the host's memory");
      together.device = nccl.get();
    }
#endif
    data::OpenOptions open = open_options(session);
    open.side = side_;
    say_what_is_found(session, data_, open);
    const NetData train_data(data_, "train", open);
    if (held_out_ == 0) hold_out_where_there_is_no_test_part(session, train_data, open);
    nets::TrainOptions options = train_options(session);
    complete_net_options(train_data);
    const auto split =
        data::split_held_out(train_data.samples(), checked_held_out(train_data), session.seed());
    if (held_out_ > 0) train_data.describe(net_, split.train);  // pixels' statistics: of what is learned from
    if (kind_ == "exits-only") take_normalisation_of_the_trunk();
    nets::Network net(net_, device);
    if (loss_weights_ == "sdn") options.exit_weights = nets::sdn_loss_weights(net.num_exits());
    nets::check(options, net);
    const Shards shards(std::max(shards_, 1), together.host);
    auto source = train_data.training(device,
                                      batch_,
                                      session.seed(),
                                      augment_,
                                      held_out_ > 0 ? split.train : std::vector<std::int32_t>{},
                                      {shards.count(), shards.first(), shards.local()});
    nets::Trainer trainer(
        net, options, *source, capture_ ? nets::StepMode::kCaptured : nets::StepMode::kEager, together);
    if (!here.first()) return work_along(trainer);
    window_ = profiler_window(device, profile_steps_);
    NetData test_data(data_, held_out_ > 0 ? "train" : "test", open);
    test_data.fit_to(net, train_data.class_names(), data_);
    keep_what_the_net_saw(session, train_data, open);
    auto test =
        test_data.evaluation(device, 250, held_out_ > 0 ? split.held_out : std::vector<std::int32_t>{});

    RunFolder& folder = session.folder();
    const std::filesystem::path last = folder.folder("checkpoints") / "last.safetensors";
    start(session, folder, net, trainer, last);
    trainer.share();
    if (here.several())
      session.log.info(
          fmt::format(
              "{} ranks, {} of the {} shards of a batch each", here.size, shards.local(), shards.count()),
          {{"ranks", here.size}, {"shards", shards.count()}});
    if (tensorboard_)
      events_.emplace(folder.folder("tensorboard") / "events.out.tfevents.offramp", trainer.steps_done());
    say_what_is_trained(session.log, net, train_data, *test, test_name());
    const ordered_json final_metrics = loop(session, folder, net, trainer, *source, *test, last);
    finish(session, folder, net, final_metrics, last);
    folder.done();
    return kDone;
  }

 private:
  // Where none are asked for: those of the checkpoint that the run goes on from, else one for each rank.
  static int shards_of_the_run(const Session& session, const Launch& here, Transport* host) {
    int shards = here.several() ? here.size : 0;
    const auto last = session.folder_path() / "checkpoints" / "last.safetensors";
    if (here.first() && session.resume() && std::filesystem::exists(last))
      shards = nets::train_options_from_metadata(safetensors::Reader(last).metadata()).shards;
    if (host != nullptr) host->broadcast(&shards, sizeof shards);
    return shards;
  }

  // A rank that writes nothing.
  static int work_along(nets::Trainer& trainer) {
    trainer.share();
    while (!trainer.done()) {
      throw_if_interrupted();
      trainer.step();
    }
    return kDone;
  }

  // A set without test part still wants an accuracy that means something.
  void hold_out_where_there_is_no_test_part(Session& session,
                                            const NetData& set,
                                            const data::OpenOptions& open) {
    const std::vector<std::string> parts = data::splits_of(data::parse_spec(data_, open));
    if (std::ranges::find(parts, "test") != parts.end()) return;
    if (set.samples() < 2)
      throw UsageError(fmt::format("{}: one sample cannot be divided into training and test", data_));
    held_out_ = std::max(1, set.samples() / 5);
    session.log.info(
        fmt::format(
            "there is no test part: {} of the {} samples, drawn with seed {}, are held out and tested on "
            "(--held-out N sets another number)",
            held_out_,
            set.samples(),
            session.seed()),
        {{"held_out", held_out_}});
  }

  void keep_what_the_net_saw(const Session& session, const NetData& set, const data::OpenOptions& open) {
    TrainedOn saw = set.trained_on();
    saw.set = data_;
    saw.side = data::parse_spec(data_, open).options.side;
    saw.held_out = held_out_;
    saw.seed = session.seed();
    metadata_ = to_metadata(saw);
    class_names_ = saw.class_names;
  }

  std::string test_name() const { return held_out_ > 0 ? "held-out" : "test"; }

  int checked_held_out(const NetData& set) const {
    if (held_out_ >= set.samples()) {
      throw UsageError(fmt::format(
          "--held-out: {} samples are to be held out and the training set has {}: none would be left to train on",
          held_out_,
          set.samples()));
    }
    return held_out_;
  }

  nets::TrainOptions train_options(const Session& session) const {
    if (recipe_ == "msdnet" && kind_ != "joint")
      throw UsageError("--recipe msdnet trains all of a net: --kind joint");
    if (loss_weights_ == "sdn" && (recipe_ == "msdnet" || kind_ != "joint"))
      throw UsageError(
          "--loss-weights sdn: " + std::string(kind_ != "joint" ? "--kind " + kind_ : "--recipe msdnet") +
          " gives every loss the weight 1");
    nets::TrainOptions o = recipe_ == "msdnet"
                               ? nets::msdnet_options()
                               : nets::reference_options(net_.name, nets::train_kind_from(kind_));
    o.seed = session.seed();
    if (epochs_) o.epochs = *epochs_;
    o.batch_size = batch_;
    o.shards = shards_;
    if (optimizer_ != "default") {
      o.optimizer = nets::optimizer_from(optimizer_);
      o.learning_rate = o.optimizer == nets::OptimizerKind::kAdam ? 1e-3 : 0.1;
    }
    if (learning_rate_) o.learning_rate = *learning_rate_;
    if (weight_decay_) o.weight_decay = *weight_decay_;
    for (const int milestone : milestones_)
      if (milestone < 1)
        throw UsageError(fmt::format("--milestones: epochs from 1 wanted, got {}", milestone));
    if (!milestones_.empty()) o.milestones = milestones_;
    o.schedule = nets::rate_schedule_from(schedule_);
    o.trunk_in_eval_mode = !moving_trunk_;
    o.checkpoint_every = checkpoint_every_;
    return o;
  }

  void complete_net_options(const NetData& set) {
    if (set.classes() < 2)
      throw UsageError(fmt::format("{}: training wants labels of two classes or more, these samples have {}",
                                   data_,
                                   set.classes() == 0 ? "none" : "one, as pictures without labels do"));
    if ((placement_ == "explicit") != !net_.exits_after.empty())
      throw UsageError("--placement explicit and --exits-after BLOCK,BLOCK,... go together");
    net_.placement = nets::placement_from(placement_);
    net_.form = nets::exit_form_from(form_);
    net_.precision = nets::precision_from(precision_);
    set.describe(net_);
    const nets::Takes takes = set.pixels() ? nets::Takes::kPixels : nets::Takes::kRows;
    if (nets::known_family(net_.name).takes != takes) {
      throw UsageError(fmt::format("--net {}: {} data want {}",
                                   net_.name,
                                   set.pixels() ? "image" : "table",
                                   set.pixels() ? "a convolutional net" : nets::forms_that_take(takes)));
    }
  }

  void take_normalisation_of_the_trunk() {
    const auto file = nets::open_state(checkpoint_of(from_));
    const auto *mean = file->find("normalize.mean"), *inverse = file->find("normalize.inv_std");
    if (mean == nullptr || inverse == nullptr) return;
    net_.mean = file->floats(*mean);
    net_.std = file->floats(*inverse);
    for (float& value : net_.std) value = 1.f / value;
  }

  void start(Session& session,
             RunFolder& folder,
             nets::Network& net,
             nets::Trainer& trainer,
             const std::filesystem::path& last) {
    if (folder.resumed() && std::filesystem::exists(last)) {
      trainer.load(last);
      const std::int64_t done = trainer.steps_done();
      folder.keep_metrics([&](const nlohmann::json& line) {
        const bool kept = line.value("step", std::int64_t{0}) <= done;
        if (kept) last_line_ = line;
        return kept;
      });
      session.log.info(fmt::format("resumed at epoch {}, batch {}", trainer.epoch(), trainer.batch()),
                       {{"epoch", trainer.epoch()}, {"batch", trainer.batch()}});
      return;
    }
    nets::initialize(net, session.seed());
    if (from_.empty()) return;
    const auto file = nets::open_state(checkpoint_of(from_));
    // A frozen trunk goes with the normalisation it was trained with.
    const nets::ImportReport report = nets::load_state_dict(
        net, *file, kind_ == "exits-only" ? nets::Strictness::kPartial : nets::Strictness::kWeights);
    session.log.info(fmt::format("{}: {} tensors read, {} not in it, {} not used",
                                 from_.string(),
                                 report.matched.size(),
                                 report.missing.size(),
                                 report.unused.size()));
    if (report.matched.empty()) throw UsageError(from_.string() + ": no tensor of it fits this net");
  }

  ordered_json loop(Session& session,
                    RunFolder& folder,
                    nets::Network& net,
                    nets::Trainer& trainer,
                    const nets::LoaderSource& source,
                    nets::BatchSource& test,
                    const std::filesystem::path& last) {
    using Clock = std::chrono::steady_clock;
    ordered_json metrics;
    if (trainer.done()) metrics = of_a_trained_net(net, trainer, test);
    while (!trainer.done()) {
      const int epoch = trainer.epoch();
      const auto images_of = [&](std::int64_t batches) {
        return static_cast<std::uint64_t>(std::min<std::int64_t>(batches * batch_, source.samples()));
      };
      Progress progress(session.log,
                        fmt::format("epoch {}/{}", epoch, trainer.options().epochs),
                        images_of(source.batches()),
                        "img",
                        images_of(trainer.batch()));
      const auto begin = Clock::now();
      std::int64_t seen = 0;
      std::optional<nets::EpochReport> end;
      while (!end) {
        if (interrupted()) {
          trainer.save(last, metadata_);
          throw Interrupted();
        }
        if (window_) window_->before(trainer.steps_done());
        const nets::StepReport step = step_or_save(trainer, last);
        seen += step.samples;
        end = step.epoch_end;
        if (checkpoint_every_ > 0 && !end && trainer.steps_done() % checkpoint_every_ == 0)
          trainer.save(last, metadata_);
        progress.update(images_of(step.batch + 1), {{"loss", std::round(step.loss * 1e4) / 1e4}});
      }
      const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      const nets::ExitOutputs outputs = nets::exit_outputs(net, test);
      one_class_ = one_class_note(outputs, class_names_);
      const std::vector<double> right = nets::accuracy(outputs);
      metrics = {{"epoch", end->epoch},
                 {"step", trainer.steps_done()},
                 {"learning_rate", end->learning_rate},
                 {"loss", end->loss},
                 {"exit_loss", end->exit_loss},
                 {"train_accuracy", end->exit_accuracy},
                 {"test_accuracy", right},
                 {"accuracy_of", test_name()},
                 {"seconds", seconds},
                 {"images_per_second", static_cast<double>(seen) / seconds},
                 {"loader_waits", source.waits()}};
      folder.metric(metrics);
      if (events_) events_->add(trainer.steps_done(), scalars_of(metrics));
      trainer.save(last, metadata_);
      session.log.info(fmt::format("epoch {:>3}  rate {:g}  loss {:.4f}  {} {:.2f} %  {:.0f} img/s",
                                   end->epoch,
                                   end->learning_rate,
                                   end->loss,
                                   test_name(),
                                   fmt::join(percent(right), " "),
                                   static_cast<double>(seen) / seconds),
                       metrics);
    }
    return metrics;
  }

  // The run was resumed behind its last epoch: what is left is its answer.
  ordered_json of_a_trained_net(nets::Network& net, const nets::Trainer& trainer, nets::BatchSource& test) {
    const nets::ExitOutputs outputs = nets::exit_outputs(net, test);
    one_class_ = one_class_note(outputs, class_names_);
    ordered_json metrics = last_line_;
    metrics["epoch"] = trainer.options().epochs;
    metrics["test_accuracy"] = nets::accuracy(outputs);
    return metrics;
  }

  // A step that another rank's end broke off changed nothing: where it would have begun the run goes on.
  nets::StepReport step_or_save(nets::Trainer& trainer, const std::filesystem::path& last) const {
    try {
      return trainer.step();
    } catch (const RankError&) {
      trainer.save(last, metadata_);
      throw;
    } catch (const Stopped&) {
      trainer.save(last, metadata_);
      throw;
    }
  }

  static std::vector<double> percent(std::vector<double> shares) {
    for (double& share : shares) share *= 100;
    return shares;
  }

  void finish(Session& session,
              RunFolder& folder,
              const nets::Network& net,
              const ordered_json& metrics,
              const std::filesystem::path& last) {
    const ExitReport report = exit_report(net.costs(), metrics, test_name());
    const ordered_json results{{"net", net_.name},
                               {"data", data_},
                               {"epochs", metrics.value("epoch", 0)},
                               {"loss", metrics.value("loss", 0.0)},
                               {"accuracy_of", test_name()},
                               {"exits", report.exits},
                               {"checkpoint", last.string()}};
    report.table.write_csv(folder.file("exits.csv"));
    folder.results(results);
    std::string text = report.table.text();
    if (!one_class_.empty()) text += one_class_ + "\n";
    text += "checkpoint " + last.string() + "\n";
    if (net.num_exits() > 1)
      text += "no thresholds yet, so nothing leaves early; next: offramp tune " + folder.path().string() +
              " --drop 0.5\n";
    session.answer(text, results);
  }

  nets::NetOptions net_;
  nets::Metadata metadata_;  // of the data, for checkpoints
  std::vector<std::string> class_names_;
  std::string one_class_;                            // what to say of a net that knows one class
  ordered_json last_line_ = ordered_json::object();  // of the resumed run's metrics.jsonl
  std::string data_, placement_ = "equal-cost", form_ = "linear", kind_ = "joint", precision_ = "f32",
                     optimizer_ = "default", loss_weights_ = "cost", schedule_ = "steps", recipe_ = "sdn";
  std::string profile_steps_;
  std::unique_ptr<ProfilerWindow> window_;
  std::optional<EventFile> events_;
  bool augment_ = true, moving_trunk_ = false, capture_ = false, tensorboard_ = false;
  int side_ = 0, held_out_ = 0, batch_ = 128, checkpoint_every_ = 0, shards_ = 0;
  std::optional<int> epochs_;
  std::optional<double> learning_rate_, weight_decay_;
  std::vector<int> milestones_;
  std::filesystem::path from_;
};

}  // namespace

std::unique_ptr<Verb> make_train_verb() { return std::make_unique<TrainVerb>(); }

}  // namespace offramp::tools
