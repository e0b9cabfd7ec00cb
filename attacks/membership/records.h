#pragma once
// What an attacker with the most access learns of each sample from one early-exit query, and the owner's truth beside it
// (specs/membership.md 4): the records that every attack of this room reads, each as much of them as its adversary sees.
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "attacks/extraction/listener.h"
#include "attacks/membership/samples.h"
#include "nets/exits/exit_policy.h"
#include "nets/graph/network.h"

namespace offramp::attacks::membership {

struct Records {
  std::string model = {};  // which net
  int classes = 0, num_exits = 0;
  int feature_size = 0;                      // 0: no features, as the exits' differ in size
  int repetitions = 0;                       // of the times; 0: none were taken
  std::vector<std::int32_t> row = {};        // [n] position in the whole data set
  std::vector<std::uint8_t> member = {};     // [n] 1: the net was trained on it
  std::vector<std::int32_t> label = {};      // [n] the true class
  std::vector<std::int32_t> predicted = {};  // [n] the class of the output that is returned
  std::vector<std::int32_t> exit = {};       // [n] where the sample stopped, from 1
  std::vector<float> scores = {};            // [n, classes] softmax of the returned output
  // Of the returned logits z and the true class y, in double: a float softmax has no room near 0 and 1.
  std::vector<double> loss = {};    // [n] logsumexp(z) - z_y
  std::vector<double> margin = {};  // [n] ln(p_y / (1 - p_y)) = z_y - logsumexp of the others (audit.md 1)
  std::vector<float> feature = {};  // [n, feature_size] what the last layer of the exit taken was given
  std::vector<std::int64_t> times_ns = {};  // [n, repetitions] running times, by a trace (attacks/query)

  std::size_t size() const { return row.size(); }
  std::span<const float> scores_of(std::size_t i) const {
    return std::span(scores).subspan(i * static_cast<std::size_t>(classes),
                                     static_cast<std::size_t>(classes));
  }
  std::span<const float> feature_of(std::size_t i) const {
    return std::span(feature).subspan(i * static_cast<std::size_t>(feature_size),
                                      static_cast<std::size_t>(feature_size));
  }
  bool correct(std::size_t i) const { return predicted[i] == label[i]; }
  friend bool operator==(const Records&, const Records&) = default;
};

// ln(p_y / (1 - p_y)) and -ln p_y of float logits, in double.
double margin_of(std::span<const float> logits, int label);
double loss_of(std::span<const float> logits, int label);

// Asks the net itself, with real early exit. `members` and `non_members` are rows of the set; the records come in that
// order. The net's parameters and running averages are not touched.
Records collect_records(const nets::Network& net,
                        const nets::ExitPolicy& policy,
                        const Samples& samples,
                        std::span<const std::int32_t> members,
                        std::span<const std::int32_t> non_members,
                        Listener& listener);

// Gradient of the loss with respect to the weights of the last layer of the exit taken, [classes, feature_size] row-major:
// (p - onehot(y)) feature^T. Of rank one, so the records keep its two factors. Throws ValueError without features.
std::vector<double> last_layer_gradient(const Records& records, std::size_t i);

// Throws DataError for what cannot be records of one net: lengths that differ, a class, exit or membership out of range, a
// number that is not finite, scores that are no distribution, times not above 0. `what` opens the message.
void check(const Records& records, const std::string& what);

// One safetensors file; the reader checks all of the above (FileError where the file is none).
void write_records(const std::filesystem::path& path, const Records& records);
Records read_records(const std::filesystem::path& path);

// The records `keep`, in that order.
Records subset(const Records& records, std::span<const std::size_t> keep);

}  // namespace offramp::attacks::membership
