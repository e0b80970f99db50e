#include "kernels/pool_last_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(max_pool_last);
FLB_DEFINE_KERNEL(avg_pool_last);
FLB_DEFINE_KERNEL(avg_pool_last_backward);

}  // namespace flb
