#include "kernels/nn_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(softmax_forward);
FLB_DEFINE_KERNEL(softmax_backward);
FLB_DEFINE_KERNEL(log_sum_exp_rows);
FLB_DEFINE_KERNEL(scaled_softmax_rows);
FLB_DEFINE_KERNEL(layer_norm_forward);
FLB_DEFINE_KERNEL(layer_norm_backward);
FLB_DEFINE_KERNEL(channel_sums);
FLB_DEFINE_KERNEL(column_sums);
FLB_DEFINE_KERNEL(channel_products);
FLB_DEFINE_KERNEL(column_products);
FLB_DEFINE_KERNEL(channel_affine);
FLB_DEFINE_KERNEL(channel_gradient);
FLB_DEFINE_KERNEL(sgd_update);
FLB_DEFINE_KERNEL(adam_update);

}  // namespace flb
