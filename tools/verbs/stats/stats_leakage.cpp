// offramp stats leakage: what exits or running times say about an attribute of the input.
#include "base/number_table.h"
#include "stats/exits/exit_estimation.h"
#include "stats/membership/attribute_leak.h"
#include "tools/verbs/interval_json.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <map>

namespace offramp::tools {
namespace {

// Words numbered in their order.
struct Numbered {
  std::vector<std::string> words;
  std::vector<std::size_t> number;
};
Numbered numbered(const std::vector<std::string>& column) {
  std::map<std::string, std::size_t> of;
  for (const std::string& word : column) of.emplace(word, 0);
  Numbered out;
  for (auto& [word, number] : of) {
    number = out.words.size();
    out.words.push_back(word);
  }
  for (const std::string& word : column) out.number.push_back(of.at(word));
  return out;
}

class StatsLeakageVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "stats leakage",
        .group = "Statistics",
        .summary = "what exits or running times say about an attribute of the input",
        .example = "offramp stats leakage answers.csv --attribute age --exit exit --time nanoseconds",
        .details =
            "The CSV file has a row an answer: a column with the attribute (any words), and one with the exit, the running\n"
            "time, or both. Times are first made exits by the estimator of `extract estimate`. In bits, corrected for the\n"
            "size of the sample, with a permutation test; gain is how much more often the best guess of the attribute is\n"
            "right than naming the commonest value would be, on samples that the guess was not learnt on. All with 95 %\n"
            "intervals."};
  }
  void declare(Options& options) override {
    options.add("leakage.table", table_, "CSV file").positional().required();
    options.add("leakage.attribute", attribute_, "column of the attribute").required();
    options.add("leakage.exit", exit_, "column of the exit");
    options.add("leakage.time", time_, "column of the running time");
    options.add("leakage.unit_ns", unit_ns_, "of the time, in nanoseconds; seconds: 1e9").range(1e-3, 1e12);
    options.add("leakage.permutations", leak_.permutations, "of the test").range(1, 1e6);
    options.add("leakage.resamples", leak_.resamples, "of the bootstrap").range(1, 1e6);
  }
  int run(Session& session) override {
    if (exit_.empty() && time_.empty())
      throw UsageError("stats leakage: name a column with --exit or --time");
    leak_.seed = session.seed();
    leak_.threads = static_cast<unsigned>(session.threads());
    const NumberTable table = read_number_table(table_);
    const Numbered attribute = numbered(table.words(attribute_));
    nlohmann::ordered_json json{
        {"rows", table.rows()}, {"attribute", attribute_}, {"values", attribute.words}};
    if (!exit_.empty()) json["from_exit"] = leak_json(numbered(table.words(exit_)).number, attribute);
    if (!time_.empty()) {
      std::vector<double> times = table.numbers(time_);
      for (double& t : times) t *= unit_ns_;
      const auto estimate = stats::estimate_exits(
          times, 1, {.method = stats::EstimationMethod::kMixture, .threads = leak_.threads});
      json["from_time"] = leak_json(estimate.exits, attribute);
      json["from_time"]["exits_found"] = estimate.num_exits;
    }
    session.answer_json(json, session.json_file().string() + "\n");
    return kDone;
  }

 private:
  nlohmann::ordered_json leak_json(const std::vector<std::size_t>& observed,
                                   const Numbered& attribute) const {
    const stats::AttributeLeak leak = stats::attribute_leak(observed, attribute.number, leak_);
    nlohmann::ordered_json json{{"information_bits", interval_json(leak.corrected)},
                                {"uncorrected_bits", leak.information.plug_in},
                                {"attribute_bits", leak.information.of_labels},
                                {"p_value", leak.p_value},
                                {"commonest", leak.commonest},
                                {"accuracy", interval_json(leak.accuracy)},
                                {"gain", interval_json(leak.gain)},
                                {"values", nlohmann::ordered_json::array()}};
    for (const auto& v : leak.values)
      json["values"].push_back({{"value", attribute.words[v.value]},
                                {"samples", v.samples},
                                {"recall", v.recall},
                                {"information_bits", v.information_bits}});
    return json;
  }

  std::filesystem::path table_;
  std::string attribute_, exit_, time_;
  double unit_ns_ = 1;
  stats::AttributeLeakOptions leak_;
};

}  // namespace

std::unique_ptr<Verb> make_stats_leakage_verb() { return std::make_unique<StatsLeakageVerb>(); }

}  // namespace offramp::tools
