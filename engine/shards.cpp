#include "engine/shards.h"

#include <stdexcept>
#include <string>
#include <vector>

#include "base/errors.h"
#include "kernels/assert.h"
#include "kernels/reduce.h"

namespace offramp {

Shards::Shards(int count, Transport* transport, DeviceTransport* device)
    : count_(count), local_(count), transport_(transport), device_(device) {
  const int ranks = transport == nullptr ? 1 : transport->size();
  if (count < 1 || count % ranks != 0) {
    throw ValueError("shards: each of the " + std::to_string(ranks) +
                     " ranks holds equally many shards, which " + std::to_string(count) +
                     " shards do not allow; take a multiple of " + std::to_string(ranks) +
                     ", or a number of ranks that divides " + std::to_string(count));
  }
  local_ = count / ranks;
  first_ = transport == nullptr ? 0 : transport->rank() * local_;
}

void Shards::set_batch(std::int64_t samples) {
  if (samples < count_) {
    throw ValueError("shards: a batch of " + std::to_string(samples) + " samples cannot be cut into " +
                     std::to_string(count_) + " shards");
  }
  batch_ = samples;
}

void Shards::gather(Tensor& parts) const {
  OFFRAMP_ASSERT(parts.shape()[0] == count_);
  if (transport_ == nullptr || transport_->size() == 1) return;
  const std::size_t bytes = parts.bytes() / static_cast<std::size_t>(transport_->size());
  const Device& device = parts.device();
  if (device.kind() == DeviceKind::kCpu) {
    transport_->all_gather(parts.raw(), bytes);
  } else if (device_ != nullptr) {
    device_->all_gather(parts.raw(), bytes);
  } else {  // through the host
    std::vector<std::byte> all(parts.bytes());
    const std::size_t mine = bytes * static_cast<std::size_t>(transport_->rank());
    device.download(all.data() + mine, static_cast<std::byte*>(parts.raw()) + mine, bytes);
    transport_->all_gather(all.data(), bytes);
    device.upload(parts.raw(), all.data(), all.size());
  }
}

Tensor Shards::sum(const Tensor& parts) {
  const std::int64_t n = parts.size() / parts.shape()[0];
  Tensor total = Tensor::empty({n}, parts.device(), DType::kFloat32, "sum over shards");
  float* out = total.data();
  dispatch(parts.device(), [&](auto& ctx) {
    column_sum(ctx, parts.shape().n(), static_cast<int>(n), parts.data(), out, Write::kOverwrite);
  });
  return total;
}

const Shards*& Shards::active() {
  thread_local const Shards* shards = nullptr;
  return shards;
}

const Shards* Shards::current() { return active(); }

void check_local_samples(const Shards& shards, std::int64_t n) {
  if (n != shards.local_samples()) {
    throw std::logic_error("shards: an op over " + std::to_string(n) + " samples, this process holds " +
                           std::to_string(shards.local_samples()));
  }
}

}  // namespace offramp
