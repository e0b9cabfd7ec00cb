// offramp profile: where the time of a training step goes, by op and, on a CUDA device, by kernel.
#include "engine/kernel_profile.h"
#include "engine/op_profile.h"
#include "tools/bench/timing.h"
#include "tools/bench/training_step.h"
#include "tools/frame/table.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace offramp::tools {
namespace {

using nlohmann::ordered_json;

std::string rate(double amount, double seconds) {
  return amount > 0 && seconds > 0 ? fmt::format("{:.1f}", amount / seconds * 1e-9) : "";
}

class ProfileVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "profile",
        .group = "Measure",
        .summary = "where the time of a training step goes, by op and by CUDA kernel",
        .example = "offramp profile --net resnet-56 --batch 128 --steps 5",
        .details =
            "Each op of --steps training steps on random images is timed where it is called; ms and "
            "share are of one step.\nWith --data the steps take batches of a data set as `train` does, and the time until a "
            "batch is there is a row of its own.\nBytes count each tensor once; rates stay empty where an op does not "
            "state them. On a CUDA device the ops are waited\nfor one by one, and a second run of the "
            "same steps lists the kernels as the device saw them (CUPTI; only libcupti is\nneeded, not "
            "Nsight). docs/reference/profiling.md has the lines for Nsight."};
  }

  void declare(Options& options) override {
    options.add(
        "profile.net", step_.net.name, "which net: " + fmt::format("{}", fmt::join(nets::net_names(), ", ")));
    options.add("profile.exits", step_.net.num_exits, "exits at equal cost, the last one included")
        .range(1, 6);
    options.add("profile.width_divisor", step_.net.width_divisor, "divide all widths: small nets for trials")
        .range(1, 64);
    options.add("profile.side", step_.net.side, "pixels of an image's side").range(8, 256);
    options.add("profile.batch", step_.batch, "images").range(1, 4096);
    options.add("profile.steps", step_.steps, "steps that count").range(1, 1000);
    options.add("profile.data", data_, "data set to train on, as train takes it; empty: random images");
    options.add("profile.data_side", data_side_, "resize its pictures to a square of so many pixels; 0: not")
        .range(0, 4096);
    options.add("profile.precision", precision_, "f32, or bf16 activations with f32 weights")
        .choices({"f32", "bf16"});
  }

  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    step_.net.precision = precision_ == "bf16" ? nets::Precision::kMixed : nets::Precision::kFloat32;
    step_.seed = session.seed();
    std::optional<NetData> data;
    std::unique_ptr<nets::LoaderSource> loader;
    if (!data_.empty()) {
      data::OpenOptions open = open_options(session);
      open.side = data_side_;
      data.emplace(data_, "train", open);
      data->describe(step_.net);
      loader = data->training(device, step_.batch, session.seed(), true);
      step_.data = loader.get();
    }
    bench::TrainingStep training(step_, device);
    for (int i = 0; i < step_.warm_up; ++i) training.run();
    device.synchronize();

    ordered_json object{{"net", step_.net.name},
                        {"exits", step_.net.num_exits},
                        {"batch", step_.batch},
                        {"precision", precision_},
                        {"device", device.name()},
                        {"steps", step_.steps}};
    std::string text = ops(device, training, loader.get(), object);
    if (device.kind() == DeviceKind::kCuda) text += "\n" + kernels(device, training, object);
    if (!session.json_file().empty()) {
      text += "\nwritten to " + session.json_file().string() + "\n";
    }
    session.answer(text, object);
    return kDone;
  }

 private:
  std::string ops(const Device& device,
                  bench::TrainingStep& training,
                  const nets::LoaderSource* loader,
                  ordered_json& object) const {
    OpProfile profile(device);
    const double fetched = training.fetch_seconds(),
                 waited = loader != nullptr ? loader->waited_seconds() : 0;
    const int waits = loader != nullptr ? loader->waits() : 0;
    const double start = bench::seconds_now();
    {
      const Listening listening(profile);
      for (int i = 0; i < step_.steps; ++i) training.run();
      device.synchronize();
    }
    const double step_ms = (bench::seconds_now() - start) / step_.steps * 1e3;
    Table table({"op", "calls", "ms", "share", "GB/s", "GFLOP/s"});
    ordered_json rows = ordered_json::array();
    double in_ops = 0;
    for (const OpProfile::Row& r : profile.rows()) {
      const std::string name = r.op + (r.gradient ? " backward" : "");
      const double ms = r.seconds / step_.steps * 1e3;
      in_ops += ms;
      table.row({name,
                 fmt::format("{}", r.calls / step_.steps),
                 fmt::format("{:.3f}", ms),
                 fmt::format("{:.1f} %", 100 * ms / step_ms),
                 rate(r.bytes, r.seconds),
                 rate(r.flops, r.seconds)});
      rows.push_back({{"op", name},
                      {"calls", r.calls / step_.steps},
                      {"ms", ms},
                      {"share", ms / step_ms},
                      {"bytes", r.bytes / step_.steps},
                      {"flops", r.flops / step_.steps}});
    }
    std::string data_text;
    if (loader != nullptr) {
      const double ms = (training.fetch_seconds() - fetched) / step_.steps * 1e3;
      const double waited_ms = (loader->waited_seconds() - waited) / step_.steps * 1e3;
      in_ops += ms;
      table.row({"next batch",
                 "1",
                 fmt::format("{:.3f}", ms),
                 fmt::format("{:.1f} %", 100 * ms / step_ms),
                 "",
                 ""});
      object["data"] = {{"set", data_},
                        {"fetch_ms", ms},
                        {"waited_ms", waited_ms},
                        {"waited_share", waited_ms / step_ms},
                        {"waits", loader->waits() - waits}};
      data_text = fmt::format(
          "{} of {} steps found no batch ready; waiting for one took {:.3f} ms a step, {:.2f} % of it\n",
          loader->waits() - waits,
          step_.steps,
          waited_ms,
          100 * waited_ms / step_ms);
    }
    table.row({"between ops",
               "",
               fmt::format("{:.3f}", step_ms - in_ops),
               fmt::format("{:.1f} %", 100 * (step_ms - in_ops) / step_ms),
               "",
               ""});
    object["step_ms"] = step_ms;
    object["ops"] = rows;
    return fmt::format("{} with {} exits, batch {}, {}, on {}: {:.1f} ms a step with the op timers on\n",
                       step_.net.name,
                       step_.net.num_exits,
                       step_.batch,
                       precision_,
                       device.name(),
                       step_ms) +
           table.text() + data_text;
  }

  std::string kernels(const Device& device, bench::TrainingStep& training, ordered_json& object) const {
    if (const std::string why = why_no_kernel_profile(device); !why.empty()) {
      object["kernels_missing"] = why;
      return "no kernel table: " + why + "\n";
    }
    const std::vector<KernelRow> all = profile_kernels(device, [&] {
      for (int i = 0; i < step_.steps; ++i) training.run();
    });
    double total = 0;
    for (const KernelRow& k : all) total += k.seconds;
    constexpr std::size_t kNameWidth = 80;
    Table table(
        {"kernel", "launches", "ms", "share", "shortest us", "longest us", "registers", "shared bytes"});
    ordered_json rows = ordered_json::array();
    for (const KernelRow& k : all) {
      table.row({k.name.substr(0, kNameWidth),
                 fmt::format("{}", k.launches / step_.steps),
                 fmt::format("{:.3f}", k.seconds / step_.steps * 1e3),
                 fmt::format("{:.1f} %", 100 * k.seconds / total),
                 fmt::format("{:.1f}", k.shortest * 1e6),
                 fmt::format("{:.1f}", k.longest * 1e6),
                 fmt::format("{}", k.registers),
                 fmt::format("{}", k.shared_bytes)});
      rows.push_back({{"kernel", k.name},
                      {"launches", k.launches / step_.steps},
                      {"ms", k.seconds / step_.steps * 1e3},
                      {"shortest_us", k.shortest * 1e6},
                      {"longest_us", k.longest * 1e6},
                      {"registers", k.registers},
                      {"shared_bytes", k.shared_bytes},
                      {"blocks", k.blocks},
                      {"threads", k.threads}});
    }
    object["kernels"] = rows;
    return fmt::format("kernels, {:.3f} ms a step on the device\n", total / step_.steps * 1e3) + table.text();
  }

  bench::StepOptions step_ = five_steps();
  std::string precision_ = "f32", data_;
  int data_side_ = 0;

  static bench::StepOptions five_steps() {
    bench::StepOptions o;
    o.net.num_exits = 4;
    o.steps = 5;
    return o;
  }
};

}  // namespace

std::unique_ptr<Verb> make_profile_verb() { return std::make_unique<ProfileVerb>(); }

}  // namespace offramp::tools
