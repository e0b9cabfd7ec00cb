#include <vector>

#include "docs/labs/labs.h"

namespace {

struct Plan {
  int exits;
  const double *time, *share;
  double max_bits;
  int* best;
  std::vector<int> now;
  double least = INFINITY;

  void judge(int groups) {
    std::vector<double> latest(groups), total(groups);
    for (int k = 0; k < exits; ++k) {
      latest[now[k]] = std::fmax(latest[now[k]], time[k]);
      total[now[k]] += share[k];
    }
    double bits = 0, delay = 0;
    for (int g = 0; g < groups; ++g) bits -= total[g] * std::log2(total[g]);
    for (int k = 0; k < exits; ++k) delay += share[k] * (latest[now[k]] - time[k]);
    if (bits > max_bits + 1e-12 || delay >= least) return;
    least = delay;
    for (int k = 0; k < exits; ++k) best[k] = now[k];
  }
  // Exit k joins one of the groups there are, or opens the next one: every partition once.
  void place(int k, int groups) {
    if (k == exits) return judge(groups);
    for (int g = 0; g <= groups; ++g) {
      now[k] = g;
      place(k + 1, g == groups ? groups + 1 : groups);
    }
  }
};

}  // namespace

void plan_groups(int exits, const double* time, const double* share, double max_bits, int* group) {
  Plan plan{exits, time, share, max_bits, group, std::vector<int>(exits)};
  plan.place(0, 0);
}
