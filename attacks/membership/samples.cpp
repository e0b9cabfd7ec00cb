#include "attacks/membership/samples.h"

#include "base/errors.h"
#include "nets/data/transform.h"

namespace offramp::attacks::membership {

Samples::Samples(data::Dataset set) : set_(std::move(set)) {}

int Samples::count() const {
  return std::visit([](const auto& s) { return s.n; }, set_);
}
const std::vector<std::int32_t>& Samples::labels() const {
  return std::visit([](const auto& s) -> const std::vector<std::int32_t>& { return s.labels; }, set_);
}
const std::vector<std::string>& Samples::class_names() const {
  return std::visit([](const auto& s) -> const std::vector<std::string>& { return s.class_names; }, set_);
}

void Samples::describe(nets::NetOptions& options, bool normalise) const {
  options.classes = classes();
  if (const auto* table = std::get_if<data::TableSet>(&set_)) {
    options.features = table->d;
    return;
  }
  const auto& images = std::get<data::ImageSet>(set_);
  if (images.h != images.w)
    throw ValueError("membership: the nets take square images, these are " + std::to_string(images.h) + "x" +
                     std::to_string(images.w) + "; '?side=32' resizes them");
  options.channels = images.c;
  options.side = images.h;
  if (normalise) {
    const data::Normalisation n = data::recommended_normalisation(images);
    options.mean = n.mean;
    options.std = n.std;
  }
}

Tensor Samples::load(std::span<const std::int32_t> rows, const Device& device) const {
  const auto n = static_cast<std::int64_t>(rows.size());
  std::vector<float> values;
  if (const auto* table = std::get_if<data::TableSet>(&set_)) {
    for (const std::int32_t row : rows) {
      const auto from = table->row(row);
      values.insert(values.end(), from.begin(), from.end());
    }
    return Tensor::from<float>({n, std::int64_t{table->d}}, values, device);
  }
  const auto& images = std::get<data::ImageSet>(set_);
  for (const std::int32_t row : rows)
    for (const std::uint8_t pixel : images.image(row)) values.push_back(static_cast<float>(pixel) / 255.0f);
  return Tensor::from<float>(
      {n, std::int64_t{images.c}, std::int64_t{images.h}, std::int64_t{images.w}}, values, device);
}

namespace {
std::unique_ptr<nets::LoaderSource> source_of(const data::Dataset& set,
                                              const data::LoaderOptions& options,
                                              const Device& device) {
  if (const auto* table = std::get_if<data::TableSet>(&set))
    return std::make_unique<nets::LoaderSource>(*table, options, device);
  return std::make_unique<nets::LoaderSource>(
      std::get<data::ImageSet>(set), data::Augmentation{}, options, device);
}
}  // namespace

std::unique_ptr<nets::LoaderSource> Samples::training(const Device& device,
                                                      int batch,
                                                      std::uint64_t seed,
                                                      std::vector<std::int32_t> rows) const {
  return source_of(set_, nets::LoaderSource::training(batch, seed, std::move(rows)), device);
}
std::unique_ptr<nets::LoaderSource> Samples::evaluation(const Device& device,
                                                        int batch,
                                                        std::vector<std::int32_t> rows) const {
  return source_of(set_, nets::LoaderSource::evaluation(batch, std::move(rows)), device);
}

}  // namespace offramp::attacks::membership
