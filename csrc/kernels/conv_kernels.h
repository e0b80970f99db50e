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

// [out_channels][in_channels / groups][taps]; strides in elements.
struct ConvWeights {
    const void* data;
    int64_t stride[3];
};
// Whether the way that a convolution goes takes weights with any strides; else they have to be dense.
bool takes_any_weights(DType type, const ConvShape& shape, bool backward);

// float32 and float64. bias: [out_channels] or null.
void conv_forward(DType type, const ConvShape& shape, const ConvImage& input, const ConvWeights& weight,
                  const void* bias, const ConvImage& output);
// The gradient with respect to the input, which is also the transposed convolution: then `bias` has in_channels.
void conv_input_gradient(DType type, const ConvShape& shape, const ConvImage& grad_output,
                         const ConvWeights& weight, const void* bias, const ConvImage& grad_input);
void conv_weight_gradient(DType type, const ConvShape& shape, const ConvImage& input,
                          const ConvImage& grad_output, void* grad_weight);

// The ways that these go:
// Outputs gathered from windows (conv_gather.cpp), or backwards: inputs gathered from the outputs' gradients.
void gather_outputs(DType type, const ConvShape& shape, bool backward, const ConvImage& source,
                    const void* weight, const void* bias, const ConvImage& target);
// The same by Winograd's algorithm, where it pays (conv_winograd.cpp).
bool has_winograd(DType type, const ConvShape& shape, bool backward);
void winograd_outputs(const ConvShape& shape, bool backward, const ConvImage& source,
                      const ConvWeights& weight, const void* bias, const ConvImage& target);
// The same for up to kFewTargets channels of outputs (conv_few.cpp).
constexpr int kFewTargets = 4;
bool has_few_targets(const ConvShape& shape, bool backward);
void few_outputs(DType type, const ConvShape& shape, bool backward, const ConvImage& source,
                 const void* weight, const void* bias, const ConvImage& target);
// Products of gradients and inputs: by Winograd's algorithm, where it pays (conv_winograd_weight.cpp), else directly
// (conv_weight_gradient.cpp).
bool has_winograd_weight(DType type, const ConvShape& shape);
void winograd_weight_gradient(const ConvShape& shape, const ConvImage& input, const ConvImage& grad_output,
                              void* grad_weight);
void product_weight_gradient(DType type, const ConvShape& shape, const ConvImage& input,
                             const ConvImage& grad_output, void* grad_weight);

// ... and over images of few channels (conv_few_weight.cpp).
bool has_few_sources(DType type, const ConvShape& shape);
void few_sources_weight_gradient(const ConvShape& shape, const ConvImage& input, const ConvImage& grad_output,
                                 void* grad_weight);

// Where every channel has its own window:
bool is_depthwise(const ConvShape& shape);
// ... vectors run over channels (conv_depthwise.cpp);
void depthwise_outputs(DType type, const ConvShape& shape, bool backward, const ConvImage& source,
                       const void* weight, const void* bias, const ConvImage& target);
void depthwise_weight_gradient(DType type, const ConvShape& shape, const ConvImage& input,
                               const ConvImage& grad_output, void* grad_weight);
// ... or along the rows of a plane, where the window moves by single steps over neighbouring elements
// (conv_planes.cpp): whether that is so.
bool has_planes(const ConvShape& shape, const ConvImage& input, const ConvImage& output);
void planes_outputs(DType type, const ConvShape& shape, bool backward, const ConvImage& source,
                    const void* weight, const void* bias, const ConvImage& target);
void planes_weight_gradient(DType type, const ConvShape& shape, const ConvImage& input,
                            const ConvImage& grad_output, void* grad_weight);

// ---- the loops (isa/conv*.cpp) --------------------------------------------------------------------------------

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
FLB_KERNEL(conv_panel, int64_t(DType));  // channels per panel
FLB_KERNEL(conv_rows, void(DType, const ConvRowsJob&));

// Neighbouring outputs of one row, every channel having its own window. Either all meet the same taps; or the taps come
// in threes, of which each reads one step of the input beyond the last, and only steps [low, high) exist: output i reads
// steps i to i + 2.
struct DepthwiseRow {
    const void* input;
    int64_t input_step;
    bool threes;
    int64_t low, high;
    void* output;  // read for the gradient of the weights
    int64_t output_step, positions;
    const int64_t *offsets,
        *taps;  // by tap that is met: where the first output's lies in the input, and its number
    int64_t tap_count, channels;
};
// output = bias (may be null) + the sum over taps; weights: [tap][channels].
FLB_KERNEL(conv_depthwise_row, void(DType, const DepthwiseRow&, const void* weights, const void* bias));
// sums[tap][channel] += ...
FLB_KERNEL(conv_depthwise_weight, void(DType, const DepthwiseRow&, void* sums));

// An image of neighbouring channels, and the outputs of a window of 3 x 3 that moves over it by single steps. Taps that
// fall outside are left out.
struct DepthwiseTiles {
    const void* image;
    int64_t image_row, image_column, image_rows, image_columns;
    int64_t top, left;  // where the first tap of the first output lies in the image
    void* out;          // read for the gradient of the weights
    int64_t out_row, out_column, rows, columns, channels;
};
// Rows [begin, end) of outputs = bias (may be null) + the sum over taps; weights: [tap][channels].
FLB_KERNEL(conv_depthwise_tiles, void(DType, const DepthwiseTiles&, int64_t begin, int64_t end,
                                      const void* weights, const void* bias));
// sums[tap][channels] += ...
FLB_KERNEL(conv_depthwise_tiles_weight,
           void(DType, const DepthwiseTiles&, int64_t begin, int64_t end, void* sums));

// A plane of one channel, as if zeros surrounded it, and the outputs of a window that moves over it by single steps.
struct ConvPlane {
    const void* image;
    int64_t image_row, image_rows, image_columns;
    int64_t top, left;  // where the first tap of the first output lies in the image
    int64_t kernel[2], dilation[2];
    void* out;  // read for the gradient of the weights
    int64_t out_row, rows, columns;
};
// `count` of them, at these distances, each with its own weights.
struct ConvPlanes {
    ConvPlane plane;
    int64_t count, image_distance, out_distance;
    int64_t weight_step, weight_distance;  // between taps, between planes
};
// out = bias (one per plane, may be null) + the sum over taps of weight times image.
FLB_KERNEL(conv_planes, void(DType, const ConvPlanes&, const void* weights, const void* bias));
// weights, dense = the sum over `batch` planes, at these distances, and over positions, of out times image.
FLB_KERNEL(conv_planes_weight, void(DType, const ConvPlanes&, int64_t batch, int64_t image_batch,
                                    int64_t out_batch, void* weights));

// A row of neighbouring outputs of few channels; they read neighbouring inputs. Whole vectors are read and written.
struct FewRow {
    const void* input;
    int64_t plane, sources, targets, positions;
    const int64_t *offsets, *taps;  // by tap that is met: where it lies in a plane, and its number
    int64_t tap_count, all_taps;
    const void *weights, *bias;  // [source][tap][target], [target]
    void* output;                // [target][position]
    int64_t output_row;
};
FLB_KERNEL(conv_few_row, void(DType, const FewRow&));

// The transforms of Note [Winograd] (conv_winograd.cpp): how a dimension goes. Gradients: of the outputs, for the weights'.
enum class WinogradForm : uint8_t { Ones, Twos, TwosBackward, OnesGradients, TwosGradients };
constexpr int kWinogradNumbers = 5;  // at most, of a dimension of a tile
struct WinogradTarget {
    float* data;  // null: left out
    int64_t row;  // from one tile to the next
};
// A row of tiles of an image [row][column][channel], transformed into their numbers.
struct WinogradInputs {
    const float* from;
    int64_t row, step;
    int64_t tiles, last;  // last: outputs of the last tile
    int64_t channels;
    WinogradTarget to[kWinogradNumbers * kWinogradNumbers];
};
FLB_KERNEL(winograd_inputs, void(WinogradForm, const WinogradInputs&));
// Windows (taps `tap_step` apart) of some sources and of the targets of a panel, of which `targets` exist.
struct WinogradWeights {
    const float* weight;
    int64_t source_step, target_step, tap_step;
    bool turned;  // the window's last tap comes first
    int64_t sources, targets;
    float* to[kWinogradNumbers * kWinogradNumbers];  // [source][channel of the panel]
};
FLB_KERNEL(winograd_weights, void(WinogradForm, const WinogradWeights&));
// The outputs of a row of tiles from their sums, plus the bias (may be null); returns whether they are finite.
struct WinogradOutputs {
    const float* from[kWinogradNumbers * kWinogradNumbers];
    int64_t from_row;
    int64_t channels;
    const float* bias;
    float* to;
    int64_t row, step;
    int64_t rows, columns;  // of outputs
};
FLB_KERNEL(winograd_outputs_of, bool(WinogradForm, const WinogradOutputs&));
// The gradient of the weights, [target][source][tap], from `sums` x `sums` sums [target][source] that are sum_step apart;
// returns whether it is finite.
FLB_KERNEL(winograd_taps, bool(WinogradForm, const float* sums, int64_t sum_step, int64_t sum_row,
                               int64_t targets, int64_t sources, float* to));

// c[i, j] = the sum over lines l and steps k of a[l * a_line + k * a_step + i] * b[l * b_line + k * b_step + j], or += if
// accumulate. Whole vectors of columns are read and written.
struct OuterProducts {
    int64_t rows, columns, lines, depth;
    const float* a;
    int64_t a_line, a_step;
    const float* b;
    int64_t b_line, b_step;
    float* c;
    int64_t c_row;
    bool accumulate;
};
FLB_KERNEL(outer_products, void(const OuterProducts&));

// Copies runs of `length` elements, whose beginnings are the steps apart.
FLB_KERNEL(conv_copy_runs, void(int itemsize, int64_t count, int64_t length, const void* from,
                                int64_t from_step, void* to, int64_t to_step));

// to[i * to_i + j * to_j] = from[i * from_i + j * from_j] by element size, walking both sides in blocks.
FLB_KERNEL(conv_transpose_copy, void(int itemsize, int64_t ni, int64_t nj, const void* from, int64_t from_i,
                                     int64_t from_j, void* to, int64_t to_i, int64_t to_j));

}  // namespace flb
