#include "tools/verbs/evade/inputs.h"

#include "base/sha256.h"
#include "nets/data/split.h"
#include "tools/frame/interrupt.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/net_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace offramp::tools::evade {

using namespace attacks::evasion;

namespace {

constexpr std::string_view kLastSuffix = "@last";

std::string digest_of(const ParameterSet& parameters) {
  std::vector<float> all = parameters.values().to_host<float>();
  if (const Tensor& buffers = parameters.buffers(); buffers && buffers.size() > 0) {
    const std::vector<float> more = buffers.to_host<float>();
    all.insert(all.end(), more.begin(), more.end());
  }
  return to_hex(sha256(std::as_bytes(std::span(all))));
}

}  // namespace

void declare(Options& o, const std::string& section, PolicyOptions& policy) {
  o.add(section + ".threshold",
        policy.threshold,
        "one threshold for all exits instead of the checkpoint's policy; without either 0.9")
      .range(0, 1);
  o.add(section + ".rule", policy.rule, "of --threshold").choices({">=", ">"});
  o.add(section + ".fallback", policy.fallback, "of --threshold: who answers when nobody was sure")
      .choices({"last", "most-confident"});
}

OpenVictim open_victim(const std::string& given, const Device& device, const PolicyOptions& options) {
  const bool last_only = given.ends_with(kLastSuffix);
  const std::string path = last_only ? given.substr(0, given.size() - kLastSuffix.size()) : given;
  const std::filesystem::path file = checkpoint_of(path);
  nets::LoadedNet loaded = nets::load_net(file, device, "f32");
  const nets::Network& net = *loaded.net;
  nets::ExitPolicy policy = loaded.policy;
  if (options.threshold || policy.thresholds.empty()) {
    policy = nets::ExitPolicy::uniform(net.num_exits(), options.threshold.value_or(kDefaultThreshold));
    policy.rule = nets::exit_rule_from(options.rule);
    policy.fallback = nets::fallback_from(options.fallback);
  }
  if (!options.threshold && !loaded.policy.thresholds.empty() &&
      (options.rule != PolicyOptions().rule || options.fallback != PolicyOptions().fallback))
    throw UsageError("--rule and --fallback are those of --threshold; without one " + path +
                     " keeps its own policy");
  std::string network = net.options().name;
  Victim victim = victim_of(given, net, policy);
  victim.before_gradient = throw_if_interrupted;
  std::unique_ptr<LastExitNet> last;
  if (last_only) {
    last = std::make_unique<LastExitNet>(net);
    victim.net = last.get();
    if (victim.frozen) victim.frozen = std::make_shared<const LastExitNet>(victim.frozen);
    victim.policy = nets::ExitPolicy::uniform(1, 0);
    victim.exit_macs = {net.costs().plain.macs};
    victim.exit_ops = {net.costs().plain.ops_profiler};
  }
  std::string weights = digest_of(net.parameters());
  return {
      std::move(loaded), std::move(last), std::move(victim), std::move(network), file, std::move(weights)};
}

nlohmann::ordered_json json_of(const OpenVictim& open) {
  return {{"name", open.victim.name},
          {"net", open.network},
          {"exits", open.victim.num_exits()},
          {"kind", open.victim.is_dynamic() ? "dynamic" : "static"},
          {"thresholds", open.victim.policy.thresholds},
          {"rule", to_text(open.victim.policy.rule)},
          {"fallback", to_text(open.victim.policy.fallback)}};
}

void declare(Options& o, const std::string& section, ImageOptions& images) {
  o.add(section + ".data", images.data, "data set; default: that of the net's training").flag("--data");
  o.add(section + ".split", images.split, "which part; auto: test").choices({"auto", "train", "test", "all"});
  o.add(section + ".first", images.first, "where in the part to begin").range(0, 1e9);
  o.add(section + ".count", images.count, "images; fewer where the part ends").range(1, 1e9);
  o.add(section + ".in_order",
        images.in_order,
        "take the images as they lie in the set, not in the shuffled order that is the same for every run");
}

std::vector<std::int32_t> rows_of(const ImageOptions& wanted, int n) {
  constexpr std::uint32_t kOrderStream = 0xE7A51003u;
  if (wanted.first >= n) {
    throw UsageError(
        fmt::format("{}: has {} images, --first {} is behind them", wanted.data, n, wanted.first));
  }
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  if (!wanted.in_order) order = data::permutation(n, 1, kOrderStream, 0);
  const int end = static_cast<int>(std::min<std::int64_t>(n, std::int64_t{wanted.first} + wanted.count));
  return {order.begin() + wanted.first, order.begin() + end};
}

Images open_images(Session& session,
                   const ImageOptions& wanted,
                   const OpenVictim& open,
                   const Device& device) {
  const TrainedOn trained = trained_on(open.loaded.metadata);
  const Samples samples =
      samples_for(session, trained, open.loaded.net->input(), {.set = wanted.data, .split = wanted.split});
  ImageOptions named = wanted;
  named.data = samples.set;
  NetData set(session, trained, samples);
  set.fit_to(*open.loaded.net, trained.class_names, samples.set);
  if (!set.pixels()) throw UsageError(samples.set + ": attacks are on images, these are rows of a table");
  const auto source = set.evaluation(device, 250, rows_of(named, set.samples()));
  return images_of(*source, open.loaded.net->input());
}

std::string set_of(const ImageOptions& wanted, const OpenVictim& open) {
  return wanted.data.empty() ? trained_on(open.loaded.metadata).set : wanted.data;
}

void check_alike(const OpenVictim& a, const OpenVictim& b) {
  const auto refuse = [&](const std::string& why) {
    throw UsageError(fmt::format("{} and {}: {}", a.victim.name, b.victim.name, why));
  };
  if (a.victim.net->input() != b.victim.net->input()) refuse("they take samples of different sizes");
  if (a.victim.classes() != b.victim.classes()) refuse("they tell another number of classes apart");
  const auto names_a = trained_on(a.loaded.metadata).class_names,
             names_b = trained_on(b.loaded.metadata).class_names;
  if (!names_a.empty() && !names_b.empty() && names_a != names_b)
    refuse("their classes differ, or stand in another order");
}

}  // namespace offramp::tools::evade
