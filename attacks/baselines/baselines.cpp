#include "attacks/baselines/baselines.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "attacks/query/metered.h"
#include "base/errors.h"
#include "engine/optimizer.h"
#include "engine/recording.h"
#include "nets/data/npy.h"
#include "nets/data/split.h"
#include "nets/graph/state_dict.h"

namespace offramp::attacks {
namespace {

constexpr std::uint32_t kOrder = 307, kActions = 308;  // Philox streams
constexpr int kAsked = 128;                            // pictures at a time

// Answers of the victim for all pictures of a set, [n, classes].
std::vector<float> ask(MeteredBlackBox& victim, const data::ImageSet& images, Listener& listener) {
  const ImageSource source = image_source(images);
  std::vector<float> answers;
  for (int first = 0; first < images.n; first += kAsked) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(std::min(kAsked, images.n - first)));
    std::iota(rows.begin(), rows.end(), first);
    const auto values = victim.query(source.load(rows), Timing::kNone).probabilities.to_host<float>();
    answers.insert(answers.end(), values.begin(), values.end());
    listener.progress("ask", images.n, first + static_cast<int>(rows.size()), "queries", {});
    if (listener.stop_requested()) {
      victim.flush();
      stop_if_requested(listener);
    }
  }
  victim.flush();
  return answers;
}

class Theft {
 public:
  Theft(BlackBox& victim, const BaselinePlan& plan, const Device& device, Listener& listener)
      : plan_(plan),
        device_(device),
        listener_(listener),
        name_(to_text(plan.method)),
        victim_(victim, plan.budget, folder(plan) / (to_text(plan.method) + ".answers.safetensors")) {}

  BaselineOutcome run() {
    switch (plan_.method) {
      case Baseline::kKnockoff:
        return random();
      case Baseline::kKnockoffAdaptive:
        return adaptive();
      case Baseline::kNoiseBernoulli:
        return noise(NoiseKind::kBernoulli);
      case Baseline::kNoiseUniform:
        return noise(NoiseKind::kUniform);
      case Baseline::kNoiseIsing:
        return noise(NoiseKind::kIsing);
      case Baseline::kEsOptimised:
      case Baseline::kEsGenerated:
        return es();
    }
    throw ValueError("baseline: unknown method");
  }

 private:
  static const std::filesystem::path& folder(const BaselinePlan& plan) {
    std::filesystem::create_directories(plan.folder);
    return plan.folder;
  }
  int budget() const { return static_cast<int>(plan_.budget); }

  BaselineOutcome fitted(FittedNet fit) const {
    return {std::move(fit.net), std::move(fit.history), victim_.spent(), {}};
  }
  FittedNet fit(const std::string& name,
                const data::ImageSet& images,
                const std::vector<float>& answers,
                const std::filesystem::path& start,
                const FitOptions& options) {
    return fit_stage(name,
                     plan_.copy.complete(*plan_.images, victim_.classes(), plan_.num_exits),
                     options,
                     start,
                     images,
                     {answers, {}},
                     device_,
                     plan_.folder,
                     listener_);
  }
  BaselineOutcome steal(const data::ImageSet& images) {
    const auto answers = ask(victim_, images, listener_);
    return fitted(
        fit(name_, images, answers, plan_.copy.pretrained, plan_.copy.options(FitMethod::kKnockoff)));
  }

  BaselineOutcome random() {
    std::vector<std::int32_t> rows;
    for (std::uint32_t turn = 0; rows.size() < static_cast<std::size_t>(budget()); ++turn) {
      const auto order = data::permutation(plan_.images->n, plan_.seed, kOrder, turn);
      const auto more = std::min(order.size(), static_cast<std::size_t>(budget()) - rows.size());
      rows.insert(rows.end(), order.begin(), order.begin() + static_cast<std::ptrdiff_t>(more));
    }
    return steal(data::subset(*plan_.images, rows));
  }

  BaselineOutcome noise(NoiseKind kind) {
    return steal(noise_images(kind, budget(), plan_.images->c, plan_.images->h, plan_.seed, plan_.ising));
  }

  // One step of the copy a query, then the copy starts anew on everything (specs: "Finally train S on everything").
  BaselineOutcome adaptive() {
    const data::ImageSet& set = *plan_.images;
    std::vector<std::vector<std::int32_t>> of_class(set.class_names.size());
    for (int i = 0; i < set.n; ++i)
      of_class[static_cast<std::size_t>(set.labels[static_cast<std::size_t>(i)])].push_back(i);
    std::vector<std::size_t> actions;  // classes that have pictures
    for (std::size_t c = 0; c < of_class.size(); ++c)
      if (!of_class[c].empty()) actions.push_back(c);

    const FitOptions options = plan_.copy.options(FitMethod::kKnockoff);
    nets::Network copy(plan_.copy.complete(set, victim_.classes(), plan_.num_exits), device_);
    nets::initialize(copy, options.seed);
    if (!plan_.copy.pretrained.empty()) start_from(copy, plan_.copy.pretrained);
    const auto sgd = make_sgd(copy.parameters(),
                              {.momentum = static_cast<float>(options.momentum),
                               .weight_decay = static_cast<float>(options.weight_decay)});
    StepScalars scalars(device_);
    MultiExitTargets targets;
    targets.kind = TargetLoss::kSoftCrossEntropy;
    targets.state = scalars.device_pointer();
    {
      const auto& fractions = copy.costs().exit_fraction_macs;
      const auto weights = nets::loss_weights(
          nets::TrainKind::kJoint, {fractions.begin(), fractions.end() - 1}, options.epochs, options.epochs);
      targets.exit_weight =
          Tensor::from<float>({static_cast<std::int64_t>(weights.size())}, weights, device_);
    }

    GradientBandit bandit(static_cast<int>(actions.size()));
    RewardMeter reward(plan_.reward, victim_.classes());
    const ImageSource source = image_source(set);
    const PhiloxKey draws{plan_.seed, kActions};
    std::vector<std::int32_t> asked;
    std::vector<float> answers;
    for (int t = 0; t < budget(); ++t) {
      const auto at = static_cast<std::uint64_t>(t);
      const int action = bandit.draw(static_cast<double>(draws.uniform(2 * at)));
      const auto& pictures = of_class[actions[static_cast<std::size_t>(action)]];
      asked.push_back(pictures[draws.word(2 * at + 1) % pictures.size()]);
      const Tensor image = source.load(std::span(&asked.back(), 1));
      const Tensor answer = victim_.query(image, Timing::kNone).probabilities;
      const auto said = answer.to_host<float>();
      answers.insert(answers.end(), said.begin(), said.end());
      const Tensor x = image.to(device_);
      targets.target = answer.to(device_);
      scalars.set(static_cast<float>(options.learning_rate), t, 1);
      {
        Recording recording(copy.parameters().targets());
        const auto logits =
            copy.forward(x, nets::TrainPass{.seed = options.seed, .state = scalars.device_pointer()});
        static_cast<void>(recording.grad(multi_exit_loss(logits, targets).loss));
      }
      sgd->step(scalars);
      const auto says = softmax(std::as_const(copy).forward(x).back()).to_host<float>();
      bandit.update(action, reward.of(said, says));
      if (t % 100 == 99 || t + 1 == budget()) {
        listener_.progress("adaptive policy", budget(), t + 1, "queries", {});
        if (listener_.stop_requested()) victim_.flush();
        stop_if_requested(listener_);
      }
    }
    victim_.flush();
    auto outcome = fitted(fit(name_, data::subset(set, asked), answers, plan_.copy.pretrained, options));
    outcome.action_probabilities.assign(of_class.size(), 0);
    for (std::size_t a = 0; a < actions.size(); ++a)
      outcome.action_probabilities[actions[a]] = bandit.probabilities()[a];
    return outcome;
  }

  // The pictures of a round: kept on disk, because making them again takes as long as it took.
  template <class Make>
  data::ImageSet kept(int round, int n, Make make) const {
    const auto path = plan_.folder / (name_ + "-r" + std::to_string(round) + ".npy");
    const std::vector<std::int64_t> shape{n, plan_.images->h, plan_.images->w, plan_.images->c};
    if (std::filesystem::exists(path)) {
      data::NpyArray array = data::read_npy(path);
      auto* pixels = std::get_if<std::vector<std::uint8_t>>(&array.values);
      if (array.shape != shape || pixels == nullptr)
        throw FileError(path.string(), "does not hold the pictures of round " + std::to_string(round));
      data::ImageSet set = gaussian_images(1, plan_.images->c, plan_.images->h, 0);
      set.n = n;
      set.pixels = std::move(*pixels);
      set.labels.assign(static_cast<std::size_t>(n), 0);
      return set;
    }
    data::ImageSet set = make();
    data::NpyArray array;
    array.shape = shape;
    array.values = set.pixels;
    data::write_npy(path, array);
    return set;
  }

  // The S-step: n pictures, from those of the round before or from nothing.
  Synthesis synthesise(const nets::Network& copy,
                       const data::ImageSet& before,
                       int n,
                       std::uint64_t seed,
                       const Synthesised& report) const {
    const EsOptions& o = plan_.es;
    const int side = plan_.images->h, channels = plan_.images->c;
    if (plan_.method == Baseline::kEsGenerated) {
      Generator generator({.classes = copy.classes(),
                           .channels = channels,
                           .side = side,
                           .latent = o.latent,
                           .width = o.width},
                          device_,
                          seed);
      return generated_images(copy, generator, n, o.synthesis, seed, report);
    }
    const auto noise = [&](int count) { return gaussian_images(count, channels, side, seed); };
    data::ImageSet start = o.synthesis.from_noise ? noise(n) : before;
    if (start.n < n) start = data::concat(start, noise(n - start.n));
    return optimised_images(copy, start, o.synthesis, seed, report);
  }

  BaselineOutcome es() {
    const EsOptions& o = plan_.es;
    FitOptions options = plan_.copy.options(FitMethod::kKnockoff);
    options.learning_rate = o.learning_rate;
    options.milestones = {};
    const int side = plan_.images->h, channels = plan_.images->c, per_round = budget() / o.rounds;
    FittedNet copy;
    std::vector<FitEpoch> history;
    data::ImageSet pictures;
    std::filesystem::path start = plan_.copy.pretrained;
    for (int round = 1; round <= o.rounds; ++round) {
      const int n = round < o.rounds ? per_round : budget() - (o.rounds - 1) * per_round;
      const std::uint64_t seed = plan_.seed + 7919 * static_cast<std::uint64_t>(round);
      const auto step = "synthesise " + std::to_string(round) + "/" + std::to_string(o.rounds);
      const std::int64_t total = std::int64_t{n} * o.synthesis.steps;
      const auto report = [&, done = std::int64_t{0}](int more) mutable {
        done = std::min(total, done + more);
        listener_.progress(step, total, done, "img", {});
        stop_if_requested(listener_);
      };
      pictures = kept(round, n, [&] {
        if (round == 1) return gaussian_images(n, channels, side, seed);
        Synthesis made = synthesise(*copy.net, pictures, n, seed, report);
        listener_.note(step + ": loss of the copy from " + nets::text::number(made.first_loss) + " to " +
                           nets::text::number(made.last_loss),
                       {{"stage", "synthesise"},
                        {"round", round},
                        {"first_loss", made.first_loss},
                        {"last_loss", made.last_loss}});
        return std::move(made.images);
      });
      const auto answers = ask(victim_, pictures, listener_);
      const auto name = name_ + "-r" + std::to_string(round);
      copy = fit(name, pictures, answers, start, options);
      history.insert(history.end(), copy.history.begin(), copy.history.end());
      start = plan_.folder / (name + ".safetensors");
      nets::save_checkpoint(start, *copy.net, nets::ExitPolicy::uniform(copy.net->num_exits(), 1.0));
      listener_.note(step + ": " + std::to_string(victim_.spent()) + " of " + std::to_string(plan_.budget) +
                         " queries spent",
                     {{"stage", "es"}, {"round", round}, {"queries", victim_.spent()}});
    }
    copy.history = std::move(history);
    return fitted(std::move(copy));
  }

  const BaselinePlan& plan_;
  Device device_;
  Listener& listener_;
  std::string name_;
  MeteredBlackBox victim_;
};

}  // namespace

std::string to_text(Baseline baseline) { return nets::text::of(kBaselines, baseline); }

BaselineOutcome run_baseline(BlackBox& victim,
                             const BaselinePlan& plan,
                             const Device& device,
                             Listener& listener) {
  if (plan.folder.empty()) throw ValueError("baseline: a folder for its files is wanted");
  if (plan.images == nullptr || plan.images->n < 1)
    throw ValueError("baseline: pictures are wanted, of the size that the victim takes");
  if (plan.budget < 1 || plan.budget > 100'000'000)
    throw ValueError("baseline: the budget is 1 to 10^8 queries, got " + std::to_string(plan.budget));
  const bool es = plan.method == Baseline::kEsOptimised || plan.method == Baseline::kEsGenerated;
  if (es && (plan.es.rounds < 1 || plan.es.rounds > plan.budget))
    throw ValueError("ES attack: 1 round to one for each query can be made, got " +
                     std::to_string(plan.es.rounds));
  if (es) check(plan.es.synthesis);
  if (plan.method == Baseline::kEsGenerated) GeneratorOptions::check_side(plan.images->h, plan.images->w);
  plan.copy.check(*plan.images);
  return Theft(victim, plan, device, listener).run();
}

}  // namespace offramp::attacks
