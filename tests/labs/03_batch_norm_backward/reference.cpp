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
    double sum_dy = 0, sum_dy_xhat = 0;
    for (int r = 0; r < rows; ++r) {
      const double xhat = (x[r * channels + c] - mean) * s;
      sum_dy += dy[r * channels + c];
      sum_dy_xhat += dy[r * channels + c] * xhat;
    }
    for (int r = 0; r < rows; ++r) {
      const double xhat = (x[r * channels + c] - mean) * s;
      dx[r * channels + c] =
          gamma[c] * s * (dy[r * channels + c] - sum_dy / rows - xhat * sum_dy_xhat / rows);
    }
    dgamma[c] = sum_dy_xhat;
    dbeta[c] = sum_dy;
  }
}
