#pragma once
// Softmax over the classes of each row, float32, shifted by the row maximum.
#include "kernels/backend.h"

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
void softmax_rows(Context&, int rows, int cols, const float* x, float* y);
void softmax_rows_backward(Context&, int rows, int cols, const float* y, const float* dy, float* dx, Write);
void log_softmax_rows(Context&, int rows, int cols, const float* x, float* y);
void log_softmax_rows_backward(Context&, int rows, int cols, const float* y, const float* dy, float* dx, Write);
// Confidence of a row = its largest softmax probability; argmax = the first class that has it.
void row_confidence(Context&, int rows, int cols, const float* logits,
                    float* confidence,      // [rows]
                    std::int32_t* argmax);  // [rows] or null
// Gradient of the confidence: dlogits[k] = dconf * c * (delta(k, argmax) - p_k).
void row_confidence_backward(Context&, int rows, int cols, const float* logits, const float* confidence,
                             const std::int32_t* argmax, const float* dconf, float* dlogits, Write);
)
// clang-format on
