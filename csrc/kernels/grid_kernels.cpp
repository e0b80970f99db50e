#include "kernels/grid_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(grid_sample);
FLB_DEFINE_KERNEL(grid_sample_input_gradient);
FLB_DEFINE_KERNEL(grid_sample_grid_gradient);

}  // namespace flb
