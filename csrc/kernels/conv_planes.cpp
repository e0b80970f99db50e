// Depthwise convolutions plane by plane: planes are read as they lie, and nothing is turned or copied.
#include <algorithm>

#include "core/parallel.h"
#include "kernels/conv_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(conv_planes);
FLB_DEFINE_KERNEL(conv_planes_weight);

namespace {

char* plane_of(const ConvImage& image, int64_t n, int64_t c, int64_t size) {
    return static_cast<char*>(image.data) + (n * image.batch_stride + c * image.channel_stride) * size;
}

// Of a window that moves over `source`, of this size; backwards over gradients, from a window's last element.
ConvPlane plane_over(const ConvShape& s, bool backward, const ConvImage& source, const ConvImage& target) {
    ConvPlane p{};
    const auto &from = backward ? s.out : s.in, &to = backward ? s.in : s.out;
    p.image_row = source.stride[1];
    p.image_rows = from[1];
    p.image_columns = from[2];
    p.out_row = target.stride[1];
    p.rows = to[1];
    p.columns = to[2];
    int64_t first[2];
    for (int i = 0; i < 2; ++i) {
        p.kernel[i] = s.kernel[i + 1];
        p.dilation[i] = s.dilation[i + 1];
        const int64_t reach = s.dilation[i + 1] * (s.kernel[i + 1] - 1);
        first[i] = backward ? s.padding[i + 1] - reach : -s.padding[i + 1];
    }
    p.top = first[0];
    p.left = first[1];
    return p;
}

// Planes for about 20 us.
int64_t planes_at_once(const ConvShape& s) {
    return std::max(int64_t(1), (1 << 18) / (s.out[1] * s.out[2] * s.taps() + 1));
}

}  // namespace

bool has_planes(const ConvShape& s, const ConvImage& input, const ConvImage& output) {
    constexpr int64_t kLeastColumns = 5;  // narrower ones leave vectors empty
    return is_depthwise(s) && s.in[0] == 1 && s.out[0] == 1 && s.kernel[0] == 1 && s.padding[0] == 0 &&
           s.stride[0] == 1 && s.stride[1] == 1 && s.stride[2] == 1 && input.stride[2] == 1 &&
           output.stride[2] == 1 && s.in[2] >= kLeastColumns && s.out[2] >= kLeastColumns;
}

void planes_outputs(DType type, const ConvShape& s, bool backward, const ConvImage& source,
                    const void* weight, const void* bias, const ConvImage& target) {
    const int64_t size = itemsize(type), channels = s.out_channels, taps = s.taps();
    const ConvPlane over = plane_over(s, backward, source, target);
    parallel_for(0, s.batch * channels, planes_at_once(s), [&](int64_t begin, int64_t end) {
        ConvPlanes all{over, 0, source.channel_stride, target.channel_stride, backward ? -1 : 1, taps};
        for (int64_t t = begin; t < end; t += all.count) {
            const int64_t n = t / channels, c = t % channels;
            all.count = std::min(end - t, channels - c);
            all.plane.image = plane_of(source, n, c, size);
            all.plane.out = plane_of(target, n, c, size);
            const int64_t first = c * taps + (backward ? taps - 1 : 0);
            conv_planes(type, all, static_cast<const char*>(weight) + first * size,
                        bias ? static_cast<const char*>(bias) + c * size : nullptr);
        }
    });
}

void planes_weight_gradient(DType type, const ConvShape& s, const ConvImage& input,
                            const ConvImage& grad_output, void* grad_weight) {
    const int64_t size = itemsize(type), taps = s.taps();
    const ConvPlane over = plane_over(s, false, input, grad_output);
    const int64_t grain = std::max(int64_t(1), planes_at_once(s) / std::max(int64_t(1), s.batch));
    parallel_for(0, s.out_channels, grain, [&](int64_t begin, int64_t end) {
        ConvPlanes all{over, end - begin, input.channel_stride, grad_output.channel_stride};
        all.plane.image = plane_of(input, 0, begin, size);
        all.plane.out = plane_of(grad_output, 0, begin, size);
        conv_planes_weight(type, all, s.batch, input.batch_stride, grad_output.batch_stride,
                           static_cast<char*>(grad_weight) + begin * taps * size);
    });
}

}  // namespace flb
