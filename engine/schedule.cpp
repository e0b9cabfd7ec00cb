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

MultiStepSchedule MultiStepSchedule::scaled(int epochs, int reference_epochs) const {
  MultiStepSchedule result = *this;
  for (int& m : result.milestones) {
    m = std::max(1, static_cast<int>(std::lround(static_cast<double>(m) * epochs / reference_epochs)));
  }
  return result;
}

double CosineSchedule::at_iteration(long iteration, long total) const {
  if (total < 1 || iteration < 0) throw ValueError("schedule: expected 0 <= iteration < total");
  return learning_rate / 2 *
         (1 + std::cos(std::numbers::pi * static_cast<double>(iteration) / static_cast<double>(total)));
}

}  // namespace offramp
