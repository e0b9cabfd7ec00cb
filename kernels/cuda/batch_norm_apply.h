#pragma once
// The second half of batch_norm_train, for callers that have the statistics already.
#include "kernels/batch_norm.h"

namespace offramp::cuda {

// y from x, with the mean and inverse deviation that stand in saved_mean and saved_inv_std.
template <class T>
void batch_norm_apply(Context&, const BatchNormGeom&, const BatchNormTrain<T>&);

}  // namespace offramp::cuda
