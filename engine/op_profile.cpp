#include "engine/op_profile.h"

#include <algorithm>

#include "kernels/assert.h"

namespace offramp {

OpProfile::OpProfile(const Device& device) : device_(device) {}

bool OpProfile::listens_to(RangeKind kind) const {
  return kind != RangeKind::kScope && std::this_thread::get_id() == thread_;
}

void OpProfile::begin(RangeKind kind, const char* name, const Work& work) {
  if (!listens_to(kind)) return;
  const bool gradient = kind == RangeKind::kBackward;
  Row& row = rows_[{name, gradient}];
  row.op = name;
  row.gradient = gradient;
  ++row.calls;
  row.bytes += work.bytes;
  row.flops += work.flops;
  device_.synchronize();
  open_.push_back({&row, Clock::now(), 0});
}

void OpProfile::end(RangeKind kind) {
  if (!listens_to(kind)) return;
  OFFRAMP_ASSERT(!open_.empty());
  device_.synchronize();
  const Open done = open_.back();
  open_.pop_back();
  const double seconds = std::chrono::duration<double>(Clock::now() - done.start).count();
  done.row->seconds += seconds - done.inside;
  if (!open_.empty()) open_.back().inside += seconds;
}

std::vector<OpProfile::Row> OpProfile::rows() const {
  std::vector<Row> all;
  for (const auto& entry : rows_) all.push_back(entry.second);
  std::stable_sort(all.begin(), all.end(), [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return all;
}

}  // namespace offramp
