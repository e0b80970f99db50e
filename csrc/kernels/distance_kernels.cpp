#include "kernels/distance_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(distances);
FLB_DEFINE_KERNEL(distances_backward);

}  // namespace flb
