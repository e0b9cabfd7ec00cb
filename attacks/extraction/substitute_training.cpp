#include "attacks/extraction/substitute_training.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/errors.h"
#include "engine/recording.h"
#include "kernels/range.h"
#include "nets/graph/metadata_text.h"
#include "nets/training/train_options.h"

namespace offramp::attacks {
namespace {

namespace text = nets::text;

void check(const FitOptions& o,
           const nets::Network& net,
           const data::ImageSet& images,
           const FitTargets& targets) {
  const auto fail = [](const std::string& what) { throw ValueError("fit: " + what); };
  const auto n = static_cast<std::size_t>(images.n), classes = static_cast<std::size_t>(net.classes());
  if (images.n < 1) fail("there are no images");
  if (o.epochs < 1 || o.batch_size < 1) fail("epochs and batch size must be at least 1");
  if (!(o.lambda >= 0) || !std::isfinite(o.lambda))
    fail("lambda must be finite and not negative, got " + text::number(o.lambda));
  if (!(o.learning_rate > 0) || !(o.momentum >= 0 && o.momentum < 1) || !(o.weight_decay >= 0))
    fail("learning rate > 0, momentum in [0,1) and weight decay >= 0 are wanted");
  if (!(o.strategy.phi1 >= 0 && o.strategy.phi1 <= 1 && o.strategy.phi2 >= 0 && o.strategy.phi2 <= 1))
    fail("phi1 and phi2 must lie in [0,1]");
  if (o.loss == TargetLoss::kCrossEntropy) fail("the loss must compare with probabilities, not labels");
  if (net.input() != nets::Extent{images.c, images.h, images.w})
    throw ShapeError("fit: the net takes " + nets::to_string(net.input()) + ", the images are " +
                     nets::to_string({images.c, images.h, images.w}));
  if (targets.probabilities.size() != n * classes)
    fail("expected " + std::to_string(n) + " x " + std::to_string(classes) + " probabilities, got " +
         std::to_string(targets.probabilities.size()));
  for (const float p : targets.probabilities)
    if (!std::isfinite(p)) fail("a probability is not finite");
  const bool wants_exits = o.method == FitMethod::kStrategy && o.lambda > 0;
  if ((wants_exits || !targets.exits.empty()) && targets.exits.size() != n)
    fail("expected an exit for each of " + std::to_string(n) + " images, got " +
         std::to_string(targets.exits.size()));
  for (const auto e : targets.exits)
    if (wants_exits && (e < 1 || e > net.num_exits()))
      fail("exits must be in 1.." + std::to_string(net.num_exits()) + ", got " + std::to_string(e));
}

// FNV-1a over the targets: a checkpoint belongs to one set of answers.
std::string digest(const FitTargets& targets) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&hash](std::span<const std::byte> bytes) {
    for (const auto byte : bytes) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  };
  add(std::as_bytes(targets.probabilities));
  add(std::as_bytes(targets.exits));
  return text::number(hash);
}

}  // namespace

const char* to_text(FitMethod method) { return method == FitMethod::kStrategy ? "strategy" : "knockoff"; }

nets::NetOptions substitute_options(nets::NetOptions base, int estimated_exits) {
  base.num_exits = estimated_exits;
  base.placement = nets::Placement::kEqualCost;
  base.exits_after.clear();
  return base;
}

int start_from(nets::Network& net, const std::filesystem::path& checkpoint) {
  const nets::LoadedNet other = nets::load_net(checkpoint, net.device());
  int taken = 0;
  for (auto& entry : net.parameters().entries()) {
    const auto* source = other.net->parameters().find(entry.info.name);
    if (source == nullptr || source->value.shape() != entry.value.shape()) continue;
    Tensor to = entry.value;
    to.device().copy(to.raw(), source->value.raw(), to.bytes());
    ++taken;
  }
  if (taken == 0)
    throw ValueError("fit: no parameter of " + checkpoint.string() + " fits the substitute " +
                     in_quotes(net.options().name));
  return taken;
}

SubstituteTrainer::SubstituteTrainer(nets::Network& net,
                                     const FitOptions& options,
                                     const data::ImageSet& images,
                                     const FitTargets& targets)
    : net_(net), options_(options), targets_(targets), scalars_(net.device()) {
  check(options, net, images, targets);
  const std::size_t classes = static_cast<std::size_t>(net.classes());
  for (std::size_t i = 0; i < static_cast<std::size_t>(images.n); ++i) {
    const auto row = targets.probabilities.subspan(i * classes, classes);
    labels_.push_back(static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
  }
  MultiStepSchedule reference;
  reference.learning_rate = options.learning_rate;
  reference.milestones = options.milestones;
  schedule_ = reference.scaled(options.epochs, 100, MilestoneShare::kNumber);
  optimizer_ = make_sgd(net.parameters(),
                        {.momentum = static_cast<float>(options.momentum),
                         .weight_decay = static_cast<float>(options.weight_decay),
                         .nesterov = false});
  image_ = {1, images.c, images.h, images.w};
  auto source = data::image_source<float>(images, options.augmentation, options.seed);
  source.labels = labels_;
  loader_ = std::make_unique<data::BatchLoader<float>>(
      std::move(source), data::LoaderOptions{.batch = options.batch_size, .seed = options.seed, .epoch = 1});
  sums_ = no_sums();
}

SubstituteTrainer::~SubstituteTrainer() = default;

SubstituteTrainer::Sums SubstituteTrainer::no_sums() const {
  const auto exits = static_cast<std::size_t>(net_.num_exits());
  return {.exit_loss = std::vector<double>(exits), .agree = std::vector<std::int64_t>(exits)};
}

std::int64_t SubstituteTrainer::steps_total() const {
  return std::int64_t{options_.epochs} * loader_->batches_per_epoch();
}

double SubstituteTrainer::constant_agreement() const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(net_.classes()));
  for (const auto label : labels_) ++counts[static_cast<std::size_t>(label)];
  return static_cast<double>(*std::max_element(counts.begin(), counts.end())) /
         static_cast<double>(labels_.size());
}

std::optional<FitEpoch> SubstituteTrainer::step() {
  if (done()) throw ValueError("fit: the run is complete, there is no further step");
  const bool strategy = options_.method == FitMethod::kStrategy;
  if (weight_epoch_ != epoch_) {
    const auto& fraction = net_.costs().exit_fraction_macs;
    const std::vector<float> weights =
        strategy
            ? std::vector<float>(fraction.size(), 1.0f)
            : nets::loss_weights(
                  nets::TrainKind::kJoint, {fraction.begin(), fraction.end() - 1}, epoch_, options_.epochs);
    exit_weight_ = Tensor::from<float>({static_cast<std::int64_t>(weights.size())}, weights, net_.device());
    weight_epoch_ = epoch_;
  }

  const auto& batch = loader_->next();
  const std::size_t classes = static_cast<std::size_t>(net_.classes());
  std::vector<float> target;
  std::vector<std::int32_t> exits;
  for (const auto index : batch.indices) {
    const auto row = targets_.probabilities.subspan(static_cast<std::size_t>(index) * classes, classes);
    target.insert(target.end(), row.begin(), row.end());
    if (!targets_.exits.empty()) exits.push_back(targets_.exits[static_cast<std::size_t>(index)]);
  }
  const Device& device = net_.device();
  const Tensor inputs =
      Tensor::from<float>({batch.n, image_.c(), image_.h(), image_.w()}, batch.values, device);
  scalars_.set(static_cast<float>(schedule_.at_epoch(epoch_)), static_cast<int>(step_), batch.n);

  MultiExitTargets targets;
  targets.kind = strategy ? options_.loss : TargetLoss::kSoftCrossEntropy;
  targets.target = Tensor::from<float>({batch.n, net_.classes()}, target, device);
  targets.exit_weight = exit_weight_;
  targets.state = scalars_.device_pointer();
  if (strategy && options_.lambda > 0) {
    targets.lambda = static_cast<float>(options_.lambda);
    targets.strategy = options_.strategy;
    targets.exits = Tensor::from<std::int32_t>({batch.n}, exits, device);
  }
  MultiExitResult result;
  {
    Recording recording(net_.parameters().targets());
    const auto logits = [&] {
      const Range range("fit/forward");
      return net_.forward(inputs, {.seed = options_.seed, .state = scalars_.device_pointer()});
    }();
    result = [&] {
      const Range range("fit/loss");
      return multi_exit_loss(logits, targets);
    }();
    const Range range("fit/backward");
    static_cast<void>(recording.grad(result.loss));
  }
  {
    const Range range("fit/optimizer");
    optimizer_->step(scalars_);
  }
  if (scalars_.nonfinite())
    throw NumericError("fit: the loss is not finite at epoch " + std::to_string(epoch_) + ", batch " +
                       std::to_string(batch_) + " (step " + std::to_string(step_) + ")");

  const std::vector<float> parts = result.parts.to_host<float>();
  const std::vector<std::int32_t> predicted = result.argmax.to_host<std::int32_t>();
  const std::size_t n = batch.indices.size();
  sums_.images += batch.n;
  sums_.loss += static_cast<double>(parts.front()) * batch.n;
  sums_.strategy += static_cast<double>(parts.back()) * batch.n;
  for (std::size_t e = 0; e < sums_.exit_loss.size(); ++e) {
    sums_.exit_loss[e] += static_cast<double>(parts[1 + e]) * batch.n;
    for (std::size_t i = 0; i < n; ++i) sums_.agree[e] += predicted[e * n + i] == batch.labels[i] ? 1 : 0;
  }
  ++step_;
  if (++batch_ < loader_->batches_per_epoch()) return std::nullopt;
  FitEpoch finished = report();
  sums_ = no_sums();
  batch_ = 0;
  ++epoch_;
  return finished;
}

FitEpoch SubstituteTrainer::report() const {
  const auto n = static_cast<double>(sums_.images);
  FitEpoch r{.epoch = epoch_,
             .learning_rate = schedule_.at_epoch(epoch_),
             .loss = sums_.loss / n,
             .strategy_loss = sums_.strategy / n,
             .exit_loss = {},
             .exit_agreement = {}};
  for (const double sum : sums_.exit_loss) r.exit_loss.push_back(sum / n);
  for (const auto count : sums_.agree) r.exit_agreement.push_back(static_cast<double>(count) / n);
  return r;
}

// What a checkpoint must share with the run that goes on from it.
nets::Metadata SubstituteTrainer::description() const {
  const auto& o = options_;
  return {{"fit.method", to_text(o.method)},
          {"fit.loss", text::number(static_cast<int>(o.loss))},
          {"fit.lambda", text::number(o.lambda)},
          {"fit.phi", text::list(std::vector<float>{o.strategy.phi1, o.strategy.phi2})},
          {"fit.last_exit_term", text::number(o.strategy.last_exit_term ? 1 : 0)},
          {"fit.hinge_mean", text::number(static_cast<int>(o.strategy.mean))},
          {"fit.epochs", text::number(o.epochs)},
          {"fit.batch_size", text::number(o.batch_size)},
          {"fit.seed", text::number(o.seed)},
          {"fit.sgd", text::list(std::vector<double>{o.learning_rate, o.momentum, o.weight_decay})},
          {"fit.milestones", text::list(o.milestones)},
          {"fit.augmentation",
           text::list(
               std::vector<int>{o.augmentation.flip, o.augmentation.crop_pad, o.augmentation.colour_jitter})},
          {"fit.samples", text::number(labels_.size())},
          {"fit.targets", digest(targets_)}};
}

void SubstituteTrainer::save(const std::filesystem::path& path, const nets::Metadata& extra) {
  nets::Metadata metadata = description();
  metadata["fit.state.epoch"] = text::number(epoch_);
  metadata["fit.state.batch"] = text::number(batch_);
  metadata["fit.state.step"] = text::number(step_);
  metadata["fit.state.images"] = text::number(sums_.images);
  metadata["fit.state.loss"] = text::list(std::vector<double>{sums_.loss, sums_.strategy});
  metadata["fit.state.exit_loss"] = text::list(sums_.exit_loss);
  metadata["fit.state.agree"] = text::list(sums_.agree);
  for (const auto& [key, value] : extra) metadata.insert_or_assign(key, value);
  nets::save_checkpoint(path, net_, {}, metadata, optimizer_.get());
}

void SubstituteTrainer::load(const std::filesystem::path& path) {
  const safetensors::Reader file(path);
  const auto& metadata = file.metadata();
  if (nets::options_from_metadata(metadata) != net_.options())
    throw ValueError("fit: " + path.string() + " holds another net");
  for (const auto& [key, value] : description())
    if (const auto& saved = text::required(metadata, key); saved != value)
      throw ValueError("fit: " + path.string() + " belongs to another fit: " + key + " was " + saved +
                       ", now " + value);
  const auto value = [&](const char* key) -> const std::string& { return text::required(metadata, key); };
  const int epoch = text::read_number<int>("fit.state.epoch", value("fit.state.epoch"));
  const int batch = text::read_number<int>("fit.state.batch", value("fit.state.batch"));
  Sums sums;
  sums.images = text::read_number<std::int64_t>("fit.state.images", value("fit.state.images"));
  const auto losses = text::read_list<double>("fit.state.loss", value("fit.state.loss"));
  sums.exit_loss = text::read_list<double>("fit.state.exit_loss", value("fit.state.exit_loss"));
  sums.agree = text::read_list<std::int64_t>("fit.state.agree", value("fit.state.agree"));
  const auto exits = static_cast<std::size_t>(net_.num_exits());
  if (epoch < 1 || epoch > options_.epochs + 1 || batch < 0 || batch >= loader_->batches_per_epoch() ||
      losses.size() != 2 || sums.exit_loss.size() != exits || sums.agree.size() != exits)
    throw FileError(path.string(), "the position of the fit in the metadata makes no sense");
  sums.loss = losses[0];
  sums.strategy = losses[1];
  nets::load_state_dict(net_, file, nets::Strictness::kComplete);
  nets::load_moments(file, net_, *optimizer_);
  epoch_ = epoch;
  batch_ = batch;
  step_ = text::read_number<std::int64_t>("fit.state.step", value("fit.state.step"));
  sums_ = std::move(sums);
  loader_->seek(static_cast<std::uint32_t>(epoch_), batch_);
}

}  // namespace offramp::attacks
