// Kernels of softmax, normalisation and the optimizers' steps: dense data, float or double (`dtype` says which).
//
// A sum of one result runs within one task, in an order that depends on its length alone; sums over many rows are
// made of a fixed number of parts. Either way the bits do not depend on the number of threads.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// ---- softmax: (outer, n, inner), normalised along the middle. A unit is one row (inner == 1) or up to
// kSoftmaxColumns neighbouring columns; units [begin, end) are worked on.
constexpr int64_t kSoftmaxColumns = 256;
struct SoftmaxShape {
    int64_t outer, n, inner;
    bool log;
    int64_t units() const {
        return inner == 1 ? outer : outer * ((inner + kSoftmaxColumns - 1) / kSoftmaxColumns);
    }
};
FLB_KERNEL(softmax_forward, void(DType dtype, const SoftmaxShape& shape, const void* in, void* out,
                                 int64_t begin, int64_t end));
FLB_KERNEL(softmax_backward, void(DType dtype, const SoftmaxShape& shape, const void* grad, const void* out,
                                  void* grad_in, int64_t begin, int64_t end));

// lse[r] = log of the sum of exp over row r of n elements.
FLB_KERNEL(log_sum_exp_rows,
           void(DType dtype, const void* in, void* lse, int64_t n, int64_t begin, int64_t end));
// out = exp(in - lse[r]) * scale[r].
FLB_KERNEL(scaled_softmax_rows, void(DType dtype, const void* in, const void* lse, const void* scale,
                                     void* out, int64_t n, int64_t begin, int64_t end));

// ---- normalisation of rows of n elements -------------------------------------------------------------------------
struct RowNorm {
    const void *input, *weight, *bias;  // weight and bias (n) may be null
    void *output, *mean, *rstd;
    int64_t n;
    double eps;
    bool centred;  // false: the mean counts as zero (rms_norm), and `mean` is null
};
FLB_KERNEL(layer_norm_forward, void(DType dtype, const RowNorm& a, int64_t begin, int64_t end));
struct RowNormBackward {
    const void *grad, *input, *mean, *rstd, *weight;
    void* grad_input;               // null: not wanted
    void *grad_weight, *grad_bias;  // partial sums of one block of rows (n), zeroed by the kernel; or null
    int64_t n;
    bool centred;
};
FLB_KERNEL(layer_norm_backward, void(DType dtype, const RowNormBackward& a, int64_t begin, int64_t end));

// ---- normalisation per channel: (batch, channels, length) with length > 1, or (batch, channels) ---------------------
struct ChannelShape {
    int64_t batch, channels, length;
};
// sums[c] += sum of x, or of (x - center[c])^2 where center is given, over channels [begin, end) of dense planes.
FLB_KERNEL(channel_sums, void(DType dtype, const ChannelShape& s, const void* x, const double* center,
                              double* sums, int64_t begin, int64_t end));
// The same for rows [begin, end) of a (batch, channels) matrix, all channels.
FLB_KERNEL(column_sums, void(DType dtype, const ChannelShape& s, const void* x, const double* center,
                             double* sums, int64_t begin, int64_t end));
// sums[c] += sum of grad, products[c] += sum of grad * (x - center[c]).
FLB_KERNEL(channel_products,
           void(DType dtype, const ChannelShape& s, const void* grad, const void* x, const double* center,
                double* sums, double* products, int64_t begin, int64_t end));
FLB_KERNEL(column_products,
           void(DType dtype, const ChannelShape& s, const void* grad, const void* x, const double* center,
                double* sums, double* products, int64_t begin, int64_t end));
// out = (x - center[c]) * scale[c] + shift[c] for planes (length > 1) or rows (length == 1) [begin, end).
FLB_KERNEL(channel_affine,
           void(DType dtype, const ChannelShape& s, const void* x, const double* center, const double* scale,
                const double* shift, void* out, int64_t begin, int64_t end));
// out = (grad - (x - center[c]) * slope[c] - offset[c]) * scale[c].
FLB_KERNEL(channel_gradient, void(DType dtype, const ChannelShape& s, const void* grad, const void* x,
                                  const double* center, const double* slope, const double* offset,
                                  const double* scale, void* out, int64_t begin, int64_t end));

// ---- optimizers: one parameter's elements [begin, end) ------------------------------------------------------------
struct SgdStep {
    double lr, momentum, dampening, weight_decay;
    bool nesterov, maximize;
};
FLB_KERNEL(sgd_update, void(DType dtype, const SgdStep& s, void* param, const void* grad, void* buffer,
                            int64_t begin, int64_t end));
struct AdamStep {
    double lr, beta1, beta2, eps, weight_decay;
    bool decoupled, maximize;
    double correction1, root_correction2;  // 1 - beta1^step, sqrt(1 - beta2^step)
};
FLB_KERNEL(adam_update, void(DType dtype, const AdamStep& s, void* param, const void* grad, void* mean,
                             void* square, void* largest, int64_t begin, int64_t end));

}  // namespace flb
