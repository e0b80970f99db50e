#include "kernels/loss_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(difference_loss);
FLB_DEFINE_KERNEL(difference_loss_backward);

}  // namespace flb
