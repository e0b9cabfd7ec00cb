#include "tools/verbs/net/net_data.h"

#include "nets/data/class_names.h"
#include "nets/data/transform.h"
#include "tools/frame/interrupt.h"
#include "tools/verbs/dataset/dataset_spec.h"

namespace offramp::tools {
namespace {

constexpr const char* kClassesKey = "data.classes";

}  // namespace

std::vector<std::string> class_names_in(const nets::Metadata& metadata) {
  const auto found = metadata.find(kClassesKey);
  return found == metadata.end() ? std::vector<std::string>{} : data::decode_class_names(found->second);
}

NetData::NetData(const Session& session, const std::string& spec, const std::string& split) {
  data::OpenOptions open;
  open.seed = session.seed();
  open.threads = session.threads();
  checked_spec(spec, open);
  set_ = data::open_dataset(spec, split, open);
}

int NetData::samples() const {
  return std::visit([](const auto& set) { return set.n; }, set_);
}

int NetData::classes() const {
  return std::visit([](const auto& set) { return set.num_classes(); }, set_);
}

const std::vector<std::string>& NetData::class_names() const {
  return std::visit([](const auto& set) -> const std::vector<std::string>& { return set.class_names; }, set_);
}

void NetData::describe(nets::NetOptions& options) const {
  options.classes = classes();
  if (const auto* table = std::get_if<data::TableSet>(&set_)) {
    options.features = table->d;
    return;
  }
  const auto& images = std::get<data::ImageSet>(set_);
  if (images.h != images.w) {
    throw UsageError(fmt::format(
        "the nets take square images, these are {}x{}; '?side={}' resizes them", images.h, images.w, 32));
  }
  options.channels = images.c;
  options.side = images.h;
  const data::Normalisation normalisation = data::recommended_normalisation(images);
  options.mean = normalisation.mean;
  options.std = normalisation.std;
}

nets::Metadata NetData::metadata() const { return {{kClassesKey, data::encode_class_names(class_names())}}; }

void NetData::fit_to(const nets::Network& net, const nets::Metadata& trained, const std::string& spec) {
  if (const auto names = class_names_in(trained); !names.empty()) {
    try {
      std::visit([&](auto& set) { data::match_classes(names, set.class_names, set.labels, spec); }, set_);
    } catch (const DataError& error) {
      throw UsageError(error.what());
    }
  }
  const nets::Extent wanted = net.input();
  nets::Extent got;
  if (const auto* table = std::get_if<data::TableSet>(&set_)) {
    got = {table->d};
  } else {
    const auto& images = std::get<data::ImageSet>(set_);
    got = {images.c, images.h, images.w};
  }
  if (got != wanted) {
    throw UsageError(fmt::format("{}: the net takes samples of {}, these are {}; '?side=N' resizes pictures",
                                 spec,
                                 nets::to_string(wanted),
                                 nets::to_string(got)));
  }
  if (classes() != net.classes()) {
    throw UsageError(
        fmt::format("{}: the net tells {} classes apart, the data have {}", spec, net.classes(), classes()));
  }
}

std::unique_ptr<nets::LoaderSource> NetData::training(
    const Device& device, int batch, std::uint64_t seed, bool augment, std::vector<std::int32_t> rows) const {
  const auto options = nets::LoaderSource::training(batch, seed, std::move(rows));
  if (const auto* table = std::get_if<data::TableSet>(&set_)) {
    return std::make_unique<nets::LoaderSource>(*table, options, device);
  }
  const auto& images = std::get<data::ImageSet>(set_);
  const auto augmentation = augment ? data::recommended_augmentation(images) : data::Augmentation{};
  return std::make_unique<nets::LoaderSource>(images, augmentation, options, device);
}

std::unique_ptr<nets::LoaderSource> NetData::evaluation(const Device& device,
                                                        int batch,
                                                        std::vector<std::int32_t> rows) const {
  const auto options = nets::LoaderSource::evaluation(batch, std::move(rows));
  if (const auto* table = std::get_if<data::TableSet>(&set_)) {
    return std::make_unique<nets::LoaderSource>(*table, options, device);
  }
  return std::make_unique<nets::LoaderSource>(
      std::get<data::ImageSet>(set_), data::Augmentation{}, options, device);
}

std::filesystem::path checkpoint_in(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path;
  const std::filesystem::path inside = path / "checkpoints" / "last.safetensors";
  if (!std::filesystem::exists(inside)) {
    throw UsageError(path.string() +
                     ": expected a checkpoint or a run folder of train, found no checkpoints/" +
                     "last.safetensors in it");
  }
  return inside;
}

nets::ExitOutputs outputs_with_progress(Session& session,
                                        const std::string& label,
                                        const nets::Network& net,
                                        nets::BatchSource& source) {
  Progress progress(session.log, label, static_cast<std::uint64_t>(source.samples()), "img");
  return nets::exit_outputs(net, source, [&](int done, int) {
    throw_if_interrupted();
    progress.update(static_cast<std::uint64_t>(done));
  });
}

}  // namespace offramp::tools
