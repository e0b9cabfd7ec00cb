// Lab 12: reading a profile. Page: docs/labs/12_profile.md; tools/lab 12 grades it.
#include "docs/labs/labs.h"

void self_times(int n, const double* begin, const double* end, const int* op, int num_ops, double* self) {
  for (int o = 0; o < num_ops; ++o) self[o] = 0;
  for (int i = 0; i < n; ++i) self[op[i]] += end[i] - begin[i];  // HOLE: what lies within is counted twice
}

double whole_speedup(int num_ops, const double* self, int op, double factor) {
  static_cast<void>(num_ops), static_cast<void>(self), static_cast<void>(op);
  return factor;  // HOLE: the others do not get faster
}
