#include "kernels/group_norm.h"

namespace flb {

FLB_DEFINE_KERNEL(group_norm_forward);
FLB_DEFINE_KERNEL(group_norm_backward);

}  // namespace flb
