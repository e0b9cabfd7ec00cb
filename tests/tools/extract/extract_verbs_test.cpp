// The stages of the extraction attack from the outside: the files between them and entering in the middle. Real queries to a
// small net: what they take is the machine's business, so nothing here depends on the exits that were found.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/safetensors.h"
#include "tests/tools/extract/extract_verbs.h"

namespace offramp {
namespace {

using namespace extract_verbs;
using nlohmann::json;

TEST_F(ExtractVerbs, BaselinesSpendTheirBudgetAndAreScored) {
  TempFolder folder;
  const Words small = {
      "--net", "small-cnn", "--width-divisor", "4", "--epochs", "1", "--batch", "8", "--timed-images", "0"};
  const auto baseline = [&](const std::string& out, const Words& more) {
    return run(Words{"extract", "baseline", victim(), "--data", data(), "--out", (folder / out).string()} +
               small + more);
  };
  const Outcome es = baseline("es",
                              {"--method",
                               "es-dnn",
                               "--budget",
                               "25",
                               "--rounds",
                               "2",
                               "--steps",
                               "1",
                               "--width",
                               "4",
                               "--answers",
                               "label"});
  ASSERT_EQ(es.code, 0) << es.err;
  const json results = json::parse(read_text(folder / "es" / "results.json"));
  EXPECT_EQ(results["queries"], 25);
  EXPECT_EQ(results["answers"], "label");
  EXPECT_EQ(results["nets"][0]["name"], "victim");
  EXPECT_EQ(results["nets"][1]["name"], "es-dnn");
  EXPECT_EQ(results["nets"][1]["exits"], 3);
  EXPECT_TRUE(fs::exists(folder / "es" / "copy.safetensors"));
  const Outcome adaptive = baseline(
      "adaptive", {"--method", "knockoff-adaptive", "--budget", "20", "--images", images(), "--like-victim"});
  ASSERT_EQ(adaptive.code, 0) << adaptive.err;
  const json learnt = json::parse(read_text(folder / "adaptive" / "results.json"));
  EXPECT_EQ(learnt["queries"], 20);
  ASSERT_EQ(learnt["action_probabilities"].size(), 2u);  // the classes of the pictures
  EXPECT_NEAR(
      learnt["action_probabilities"][0].get<double>() + learnt["action_probabilities"][1].get<double>(),
      1,
      1e-9);

  const Outcome two = baseline("two", {"--method", "noise-uniform", "--budget", "9", "--exits", "2"});
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_EQ(json::parse(read_text(folder / "two" / "results.json"))["nets"][1]["exits"], 2);

  const Outcome without = baseline("x", {"--method", "knockoff", "--budget", "20"});
  EXPECT_EQ(without.code, 2);
  EXPECT_NE(without.err.find("Knockoff asks about --images"), std::string::npos) << without.err;
  const Outcome unknown = baseline("x", {"--method", "noise-uniform", "--budget", "20", "--answers", "some"});
  EXPECT_NE(unknown.code, 0);
  EXPECT_NE(unknown.err.find("expected full, top-K"), std::string::npos) << unknown.err;
}

TEST_F(ExtractVerbs, RunTakesThePapersVersionsAblationsAndBaselines) {
  TempFolder folder;
  const Words common = {"extract",
                        "run",
                        victim(),
                        "--images",
                        images(),
                        "--data",
                        data(),
                        "--net",
                        "small-cnn",
                        "--width-divisor",
                        "4",
                        "--epochs",
                        "1",
                        "--batch",
                        "8",
                        "--repetitions",
                        "4",
                        "--timed-images",
                        "0"};
  const Outcome v2 = run(common + Words{"--paper",
                                        "v2",
                                        "--answers",
                                        "top-1",
                                        "--baselines",
                                        "noise-uniform,es-opt",
                                        "--rounds",
                                        "2",
                                        "--steps",
                                        "1",
                                        "--true-exits",
                                        "--out",
                                        (folder / "v2").string()});
  ASSERT_EQ(v2.code, 0) << v2.err;
  const json results = json::parse(read_text(folder / "v2" / "results.json"));
  std::vector<std::string> names;
  for (const json& net : results["nets"]) names.push_back(net["name"]);
  EXPECT_EQ(names, (Words{"victim", "knockoff", "noise-uniform", "es-opt", "ours"}));
  for (const char* name : {"knockoff", "noise-uniform", "es-opt"})
    EXPECT_EQ(results["queries_by_net"][name], 2 * kPerClass) << name;
  EXPECT_EQ(results["queries_by_net"]["ours"], 4 * 2 * kPerClass);
  for (const json& net : results["nets"]) EXPECT_EQ(net["exits"], 3);  // true exits, whatever the times said
  EXPECT_EQ(json::parse(read_text(folder / "v2" / "estimate.json"))["method"], "kde");
  EXPECT_EQ(json::parse(read_text(folder / "v2" / "strategy.json"))["objective"], "separable");

  // What was told is what the copy learnt from; how good the estimate was is said of the estimate.
  const json estimate = json::parse(read_text(folder / "v2" / "estimate.json"));
  std::vector<int> estimated(estimate["exits"].get<std::size_t>());
  for (const json& taken : results["exit_confusion"])
    for (std::size_t e = 0; e < estimated.size(); ++e) estimated[e] += taken[e].get<int>();
  EXPECT_EQ(estimate["counts"], estimated);
  const auto policy_of = [&](const char* copy) {
    return safetensors::Reader(folder / "v2" / copy).metadata().at("policy.thresholds");
  };
  EXPECT_EQ(policy_of("knockoff.safetensors"), policy_of("noise-uniform.safetensors"));

  const Outcome unsearched =
      run(common + Words{"--no-search", "--no-knockoff", "--true-exits", "--out", (folder / "no").string()});
  ASSERT_EQ(unsearched.code, 0) << unsearched.err;
  EXPECT_FALSE(fs::exists(folder / "no" / "strategy.json"));
  const auto thresholds = safetensors::Reader(fs::path(victim()) / "checkpoints" / "last.safetensors")
                              .metadata()
                              .at("policy.thresholds");
  EXPECT_EQ(safetensors::Reader(folder / "no" / "substitute.safetensors").metadata().at("policy.thresholds"),
            thresholds);
  EXPECT_EQ(policy_of("knockoff.safetensors"), thresholds);
}

TEST_F(ExtractVerbs, TheMethodOfAFitIsTheOneAskedFor) {
  const TempFolder folder;
  const std::string out = (folder / "fit").string();
  const Outcome fit = run(copy_of(assignment(folder, 2 * kPerClass, 3), out) + Words{"--method", "knockoff"});
  ASSERT_EQ(fit.code, 0) << fit.err;
  EXPECT_EQ(
      safetensors::Reader(fs::path(out) / "checkpoints" / "copy.safetensors").metadata().at("fit.method"),
      "knockoff");
}

// The victim against itself without early exit: the same at the last exit alone, at the whole cost.
TEST_F(ExtractVerbs, AScoreSaysEachNumberUnderItsName) {
  const TempFolder folder;
  write_text(folder / "never.json", R"({"thresholds":[2,2]})");
  const auto score_to = [&](const std::string& out, const Words& more) {
    return run(Words{"extract",
                     "score",
                     "--victim",
                     victim(),
                     "--copy",
                     victim(),
                     "--thresholds",
                     (folder / "never.json").string(),
                     "--data",
                     data(),
                     "--images",
                     images(),
                     "--assignment",
                     assignment(folder, 2 * kPerClass, 3),
                     "--timed-images",
                     "0",
                     "--out",
                     (folder / out).string()} +
               more);
  };
  const Outcome scored = score_to("score", {"--log", "json"}), table = score_to("text", {});
  ASSERT_EQ(scored.code, 0) << scored.err;
  const json score = json::parse(scored.out), owner = score["nets"][0], copy = score["nets"][1];
  EXPECT_EQ(copy["left_at_exit"], (std::vector<int>{0, 0, 2 * kPerClass}));
  const double last = owner["left_at_exit"][2].get<double>() / (2 * kPerClass);
  EXPECT_EQ(copy["clo_test"]["exit"], last);
  EXPECT_LE(last, copy["clo_test"]["class"]);
  EXPECT_EQ(copy["clo_test"]["class_and_exit"],
            last);  // what went on to the end is answered by the same exit
  EXPECT_GE(copy["share_of_plain_cost"], 1);
  EXPECT_LT(owner["share_of_plain_cost"], copy["share_of_plain_cost"]);
  EXPECT_GT(copy["ratio_macs"], 1);
  EXPECT_DOUBLE_EQ(copy["ratio_ops_profiler"].get<double>(),
                   copy["ops_profiler"].get<double>() / owner["ops_profiler"].get<double>());
  int right = 0, all = 0;
  for (std::size_t taken = 0; taken < 3; ++taken)
    for (std::size_t said = 0; said < 3; ++said) {
      const int count = score["exit_confusion"][taken][said].get<int>();
      all += count;
      right += taken == said ? count : 0;
    }
  EXPECT_EQ(all, 2 * kPerClass);
  EXPECT_DOUBLE_EQ(score["exit_accuracy"].get<double>(), static_cast<double>(right) / all);
  EXPECT_EQ(score["exit_count_right"], true);

  // The table: ACC, CLO, class, exit, CLO of queries, CC, its ratio, that of MACs.
  const std::size_t at = table.out.find("\ncopy");
  ASSERT_NE(at, std::string::npos) << table.out;
  std::istringstream row(table.out.substr(at + 5));
  std::vector<double> numbers(8);
  for (double& number : numbers) ASSERT_TRUE(row >> number) << table.out;
  EXPECT_NEAR(numbers[0], 100 * copy["accuracy"].get<double>(), .0051);
  EXPECT_NEAR(numbers[1], 100 * last, .0051);
  EXPECT_NEAR(numbers[2], 100 * copy["clo_test"]["class"].get<double>(), .0051);
  EXPECT_NEAR(numbers[3], 100 * last, .0051);
  EXPECT_NEAR(numbers[4], 100 * copy["clo_queries"]["class_and_exit"].get<double>(), .0051);
  EXPECT_NEAR(numbers[6], copy["ratio_ops_profiler"].get<double>(), .00051);
  EXPECT_NEAR(numbers[7], copy["ratio_macs"].get<double>(), .00051);
}

// Pictures that are all the same, whatever the victim said of each: there is nothing to learn.
TEST_F(ExtractVerbs, FitSaysHowItGoesAndWarnsOfACopyThatLearnsNothing) {
  const TempFolder folder;
  test::write_pictures(folder / "same", {.per_class = kPerClass, .bright = 90, .dark = 90, .spread = 1});
  fs::copy(trace(), folder / "trace");
  json about = json::parse(read_text(folder / "trace" / "trace.json"));
  about.erase("images_digest");
  write_text(folder / "trace" / "trace.json", about.dump());
  const Outcome fit = run({"extract",         "fit",
                           "--trace",         (folder / "trace").string(),
                           "--assignment",    assignment(folder, 2 * kPerClass, 3),
                           "--images",        "folder:" + (folder / "same").string() + "?side=16@train",
                           "--side",          "16",
                           "--net",           "small-cnn",
                           "--width-divisor", "4",
                           "--epochs",        "2",
                           "--batch",         "8",
                           "--out",           (folder / "fit").string()});
  ASSERT_EQ(fit.code, 0) << fit.err;
  EXPECT_NE(fit.err.find("fit copy: epoch   2  rate 0.0001  loss "), std::string::npos) << fit.err;
  EXPECT_NE(fit.err.find("no exit agrees with the victim more often than the constant answer"),
            std::string::npos)
      << fit.err;
}

TEST_F(ExtractVerbs, EveryStageTakesTheFilesOfTheStageBefore) {
  const TempFolder folder;
  const std::string estimate = (folder / "estimate.json").string();
  const Outcome estimated = run({"extract", "estimate", "--times", trace().string(), "--json", estimate});
  ASSERT_EQ(estimated.code, 0) << estimated.err;
  EXPECT_GE(json::parse(read_text(estimate))["exits"], 1);

  const std::string fitted = (folder / "fit").string();
  const Outcome fit = run(copy_of(assignment(folder, 2 * kPerClass, 3), fitted));
  ASSERT_EQ(fit.code, 0) << fit.err;
  const std::string confidences = fitted + "/confidences.csv", strategy = (folder / "strategy.json").string();
  EXPECT_EQ(lines_of(confidences), 1u + 2 * kPerClass);
  EXPECT_EQ(read_text(confidences).substr(0, 14), "exit,c1,c2,c3\n") << "as many exits as the assignment has";

  ASSERT_EQ(run({"extract", "search", "--confidences", confidences, "--json", strategy}).code, 0);
  const json all = json::parse(read_text(strategy));
  EXPECT_EQ(all["optimal"], true);
  EXPECT_EQ(all["samples"], 2 * kPerClass);
  ASSERT_EQ(
      run({"extract", "search", "--confidences", confidences, "--first", "20", "--json", strategy}).code, 0);
  const json first = json::parse(read_text(strategy));
  EXPECT_EQ(first["samples"], 20);
  EXPECT_LE(first["value"], 20);
  // The optimum over all rows cannot be better on the first 20 than what was found for them.
  EXPECT_LE(all["value"].get<double>() - 28, first["value"].get<double>());

  // A separable search counts an image at every exit that is right about it: what is told is how many leave as they did.
  const Outcome separable = run({"extract",
                                 "search",
                                 "--confidences",
                                 confidences,
                                 "--objective",
                                 "separable",
                                 "--json",
                                 strategy + "2"});
  ASSERT_EQ(separable.code, 0) << separable.err;
  const json apart = json::parse(read_text(strategy + "2"));
  EXPECT_NE(separable.text().find("search: " + std::to_string(apart["joint_value"].get<int>()) + " of " +
                                  std::to_string(2 * kPerClass) + " images leave where the victim let them"),
            std::string::npos)
      << separable.text();
  EXPECT_EQ(separable.text().find("no thresholds do better"), std::string::npos);
  EXPECT_NE(separable.out.find("separable " + std::to_string(apart["joint_value"].get<int>()) + " of"),
            std::string::npos)
      << separable.out;
  EXPECT_EQ(apart["others"], "remaining");
  EXPECT_FALSE(first.contains("others"));

  const Outcome untuned = run({"extract",
                               "score",
                               "--victim",
                               victim(),
                               "--copy",
                               fitted,
                               "--data",
                               data(),
                               "--out",
                               (folder / "untuned").string()});
  EXPECT_EQ(untuned.code, 2) << untuned.text();
  EXPECT_NE(untuned.err.find("has no thresholds yet; give those of extract search with --thresholds"),
            std::string::npos)
      << untuned.err;

  const Outcome scored = run({"extract",
                              "score",
                              "--victim",
                              victim(),
                              "--copy",
                              fitted + "/copy.safetensors",
                              "--thresholds",
                              strategy,
                              "--data",
                              data(),
                              "--images",
                              images(),
                              "--timed-images",
                              "5",
                              "--log",
                              "json",
                              "--out",
                              (folder / "score").string()});
  ASSERT_EQ(scored.code, 0) << scored.err;
  const json score = json::parse(scored.out);
  ASSERT_EQ(score["nets"].size(), 2u);
  EXPECT_EQ(score["nets"][0]["clo_test"]["class_and_exit"], 1.0);
  int left = 0;
  for (const auto& count : score["nets"][1]["left_at_exit"]) left += count.get<int>();
  EXPECT_EQ(left, 2 * kPerClass);

  // Thresholds that were searched are exceeded, not met: nobody leaves at the largest confidence itself.
  std::istringstream rows(read_text(confidences));
  std::string line, largest;
  for (std::getline(rows, line); std::getline(rows, line);) {
    const std::string sure = line.substr(2, line.find(',', 2) - 2);
    if (largest.empty() || std::stod(sure) > std::stod(largest)) largest = sure;
  }
  write_text(strategy, R"({"thresholds":[)" + largest + ",2]}");
  const Outcome met = run({"extract",
                           "score",
                           "--victim",
                           victim(),
                           "--copy",
                           fitted + "/copy.safetensors",
                           "--thresholds",
                           strategy,
                           "--data",
                           data(),
                           "--timed-images",
                           "0",
                           "--log",
                           "json",
                           "--out",
                           (folder / "met").string()});
  ASSERT_EQ(met.code, 0) << met.err;
  EXPECT_EQ(json::parse(met.out)["nets"][1]["left_at_exit"][0], 0);
}

}  // namespace
}  // namespace offramp
