#include "kernels/scan_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(scan_kernel);

}  // namespace flb
