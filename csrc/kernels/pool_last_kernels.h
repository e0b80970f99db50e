// Pooling of channels-last data: (batch, depth, height, width, channels), dense. All channels of a pixel are worked on
// together, whatever the windows are: regular ones and adaptive ones differ in their tables only.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// Along dimension i window o has elements start[i][o] + k * step[i] for k < count[i][o], all inside the input, and counts
// as extent[i][o] elements in the divisor.
struct LastShape {
    int64_t in[3], out[3], step[3];
    const int64_t *start[3], *count[3];
    const double* extent[3];  // of means only
    double divisor;           // of means; 0: the product of the extents
    int64_t channels;
    int64_t in_pixels() const { return in[0] * in[1] * in[2]; }
    int64_t out_pixels() const { return out[0] * out[1] * out[2]; }
};

// Float, double or int64; output pixels [begin, end) of all batches. `index` (positions in a plane) may be null.
FLB_KERNEL(max_pool_last, void(DType dtype, const LastShape& s, const void* in, void* out, int64_t* index,
                               int64_t begin, int64_t end));
// Float or double; output pixels.
FLB_KERNEL(avg_pool_last,
           void(DType dtype, const LastShape& s, const void* in, void* out, int64_t begin, int64_t end));
// Batches [begin, end).
FLB_KERNEL(avg_pool_last_backward, void(DType dtype, const LastShape& s, const void* grad, void* grad_in,
                                        int64_t begin, int64_t end));

}  // namespace flb
