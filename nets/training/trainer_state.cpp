// What of a training run lies in a checkpoint, and what ranks tell each other before the first step.
#include <algorithm>
#include <string>

#include "base/errors.h"
#include "base/hash.h"
#include "nets/graph/metadata_text.h"
#include "nets/training/trainer.h"

namespace offramp::nets {

void Trainer::save(const std::filesystem::path& path, const Metadata& extra) {
  while (!running_.empty()) ready_ = std::make_unique<StepReport>(finish());
  Metadata metadata = to_metadata(options_);
  if (shards_) metadata["train.shards"] = text::number(options_.shards);
  metadata.merge(objective_.description());
  metadata["state.epoch"] = text::number(at_.epoch);
  metadata["state.batch"] = text::number(at_.batch);
  metadata["state.step"] = text::number(at_.step);
  metadata["state.seen"] = text::number(at_.seen);
  metadata["state.loss_sum"] = text::number(at_.loss);
  metadata["state.strategy_sum"] = text::number(at_.strategy);
  metadata["state.exit_loss_sum"] = text::list(at_.exit_loss);
  metadata["state.right"] = text::list(at_.right);
  metadata["state.samples"] = text::number(source_.samples());
  for (const auto& [key, value] : extra) metadata.insert_or_assign(key, value);
  save_checkpoint(path, net_, {}, metadata, optimizer_.get());
}

// Throws ValueError for a position outside this run.
Trainer::Position Trainer::position_in(const Metadata& metadata) const {
  const auto value = [&](const char* key) -> const std::string& { return text::required(metadata, key); };
  const auto integer = [&](const char* key) { return text::read_number<std::int64_t>(key, value(key)); };
  Position p;
  p.epoch = text::read_number<int>("state.epoch", value("state.epoch"));
  p.batch = text::read_number<int>("state.batch", value("state.batch"));
  p.step = integer("state.step");
  p.seen = integer("state.seen");
  p.loss = text::read_number<double>("state.loss_sum", value("state.loss_sum"));
  if (metadata.contains("state.strategy_sum"))  // of earlier builds: no
    p.strategy = text::read_number<double>("state.strategy_sum", value("state.strategy_sum"));
  p.exit_loss = text::read_list<double>("state.exit_loss_sum", value("state.exit_loss_sum"));
  p.right = text::read_list<std::int64_t>("state.right", value("state.right"));
  const auto exits = static_cast<std::size_t>(net_.num_exits());
  if (p.epoch < 1 || p.epoch > options_.epochs + 1 || p.batch < 0 || p.batch >= source_.batches() ||
      p.step != std::int64_t{p.epoch - 1} * source_.batches() + p.batch || p.seen < 0 ||
      p.seen > source_.samples() || p.exit_loss.size() != exits || p.right.size() != exits) {
    throw ValueError("the training position in the metadata does not fit the net and the data");
  }
  return p;
}

void Trainer::share() {
  if (!shards_ || shards_->transport() == nullptr) return;
  Transport& host = *shards_->transport();
  // Ranks that compute something else would not notice.
  std::string words;
  for (const auto& metadata : {to_metadata(options_), to_metadata(net_.options()), objective_.description()})
    for (const auto& [key, value] : metadata) words += key + "=" + value + "\n";
  std::vector<std::uint64_t> hashes(static_cast<std::size_t>(host.size()));
  hashes[static_cast<std::size_t>(host.rank())] = Fnv1a().add(words).add(source_.samples()).value();
  host.all_gather(hashes.data(), sizeof hashes[0]);
  if (hashes[static_cast<std::size_t>(host.rank())] != hashes[0])
    throw ValueError("training: this rank has other options or data than rank 0");
  const auto send = [&](Tensor t) {
    std::vector<std::byte> bytes(t.bytes());
    t.device().download(bytes.data(), std::as_const(t).raw(), bytes.size());
    host.broadcast(bytes.data(), bytes.size());
    if (host.rank() != 0) t.device().upload(t.raw(), bytes.data(), bytes.size());
  };
  send(net_.parameters().values());
  send(net_.parameters().buffers());
  for (Optimizer::Moment& moment : optimizer_->moments()) send(moment.values);
  std::vector<std::int64_t> counts{at_.epoch, at_.batch, at_.step, at_.seen};
  counts.insert(counts.end(), at_.right.begin(), at_.right.end());
  std::vector<double> sums{at_.loss, at_.strategy};
  sums.insert(sums.end(), at_.exit_loss.begin(), at_.exit_loss.end());
  host.broadcast(counts.data(), counts.size() * sizeof counts[0]);
  host.broadcast(sums.data(), sums.size() * sizeof sums[0]);
  at_.epoch = static_cast<int>(counts[0]), at_.batch = static_cast<int>(counts[1]);
  at_.step = counts[2], at_.seen = counts[3];
  at_.right.assign(counts.begin() + 4, counts.end());
  at_.loss = sums[0], at_.strategy = sums[1];
  at_.exit_loss.assign(sums.begin() + 2, sums.end());
  positioned_ = false;
}

void Trainer::load(const std::filesystem::path& path) {
  const safetensors::Reader file(path);
  const Metadata metadata = objective_.in_todays_keys(file.metadata());
  const auto differs = [&](const std::string& what) {
    throw ValueError("resume: " + path.string() + " was trained with other " + what);
  };
  // Every key of `now` must have the value that it has in `saved`.
  const auto compare = [&](const std::string& what, const Metadata& saved, const Metadata& now) {
    for (const auto& [key, value] : now) {
      const std::string& was = text::required(saved, key);
      if (was != value) differs(what + ": " + key + " was " + was + ", now " + value);
    }
  };
  if (options_from_metadata(metadata) != net_.options())
    differs(
        "net options (sizes, classes and the pixels' statistics are those of the data: have they changed?)");
  TrainOptions saved = train_options_from_metadata(metadata);
  saved.checkpoint_every = options_.checkpoint_every;  // when to save does not change what is computed
  compare("training options", to_metadata(saved), to_metadata(options_));
  if (std::max(saved.shards, 1) != std::max(options_.shards, 1))
    differs("training options: train.shards was " + text::number(saved.shards) + ", now " +
            text::number(options_.shards));
  compare("targets", metadata, objective_.description());
  if (text::read_number<int>("state.samples", text::required(metadata, "state.samples")) !=
      source_.samples()) {
    differs("data");
  }
  Position position;
  try {
    position = position_in(metadata);
  } catch (const ValueError& error) {
    throw FileError(path.string(), error.what());
  }
  load_state_dict(net_, file, Strictness::kComplete, optimizer_.get());
  running_.clear();
  ready_.reset();
  at_ = std::move(position);
  positioned_ = false;
}

}  // namespace offramp::nets
