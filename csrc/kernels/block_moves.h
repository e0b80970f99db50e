// Moving blocks of memory: past the cache, and from rows to columns.
#pragma once
#include "core/dispatch.h"

namespace flb {

struct Tensor;

// Copies without fetching the lines of `out` (64-byte aligned) or keeping them in the cache. The caller ends a series of
// such calls with a fence before other threads may read.
FLB_KERNEL(stream_block, void(void* out, const void* in, int64_t nbytes));

// out[r * out_stride + c] = in[c * in_stride + r] for elements of `width` bytes; strides in elements. With `stream`, whole
// lines are written past the cache, and a fence is needed as above.
FLB_KERNEL(transpose_block, void(int width, void* out, int64_t out_stride, const void* in, int64_t in_stride,
                                 int64_t rows, int64_t cols, bool stream));

// out <- in where the contiguous dimensions of the two differ: done, and true; anything else is left alone.
bool copy_transposed(Tensor& out, Tensor& in);

}  // namespace flb
