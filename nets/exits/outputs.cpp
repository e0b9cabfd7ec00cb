#include "nets/exits/outputs.h"

#include <algorithm>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/recording.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/parts.h"

namespace offramp::nets {
ExitOutputs exit_outputs(const SegmentedNet& net,
                         BatchSource& source,
                         const std::function<void(int, int)>& progress,
                         Keep keep) {
  const NoGrad no_grad;
  ExitOutputs out{.num_exits = net.num_exits(),
                  .n = source.samples(),
                  .classes = net.classes(),
                  .confidence = {},
                  .predicted = {}};
  const auto values = static_cast<std::size_t>(out.n) * static_cast<std::size_t>(out.num_exits);
  const auto classes = static_cast<std::size_t>(out.classes);
  out.confidence.resize(values);
  out.predicted.resize(values);
  if (keep == Keep::kProbabilities) out.probabilities.resize(values * classes);
  source.start(1, 0);
  int done = 0;
  for (int b = 0; b < source.batches(); ++b) {
    const Batch batch = source.next();
    const std::vector<std::int32_t> labels = batch.labels.to_host<std::int32_t>();
    out.labels.insert(out.labels.end(), labels.begin(), labels.end());
    for (Features& features : in_cache_sized_parts(net, {batch.inputs})) {
      const int rows = features[0].shape().n();
      for (int e = 0; e < out.num_exits; ++e) {
        Segment segment = net.forward_segment(e, features);
        features = std::move(segment.features);
        const std::vector<float> p = softmax(segment.logits).to_host<float>();
        for (int i = 0; i < rows; ++i) {
          const std::size_t at = out.at(done + i, e);
          const auto row = p.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(i) * classes),
                     end = row + static_cast<std::ptrdiff_t>(classes), top = std::max_element(row, end);
          check_finite({row, end}, e);
          out.confidence[at] = static_cast<double>(*top);
          out.predicted[at] = static_cast<std::int32_t>(top - row);
          if (keep == Keep::kProbabilities) {
            std::copy(row, end, out.probabilities.begin() + static_cast<std::ptrdiff_t>(at * classes));
          }
        }
      }
      done += rows;
    }
    if (progress) progress(done, out.n);
  }
  if (done != out.n) {
    throw ValueError("evaluation: the source promised " + std::to_string(out.n) + " samples and gave " +
                     std::to_string(done));
  }
  return out;
}

std::vector<double> accuracy(const ExitOutputs& out) {
  std::vector<double> shares;
  for (int e = 0; e < out.num_exits; ++e) {
    std::int64_t right = 0;
    for (int i = 0; i < out.n; ++i) right += out.right(i, e) ? 1 : 0;
    shares.push_back(static_cast<double>(right) / std::max(1, out.n));
  }
  return shares;
}

}  // namespace offramp::nets
