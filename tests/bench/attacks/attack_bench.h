// What the benchmarks of attacks share: flags, a net and the images that a peer reads too, one JSON line out.
//
// CHECKPOINT is of `offramp train`; IMAGES.npz has x [n,h,w,c] of [0,1] and y: examples/ATTACK.npz of `offramp evade attack
// --eps 0` are the clean images of a set.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "attacks/evasion/images.h"
#include "base/errors.h"
#include "nets/data/npy.h"
#include "nets/graph/state_dict.h"

namespace offramp::bench {

using Flags = std::map<std::string, std::string>;

// --flag VALUE over the defaults in `flags`, and `positional` words before them. Ends the program with 2 where it is used
// wrongly.
inline std::vector<std::string> read_flags(
    int argc, char** argv, std::size_t positional, const char* usage, Flags& flags) {
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      words.push_back(word);
    } else if (flags.contains(word) && i + 1 < argc) {
      flags[word] = argv[++i];
    } else {
      std::fprintf(stderr, "usage: %s\n", usage);
      std::exit(2);
    }
  }
  if (words.size() == positional) return words;
  std::fprintf(stderr, "usage: %s\n", usage);
  std::exit(2);
}

inline int number(const Flags& flags, const char* name) { return std::atoi(flags.at(name).c_str()); }

// The first `count` images of a file; `count` 0: all.
inline attacks::evasion::Images images_of(const std::string& path, int count) {
  const data::NpzFile file = data::read_npz(path);
  const data::NpyArray& x = file.at("x");
  attacks::evasion::Images all;
  all.n = static_cast<int>(x.shape.at(0));
  all.extent = {.c = static_cast<int>(x.shape.at(3)),
                .h = static_cast<int>(x.shape.at(1)),
                .w = static_cast<int>(x.shape.at(2))};
  all.pixels = std::get<std::vector<float>>(x.values);
  all.labels = std::get<std::vector<std::int32_t>>(file.at("y").values);
  for (int i = 0; i < all.n; ++i) all.numbers.push_back(i);
  if (count > all.n)
    throw DataError(path + ": expected " + std::to_string(count) + " images, has " + std::to_string(all.n));
  return count == 0 ? all : attacks::evasion::part(all, 0, count);
}

// The policy of a checkpoint, or one threshold for all exits where one is given or the checkpoint has none.
inline nets::ExitPolicy policy_of(const nets::LoadedNet& loaded, const std::string& threshold) {
  const int exits = loaded.net->num_exits();
  if (threshold.empty() && static_cast<int>(loaded.policy.thresholds.size()) == exits - 1)
    return loaded.policy;
  return nets::ExitPolicy::uniform(exits, threshold.empty() ? 0.9 : std::atof(threshold.c_str()));
}

template <class F>
double seconds_of(F f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

inline void print(const nlohmann::ordered_json& json) {
  std::printf("%s\n", json.dump().c_str());
  std::fflush(stdout);
}

// main() of a benchmark: wrong input is a message and 1.
template <class F>
int reporting_errors(const char* name, F f) {
  try {
    f();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace offramp::bench
