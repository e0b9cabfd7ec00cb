// Lab 10: a membership attack with a flawed control. Page: docs/labs/10_flawed_control.md; tools/lab 10 grades it.
#include <vector>

#include "docs/labs/labs.h"

namespace {

// The threshold that is right most often on these records.
double best_threshold(int n, const double* score, const int* member) {
  double best = 0;
  int most = -1;
  for (int candidate = -1; candidate < n; ++candidate) {
    const double t = candidate < 0 ? -INFINITY : score[candidate];
    int right = 0;
    for (int i = 0; i < n; ++i) right += (score[i] > t) == (member[i] == 1);
    if (right > most) most = right, best = t;
  }
  return best;
}

}  // namespace

double attack_accuracy(int known,
                       const double* known_score,
                       const int* known_member,
                       int judged,
                       const double* score,
                       const int* member) {
  static_cast<void>(known), static_cast<void>(known_score), static_cast<void>(known_member);
  const double t = best_threshold(judged, score, member);  // HOLE: what does it learn from?
  int right = 0;
  for (int i = 0; i < judged; ++i) right += (score[i] > t) == (member[i] == 1);
  return static_cast<double>(right) / judged;
}

double control_accuracy(int n, const double* member_score) {
  // HOLE: the second half of the data set plays non-members. What else differs between the halves?
  std::vector<int> member(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) member[static_cast<std::size_t>(i)] = i < n / 2 ? 1 : 0;
  return attack_accuracy(n, member_score, member.data(), n, member_score, member.data());
}
