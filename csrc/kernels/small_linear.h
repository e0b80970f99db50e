// input @ weight.T + bias for sizes at which a library call costs more than the arithmetic.
#pragma once
#include "core/dispatch.h"

namespace flb {

// Up to this many multiplications (measured; beyond it the packed products win).
constexpr double kSmallLinear = 16384;

// All row-major and dense: x (rows, in), w (features, in), bias (features) or null, out (rows, features).
FLB_KERNEL(small_linear_float, void(int64_t rows, int64_t in, int64_t features, const float* x,
                                    const float* w, const float* bias, float* out));
FLB_KERNEL(small_linear_double, void(int64_t rows, int64_t in, int64_t features, const double* x,
                                     const double* w, const double* bias, double* out));

}  // namespace flb
