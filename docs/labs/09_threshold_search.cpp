// Lab 9: a threshold search that misses the optimum. Page: docs/labs/09_threshold_search.md; tools/lab 9 grades it.
#include "docs/labs/labs.h"

// HOLE: exit by exit, the threshold that puts most samples on their side of it. The exits are not independent: who leaves early
// never comes to the next one.
void best_thresholds(int n, int exits, const double* confidence, const int* wanted, double* threshold) {
  for (int k = 0; k < exits - 1; ++k) {
    int best = -1;
    for (int candidate = -1; candidate < n; ++candidate) {
      const double t = candidate < 0 ? -1 : confidence[candidate * (exits - 1) + k];  // -1: everybody leaves
      int right = 0;
      for (int i = 0; i < n; ++i)
        if (wanted[i] > k) right += (confidence[i * (exits - 1) + k] > t) == (wanted[i] == k + 1);
      if (right > best) best = right, threshold[k] = t;
    }
  }
}
