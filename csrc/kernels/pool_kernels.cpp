#include "kernels/pool_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(max_pool);
FLB_DEFINE_KERNEL(max_pool_backward);
FLB_DEFINE_KERNEL(adaptive_max_pool);
FLB_DEFINE_KERNEL(avg_pool);
FLB_DEFINE_KERNEL(avg_pool_backward);
FLB_DEFINE_KERNEL(adaptive_avg_pool);
FLB_DEFINE_KERNEL(adaptive_avg_pool_backward);

}  // namespace flb
