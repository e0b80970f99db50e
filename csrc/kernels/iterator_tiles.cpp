// Operands that disagree about the fastest dimension, as in the sum of a matrix and a transposed one: the work goes by
// tiles, in which the disagreeing operands are transposed into blocks that stay in the first-level cache.
#include <algorithm>
#include <atomic>

#include "core/interpreter.h"
#include "core/parallel.h"
#include "kernels/block_moves.h"
#include "kernels/iterator.h"

namespace flb {

namespace {

constexpr int64_t kTileBytes = 16384;  // per turned operand
constexpr int64_t kTileGrain = 32768;  // elements; no more stay on the calling thread

}  // namespace

bool Iterator::plan_tiles(Tiles& t) const {
    const int n = shape_.size();
    if (n < 2) return false;
    int64_t narrowest = 16, widest = 1;
    for (int k = 1; k < count_ && t.count < kTurned; ++k) {
        const Operand& o = operands_[k];
        const int64_t width = itemsize(o.dtype);
        if (o.written || o.strides[0] <= width) continue;
        for (int d = t.dim ? t.dim : 1; d < (t.dim ? t.dim + 1 : n); ++d) {
            if (o.strides[d] != width || shape_[d] < 8) continue;
            t.dim = d;
            t.turned[t.count++] = k;
            narrowest = std::min(narrowest, width);
            widest = std::max(widest, width);
            break;
        }
    }
    if (!t.count) return false;
    // One cache line of the turned operands high, and so as wide as it can be: the output is written in long pieces.
    const int64_t line = 64 / narrowest, area = kTileBytes / widest;
    t.columns = std::min(shape_[0], area / line);
    t.rows = std::min(shape_[t.dim], area / t.columns / line * line);
    if (t.rows < line) t.columns = std::min(shape_[0], area / t.rows);
    t.flat = t.columns == shape_[0];
    for (int k = 0, next = 0; k < count_; ++k) {
        if (next < t.count && t.turned[next] == k) ++next;
        else t.flat &= operands_[k].strides[t.dim] == shape_[0] * operands_[k].strides[0];
    }
    return true;
}

void Iterator::run_tile_range(Loop loop, const void* params, const Tiles& t, int64_t begin,
                              int64_t end) const {
    alignas(64) char blocks[kTurned][kTileBytes];
    const int n = shape_.size();
    const int64_t strips = (shape_[0] - 1) / t.columns + 1, steps = (shape_[t.dim] - 1) / t.rows + 1;
    char* data[kMaxOperands];
    int64_t along[kMaxOperands], down[kMaxOperands];
    for (int k = 0; k < count_; ++k)
        along[k] = operands_[k].strides[0], down[k] = operands_[k].strides[t.dim];
    for (int64_t unit = begin; unit < end; ++unit) {
        // Down a strip first: the lines of the turned operands then follow each other.
        const int64_t row = unit % steps * t.rows, column = unit / steps % strips * t.columns;
        const int64_t rows = std::min(t.rows, shape_[t.dim] - row),
                      columns = std::min(t.columns, shape_[0] - column);
        for (int k = 0; k < count_; ++k)
            data[k] =
                operands_[k].data + column * operands_[k].strides[0] + row * operands_[k].strides[t.dim];
        int64_t rest = unit / steps / strips;
        for (int d = 1; d < n; ++d) {
            if (d == t.dim) continue;
            for (int k = 0; k < count_; ++k) data[k] += rest % shape_[d] * operands_[k].strides[d];
            rest /= shape_[d];
        }
        for (int i = 0; i < t.count; ++i) {
            const int k = t.turned[i];
            const int64_t width = itemsize(operands_[k].dtype);
            transpose_block(int(width), blocks[i], columns, data[k], operands_[k].strides[0] / width, rows,
                            columns, false);
            data[k] = blocks[i];
            along[k] = width;
            down[k] = columns * width;
        }
        if (t.flat) {
            run_line(loop, params, data, along, rows * columns);
            continue;
        }
        for (int64_t r = 0; r < rows; ++r) {
            run_line(loop, params, data, along, columns);
            for (int k = 0; k < count_; ++k) data[k] += down[k];
        }
    }
    if (streams_) std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Iterator::run_tiles(Loop loop, const void* params, const Tiles& t) {
    const int64_t units = ((shape_[0] - 1) / t.columns + 1) * ((shape_[t.dim] - 1) / t.rows + 1) *
                          (numel_ / shape_[0] / shape_[t.dim]);
    Unlocked unlocked(numel_ > kTileGrain);
    parallel_for(0, units, (kTileGrain - 1) / (t.rows * t.columns) + 1,
                 [&](int64_t begin, int64_t end) { run_tile_range(loop, params, t, begin, end); });
}

}  // namespace flb
