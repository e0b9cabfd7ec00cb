// offramp bench image: how long one picture takes to every exit of a net that is ready for answering.
#include "tools/bench/timing.h"
#include "tools/frame/table.h"
#include "tools/verbs/net/net_latency.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace offramp::tools {
namespace {

class BenchImageVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "bench image",
            .group = "Measure",
            .summary = "time one image to every exit of a net",
            .example = "offramp bench image --net resnet-56 --exits 4 --threads 1",
            .details =
                "The net has random weights; batch norms are folded and weights packed once, as `infer` "
                "does. For each exit the median of --images single pictures that leave there, in "
                "milliseconds, the decision included. tools/bench_peer alternates it with other runtimes."};
  }

  void declare(Options& options) override {
    options.add(
        "bench.net", net_.name, "which net: " + fmt::format("{}", fmt::join(nets::net_names(), ", ")));
    options.add("bench.exits", net_.num_exits, "exits at equal cost, the last one included").range(1, 6);
    options.add("bench.images", images_, "pictures for each exit").range(1, 1e6);
    options.add("bench.precision", precision_, "f32, or bf16 activations with f32 weights")
        .choices({"f32", "bf16"});
  }

  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    net_.precision = precision_ == "bf16" ? nets::Precision::kMixed : nets::Precision::kFloat32;
    nets::Network net(net_, device);
    nets::initialize(net, session.seed());
    const double gemm = bench::gemm_gflops(device);
    const nets::Extent& in = net.input();
    constexpr int kDifferent = 16;  // pictures in turn
    const Tensor pictures = bench::random_tensor({kDifferent, in.c, in.h, in.w}, session.seed(), device);
    const std::vector<double> ms = exit_milliseconds(net, pictures, images_);
    Table table({"exit", "ms", "of the last", "MACs of the last"});
    const auto& costs = net.costs().exits;
    for (std::size_t e = 0; e < ms.size(); ++e)
      table.row({std::to_string(e + 1),
                 fmt::format("{:.3f}", ms[e]),
                 fmt::format("{:.2f}", ms[e] / ms.back()),
                 fmt::format("{:.2f}",
                             static_cast<double>(costs[e].macs) / static_cast<double>(costs.back().macs))});
    session.answer(fmt::format("{} with {} exits, one image, {}, product {:.0f} GFLOP/s\n",
                               net_.name,
                               net.num_exits(),
                               precision_,
                               gemm) +
                       table.text(),
                   {{"net", net_.name},
                    {"exits", net.num_exits()},
                    {"precision", precision_},
                    {"images", images_},
                    {"exit_ms", ms},
                    {"product_gflops", gemm}});
    return kDone;
  }

 private:
  nets::NetOptions net_ = [] {
    nets::NetOptions o;
    o.num_exits = 4;
    return o;
  }();
  std::string precision_ = "f32";
  int images_ = 200;
};

}  // namespace

std::unique_ptr<Verb> make_bench_image_verb() { return std::make_unique<BenchImageVerb>(); }

}  // namespace offramp::tools
