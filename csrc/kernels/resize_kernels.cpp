#include "kernels/resize_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(resize_plan);
FLB_DEFINE_KERNEL(resize_rows);
FLB_DEFINE_KERNEL(resize_nearest);
FLB_DEFINE_KERNEL(resize_bytes);

}  // namespace flb
