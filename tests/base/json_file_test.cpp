#include "base/json_file.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace offramp {
namespace {

template <class F>
std::string json_error(F&& f) {
  try {
    f();
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

template <class T>
std::string said(const char* value) {
  const auto json = nlohmann::json::parse(std::string("{\"k\":") + value + "}");
  return json_error([&] { json_member<T>(json, "k", "f.json"); });
}

TEST(JsonFile, AMemberHasItsTypeAndFitsIt) {
  EXPECT_EQ(said<int>("7"), "");
  EXPECT_EQ(said<std::uint64_t>("18446744073709551615"), "");
  EXPECT_EQ(said<double>("7"), "");
  EXPECT_EQ(said<std::vector<double>>("[1,2.5]"), "");
  EXPECT_EQ(said<int>("3.7"), "f.json: expected a whole number under 'k', got '3.7'");
  EXPECT_EQ(said<int>("4294967299"), "f.json: expected a whole number under 'k', got '4294967299'");
  EXPECT_EQ(said<std::int64_t>("1e18"), "f.json: expected a whole number under 'k', got '1e+18'");
  EXPECT_EQ(said<std::uint64_t>("-1"), "f.json: expected a whole number under 'k', got '-1'");
  EXPECT_EQ(said<bool>("1"), "f.json: expected true or false under 'k', got '1'");
  EXPECT_EQ(said<std::string>("5"), "f.json: expected text under 'k', got '5'");
  EXPECT_EQ(said<double>("\"5\""), "f.json: expected a number under 'k', got '\"5\"'");
  EXPECT_EQ(said<std::vector<double>>("[1,\"x\"]"),
            "f.json: expected a list of numbers under 'k', got '[1,\"x\"]'");
  const auto json = nlohmann::json::object();
  EXPECT_EQ(json_error([&] { json_member<int>(json, "k", "f.json"); }), "f.json: expected the key 'k'");
}

TEST(JsonFile, WhatIsNoObjectIsNamed) {
  test::TempFolder folder;
  const auto path = folder / "a.json";
  EXPECT_EQ(json_error([&] { read_json_file(path); }), path.string() + ": cannot be read");
  test::write_text(path, "{\"a\":");
  EXPECT_EQ(json_error([&] { read_json_file(path); }), path.string() + ": expected JSON, at byte 6");
  test::write_text(path, "[]");
  EXPECT_EQ(json_error([&] { read_json_file(path); }), path.string() + ": expected a JSON object");
}

TEST(JsonFile, ANameThatIsNoUtf8IsWrittenAndRead) {
  test::TempFolder folder;
  write_json_file(folder / "a.json",
                  {{"k",
                    "donn\xe9"
                    "es"},
                   {"n", 1}});
  EXPECT_EQ(read_json_file(folder / "a.json").at("k"),
            "donn\xef\xbf\xbd"
            "es");
}

TEST(JsonFile, ANumberThatFitsNoDoubleIsAnError) {
  const test::TempFolder folder;
  const auto path = folder / "a.json";
  test::write_text(path, "{\"k\": 1999999E99999999999}");
  EXPECT_NE(json_error([&] { read_json_file(path); }).find("expected JSON whose numbers fit a double"),
            std::string::npos);
}

}  // namespace
}  // namespace offramp
