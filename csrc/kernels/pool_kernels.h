// Pooling over one to three spatial dimensions of dense planes; missing leading dimensions have size 1.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

struct PoolDim {
    int64_t in, out;
    int64_t kernel, stride, pad, dilation;
};
struct PoolShape {
    PoolDim d[3];
    bool count_include_pad;
    double divisor;  // 0: the number of elements
    int64_t in_size() const { return d[0].in * d[1].in * d[2].in; }
    int64_t out_size() const { return d[0].out * d[1].out * d[2].out; }
};
// Windows of any bounds: window o of dimension i covers [start[i][o], end[i][o]).
struct AdaptiveShape {
    int64_t in[3], out[3];
    const int64_t *start[3], *end[3];
    int64_t in_size() const { return in[0] * in[1] * in[2]; }
    int64_t out_size() const { return out[0] * out[1] * out[2]; }
};

// All work on planes [begin, end). `index` (positions in a plane) may be null. The last NaN of a window is its maximum,
// else the first of equals. max_pool and adaptive_max_pool take float, double and int64; a plane has less than 2^31 elements.
FLB_KERNEL(max_pool, void(DType dtype, const PoolShape& s, const void* in, void* out, int64_t* index,
                          int64_t begin, int64_t end));
FLB_KERNEL(adaptive_max_pool, void(DType dtype, const AdaptiveShape& s, const void* in, void* out,
                                   int64_t* index, int64_t begin, int64_t end));
// Every gradient is added at its maximum's place in planes [begin, end) of the input, or, for channels-last data, in images
// of `inner` channels. False, and not all is written, if an index lies outside of the plane, which has less than 2^31 elements.
struct MaxPoolBackward {
    int64_t in_size, out_size, inner;
};
FLB_KERNEL(max_pool_backward, bool(DType dtype, const MaxPoolBackward& s, const void* grad,
                                   const int64_t* index, void* grad_in, int64_t begin, int64_t end));
FLB_KERNEL(avg_pool,
           void(DType dtype, const PoolShape& s, const void* in, void* out, int64_t begin, int64_t end));
FLB_KERNEL(avg_pool_backward, void(DType dtype, const PoolShape& s, const void* grad, void* grad_in,
                                   int64_t begin, int64_t end));
FLB_KERNEL(adaptive_avg_pool,
           void(DType dtype, const AdaptiveShape& s, const void* in, void* out, int64_t begin, int64_t end));
FLB_KERNEL(adaptive_avg_pool_backward, void(DType dtype, const AdaptiveShape& s, const void* grad,
                                            void* grad_in, int64_t begin, int64_t end));

}  // namespace flb
