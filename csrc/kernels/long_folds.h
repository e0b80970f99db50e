// Runs of many blocks of a reduced row at once.
#pragma once
#include "kernels/reduce_kernels.h"

namespace flb {

constexpr int64_t kFoldBlock = 1024;  // elements per block along a row
constexpr int64_t kLongFold = 16;     // blocks at most

// acc[0] = the reduction of `blocks` (a power of two) whole blocks of contiguous elements. The vectors of the blocks are
// joined in a tree and the lanes of the last one only, so that reading does not wait for lanes after every block.
using LongFold = void (*)(const void* elements, int64_t blocks, void* acc);
FLB_KERNEL(find_long_fold, LongFold(ReduceOp op, DType dtype));  // null: there is none

}  // namespace flb
