#include "attacks/membership/attack_net.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/errors.h"
#include "engine/optimizer.h"
#include "engine/recording.h"
#include "engine/schedule.h"
#include "nets/data/split.h"
#include "nets/graph/network.h"

namespace offramp::attacks::membership {
namespace {

constexpr std::uint32_t kOrderStream = 0x3E3B0002u;  // step: the epoch
constexpr int kWindows = 5, kFilter = 3;

nets::Linear fully(std::string name, int in, int out) {
  return {.name = std::move(name), .in = in, .out = out};
}

// Linear(in,128) ReLU Dropout Linear(128,64) of one input.
nets::Path branch(int input, const std::string& name, int in) {
  return {input, {fully(name + ".0", in, 128), nets::Relu{}, nets::Dropout{}, fully(name + ".3", 128, 64)}};
}

nets::Features batch_of(const nets::Architecture& arch,
                        std::span<const NetInput> inputs,
                        std::span<const std::int32_t> rows,
                        const Device& device) {
  nets::Features x;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const auto width = static_cast<std::size_t>(inputs[k].width);
    std::vector<float> values;
    values.reserve(rows.size() * width);
    for (const std::int32_t row : rows) {
      const auto at =
          inputs[k].values.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(row) * width);
      values.insert(values.end(), at, at + static_cast<std::ptrdiff_t>(width));
    }
    const nets::Extent& e = arch.inputs[k];
    const auto n = static_cast<std::int64_t>(rows.size());
    x.push_back(e.h == 1 && e.w == 1 ? Tensor::from<float>({n, std::int64_t{e.c}}, values, device)
                                     : Tensor::from_nchw({n, e.c, e.h, e.w}, values, device));
  }
  return x;
}

void check_inputs(const nets::Architecture& arch, std::span<const NetInput> inputs, std::size_t records) {
  if (inputs.size() != arch.inputs.size())
    throw ShapeError("attack net: expected " + std::to_string(arch.inputs.size()) + " inputs, got " +
                     std::to_string(inputs.size()));
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (inputs[k].width != arch.inputs[k].size() ||
        inputs[k].values.size() != records * static_cast<std::size_t>(inputs[k].width))
      throw ShapeError("attack net: input " + std::to_string(k) + " takes " +
                       std::to_string(arch.inputs[k].size()) + " values a record, got " +
                       std::to_string(inputs[k].values.size()) + " for " + std::to_string(records) +
                       " records");
  }
}

std::vector<double> member_scores(const nets::Network& net,
                                  std::span<const NetInput> inputs,
                                  std::size_t records) {
  constexpr std::size_t kBatch = 1000;
  std::vector<double> out;
  for (std::size_t first = 0; first < records; first += kBatch) {
    std::vector<std::int32_t> rows;
    for (std::size_t i = first; i < std::min(records, first + kBatch); ++i)
      rows.push_back(static_cast<std::int32_t>(i));
    const auto logits =
        net.forward(batch_of(net.architecture(), inputs, rows, net.device())).front().to_host<float>();
    for (std::size_t i = 0; i < rows.size(); ++i)
      out.push_back(static_cast<double>(logits[2 * i + 1]) - static_cast<double>(logits[2 * i]));
  }
  return out;
}

double balanced_accuracy(std::span<const double> score, std::span<const std::uint8_t> member) {
  double right[2] = {}, all[2] = {};
  for (std::size_t i = 0; i < score.size(); ++i) {
    all[member[i]] += 1;
    right[member[i]] += (score[i] > 0) == (member[i] == 1) ? 1 : 0;
  }
  return (right[0] / all[0] + right[1] / all[1]) / 2;
}

}  // namespace

nets::Architecture score_net(int scores, int num_exits) {
  using nets::Relu;
  nets::Architecture arch{.name = "membership-score", .inputs = {{scores}}, .pixels = false, .classes = 2};
  nets::Map map{.paths = {{0, {fully("output.0", scores, 128), Relu{}, fully("output.2", 128, 128)}}}};
  if (num_exits > 0) {
    arch.inputs.push_back({num_exits});
    map.paths.push_back({1, {fully("exit.0", num_exits, 128), Relu{}}});
    map.join = nets::Join::kConcat;
  }
  arch.blocks = {{{map}}};
  arch.end.layers = {fully("encoder.0", num_exits > 0 ? 256 : 128, 128),
                     Relu{},
                     fully("encoder.2", 128, 64),
                     Relu{},
                     fully("encoder.4", 64, 2)};
  return arch;
}

nets::Architecture gradient_net(int classes, int status, int feature, int num_exits) {
  using nets::Dropout, nets::Relu;
  nets::Architecture arch{.name = "membership-gradient",
                          .inputs = {{classes}, {1}, {status}, {feature}, {9, kWindows, kWindows}},
                          .pixels = false,
                          .classes = 2};
  constexpr int kFlat = 5 * kWindows * kWindows;
  const nets::Path picture{
      4,
      {nets::Conv2d{.name = "gradient.0",
                    .in = kFilter * kFilter,
                    .out = 5,
                    .kernel = 1,
                    .pad = 0,
                    .has_bias = true,
                    .init = nets::Init::kFanIn},
       nets::Flatten{},
       Dropout{},
       nets::Linear{
           .name = "gradient.4", .in = kFlat, .out = 256, .flatten_h = kWindows, .flatten_w = kWindows},
       Relu{},
       Dropout{},
       fully("gradient.7", 256, 128),
       Relu{},
       Dropout{},
       fully("gradient.10", 128, 64)}};
  nets::Map map{.paths = {branch(0, "score", classes),
                          branch(1, "loss", 1),
                          branch(2, "status", status),
                          branch(3, "feature", feature),
                          picture},
                .join = nets::Join::kConcat};
  if (num_exits > 0) {
    arch.inputs.push_back({num_exits});
    map.paths.push_back(branch(5, "exit", num_exits));
  }
  arch.blocks = {{{map}}};
  arch.end.layers = {Dropout{},
                     fully("encoder.1", 64 * static_cast<int>(map.paths.size()), 256),
                     Relu{},
                     Dropout{},
                     fully("encoder.4", 256, 128),
                     Relu{},
                     Dropout{},
                     fully("encoder.7", 128, 64),
                     Relu{},
                     Dropout{},
                     fully("encoder.10", 64, 2)};
  return arch;
}

std::vector<float> gradient_windows(std::span<const double> error, std::span<const float> feature) {
  if (error.size() < kFilter || feature.size() < kFilter)
    throw ValueError("gradient attack: a 3x3 filter needs a gradient of at least 3x3, got " +
                     std::to_string(error.size()) + "x" + std::to_string(feature.size()));
  // Means of v[first + shift .. last + shift] of window i, [3,5]: those of the product are products of these.
  const auto means = [](const auto& v) {
    const std::size_t length = v.size() - (kFilter - 1);  // of the convolution's output
    std::array<std::array<double, kWindows>, kFilter> out{};
    for (std::size_t shift = 0; shift < kFilter; ++shift) {
      for (std::size_t i = 0; i < kWindows; ++i) {
        const std::size_t first = i * length / kWindows, end = ((i + 1) * length + kWindows - 1) / kWindows;
        double sum = 0;
        for (std::size_t at = first; at < end; ++at) sum += static_cast<double>(v[at + shift]);
        out[shift][i] = sum / static_cast<double>(end - first);
      }
    }
    return out;
  };
  const auto rows = means(error), columns = means(feature);
  std::vector<float> out;
  for (std::size_t r = 0; r < kFilter; ++r)
    for (std::size_t s = 0; s < kFilter; ++s)
      for (std::size_t i = 0; i < kWindows; ++i)
        for (std::size_t j = 0; j < kWindows; ++j)
          out.push_back(static_cast<float>(rows[r][i] * columns[s][j]));
  return out;
}

AttackNetResult train_attack_net(const nets::Architecture& arch,
                                 std::span<const NetInput> shadow,
                                 std::span<const std::uint8_t> shadow_member,
                                 std::span<const NetInput> target,
                                 std::span<const std::uint8_t> target_member,
                                 const AttackNetOptions& o) {
  check_inputs(arch, shadow, shadow_member.size());
  check_inputs(arch, target, target_member.size());
  if (o.epochs < 1 || o.batch < 1) throw ValueError("attack net: epochs and batch must be at least 1");
  const Device device = Device::make_cpu({.threads = 1});  // the nets are small: more threads only wait
  nets::Network net(arch, device);
  nets::initialize(net, o.seed);
  const auto optimizer = make_sgd(net.parameters(),
                                  {.momentum = static_cast<float>(o.momentum),
                                   .weight_decay = static_cast<float>(o.weight_decay),
                                   .nesterov = false});
  StepScalars scalars(device);
  const Tensor weight = Tensor::full({1}, 1, device);
  const int n = static_cast<int>(shadow_member.size());
  int step = 0;
  AttackNetResult result;
  for (int epoch = 0; epoch < o.epochs; ++epoch) {
    const auto rate = static_cast<float>(CosineSchedule{o.learning_rate}.at_iteration(epoch, o.epochs));
    const auto order = data::permutation(n, o.seed, kOrderStream, static_cast<std::uint32_t>(epoch));
    for (int first = 0; first < n; first += o.batch) {
      const int count = std::min(o.batch, n - first);
      const auto rows =
          std::span(order).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
      std::vector<std::int32_t> labels;
      for (const std::int32_t row : rows) labels.push_back(shadow_member[static_cast<std::size_t>(row)]);
      scalars.set(rate, step++, count);
      MultiExitTargets targets;
      targets.labels = Tensor::from<std::int32_t>({count}, std::span<const std::int32_t>(labels), device);
      targets.exit_weight = weight;
      targets.state = scalars.device_pointer();
      const nets::Features x = batch_of(arch, shadow, rows, device);
      {
        Recording recording(net.parameters().targets());
        const auto logits = net.forward(x, nets::TrainPass{o.seed, scalars.device_pointer()});
        static_cast<void>(recording.grad(multi_exit_loss(logits, targets).loss));
      }
      optimizer->step(scalars);
      if (scalars.nonfinite())
        throw NumericError("attack net: the loss is not finite in epoch " + std::to_string(epoch + 1) +
                           "; the records' features or gradients are too large for its learning rate");
    }
    result.score = member_scores(net, target, target_member.size());
    const double accuracy = balanced_accuracy(result.score, target_member);
    if (accuracy > result.best_epoch) {
      result.best_epoch = accuracy;
      result.best_epoch_at = epoch + 1;
    }
  }
  return result;
}

}  // namespace offramp::attacks::membership
