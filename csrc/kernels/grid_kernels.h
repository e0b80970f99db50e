// Sampling planes or volumes at the places of a grid. Everything is dense: inputs (batch, channels, [depth,] height,
// width), grids (batch, pixels, 2 or 3) with the place along the width first, outputs (batch, channels, pixels).
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

struct GridShape {
    enum Mode : uint8_t { Bilinear, Nearest, Bicubic };
    enum Padding : uint8_t { Zeros, Border, Reflection };
    int64_t batch, channels, pixels;
    int64_t size[3];  // of the input: width, height, depth
    int dims;         // 2 or 3; bicubic in 2 only
    Mode mode;
    Padding padding;
    bool align_corners;
    int64_t plane() const { return size[0] * size[1] * size[2]; }
    int64_t tiles() const { return (pixels + kTile - 1) / kTile; }
    int64_t channel_blocks() const { return (channels + kChannels - 1) / kChannels; }
    static constexpr int64_t kTile = 128;     // pixels that are worked on at a time
    static constexpr int64_t kChannels = 16;  // planes that one task adds gradients to
};
// Float or double; a plane has less than 2^31 elements. Units: batch * tiles().
FLB_KERNEL(grid_sample, void(DType dtype, const GridShape& s, const void* in, const void* grid, void* out,
                             int64_t begin, int64_t end));
// Adds to grad_in, which holds zeros. Units: batch * channel_blocks().
FLB_KERNEL(grid_sample_input_gradient, void(DType dtype, const GridShape& s, const void* grad,
                                            const void* grid, void* grad_in, int64_t begin, int64_t end));
// Units: batch * tiles().
FLB_KERNEL(grid_sample_grid_gradient, void(DType dtype, const GridShape& s, const void* grad, const void* in,
                                           const void* grid, void* grad_grid, int64_t begin, int64_t end));

}  // namespace flb
