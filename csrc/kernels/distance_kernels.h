// Distances of points by the p-norm of their difference, and their gradients: dense float or double.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

struct PointPairs {
    const void *a, *b;  // (batch, rows_a, width), (batch, rows_b, width)
    int64_t rows_a, rows_b, width;
    double p;
    bool triangle;  // a is b, and only pairs i < j count, as a vector
    // Where the distances of point i of one batch begin, and the first partner.
    int64_t start(int64_t i) const { return triangle ? i * (2 * rows_b - i - 1) / 2 : i * rows_b; }
    int64_t first(int64_t i) const { return triangle ? i + 1 : 0; }
};
// Points [begin, end) of all batches of a.
FLB_KERNEL(distances, void(DType dtype, const PointPairs& s, void* out, int64_t begin, int64_t end));
// grad_a[i] += sum over partners j of grad[i, j] * slope(a[i] - b[j]); of a triangle all partners but i itself. grad_a
// holds zeros. `found` are the distances.
FLB_KERNEL(distances_backward, void(DType dtype, const PointPairs& s, const void* grad, const void* found,
                                    void* grad_a, int64_t begin, int64_t end));

}  // namespace flb
