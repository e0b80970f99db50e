// Convolution on raw memory, in one to three dimensions.
//
// Note [Convolution as rows]: every image is brought into the form [d][h][w][channel], with its padding written out.
// Then the channels under one row of a window are one contiguous run, and neighbouring outputs of a row read their runs
// a fixed step apart. The innermost loop broadcasts elements of several such runs against vectors of weights: no columns
// are built, and both passes of the gradient have the same form (conv.cpp). An output's sum runs over the window in a
// fixed order, whatever the number of threads.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// Missing dimensions come first, with size 1.
struct ConvShape {
    int64_t batch, in_channels, out_channels, groups;
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

// A batch of images in any layout; strides in elements.
struct ConvImage {
    void* data;
    int64_t batch_stride, channel_stride;
    int64_t stride[3];
};

// float32 and float64. weight: dense [out_channels][in_channels / groups][taps]; bias: [out_channels] or null.
void conv_forward(DType type, const ConvShape& shape, const ConvImage& input, const void* weight,
                  const void* bias, const ConvImage& output);
// The gradient with respect to the input, which is also the transposed convolution: then `bias` has in_channels.
void conv_input_gradient(DType type, const ConvShape& shape, const ConvImage& grad_output, const void* weight,
                         const void* bias, const ConvImage& grad_input);
void conv_weight_gradient(DType type, const ConvShape& shape, const ConvImage& input,
                          const ConvImage& grad_output, void* grad_weight);

// The same where every channel has its own window, which moves by single steps over rows of neighbouring elements
// (conv_planes.cpp): whether that is so, and the three of them.
bool has_planes(const ConvShape& shape, const ConvImage& input, const ConvImage& output);
void planes_forward(DType type, const ConvShape& shape, const ConvImage& input, const void* weight,
                    const void* bias, const ConvImage& output);
void planes_input_gradient(DType type, const ConvShape& shape, const ConvImage& grad_output,
                           const void* weight, const void* bias, const ConvImage& grad_input);
void planes_weight_gradient(DType type, const ConvShape& shape, const ConvImage& input,
                            const ConvImage& grad_output, void* grad_weight);

// ---- the loops (isa/conv.cpp, isa/conv_planes.cpp) -------------------------------------------------------------------------------------

// Where part of a window lies: offsets of the input relative to the output's position, and of the packed weights.
struct ConvRun {
    int64_t input, weight, length;
};
// One row of outputs.
struct ConvRow {
    const void* input;
    void* output;
};
struct ConvRowsJob {
    const ConvRow* rows;
    int64_t row_count, positions;     // positions: outputs per row
    int64_t input_step, output_step;  // between neighbouring outputs, in elements
    const ConvRun* runs;
    int64_t run_count;
    const void* weights;  // panels of conv_panel channels: [panel][k][channel]
    int64_t depth;        // k per panel
    int64_t piece_depth;  // k that all outputs take up before the next; runs are no longer than this
    const void* bias;     // of whole panels
    int64_t channels;     // to be written
};
FLB_KERNEL(conv_panel, int64_t(DType));  // channels per panel, also the slack that images need at their end
FLB_KERNEL(conv_rows, void(DType, const ConvRowsJob&));
// The same where every channel has its own window: weights and bias are [k][channels rounded up to a panel].
FLB_KERNEL(conv_depthwise_rows, void(DType, const ConvRowsJob&));

// grad_weight[k][channel] += ... where every channel has its own window; one run of one element per k.
FLB_KERNEL(conv_depthwise_weight, void(DType, const ConvRowsJob&, void* grad_weight));

// One plane of one channel whose window moves by single steps, from a frame with its padding written out.
struct ConvPlane {
    const void* frame;
    int64_t frame_row;  // from one row to the next, in elements
    void* out;
    int64_t out_row, rows, columns;
    const int64_t* offsets;  // of the taps in the frame
    const void* weights;
    int64_t taps;
};
// out = bias + the sum over taps of weight times frame.
FLB_KERNEL(conv_plane, void(DType, const ConvPlane&, double bias));
// sums[tap] += the sum over positions of out (only read) times frame.
FLB_KERNEL(conv_plane_weight, void(DType, const ConvPlane&, void* sums));

// to[i * to_i + j * to_j] = from[i * from_i + j * from_j] by element size, walking both sides in blocks.
FLB_KERNEL(conv_transpose_copy, void(int itemsize, int64_t ni, int64_t nj, const void* from, int64_t from_i,
                                     int64_t from_j, void* to, int64_t to_i, int64_t to_j));

}  // namespace flb
