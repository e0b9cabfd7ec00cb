#include "engine/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/errors.h"

namespace offramp {

double MultiStepSchedule::at_epoch(int epoch) const {
  if (epoch < 1) throw ValueError("schedule: epochs count from 1, got " + std::to_string(epoch));
  const int reached = step_at_start ? epoch : epoch - 1;
  const auto passed =
      std::count_if(milestones.begin(), milestones.end(), [&](int m) { return m <= reached; });
  const double rate = learning_rate * std::pow(gamma, static_cast<double>(passed));
  const double rounded = std::round(rate * 1e8) / 1e8;
  return rounded > 0 ? rounded : rate;
}

MultiStepSchedule MultiStepSchedule::scaled(int epochs, int reference_epochs, MilestoneShare share) const {
  MultiStepSchedule result = *this;
  const int lead = step_at_start ? 1 : 0;  // a milestone ends the epochs 1..milestone - lead
  for (int& m : result.milestones) {
    const auto before = share == MilestoneShare::kEpochsBefore
                            ? std::lround(static_cast<double>(m - lead) / reference_epochs * epochs)
                            : std::lround(static_cast<double>(m) * epochs / reference_epochs) - lead;
    m = static_cast<int>(std::max(1L, before)) + lead;
  }
  return result;
}

double CosineSchedule::at_iteration(std::int64_t iteration, std::int64_t total) const {
  if (total < 1 || iteration < 0) throw ValueError("schedule: expected 0 <= iteration < total");
  return learning_rate / 2 *
         (1 + std::cos(std::numbers::pi * static_cast<double>(iteration) / static_cast<double>(total)));
}

}  // namespace offramp
