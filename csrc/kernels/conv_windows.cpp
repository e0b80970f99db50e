#include "kernels/conv_windows.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace flb {

FLB_DEFINE_KERNEL(conv_copy_runs);

std::vector<DimClass> forward_classes(const ConvShape& s, int dim) {
    DimClass c{0, 1, s.out[dim], s.stride[dim], {}};
    for (int64_t k = 0; k < s.kernel[dim]; ++k) c.taps.push_back({k, k * s.dilation[dim] - s.padding[dim]});
    return {c};
}

std::vector<DimClass> backward_classes(const ConvShape& s, int dim) {
    std::vector<DimClass> classes;
    const int64_t stride = s.stride[dim];
    for (int64_t r = 0; r < std::min(stride, s.in[dim]); ++r) {
        DimClass c{r, stride, ceil_div(s.in[dim] - r, stride), 1, {}};
        for (int64_t k = s.kernel[dim] - 1; k >= 0; --k) {
            const int64_t reach = r + s.padding[dim] - k * s.dilation[dim];
            if (reach % stride == 0) c.taps.push_back({k, reach / stride});
        }
        classes.push_back(c);
    }
    return classes;
}

Plan make_plan(const ConvShape& s, bool backward, int64_t channels, int64_t run, int64_t longest) {
    Plan plan;
    plan.frame.channels = channels;
    for (int i = 0; i < 3; ++i) {
        plan.classes[i] = backward ? backward_classes(s, i) : forward_classes(s, i);
        int64_t first = 0, last = 0;
        for (const DimClass& c : plan.classes[i])
            for (const DimClass::Tap& t : c.taps) {
                first = std::min(first, t.offset);
                last = std::max(last, (c.count - 1) * c.multiple + t.offset);
            }
        plan.frame.lo[i] = -first;
        plan.frame.size[i] = last - first + 1;
    }
    int64_t elements = channels;
    for (int64_t n : plan.frame.size)
        check_as(ErrorKind::Memory,
                 !__builtin_mul_overflow(elements, n, &elements) && elements < int64_t(1) << 58,
                 "DefaultCPUAllocator: can't allocate memory: the padded image of a convolution has too many "
                 "elements");
    const Frame& f = plan.frame;
    const int64_t taps = s.taps();
    for (const DimClass& d : plan.classes[0])
        for (const DimClass& h : plan.classes[1])
            for (const DimClass& w : plan.classes[2]) {
                OutputClass out{{&d, &h, &w}, {}};
                for (const DimClass::Tap& td : d.taps)
                    for (const DimClass::Tap& th : h.taps)
                        for (const DimClass::Tap& tw : w.taps) {
                            int64_t tap = (td.tap * s.kernel[1] + th.tap) * s.kernel[2] + tw.tap;
                            if (backward) tap = taps - 1 - tap;
                            const ConvRun next{(td.offset + f.lo[0]) * f.stride(0) +
                                                   (th.offset + f.lo[1]) * f.stride(1) +
                                                   (tw.offset + f.lo[2]) * f.stride(2),
                                               tap * run, run};
                            ConvRun* last = out.runs.empty() ? nullptr : &out.runs.back();
                            if (last && run == channels && last->length + run <= longest &&
                                last->input + last->length == next.input &&
                                last->weight + last->length == next.weight) {
                                last->length += run;
                                continue;
                            }
                            for (int64_t i = 0; i < run; i += longest)
                                out.runs.push_back(
                                    {next.input + i, next.weight + i, std::min(longest, run - i)});
                        }
                plan.outputs.push_back(std::move(out));
            }
    return plan;
}

ConvImage image_at(const ConvImage& image, int64_t n, int64_t size) {
    ConvImage one = image;
    one.data = static_cast<char*>(image.data) + n * image.batch_stride * size;
    return one;
}

void fill_frame(const ConvImage& image, const int64_t (&sizes)[3], const Frame& f, int64_t size, char* to,
                int64_t begin, int64_t end) {
    const int64_t row_bytes = f.stride(1) * size, left = std::min(f.lo[2], f.size[2]);
    const int64_t width = std::max(int64_t(0), std::min(sizes[2], f.size[2] - left));
    const bool dense = image.channel_stride == 1 && image.stride[2] == f.channels;
    // Planes are read a few at a time, each along its rows; else one row after the other.
    constexpr int64_t kPlanes = 16;
    const int64_t step = image.stride[2] <= 2 ? kPlanes : f.channels;
    for (int64_t c = 0; c < f.channels; c += step)
        for (int64_t r = begin; r < end; ++r) {
            char* row = to + r * row_bytes;
            char* inner = row + left * f.channels * size;
            char* right = inner + width * f.channels * size;
            const int64_t d = r / f.size[1] - f.lo[0], h = r % f.size[1] - f.lo[1];
            const bool there = d >= 0 && d < sizes[0] && h >= 0 && h < sizes[1];
            if (c == 0) {
                std::memset(row, 0, size_t((there ? inner : row + row_bytes) - row));
                if (there) std::memset(right, 0, size_t(row + row_bytes - right));
            }
            if (!there) continue;
            const char* from = static_cast<const char*>(image.data) +
                               (d * image.stride[0] + h * image.stride[1] + c * image.channel_stride) * size;
            if (dense) std::memcpy(inner, from, size_t(width * f.channels * size));
            else if (image.channel_stride == 1 && step == f.channels)
                conv_copy_runs(int(size), width, f.channels, from, image.stride[2], inner, f.channels);
            else
                conv_transpose_copy(int(size), std::min(step, f.channels - c), width, from,
                                    image.channel_stride, image.stride[2], inner + c * size, 1, f.channels);
        }
}

namespace {

// Every window written out as the channels of one output: for few channels, whose runs would be too short.
void fill_columns(const ConvShape& s, const ConvImage& image, int64_t size, char* to, int64_t begin,
                  int64_t end) {
    const int64_t channels = s.in_channels, depth = s.taps() * channels;
    // Neighbouring taps of a row are one run.
    const int64_t runs = s.dilation[2] == 1 ? 1 : s.kernel[2], length = s.kernel[2] / runs * channels;
    while (begin < end) {
        // Rows of one slice, from the rows of the image that they read.
        const int64_t d = begin / s.out[1], h = begin % s.out[1], rows = std::min(end - begin, s.out[1] - h);
        const int64_t top = h * s.stride[1] - s.padding[1];
        ConvImage slice = image;
        const int64_t sizes[3] = {1, std::max(int64_t(0), s.in[1] - std::max(int64_t(0), top)), s.in[2]};
        const Frame band{{0, std::max(int64_t(0), -top), s.padding[2]},
                         {1, (rows - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1,
                          (s.out[2] - 1) * s.stride[2] + (s.kernel[2] - 1) * s.dilation[2] + 1},
                         channels};
        char* frame = static_cast<char*>(scratch(Scratch::PackedA, size_t(band.elements() * size)));
        for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
            const int64_t depth_in = d * s.stride[0] - s.padding[0] + kd * s.dilation[0];
            if (depth_in < 0 || depth_in >= s.in[0] || sizes[1] == 0) {
                std::memset(frame, 0, size_t(band.elements() * size));
            } else {
                slice.data =
                    static_cast<char*>(image.data) +
                    (depth_in * image.stride[0] + std::max(int64_t(0), top) * image.stride[1]) * size;
                fill_frame(slice, sizes, band, size, frame, 0, band.size[1]);
            }
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t kh = 0; kh < s.kernel[1]; ++kh)
                    for (int64_t run = 0; run < runs; ++run)
                        conv_copy_runs(int(size), s.out[2], length,
                                       frame + ((r * s.stride[1] + kh * s.dilation[1]) * band.stride(1) +
                                                run * s.dilation[2] * channels) *
                                                   size,
                                       s.stride[2] * channels,
                                       to + ((begin + r) * s.out[2] * depth +
                                             ((kd * s.kernel[1] + kh) * s.kernel[2] + run) * channels) *
                                                size,
                                       depth);
        }
        begin += rows;
    }
}

}  // namespace

void Source::fill(int64_t n, char* to, int64_t begin, int64_t end) const {
    const ConvImage one = image_at(image_, n, size_);
    if (columns_) fill_columns(*columns_, one, size_, to, begin, end);
    else fill_frame(one, sizes_, frame_, size_, to, begin, end);
}

bool few_channels(const ConvShape& s) {
    return s.groups == 1 && s.in_channels * s.kernel[2] < 16 && s.taps() > 1 &&
           s.taps() * s.in_channels <= 512;
}

bool columns_fill_panels(const ConvShape& s, int64_t nr) {
    if (s.groups != 1 || s.taps() == 1 || s.taps() * s.in_channels > 512) return false;
    const auto filled = [&](int64_t length) { return double(length) / double(round_up(length, nr)); };
    const int64_t run = s.in_channels * (s.dilation[2] == 1 ? s.kernel[2] : 1);
    return filled(s.taps() * s.in_channels) > 1.2 * filled(run);
}

ConvShape columns_shape(const ConvShape& s) {
    ConvShape c = s;
    c.in_channels = s.in_channels * s.taps();
    for (int i = 0; i < 3; ++i) {
        c.in[i] = s.out[i];
        c.kernel[i] = c.stride[i] = c.dilation[i] = 1;
        c.padding[i] = 0;
    }
    return c;
}

}  // namespace flb
