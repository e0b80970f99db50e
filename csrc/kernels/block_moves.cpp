#include "kernels/block_moves.h"

#include <atomic>

#include "core/interpreter.h"
#include "core/parallel.h"
#include "tensor/tensor.h"

namespace flb {

FLB_DEFINE_KERNEL(stream_block);
FLB_DEFINE_KERNEL(transpose_block);

namespace {

struct Dimension {
    int64_t size, out, in;  // strides in elements
};

// Dimensions of more than one element; two that are one in both tensors are merged. Returns how many are left.
int merged_dimensions(const Tensor& out, const Tensor& in, Dimension* d) {
    int n = 0;
    for (int i = 0; i < out.ndim(); ++i)
        if (out.sizes[i] != 1) d[n++] = {out.sizes[i], out.strides[i], in.strides[i]};
    for (int i = 0; i < n;) {
        int outer = 0;
        while (outer < n &&
               (outer == i || d[outer].out != d[i].out * d[i].size || d[outer].in != d[i].in * d[i].size))
            ++outer;
        if (outer == n) {
            ++i;
            continue;
        }
        d[i].size *= d[outer].size;
        d[outer] = d[--n];
        i = 0;
    }
    return n;
}

// A result of so many bytes will not be in the cache when it is read: it is written past it. So is a smaller one whose
// rows all fall into one set of the first-level cache, where lines that are written push each other out.
constexpr int64_t kStreamBytes = int64_t(8) << 20, kConflictBytes = int64_t(2) << 20, kWay = 4096;

}  // namespace

bool copy_transposed(Tensor& out, Tensor& in) {
    if (out.dtype != in.dtype || out.numel < 64 || out.sizes != in.sizes) return false;
    Dimension d[kMaxDims];
    const int n = merged_dimensions(out, in, d);
    int along_out = -1, along_in = -1;
    for (int i = 0; i < n; ++i) {
        if (d[i].out == 1) along_out = i;
        if (d[i].in == 1) along_in = i;
    }
    if (along_out < 0 || along_in < 0 || along_out == along_in) return false;
    const Dimension column = d[along_out], row = d[along_in];
    const int64_t width = itemsize(in.dtype), least = width < 4 ? 16 / width : 4;
    const bool few = column.size <= 4 && row.out == column.size && row.size >= 16;
    if (!few && (row.size < least || column.size < least)) return false;
    // The rest: a batch of matrices.
    Dimension batch[kMaxDims];
    int batch_dims = 0;
    int64_t matrices = 1;
    for (int i = 0; i < n; ++i) {
        if (i == along_out || i == along_in) continue;
        batch[batch_dims++] = d[i];
        matrices *= d[i].size;
    }
    char* o = kernel_pointer(out);
    const char* a = kernel_pointer(in);
    const bool stream = out.numel * width >= (row.out * width % kWay ? kStreamBytes : kConflictBytes) &&
                        reinterpret_cast<uintptr_t>(o) % 64 == 0 && row.out * width % 64 == 0;
    const int64_t strip = 256 / width;  // columns of `out` that one piece of work holds
    const int64_t strips = (column.size - 1) / strip + 1;
    const int64_t piece = row.size * (column.size < strip ? column.size : strip);
    Unlocked unlocked(in.numel > 65536);
    parallel_for(0, matrices * strips, 1 + 32768 / piece, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end;) {
            int64_t rest = k / strips, to = 0, from = 0;
            for (int i = 0; i < batch_dims; ++i) {
                to += rest % batch[i].size * batch[i].out;
                from += rest % batch[i].size * batch[i].in;
                rest /= batch[i].size;
            }
            // The strips of one matrix that follow each other, at once.
            const int64_t first = k % strips, last = strips - first < end - k ? strips : first + (end - k);
            const int64_t c = first * strip, stop = last * strip < column.size ? last * strip : column.size;
            const bool whole = (reinterpret_cast<uintptr_t>(o) + uint64_t(to * width)) % 64 == 0;
            transpose_block(int(width), o + (to + c) * width, row.out, a + (from + c * column.in) * width,
                            column.in, row.size, stop - c, stream && whole);
            k += last - first;
        }
        if (stream) std::atomic_thread_fence(std::memory_order_seq_cst);
    });
    return true;
}

}  // namespace flb
