// Depthwise convolutions plane by plane: a plane with its padding fits the first cache levels, and nothing is turned.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv_kernels.h"
#include "kernels/packed_gemm.h"

namespace flb {

FLB_DEFINE_KERNEL(conv_plane);
FLB_DEFINE_KERNEL(conv_plane_weight);

namespace {

// A plane of `from`, of which `rows` x `columns` exist, behind top rows and left columns of zeros (or without its first
// ones where these are negative).
struct FrameOfPlane {
    int64_t size, rows, columns, top, left, height, width;

    size_t bytes() const { return size_t(height * width * size); }
    void fill(const char* from, int64_t row_stride, char* to) const {
        const int64_t first = std::max(int64_t(0), left), skip = first - left;
        const int64_t count = std::clamp(std::min(columns - skip, width - first), int64_t(0), width);
        for (int64_t r = 0; r < height; ++r, to += width * size) {
            const int64_t source = r - top;
            if (source < 0 || source >= rows || count == 0) {
                std::memset(to, 0, size_t(width * size));
                continue;
            }
            std::memset(to, 0, size_t(first * size));
            std::memcpy(to + first * size, from + (source * row_stride + skip) * size, size_t(count * size));
            std::memset(to + (first + count) * size, 0, size_t((width - first - count) * size));
        }
    }
};

// The taps' places in a frame of this width, from the last to the first if turned.
std::vector<int64_t> offsets_of(const ConvShape& s, int64_t width, bool turned) {
    std::vector<int64_t> offsets;
    for (int64_t h = 0; h < s.kernel[1]; ++h)
        for (int64_t w = 0; w < s.kernel[2]; ++w)
            offsets.push_back(h * s.dilation[1] * width + w * s.dilation[2]);
    if (turned) std::reverse(offsets.begin(), offsets.end());
    return offsets;
}

const char* plane_of(const ConvImage& image, int64_t n, int64_t c, int64_t size) {
    return static_cast<const char*>(image.data) + (n * image.batch_stride + c * image.channel_stride) * size;
}

int64_t reach(const ConvShape& s, int dim) { return s.dilation[dim] * (s.kernel[dim] - 1); }

// Planes for about 20 us.
int64_t planes_at_once(const ConvShape& s) {
    return std::max(int64_t(1), (1 << 18) / (s.out[1] * s.out[2] * s.taps() + 1));
}

// target = bias + windows over source.
void gather(DType type, const ConvShape& s, const FrameOfPlane& frame, bool turned, const ConvImage& source,
            const void* weight, const void* bias, const ConvImage& target, int64_t rows, int64_t columns) {
    const int64_t size = itemsize(type), channels = s.out_channels, taps = s.taps();
    const std::vector<int64_t> offsets = offsets_of(s, frame.width, turned);
    parallel_for(0, s.batch * channels, planes_at_once(s), [&](int64_t begin, int64_t end) {
        char* to = static_cast<char*>(scratch(Scratch::Columns, frame.bytes()));
        for (int64_t t = begin; t < end; ++t) {
            const int64_t n = t / channels, c = t % channels;
            frame.fill(plane_of(source, n, c, size), source.stride[1], to);
            const double start = !bias       ? 0.0
                                 : size == 8 ? static_cast<const double*>(bias)[c]
                                             : double(static_cast<const float*>(bias)[c]);
            conv_plane(
                type,
                {to, frame.width, const_cast<char*>(plane_of(target, n, c, size)), target.stride[1], rows,
                 columns, offsets.data(), static_cast<const char*>(weight) + c * taps * size, taps},
                start);
        }
    });
}

}  // namespace

bool has_planes(const ConvShape& s, const ConvImage& input, const ConvImage& output) {
    constexpr int64_t kLeastColumns = 10;  // narrower ones leave vectors empty
    return s.groups > 1 && s.groups == s.in_channels && s.groups == s.out_channels && s.in[0] == 1 &&
           s.out[0] == 1 && s.kernel[0] == 1 && s.padding[0] == 0 && s.stride[0] == 1 && s.stride[1] == 1 &&
           s.stride[2] == 1 && input.stride[2] == 1 && output.stride[2] == 1 && s.in[2] >= kLeastColumns &&
           s.out[2] >= kLeastColumns;
}

void planes_forward(DType type, const ConvShape& s, const ConvImage& input, const void* weight,
                    const void* bias, const ConvImage& output) {
    const FrameOfPlane frame{itemsize(type),        s.in[1],      s.in[2],
                             s.padding[1],          s.padding[2], s.out[1] + reach(s, 1),
                             s.out[2] + reach(s, 2)};
    gather(type, s, frame, false, input, weight, bias, output, s.out[1], s.out[2]);
}

void planes_input_gradient(DType type, const ConvShape& s, const ConvImage& grad_output, const void* weight,
                           const void* bias, const ConvImage& grad_input) {
    const FrameOfPlane frame{itemsize(type),
                             s.out[1],
                             s.out[2],
                             reach(s, 1) - s.padding[1],
                             reach(s, 2) - s.padding[2],
                             s.in[1] + reach(s, 1),
                             s.in[2] + reach(s, 2)};
    gather(type, s, frame, true, grad_output, weight, bias, grad_input, s.in[1], s.in[2]);
}

void planes_weight_gradient(DType type, const ConvShape& s, const ConvImage& input,
                            const ConvImage& grad_output, void* grad_weight) {
    const int64_t size = itemsize(type), taps = s.taps();
    const FrameOfPlane frame{
        size, s.in[1], s.in[2], s.padding[1], s.padding[2], s.out[1] + reach(s, 1), s.out[2] + reach(s, 2)};
    const std::vector<int64_t> offsets = offsets_of(s, frame.width, false);
    const int64_t grain = std::max(int64_t(1), planes_at_once(s) / std::max(int64_t(1), s.batch));
    parallel_for(0, s.out_channels, grain, [&](int64_t begin, int64_t end) {
        char* to = static_cast<char*>(scratch(Scratch::Columns, frame.bytes()));
        for (int64_t c = begin; c < end; ++c) {
            char* sums = static_cast<char*>(grad_weight) + c * taps * size;
            std::memset(sums, 0, size_t(taps * size));
            for (int64_t n = 0; n < s.batch; ++n) {
                frame.fill(plane_of(input, n, c, size), input.stride[1], to);
                conv_plane_weight(type,
                                  {to, frame.width, const_cast<char*>(plane_of(grad_output, n, c, size)),
                                   grad_output.stride[1], s.out[1], s.out[2], offsets.data(), nullptr, taps},
                                  sums);
            }
        }
    });
}

}  // namespace flb
