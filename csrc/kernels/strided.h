// Between strided memory and contiguous blocks.
#pragma once
#include "core/dispatch.h"

namespace flb {

// n elements of `width` bytes, `stride` bytes apart (0: one repeated; negative strides do not occur).
FLB_KERNEL(gather_elements, void(int width, void* out, const void* in, int64_t stride, int64_t n));
FLB_KERNEL(scatter_elements, void(int width, void* out, int64_t stride, const void* in, int64_t n));

}  // namespace flb
