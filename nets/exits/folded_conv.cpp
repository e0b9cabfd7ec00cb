#include "nets/exits/folded_conv.h"

#include <cmath>

namespace offramp::nets {

FoldedConv fold(const Conv2d& conv, const BatchNorm* norm) {
  FoldedConv f{conv.weight.to_host<float>(), std::vector<float>(static_cast<std::size_t>(conv.out), 0.f)};
  if (conv.bias) f.bias = conv.bias.to_host<float>();
  if (!norm) return f;
  const auto gamma = norm->tensors.gamma.to_host<float>(), beta = norm->tensors.beta.to_host<float>(),
             mean = norm->tensors.running_mean.to_host<float>(),
             var = norm->tensors.running_var.to_host<float>();
  const std::size_t taps = f.weight.size() / f.bias.size();  // memory K,R,S,C: a filter is contiguous
  for (std::size_t k = 0; k < f.bias.size(); ++k) {
    const double scale = static_cast<double>(gamma[k]) /
                         std::sqrt(static_cast<double>(var[k]) + static_cast<double>(norm->tensors.eps));
    for (std::size_t i = 0; i < taps; ++i) {
      float& w = f.weight[k * taps + i];
      w = static_cast<float>(static_cast<double>(w) * scale);
    }
    f.bias[k] = static_cast<float>((static_cast<double>(f.bias[k]) - static_cast<double>(mean[k])) * scale +
                                   static_cast<double>(beta[k]));
  }
  return f;
}

}  // namespace offramp::nets
