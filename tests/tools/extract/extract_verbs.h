#pragma once
// A victim with three exits and its answers, for tests of the verbs of extract.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/support/program.h"

namespace offramp::extract_verbs {

namespace fs = std::filesystem;
using test::Outcome;
using test::read_text;
using test::TempFolder;
using test::write_text;
using Words = std::vector<std::string>;

inline constexpr int kPerClass = 24;

inline Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

inline const Words kOneThread = {"--threads", "1"};  // nets this small gain nothing from more
inline Outcome run(const Words& words) { return test::run_offramp(words + kOneThread); }

inline std::size_t lines_of(const fs::path& path) {
  const std::string text = read_text(path);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

// One victim with three exits and its answers, made once for all tests.
class ExtractVerbs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TempFolder>();
    test::write_pictures(*shared_ / "pictures",
                         {.per_class = kPerClass, .bright = 150, .dark = 70, .spread = 90});
    const Outcome trained = run({"train",
                                 "--net",
                                 "small-cnn",
                                 "--width-divisor",
                                 "4",
                                 "--exits",
                                 "3",
                                 "--data",
                                 data(),
                                 "--epochs",
                                 "4",
                                 "--batch",
                                 "8",
                                 "--out",
                                 victim(),
                                 "--seed",
                                 "3"});
    ASSERT_EQ(trained.code, 0) << trained.err;
    const Outcome tuned = run({"tune", victim(), "--data", data(), "--held-out", "12", "--drop", "5"});
    ASSERT_EQ(tuned.code, 0) << tuned.err;
    const Outcome asked = run(Words{"extract",
                                    "query",
                                    "--victim",
                                    victim(),
                                    "--images",
                                    images(),
                                    "--repetitions",
                                    "10",
                                    "--out",
                                    (*shared_ / "query").string()});
    ASSERT_EQ(asked.code, 0) << asked.err;
  }
  static void TearDownTestSuite() { shared_.reset(); }

  static std::string data() { return "folder:" + (*shared_ / "pictures").string() + "?side=16"; }
  static std::string images() { return data() + "@train"; }
  static std::string victim() { return (*shared_ / "victim").string(); }
  static fs::path trace() { return *shared_ / "query" / "trace"; }
  static Words copy_of(const std::string& assignment, const std::string& out) {
    return {"extract",         "fit",      "--trace",  trace().string(),
            "--assignment",    assignment, "--images", images(),
            "--side",          "16",       "--net",    "small-cnn",
            "--width-divisor", "4",        "--epochs", "2",
            "--batch",         "8",        "--out",    out};
  }
  // Exits of another system: 1, 2, 3, 1, 2, ..
  static std::string assignment(const TempFolder& folder, int rows, int exits) {
    std::string text = "index,exit,confidence\n";
    for (int i = 0; i < rows; ++i) text += std::to_string(i) + "," + std::to_string(1 + i % exits) + ",1\n";
    write_text(folder / "assignment.csv", text);
    return (folder / "assignment.csv").string();
  }

  inline static std::unique_ptr<TempFolder> shared_;
};

}  // namespace offramp::extract_verbs
