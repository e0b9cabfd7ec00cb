#include <vector>

#include "docs/labs/labs.h"

void self_times(int n, const double* begin, const double* end, const int* op, int num_ops, double* self) {
  for (int o = 0; o < num_ops; ++o) self[o] = 0;
  std::vector<int> open;  // the spans around, outermost first
  for (int i = 0; i < n; ++i) {
    while (!open.empty() && end[open.back()] <= begin[i]) open.pop_back();
    const double took = end[i] - begin[i];
    self[op[i]] += took;
    if (!open.empty()) self[op[open.back()]] -= took;
    open.push_back(i);
  }
}

double whole_speedup(int num_ops, const double* self, int op, double factor) {
  double total = 0;
  for (int o = 0; o < num_ops; ++o) total += self[o];
  return total / (total - self[op] + self[op] / factor);
}
