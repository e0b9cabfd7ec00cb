// Lab 3: batch norm backward by hand. Page: docs/labs/03_batch_norm_backward.md; tools/lab 3 grades it.
#include "docs/labs/labs.h"

void batch_norm_backward(int rows,
                         int channels,
                         double eps,
                         const double* x,
                         const double* gamma,
                         const double* dy,
                         double* dx,
                         double* dgamma,
                         double* dbeta) {
  for (int c = 0; c < channels; ++c) {
    double mean = 0, var = 0;
    for (int r = 0; r < rows; ++r) mean += x[r * channels + c] / rows;
    for (int r = 0; r < rows; ++r) {
      const double centred = x[r * channels + c] - mean;
      var += centred * centred / rows;
    }
    const double s = 1 / std::sqrt(var + eps);
    dgamma[c] = dbeta[c] = 0;
    for (int r = 0; r < rows; ++r) {
      dgamma[c] += dy[r * channels + c] * (x[r * channels + c] - mean) * s;
      dbeta[c] += dy[r * channels + c];
    }
    // HOLE: as if mean and variance did not depend on x.
    for (int r = 0; r < rows; ++r) dx[r * channels + c] = dy[r * channels + c] * gamma[c] * s;
  }
}
