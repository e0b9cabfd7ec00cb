#include "attacks/membership/tenants.h"

#include "attacks/extraction/victim.h"
#include "base/errors.h"

namespace offramp::attacks::membership {

Tenants::Tenants(std::vector<nets::LoadedNet> nets, const Samples& samples, std::vector<std::int32_t> rows) {
  if (rows.empty() && !nets.empty()) throw ValueError("tenants: there is no sample to answer");
  for (nets::LoadedNet& net : nets) {
    Tenant& tenant = *tenants_.emplace_back(std::make_unique<Tenant>(std::move(net)));
    // Each begins elsewhere, so that they do not answer the same sample side by side.
    const std::size_t start = (tenants_.size() - 1) * rows.size() / nets.size();
    tenant.thread = std::jthread([&tenant, &samples, rows, start](const std::stop_token& stop) {
      try {
        const VictimFunction answer = early_exit_victim(*tenant.net.net, tenant.net.policy);
        std::vector<float> probabilities(static_cast<std::size_t>(tenant.net.net->classes()));
        for (std::size_t i = start; !stop.stop_requested(); i = (i + 1) % rows.size()) {
          answer(samples.load({&rows[i], 1}, Device::cpu()), probabilities);
          ++tenant.answers;
        }
      } catch (...) {
        tenant.error = std::current_exception();
        tenant.failed = true;
      }
    });
  }
}

Tenants::~Tenants() {
  for (const auto& tenant : tenants_) tenant->thread.request_stop();
}

std::int64_t Tenants::answers(std::size_t i) const {
  const Tenant& tenant = *tenants_.at(i);
  if (tenant.failed) std::rethrow_exception(tenant.error);
  return tenant.answers;
}

}  // namespace offramp::attacks::membership
