// Lab 1: a missing gradient. Page: docs/labs/01_missing_gradient.md; tools/lab 1 grades it.
#include "docs/labs/labs.h"

// y_i = x_i s(a x_i), s(z) = 1 / (1 + exp(-z)): a swish whose slope a is learnt.
// x reaches y on two ways. The op below knows one of them, and nothing of a.
void swish_backward(int n, double a, const double* x, const double* dy, double* dx, double* da) {
  static_cast<void>(da);
  for (int i = 0; i < n; ++i) {
    const double s = 1 / (1 + std::exp(-a * x[i]));
    dx[i] += dy[i] * s;
    // HOLE: what else is there of x, and what of a?
  }
}
