// The fast reader of a request's numbers, held to the JSON parser that has the word everywhere else.
#include "tools/serve/number_list.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>

namespace offramp::tools {
namespace {

using nlohmann::json;

void flatten(const json& value, std::vector<float>& to) {
  for (const json& one : value)
    if (one.is_array())
      flatten(one, to);
    else
      to.push_back(one.get<float>());
}

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> out;
  for (const float v : values) out.push_back(std::bit_cast<std::uint32_t>(v));
  return out;
}

// Whether it is taken out of a JSON text; then it must be what the parser reads, and the rest what the parser is left with.
bool taken(const std::string& list, const std::string& where) {
  const std::string text = R"({"id":"7","inputs":[{"data" : )" + list + R"(, "name":"images"}]})";
  const auto found = take_number_list(text, "data");
  if (!found) return false;
  // Behind the list the text may go wrong: it does so with the placeholder too.
  EXPECT_EQ(json::accept(found->rest), json::accept(text)) << where << ": " << list;
  if (!json::accept(text)) return false;
  json whole = json::parse(text), rest = json::parse(found->rest);
  std::vector<float> expected;
  flatten(whole["inputs"][0]["data"], expected);
  EXPECT_EQ(bits(found->numbers), bits(expected)) << where << ": " << list;
  EXPECT_EQ(rest["inputs"][0]["data"], kListPlaceholderText) << where;
  whole["inputs"][0].erase("data");
  rest["inputs"][0].erase("data");
  EXPECT_EQ(whole, rest) << where;
  return true;
}

TEST(NumberList, HasTheBitsOfTheParser) {
  for (const char* list : {"[0]",
                           "[ 1 , 2.5,\n-3e-2 ,4E+5 ]",
                           "[-0, -0.0, 0.0, 0e0]",
                           "[[1,2],[3,[4]],5]",
                           "[0.1,0.3333333333333333,1e-45,1e-46,3.4028235677973366e38,16777217]",
                           "[123456789012345, 0.1e1, 1.0000000596046448]"})
    EXPECT_TRUE(taken(list, "good")) << list;
  std::mt19937_64 rng(3);
  for (int round = 0; round < 300; ++round) {
    json list = json::array();
    for (int i = 0; i < 50; ++i) {
      const auto drawn = std::bit_cast<float>(static_cast<std::uint32_t>(rng()));
      if (std::isfinite(drawn))
        list.push_back(round % 2 == 0 ? json(drawn) : json(static_cast<double>(drawn) * 1.1));
    }
    EXPECT_TRUE(taken(list.dump(), "drawn"));
  }
}

TEST(NumberList, WhatIsNotExactlyJsonIsLeftToTheParser) {
  for (const char* list : {"[]",       "[[]]",
                           "[1,]",     "[,1]",
                           "[1 2]",    "[01]",
                           "[-]",      "[1.]",
                           "[.5]",     "[1e]",
                           "[+1]",     "[0x1]",
                           "[nan]",    "[inf]",
                           "[true]",   "[\"1\"]",
                           "[null]",   "[1e999]",
                           "[1e-999]", "[1",
                           "[[1],2",   "[[[[[1]]]]]",
                           "{}",       "3",
                           "[1,[]]",   "[9007199254740993]",
                           "[-1,{}]",  "[1}"})
    EXPECT_FALSE(taken(list, "bad")) << list;
  EXPECT_FALSE(take_number_list(R"({"dat":[1]})", "data"));
  EXPECT_FALSE(take_number_list(R"({"data")", "data"));
  EXPECT_FALSE(take_number_list("", "data"));
}

// Any text at all: cut and mutated requests give nothing, or what the parser gives.
TEST(NumberList, MutatedTextsNeverSayMoreThanTheParser) {
  std::mt19937_64 rng(5);
  const std::string good = "[[0.25,1e-3,-7],[0.5,12,3.75]]", other = "[]{},:.eE+-0123456789\" \n";
  int tried = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string list = good;
    for (std::uint64_t changes = 1 + rng() % 3; changes > 0; --changes) {
      const std::size_t at = rng() % list.size();
      if (rng() % 3 == 0)
        list.erase(at, 1);
      else
        list[at] = other[rng() % other.size()];
    }
    tried += taken(list, "mutated");
  }
  EXPECT_GT(tried, 1000);
}

}  // namespace
}  // namespace offramp::tools
