#include <vector>

#include "docs/labs/labs.h"

namespace {

struct Search {
  int n, exits;
  const double* confidence;
  const int* wanted;
  double* best;
  std::vector<double> now;
  int most = -1;

  int right() const {
    int count = 0;
    for (int i = 0; i < n; ++i) {
      int exit = 1;
      while (exit < exits && !(confidence[i * (exits - 1) + exit - 1] > now[exit - 1])) ++exit;
      count += exit == wanted[i];
    }
    return count;
  }
  // Every combination of confidences, and of "everybody leaves".
  void from(int k) {
    if (k == exits - 1) {
      const int count = right();
      if (count <= most) return;
      most = count;
      for (int j = 0; j < exits - 1; ++j) best[j] = now[j];
      return;
    }
    for (int candidate = -1; candidate < n; ++candidate) {
      now[k] = candidate < 0 ? -1 : confidence[candidate * (exits - 1) + k];
      from(k + 1);
    }
  }
};

}  // namespace

void best_thresholds(int n, int exits, const double* confidence, const int* wanted, double* threshold) {
  Search search{n, exits, confidence, wanted, threshold, std::vector<double>(exits - 1)};
  search.from(0);
}
