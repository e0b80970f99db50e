// Normalisation of groups of channels of a dense (batch, channels, length): a group is a row of neighbouring elements.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

struct GroupNorm {
    const void *input, *weight, *bias;  // weight and bias (channels) may be null
    void *output, *mean, *rstd;         // mean and rstd: one per row
    int64_t channels, groups, length;
    double eps;
};
// Rows [begin, end) of batch * groups.
FLB_KERNEL(group_norm_forward, void(DType dtype, const GroupNorm& a, int64_t begin, int64_t end));

struct GroupNormBackward {
    const void *grad, *input, *mean, *rstd, *weight;  // weight may be null
    void* grad_input;                                 // null: not wanted
    double *sums, *products;  // (batch, channels): sum of grad, and of grad times the normalised input
    int64_t channels, groups, length;
};
FLB_KERNEL(group_norm_backward, void(DType dtype, const GroupNormBackward& a, int64_t begin, int64_t end));

}  // namespace flb
