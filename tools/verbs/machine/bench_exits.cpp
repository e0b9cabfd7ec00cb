// offramp bench exits: what early exit saves in time, beside what it saves in multiplications, batch by batch.
#include "engine/ops.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "nets/graph/cost.h"
#include "tools/bench/timing.h"
#include "tools/frame/interrupt.h"
#include "tools/frame/table.h"
#include "tools/verbs/verbs.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace offramp::tools {
namespace {

// Thresholds at which every exit takes the same share of the pictures that reach it, so that all of them end
// up with about as many.
nets::ExitPolicy even_policy(const nets::FrozenNet& net, const std::vector<Tensor>& batches) {
  const int exits = net.num_exits();
  std::vector<std::vector<float>> confidence(static_cast<std::size_t>(exits));
  for (const Tensor& batch : batches) {
    const std::vector<Tensor> logits = net.forward(batch);
    for (std::size_t e = 0; e < logits.size(); ++e) {
      const std::vector<float> p = softmax(logits[e]).to_host<float>();
      const auto width = static_cast<std::size_t>(net.classes());
      for (std::size_t at = 0; at < p.size(); at += width) {
        confidence[e].push_back(*std::max_element(p.data() + at, p.data() + at + width));
      }
    }
  }
  nets::ExitPolicy policy = nets::ExitPolicy::uniform(exits, 0);
  std::vector<std::size_t> inside(confidence[0].size());
  for (std::size_t i = 0; i < inside.size(); ++i) inside[i] = i;
  for (int e = 0; e + 1 < exits; ++e) {
    const std::vector<float>& c = confidence[static_cast<std::size_t>(e)];
    std::sort(inside.begin(), inside.end(), [&](std::size_t a, std::size_t b) { return c[a] > c[b]; });
    const std::size_t leave = std::max<std::size_t>(1, inside.size() / static_cast<std::size_t>(exits - e));
    policy.thresholds[static_cast<std::size_t>(e)] = static_cast<double>(c[inside[leave - 1]]);
    while (!inside.empty() && policy.stops(e, static_cast<double>(c[inside.front()])))
      inside.erase(inside.begin());
    if (inside.empty()) inside.push_back(0);
  }
  return policy;
}

struct Measured {
  int batch = 0;
  double plain_us = 0, exits_us = 0;  // a picture
  bool same_bits = true;              // as batch 1
};

class BenchExitsVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "bench exits",
        .group = "Measure",
        .summary = "time saved by early exit, beside the multiplications saved",
        .example = "offramp bench exits --net resnet-56 --exits 4 --batch 1,8,128",
        .details =
            "Two nets with random weights, ready for answering as in `infer`: the backbone alone, and with "
            "exits whose thresholds let about the same number of pictures leave at each, as far as their "
            "confidences differ: the answer says how many did. For each batch size both answer all --images in alternating rounds. Speed-up is the plain net's time over "
            "the other's, efficiency is the speed-up over the one that multiplications promise. A "
            "picture is computed only as far as its own exit, and answers in a batch have the bits of "
            "answers one by one: where they have not, the exit code is 1."};
  }

  void declare(Options& options) override {
    options.add(
        "bench.net", net_.name, "which net: " + fmt::format("{}", fmt::join(nets::net_names(), ", ")));
    options.add("bench.exits", net_.num_exits, "exits at equal cost, the last one included").range(2, 6);
    options.add("bench.batch", batches_, "batch sizes").range(1, 4096);
    options.add("bench.images", images_, "pictures of a round").range(1, 1e5);
    options.add("bench.rounds", rounds_, "rounds; medians are printed").range(1, 1000);
    options.add("bench.precision", precision_, "f32, or bf16 activations with f32 weights")
        .choices({"f32", "bf16"});
  }

  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    for (const int batch : batches_)
      if (batch > images_)
        throw UsageError(fmt::format("--batch {}: a round has {} pictures (--images)", batch, images_));
    net_.precision = precision_ == "bf16" ? nets::Precision::kMixed : nets::Precision::kFloat32;
    nets::Network net(net_, device);
    nets::initialize(net, session.seed());
    nets::NetOptions without = net_;
    without.num_exits = 1;
    nets::Network backbone(without, device);
    nets::initialize(backbone, session.seed());
    const nets::FrozenNet with(net), plain(backbone);
    const nets::Extent& in = net.input();
    const auto pictures = [&](int batch) {
      std::vector<Tensor> parts;
      const Tensor all = bench::random_tensor({images_, in.c, in.h, in.w}, session.seed(), device);
      for (std::int32_t first = 0; first < images_; first += batch) {
        std::vector<std::int32_t> rows;
        for (std::int32_t i = first; i < std::min(images_, first + batch); ++i) rows.push_back(i);
        parts.push_back(gather_rows(
            all, Tensor::from<std::int32_t>({static_cast<std::int64_t>(rows.size())}, rows, device)));
      }
      return parts;
    };
    const NoGrad no_grad;
    const nets::ExitPolicy policy = even_policy(with, pictures(1)), never = nets::ExitPolicy::uniform(1, 0);

    std::vector<nets::EarlyExitResult> one_by_one;
    for (const Tensor& x : pictures(1)) one_by_one.push_back(nets::infer(with, policy, x));
    const nets::NetCosts costs = net.costs();
    double macs = 0;
    std::vector<int> leave(static_cast<std::size_t>(net.num_exits()));
    for (const nets::EarlyExitResult& r : one_by_one) {
      const auto exit = static_cast<std::size_t>(r.exit[0]) - 1;
      macs += static_cast<double>(costs.exits[exit].macs) / images_;
      ++leave[exit];
    }
    const double promised = static_cast<double>(costs.plain.macs) / macs;

    std::vector<Measured> rows;
    for (const int batch : batches_) {
      rows.push_back(measure(plain, with, never, policy, pictures(batch), one_by_one));
      rows.back().batch = batch;
    }
    return report(session, rows, leave, promised);
  }

 private:
  Measured measure(const nets::FrozenNet& plain,
                   const nets::FrozenNet& with,
                   const nets::ExitPolicy& never,
                   const nets::ExitPolicy& policy,
                   const std::vector<Tensor>& batches,
                   const std::vector<nets::EarlyExitResult>& one_by_one) const {
    Measured m;
    std::size_t at = 0;
    for (const Tensor& x : batches) {  // warms up, too
      static_cast<void>(nets::infer(plain, never, x));
      const nets::EarlyExitResult r = nets::infer(with, policy, x);
      const auto width = static_cast<std::size_t>(r.classes);
      for (std::size_t i = 0; i < r.exit.size(); ++i, ++at) {
        const nets::EarlyExitResult& one = one_by_one[at];
        m.same_bits =
            m.same_bits && one.exit[0] == r.exit[i] && one.label[0] == r.label[i] &&
            std::memcmp(
                one.probabilities.data(), r.probabilities.data() + i * width, width * sizeof(float)) == 0;
      }
    }
    const auto microseconds = [&](const nets::FrozenNet& net, const nets::ExitPolicy& p) {
      const double begin = bench::seconds_now();
      for (const Tensor& x : batches) {
        throw_if_interrupted();
        static_cast<void>(nets::infer(net, p, x));
      }
      return (bench::seconds_now() - begin) * 1e6 / images_;
    };
    std::vector<double> plain_us, exits_us;
    for (int r = 0; r < rounds_; ++r) {
      plain_us.push_back(microseconds(plain, never));
      exits_us.push_back(microseconds(with, policy));
    }
    m.plain_us = bench::median(plain_us);
    m.exits_us = bench::median(exits_us);
    return m;
  }

  int report(Session& session,
             const std::vector<Measured>& rows,
             const std::vector<int>& leave,
             double promised) const {
    Table table({"batch", "plain us", "exits us", "speed-up", "efficiency", "bits of one by one"});
    nlohmann::json measured = nlohmann::json::array();
    bool same = true;
    for (const Measured& m : rows) {
      const double speedup = m.plain_us / m.exits_us;
      table.row({std::to_string(m.batch),
                 fmt::format("{:.1f}", m.plain_us),
                 fmt::format("{:.1f}", m.exits_us),
                 fmt::format("{:.2f}", speedup),
                 fmt::format("{:.2f}", speedup / promised),
                 m.same_bits ? "yes" : "no"});
      measured.push_back({{"batch", m.batch},
                          {"plain_us", m.plain_us},
                          {"exits_us", m.exits_us},
                          {"efficiency", speedup / promised},
                          {"same_bits", m.same_bits}});
      same = same && m.same_bits;
    }
    session.answer(
        fmt::format(
            "{} with {} exits, {}: {} pictures leave there; multiplications promise a speed-up of {:.2f}\n",
            net_.name,
            net_.num_exits,
            precision_,
            fmt::join(leave, ", "),
            promised) +
            table.text(),
        {{"net", net_.name},
         {"exits", net_.num_exits},
         {"precision", precision_},
         {"images", images_},
         {"leave", leave},
         {"promised", promised},
         {"batches", measured}});
    return same ? kDone : kFailed;
  }

  nets::NetOptions net_ = [] {
    nets::NetOptions o;
    o.num_exits = 4;
    return o;
  }();
  std::vector<int> batches_ = {1, 8, 64, 256, 1024};
  std::string precision_ = "f32";
  int images_ = 1024, rounds_ = 5;
};

}  // namespace

std::unique_ptr<Verb> make_bench_exits_verb() { return std::make_unique<BenchExitsVerb>(); }

}  // namespace offramp::tools
