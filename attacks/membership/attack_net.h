#pragma once
// The small nets that attack (specs/networks.md 7) and their training: SGD 0.01, momentum 0.9, weight decay 5e-4, a cosine
// over the epochs down to nothing, cross entropy, class 1 the members [CCS code].
#include <cstdint>
#include <span>
#include <vector>

#include "attacks/membership/attack.h"
#include "nets/graph/architecture.h"

namespace offramp::attacks::membership {

// Linear(scores,128) ReLU Linear(128,128); with exits beside it Linear(exits,128) ReLU; then Linear(.,128) ReLU Linear(128,64)
// ReLU Linear(64,2). num_exits 0: no branch for exits.
nets::Architecture score_net(int scores, int num_exits);

// Five branches, or six with exits, then the encoder; the inputs in this order: scores [classes], loss [1], status [status],
// feature [feature], gradient [9,5,5], exit [exits].
// The gradient branch of the paper's code is a convolution of 1 to 5 channels, 3x3, without padding, over the gradient
// [classes, feature] as a picture, then an adaptive mean over 5x5 windows. Nothing lies between the two, so the mean may be
// taken first: of the picture shifted by each of the nine places of the filter (gradient_windows). The same function, the
// same 50 parameters, and 225 numbers instead of classes x feature.
nets::Architecture gradient_net(int classes, int status, int feature, int num_exits);

// The nine shifted window means of the outer product of `error` [classes] and `feature` [e]: [9,5,5], channel 3r+s the
// picture shifted by r rows and s columns. Windows as PyTorch's adaptive_avg_pool2d has them. Throws ValueError below 3x3.
std::vector<float> gradient_windows(std::span<const double> error, std::span<const float> feature);

// One input of a net for every record: [records, width], row-major.
struct NetInput {
  int width = 0;
  std::vector<float> values = {};
};
// The `count` largest scores, descending. (The code asks for them unsorted: their order is then the machine's.)
NetInput largest_scores(const Records& records, int count);
// What gradient_net looks at but for the exit; a record's gradient is that of its last layer, (p - onehot(y)) feature^T.
// Paper: the label is one of the inputs. Its code gives the bit "prediction correct" instead; StatusInput has both.
std::vector<NetInput> white_box_inputs(const Records& records, StatusInput status);

struct AttackNetOptions {
  int epochs = 100, batch = 256;
  double learning_rate = 0.01, momentum = 0.9, weight_decay = 5e-4;
  std::uint64_t seed = 1;
};
struct AttackNetResult {
  std::vector<double> score;  // [target records] logit of "member" less that of "non-member", last epoch
  double best_epoch = 0;      // largest balanced accuracy on the target over all epochs
  int best_epoch_at = 0;      // from 1
};
// Throws NumericError where training diverges.
AttackNetResult train_attack_net(const nets::Architecture& arch,
                                 std::span<const NetInput> shadow,
                                 std::span<const std::uint8_t> shadow_member,
                                 std::span<const NetInput> target,
                                 std::span<const std::uint8_t> target_member,
                                 const AttackNetOptions& options);

}  // namespace offramp::attacks::membership
