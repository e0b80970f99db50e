// The gradient of weights over images of few channels, such as pictures: with the channels of a picture [row][column][channel],
// the taps of a row of the window are neighbours, and the sum over a row of outputs of their products with the outputs'
// gradients is one of outer products, read where they lie: windows are not written out.
#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "kernels/conv_windows.h"

namespace flb {

FLB_DEFINE_KERNEL(outer_products);

namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kDepth = 256;  // outputs whose gradients of a panel stay in the first cache level
constexpr int64_t kBlockBytes = 512 << 10;  // of gradients and inputs, in the second

}  // namespace

bool has_few_sources(DType type, const ConvShape& s) {
    return type == DType::Float32 && s.groups == 1 && s.in[0] == 1 && s.kernel[0] == 1 && s.padding[0] == 0 &&
           s.out[0] == 1 && s.dilation[2] == 1 && s.in_channels <= 8 && s.kernel[2] * s.in_channels >= 8 &&
           s.out_channels >= kLanes && s.out[2] >= 8;
}

void few_sources_weight_gradient(const ConvShape& s, const ConvImage& input, const ConvImage& grad_output,
                                 void* grad_weight) {
    const int64_t channels = s.in_channels, targets = s.out_channels;
    const int64_t run = s.kernel[2] * channels;  // the taps of a row
    const int64_t width = (s.out[2] - 1) * s.stride[2] + s.kernel[2], row = width * channels;
    const int64_t sum_row = round_up(targets, kLanes), sums = s.kernel[1] * run * sum_row;
    // Gradients with neighbouring channels, in whole vectors, are read in place.
    const bool direct = grad_output.channel_stride == 1 && targets == sum_row;
    const int64_t line = s.out[2] * sum_row;

    // Blocks of rows of one image; parts of them have sums of their own. Both depend on the shape alone.
    const int64_t bytes_of_row = (s.stride[1] * row + line) * int64_t(sizeof(float));
    const int64_t rows_of_block = std::clamp(kBlockBytes / bytes_of_row, int64_t(1), s.out[1]);
    const int64_t blocks_of_image = ceil_div(s.out[1], rows_of_block), blocks = s.batch * blocks_of_image;
    const int64_t parts = std::clamp(blocks, int64_t(1), int64_t(16));
    const int64_t lines_at_once = std::max(int64_t(1), kDepth / s.out[2]);
    float* total = static_cast<float*>(scratch(Scratch::PackedB, size_t(parts * sums) * sizeof(float)));
    std::memset(total, 0, size_t(parts * sums) * sizeof(float));

    const auto block = [&](int64_t b, float* to) {
        const int64_t n = b / blocks_of_image, first = b % blocks_of_image * rows_of_block,
                      rows = std::min(rows_of_block, s.out[1] - first);
        // The rows that the windows meet.
        const int64_t top = first * s.stride[1] - s.padding[1], there = std::clamp(top, int64_t(0), s.in[1]);
        const Frame frame{{0, there - top, s.padding[2]},
                          {1, (rows - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1, width},
                          channels};
        ConvImage part = image_at(input, n, sizeof(float));
        part.data = static_cast<float*>(part.data) + there * part.stride[1];
        float* x =
            static_cast<float*>(scratch(Scratch::Columns, size_t(frame.elements() + kLanes) * sizeof(float)));
        fill_frame(part, {1, s.in[1] - there, s.in[2]}, frame, sizeof(float), reinterpret_cast<char*>(x), 0,
                   frame.size[1]);
        ConvImage grads = image_at(grad_output, n, sizeof(float));
        const float* g = static_cast<float*>(grads.data) + first * grads.stride[1];
        int64_t g_line = grads.stride[1], g_step = grads.stride[2];
        if (!direct) {
            float* turned =
                static_cast<float*>(scratch(Scratch::Product, size_t(rows * line) * sizeof(float)));
            for (int64_t c = 0; c < targets; c += kLanes)
                for (int64_t r = 0; r < rows; ++r)
                    conv_transpose_copy(sizeof(float), std::min(kLanes, targets - c), s.out[2],
                                        g + r * g_line + c * grads.channel_stride, grads.channel_stride,
                                        g_step, turned + r * line + c, 1, sum_row);
            g = turned;
            g_line = line;
            g_step = sum_row;
        }
        for (int64_t r = 0; r < rows; r += lines_at_once)
            for (int64_t k = 0; k < s.kernel[1]; ++k)
                outer_products({run, sum_row, std::min(lines_at_once, rows - r), s.out[2],
                                x + (r * s.stride[1] + k * s.dilation[1]) * row, s.stride[1] * row,
                                s.stride[2] * channels, g + r * g_line, g_line, g_step,
                                to + k * run * sum_row, sum_row, true});
    };
    parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p)
            for (int64_t b = blocks * p / parts; b < blocks * (p + 1) / parts; ++b)
                block(b, total + p * sums);
    });
    for (int64_t p = 1; p < parts; ++p)
        for (int64_t i = 0; i < sums; ++i) total[i] += total[p * sums + i];
    float* to = static_cast<float*>(grad_weight);
    for (int64_t o = 0; o < targets; ++o)
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t kh = 0; kh < s.kernel[1]; ++kh)
                for (int64_t kw = 0; kw < s.kernel[2]; ++kw)
                    *to++ = total[((kh * s.kernel[2] + kw) * channels + c) * sum_row + o];
}

}  // namespace flb
