// Losses that are a function of input - target, element by element, with their reduction: dense data, float or double.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

enum class DifferenceLoss : int64_t {
    Squared,
    Absolute,
    SmoothAbsolute,  // quadratic below `width`: d^2 / (2 width), then |d| - width / 2
    Huber,           // the same, times `width`
};
struct DifferenceLossShape {
    DifferenceLoss kind;
    double width;
};

// Elements that are summed to one number.
constexpr int64_t kLossBlock = 32768;
// out[i] = the loss of element i; or, where `out` is null, the sum of the losses is returned (of a block at most).
FLB_KERNEL(difference_loss, double(DType dtype, const DifferenceLossShape& s, const void* input,
                                   const void* target, void* out, int64_t n));
// out[i] = the derivative of the loss of element i to its input, times grad[i], or times `scale` where `grad` is null.
FLB_KERNEL(difference_loss_backward,
           void(DType dtype, const DifferenceLossShape& s, const void* grad, double scale, const void* input,
                const void* target, void* out, int64_t n));

}  // namespace flb
