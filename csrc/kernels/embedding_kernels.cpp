#include "kernels/embedding_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(bag_rows);
FLB_DEFINE_KERNEL(add_rows);

}  // namespace flb
