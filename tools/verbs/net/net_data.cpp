#include "tools/verbs/net/net_data.h"

#include "base/errors.h"
#include "nets/data/class_names.h"
#include "nets/data/inspect.h"
#include "nets/data/transform.h"
#include "tools/frame/interrupt.h"
#include "tools/verbs/inputs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace offramp::tools {

NetData::NetData(const std::string& set, const std::string& split, const data::OpenOptions& open)
    : set_(open_set(set, split, open)) {}

int NetData::samples() const {
  return std::visit([](const auto& set) { return set.n; }, set_);
}

int NetData::classes() const {
  return std::visit([](const auto& set) { return set.num_classes(); }, set_);
}

const std::vector<std::string>& NetData::class_names() const {
  return std::visit([](const auto& set) -> const std::vector<std::string>& { return set.class_names; }, set_);
}

void NetData::describe(nets::NetOptions& options, std::span<const std::int32_t> trained_on) const {
  options.classes = classes();
  if (const auto* table = std::get_if<data::TableSet>(&set_)) {
    options.features = table->d;
    return;
  }
  const auto& images = std::get<data::ImageSet>(set_);
  if (images.h != images.w) {
    throw UsageError(fmt::format(
        "the nets take square pictures, these are {}x{} pixels (height x width); --side 32 squashes them to 32x32",
        images.h,
        images.w));
  }
  options.channels = images.c;
  options.side = images.h;
  const data::Normalisation normalisation = data::recommended_normalisation(images, trained_on);
  options.mean = normalisation.mean;
  options.std = normalisation.std;
}

TrainedOn NetData::trained_on() const {
  TrainedOn out;
  out.class_names = class_names();
  out.contents = data::fingerprint(set_);
  if (const auto* images = std::get_if<data::ImageSet>(&set_)) {
    out.padding = images->padded == images->n ? data::kPadding : 0;
    out.grey = data::is_grey(*images);
  }
  return out;
}

std::string NetData::note() const {
  const auto* images = std::get_if<data::ImageSet>(&set_);
  if (const auto* table = std::get_if<data::TableSet>(&set_); table != nullptr && !table->left_out.empty())
    return fmt::format("columns of text are passed over: {}", fmt::join(table->left_out, ", "));
  std::string out = converted_;
  if (images != nullptr && images->squashed > 0)
    out += fmt::format("{}{} of {} pictures are not square: they are squashed to {}x{}, not cropped",
                       out.empty() ? "" : "; ",
                       images->squashed,
                       images->n,
                       images->h,
                       images->w);
  return out;
}

void NetData::fit_to(const nets::Network& net,
                     const std::vector<std::string>& trained,
                     const std::string& spec) {
  if (!trained.empty()) {
    try {
      std::visit([&](auto& set) { data::match_classes(trained, set.class_names, set.labels, spec); }, set_);
    } catch (const DataError& error) {
      throw UsageError(error.what());
    }
  }
  const nets::Extent wanted = net.input();
  nets::Extent got;
  if (const auto* table = std::get_if<data::TableSet>(&set_)) {
    got = {table->d};
  } else {
    auto& images = std::get<data::ImageSet>(set_);
    if (wanted.c == 1 && images.c == 3) {
      images = data::rgb_to_grey(images);
      converted_ = "the pictures are turned grey, as the net takes them";
    } else if (wanted.c == 3) {
      images = data::grey_to_rgb(images);
    }
    got = {images.c, images.h, images.w};
  }
  if (got != wanted) {
    throw UsageError(fmt::format("{}: the net takes samples of {}, these are {}{}",
                                 spec,
                                 nets::to_string(wanted),
                                 nets::to_string(got),
                                 pixels() && wanted.h > 1
                                     ? fmt::format("; {} resizes the pictures",
                                                   shell_quoted(fmt::format("{}?side={}", spec, wanted.h)))
                                     : ""));
  }
  if (classes() != net.classes()) {
    throw UsageError(
        fmt::format("{}: the net tells {} classes apart, the data have {}", spec, net.classes(), classes()));
  }
}

std::unique_ptr<nets::LoaderSource> NetData::training(const Device& device,
                                                      int batch,
                                                      std::uint64_t seed,
                                                      bool augment,
                                                      std::vector<std::int32_t> rows,
                                                      const nets::PartOfBatch& part) const {
  const auto options = nets::LoaderSource::training(batch, seed, std::move(rows), part);
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

std::string one_class_note(const nets::ExitOutputs& outputs, const std::vector<std::string>& class_names) {
  const auto differs = [](const std::vector<std::int32_t>& values, std::size_t step, std::size_t first) {
    for (std::size_t i = first; i < values.size(); i += step)
      if (values[i] != values[first]) return true;
    return false;
  };
  const auto exits = static_cast<std::size_t>(outputs.num_exits);
  if (!differs(outputs.labels, 1, 0) || differs(outputs.predicted, exits, exits - 1)) return "";
  const auto label = static_cast<std::size_t>(outputs.predicted[exits - 1]);
  return fmt::format(
      "the last exit says {} for each of the {} samples: the net has learned nothing, or collapsed",
      label < class_names.size() ? in_quotes(class_names[label]) : fmt::format("class {}", label),
      outputs.n);
}

}  // namespace offramp::tools
