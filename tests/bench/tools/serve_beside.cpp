// Requests a second and times of servers beside each other, through the same client, in turn in the same run.
//
//   serve_beside make FOLDER CHECKPOINT IMAGES
//     thresholds for the net of CHECKPOINT that let about half of the work be saved on the first pictures of the data set
//     IMAGES (its test part): FOLDER/net.safetensors, thresholds.json (as the other server may want them) and pictures.bin
//   serve_beside ask FOLDER [--rounds 10] [--queries 100] [--json] NAME=URL NAME=URL ..
//     each round asks every server about the same pictures, one a request over one connection; --json: no binary tensors.
//
// The first server is what the others are compared with. tests/bench/peers/beside_mlserver does both for MLServer.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "attacks/extraction/images.h"
#include "attacks/query/remote.h"
#include "base/json_file.h"
#include "nets/data/open_dataset.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "nets/graph/state_dict.h"

namespace offramp {
namespace {

constexpr int kPictures = 512;

// The share `leave` of those who are still there leaves at each exit.
nets::ExitPolicy policy_that_lets_go(const std::vector<std::vector<float>>& confidences, double leave) {
  nets::ExitPolicy policy;
  std::vector<std::size_t> here(confidences[0].size());
  for (std::size_t i = 0; i < here.size(); ++i) here[i] = i;
  for (std::size_t e = 0; e + 1 < confidences.size(); ++e) {
    std::sort(here.begin(), here.end(), [&](std::size_t a, std::size_t b) {
      return confidences[e][a] > confidences[e][b];
    });
    const auto count = std::clamp<std::size_t>(
        static_cast<std::size_t>(leave * static_cast<double>(here.size())), 1, here.size() - 1);
    policy.thresholds.push_back((static_cast<double>(confidences[e][here[count - 1]]) +
                                 static_cast<double>(confidences[e][here[count]])) /
                                2);
    here.erase(here.begin(), here.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return policy;
}

int make(const std::filesystem::path& folder,
         const std::filesystem::path& checkpoint,
         const std::string& set_name) {
  std::filesystem::create_directories(folder);
  const nets::LoadedNet loaded = nets::load_net(checkpoint, Device::make_cpu({.threads = 1}));
  const nets::Network& net = *loaded.net;
  data::OpenOptions open;
  open.side_of_files = net.input().h;
  data::ImageSet set = data::open_images(set_name, "test", open);
  if (set.n < kPictures || set.c != net.input().c || set.h != net.input().h)
    throw DataError(set_name + ": too few pictures, or not those of the net");
  std::vector<std::int32_t> first(kPictures);
  std::iota(first.begin(), first.end(), 0);
  set = data::subset(set, first);
  const Tensor images = attacks::image_source(set).load(first).to(net.device());
  const std::vector<float> pixels = images.to_nchw();
  const nets::FrozenNet frozen(net);
  std::vector<std::vector<float>> confidences;
  for (const Tensor& logits : frozen.forward(images))
    confidences.push_back(confidence(logits).to_host<float>());
  nets::ExitPolicy best;
  double share = 0;
  std::vector<std::int64_t> left;
  for (double leave = 0.02; leave < 0.9; leave += 0.01) {
    const nets::ExitPolicy policy = policy_that_lets_go(confidences, leave);
    const auto result = nets::infer(frozen, policy, images);
    double macs = 0;
    std::vector<std::int64_t> histogram(confidences.size());
    for (const auto exit : result.exit) {
      macs += static_cast<double>(net.costs().exits[static_cast<std::size_t>(exit - 1)].macs);
      ++histogram[static_cast<std::size_t>(exit - 1)];
    }
    const double now = macs / kPictures / static_cast<double>(net.costs().plain.macs);
    if (std::abs(now - 0.5) < std::abs(share - 0.5)) share = now, best = policy, left = histogram;
  }
  nets::save_checkpoint(folder / "net.safetensors", net, best);
  write_json_file(folder / "thresholds.json",
                  {{"thresholds", best.thresholds}, {"above", best.rule == nets::ExitRule::kAbove}});
  std::ofstream(folder / "pictures.bin", std::ios::binary)
      .write(reinterpret_cast<const char*>(pixels.data()),
             static_cast<std::streamsize>(pixels.size() * sizeof(float)));
  fmt::print("{} with {} exits: {:.1f} % of the work on average; pictures by exit: {}\n",
             net.options().name,
             net.num_exits(),
             100 * share,
             fmt::join(left, ", "));
  return 0;
}

double at_share(std::vector<double> values, double level) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(level * static_cast<double>(values.size() - 1))];
}

int ask(const std::filesystem::path& folder,
        std::map<std::string, std::string>& given,
        bool json,
        const std::vector<std::string>& servers) {
  struct One {
    std::string name;
    std::unique_ptr<attacks::RemoteBlackBox> box;
    std::vector<double> ms;
    std::vector<std::int32_t> labels;
  };
  std::vector<One> all;
  std::vector<std::int64_t> shape;
  for (const std::string& server : servers) {
    const std::size_t equals = server.find('=');
    attacks::RemoteOptions options;
    options.json = json;
    options.cpu = 0;
    options.shape = {3, 32, 32};
    all.push_back({server.substr(0, equals),
                   std::make_unique<attacks::RemoteBlackBox>(server.substr(equals + 1), options),
                   {},
                   {}});
    fmt::print("{}: {}\n", all.back().name, all.back().box->description());
  }
  std::ifstream in(folder / "pictures.bin", std::ios::binary);
  const int queries = std::atoi(given["--queries"].c_str()), rounds = std::atoi(given["--rounds"].c_str());
  constexpr std::size_t kSize = 3 * 32 * 32;
  std::vector<float> pixels(kSize * kPictures);
  in.read(reinterpret_cast<char*>(pixels.data()),
          static_cast<std::streamsize>(pixels.size() * sizeof(float)));
  if (!in) throw Error((folder / "pictures.bin").string() + ": cannot be read whole");
  std::vector<float> part;
  for (int round = 0; round < rounds; ++round) {
    part.clear();
    for (int i = 0; i < queries; ++i) {
      const auto at = static_cast<std::size_t>((round * queries + i) % kPictures) * kSize;
      part.insert(part.end(),
                  pixels.begin() + static_cast<std::ptrdiff_t>(at),
                  pixels.begin() + static_cast<std::ptrdiff_t>(at + kSize));
    }
    const Tensor images = Tensor::from_nchw({queries, 3, 32, 32}, part, Device::cpu());
    for (One& one : all) {
      const attacks::Answer answer = one.box->query(images, attacks::Timing::kPerQuery);
      for (const auto ns : answer.nanoseconds) one.ms.push_back(static_cast<double>(ns) / 1e6);
      one.labels.insert(one.labels.end(), answer.labels.begin(), answer.labels.end());
    }
  }
  double rate_of_first = 0, p50_of_first = 0;
  for (const One& one : all) {
    double sum = 0;
    for (const double ms : one.ms) sum += ms;
    const double rate = 1000 * static_cast<double>(one.ms.size()) / sum, p50 = at_share(one.ms, 0.5);
    if (rate_of_first == 0) rate_of_first = rate, p50_of_first = p50;
    std::size_t same = 0;
    for (std::size_t i = 0; i < one.labels.size(); ++i) same += one.labels[i] == all[0].labels[i] ? 1 : 0;
    fmt::print(
        "{}: {:.1f} requests a second, p50 {:.3f} ms, p99 {:.3f} ms; {} of {} answers as of {}; {} {:.2f} times as many, p50 {:.3f} of it\n",
        one.name,
        rate,
        p50,
        at_share(one.ms, 0.99),
        same,
        one.labels.size(),
        all[0].name,
        all[0].name,
        rate_of_first / rate,
        p50_of_first / p50);
  }
  return 0;
}

}  // namespace
}  // namespace offramp

int main(int argc, char** argv) {
  std::map<std::string, std::string> given = {{"--rounds", "10"}, {"--queries", "100"}};
  std::vector<std::string> words;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json") {
      json = true;
    } else if (given.contains(word) && i + 1 < argc) {
      given[word] = argv[++i];
    } else {
      words.push_back(word);
    }
  }
  if (words.size() == 4 && words[0] == "make") return offramp::make(words[1], words[2], words[3]);
  if (words.size() > 2 && words[0] == "ask")
    return offramp::ask(words[1], given, json, {words.begin() + 2, words.end()});
  std::fprintf(stderr, "serve_beside: expected make FOLDER CHECKPOINT IMAGES, or ask FOLDER NAME=URL ..\n");
  return 2;
}
