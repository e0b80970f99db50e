#include "kernels/ctc.h"

namespace flb {

FLB_DEFINE_KERNEL(ctc_alpha);
FLB_DEFINE_KERNEL(ctc_gradient);

}  // namespace flb
