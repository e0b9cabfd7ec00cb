#pragma once
// Other nets that answer queries of their own on the same machine while a target is timed (specs/membership.md 6, the paper's
// second table: four models share a GPU). They take the target's cores, caches and memory, as neighbours do.
#include <atomic>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

#include "attacks/membership/samples.h"
#include "nets/graph/state_dict.h"

namespace offramp::attacks::membership {

// One thread a tenant; each answers samples of `rows` one by one, with early exit, in an endless round while this object
// lives. Each net is on a one-thread CPU device of its own (a device serves one thread at a time); `samples` outlives this.
class Tenants {
 public:
  Tenants(std::vector<nets::LoadedNet> nets, const Samples& samples, std::vector<std::int32_t> rows);
  ~Tenants();
  Tenants(const Tenants&) = delete;
  Tenants& operator=(const Tenants&) = delete;

  // Answers that tenant `i` has given so far. Throws what ended it, where an error did.
  std::int64_t answers(std::size_t i) const;
  std::size_t size() const { return tenants_.size(); }

 private:
  struct Tenant {
    nets::LoadedNet net;
    std::atomic<std::int64_t> answers = 0;
    std::exception_ptr error = nullptr;  // set before `failed`
    std::atomic<bool> failed = false;
    std::jthread thread = {};
  };
  std::vector<std::unique_ptr<Tenant>> tenants_;
};

}  // namespace offramp::attacks::membership
