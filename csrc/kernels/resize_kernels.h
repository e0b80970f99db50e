// Resizing along one to three dimensions: every output is a weighted sum of a few inputs along each dimension in turn.
// The gradient is resizing with the transposed weights.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// Output o of a dimension is the sum over k < count[o] of weight[k * out + o] * input[index[k * out + o]].
struct ResizeAxis {
    int64_t in, out;
    int64_t taps;          // most entries of one output
    const int32_t* index;  // inside the input, wherever an output has fewer entries too
    const void* weight;    // of the dtype computed in; 0 where an output has fewer entries
    const int32_t* count;  // null: every output has `taps`
    bool copies;           // one entry of weight 1
};
// Dense (outer, depth, height, width, inner). Rows with few elements at `inner` have `width` spread over them, and
// inner is 1.
struct ResizeShape {
    ResizeAxis depth, height, width;
    int64_t inner;
    int64_t in_row() const { return width.in * inner; }
    int64_t out_row() const { return width.out * inner; }
    // Numbers of the computing dtype, and integers of that width, in the plan and in what a task needs of its own.
    int64_t plan_size() const;
    int64_t scratch() const;
    bool rows_first() const {
        return height.out >= height.in;
    }  // whether rows are resized before they are mixed
};

constexpr int64_t kResizeBlock = 16;  // lanes of the widest vectors

inline int64_t ResizeShape::plan_size() const {
    return (2 * width.taps + 1) * (out_row() / kResizeBlock + 1) * kResizeBlock;
}
inline int64_t ResizeShape::scratch() const {
    const int64_t slab = depth.copies ? 0 : height.in * in_row();
    const int64_t rows = rows_first() ? height.taps * (out_row() + 2) : in_row();
    return slab + rows + 16 * kResizeBlock;
}

// How a row is resized along its elements; found once, for all rows.
struct ResizePlan {
    bool straight, permutes,
        two;       // rows stay as they are; elements permuted within a register, or within two
    void* tables;  // plan_size() numbers
};
// float or double, which the tables hold.
FLB_KERNEL(resize_plan, ResizePlan(DType dtype, const ResizeShape& s, void* tables));
// Output rows [begin, end) of outer * depth.out * height.out. `scratch` has the numbers that the shape asks for.
FLB_KERNEL(resize_rows, void(DType dtype, const ResizeShape& s, const ResizePlan& plan, const void* in,
                             void* out, void* scratch, int64_t begin, int64_t end));
// Copies elements of 1, 2, 4 or 8 bytes: each axis `copies`.
FLB_KERNEL(resize_nearest,
           void(int itemsize, const ResizeShape& s, const void* in, void* out, int64_t begin, int64_t end));
// uint8 in fixed point, as image libraries do: weights are int32 with `bits` after the point, and every pass rounds.
struct ResizeBytes {
    ResizeAxis height, width;
    int bits_height, bits_width;
    int64_t inner;
};
// Planes [begin, end); `scratch` has height.in * width.out * inner bytes.
FLB_KERNEL(resize_bytes, void(const ResizeBytes& s, const uint8_t* in, uint8_t* out, uint8_t* scratch,
                              int64_t begin, int64_t end));

}  // namespace flb
