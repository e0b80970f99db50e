// Convolutions: which way each one goes.
#include <algorithm>

#include "core/parallel.h"
#include "kernels/conv_windows.h"

namespace flb {

FLB_DEFINE_KERNEL(conv_transpose_copy);

namespace {

// A window of one element that skips inputs reads a smaller image.
void skip_inputs(ConvShape& s, ConvImage& input) {
    if (s.taps() != 1) return;
    for (int i = 0; i < 3; ++i) {
        if (s.padding[i] != 0) continue;
        input.stride[i] *= s.stride[i];
        s.in[i] = s.out[i];
        s.stride[i] = 1;
    }
}

// ---- windows of one element -----------------------------------------------------------------------------------------

// Whether positions are neighbours throughout an image, channel by channel.
bool planes(const ConvImage& image, const int64_t (&sizes)[3]) {
    return image.stride[2] == 1 && (sizes[1] == 1 || image.stride[1] == sizes[2]) &&
           (sizes[0] == 1 || image.stride[0] == sizes[1] * sizes[2]);
}

// A window of one element over such images is a product of matrices as they lie.
bool is_product(const ConvShape& s, const ConvImage& input, const ConvImage& output) {
    bool plain = s.taps() == 1 && s.groups == 1 && s.in_channels > 1 && s.out_channels > 1;
    for (int i = 0; i < 3; ++i) plain = plain && s.stride[i] == 1 && s.padding[i] == 0;
    return plain && planes(input, s.in) && planes(output, s.out);
}

// output[channel, position] = bias[channel] + weight * input, for every image.
void product_of_images(DType type, int64_t batch, int64_t channels, int64_t depth, int64_t positions,
                       const GemmSide& weight, const ConvImage& input, const void* bias,
                       const ConvImage& output) {
    const PanelType panel = conv_panel_type(type);
    const int64_t size = itemsize(type);
    const double work = double(channels) * double(depth) * double(positions);
    // Whole images for the threads, unless there are too few: then a product shares out its own parts.
    const bool together = batch < 2 * num_threads() || work * double(batch) < kParallelProduct;
    parallel_for(0, batch, together ? batch : 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
            char* to = static_cast<char*>(output.data) + n * output.batch_stride * size;
            const GemmSide x{static_cast<const char*>(input.data) + n * input.batch_stride * size, 1,
                             input.channel_stride};
            for (int64_t c = 0; bias && c < channels; ++c) {
                const char* value = static_cast<const char*>(bias) + c * size;
                char* row = to + c * output.channel_stride * size;
                if (size == 8)
                    std::fill_n(reinterpret_cast<double*>(row), positions,
                                *reinterpret_cast<const double*>(value));
                else
                    std::fill_n(reinterpret_cast<float*>(row), positions,
                                *reinterpret_cast<const float*>(value));
            }
            packed_gemm(panel, type, channels, positions, depth, weight, x, to, output.channel_stride,
                        bias != nullptr);
        }
    });
}

}  // namespace

bool takes_any_weights(DType type, const ConvShape& s, bool backward) {
    return has_winograd(type, s, backward);
}

void conv_forward(DType type, const ConvShape& shape, const ConvImage& input, const ConvWeights& weights,
                  const void* bias, const ConvImage& output) {
    const void* weight = weights.data;
    ConvShape s = shape;
    ConvImage x = input;
    skip_inputs(s, x);
    if (is_product(s, x, output))
        return product_of_images(type, s.batch, s.out_channels, s.in_channels, s.out[0] * s.out[1] * s.out[2],
                                 {weight, s.in_channels, 1}, x, bias, output);
    if (has_planes(s, x, output)) return planes_outputs(type, s, false, x, weight, bias, output);
    if (is_depthwise(s)) return depthwise_outputs(type, s, false, x, weight, bias, output);
    if (has_few_targets(s, false)) return few_outputs(type, s, false, x, weight, bias, output);
    if (has_winograd(type, s, false)) return winograd_outputs(s, false, x, weights, bias, output);
    gather_outputs(type, s, false, x, weight, bias, output);
}

void conv_input_gradient(DType type, const ConvShape& shape, const ConvImage& grad_output,
                         const ConvWeights& weights, const void* bias, const ConvImage& grad_input) {
    const void* weight = weights.data;
    if (is_product(shape, grad_input, grad_output))
        return product_of_images(type, shape.batch, shape.in_channels, shape.out_channels,
                                 shape.in[0] * shape.in[1] * shape.in[2], {weight, 1, shape.in_channels},
                                 grad_output, bias, grad_input);
    if (has_planes(shape, grad_input, grad_output))
        return planes_outputs(type, shape, true, grad_output, weight, bias, grad_input);
    if (is_depthwise(shape))
        return depthwise_outputs(type, shape, true, grad_output, weight, bias, grad_input);
    if (has_few_targets(shape, true))
        return few_outputs(type, shape, true, grad_output, weight, bias, grad_input);
    if (has_winograd(type, shape, true))
        return winograd_outputs(shape, true, grad_output, weights, bias, grad_input);
    gather_outputs(type, shape, true, grad_output, weight, bias, grad_input);
}

void conv_weight_gradient(DType type, const ConvShape& given, const ConvImage& given_input,
                          const ConvImage& grad_output, void* grad_weight) {
    ConvShape shape = given;
    ConvImage input = given_input;
    skip_inputs(shape, input);
    if (has_planes(shape, input, grad_output))
        return planes_weight_gradient(type, shape, input, grad_output, grad_weight);
    if (is_depthwise(shape)) return depthwise_weight_gradient(type, shape, input, grad_output, grad_weight);
    const int64_t plane = shape.out[0] * shape.out[1] * shape.out[2];
    if (shape.batch && plane && is_product(shape, input, grad_output)) {
        const PanelType panel = conv_panel_type(type);
        for (int64_t n = 0; n < shape.batch; ++n)
            packed_gemm(panel, type, shape.out_channels, shape.in_channels, plane,
                        {image_at(grad_output, n, itemsize(type)).data, grad_output.channel_stride, 1},
                        {image_at(input, n, itemsize(type)).data, input.channel_stride, 1}, grad_weight,
                        shape.in_channels, n > 0);
        return;
    }
    if (has_winograd_weight(type, shape))
        return winograd_weight_gradient(shape, input, grad_output, grad_weight);
    if (has_few_sources(type, shape))
        return few_sources_weight_gradient(shape, input, grad_output, grad_weight);
    product_weight_gradient(type, shape, input, grad_output, grad_weight);
}

}  // namespace flb
