#include "docs/labs/labs.h"

void swish_backward(int n, double a, const double* x, const double* dy, double* dx, double* da) {
  double sum = 0;
  for (int i = 0; i < n; ++i) {
    const double s = 1 / (1 + std::exp(-a * x[i]));
    const double slope = s * (1 - s);
    dx[i] += dy[i] * (s + a * x[i] * slope);
    sum += dy[i] * x[i] * x[i] * slope;
  }
  *da += sum;
}
