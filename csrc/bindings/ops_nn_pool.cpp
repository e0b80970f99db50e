// Pooling over windows, regular or adaptive. Inputs are (channels, *spatial) or (batch, channels, *spatial); `n`, the number of
// spatial dimensions, is what the lengths of the lists say.
#include <algorithm>
#include <atomic>
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/pool_kernels.h"
#include "kernels/pool_last_kernels.h"

namespace flb {
namespace {

void check_input(const Call& call, const Tensor& t, int n) {
    call.check(n >= 1 && n <= 3, "pools over one to three dimensions, not ", n);
    bool fits = t.ndim() == n + 1 || t.ndim() == n + 2;
    for (int i = t.ndim() - n - 1; fits && i < t.ndim(); ++i) fits = t.sizes[i] != 0;
    if (!fits && n == 3 && (t.ndim() == 4 || t.ndim() == 5))
        for (int i = t.ndim() - 4; i < t.ndim(); ++i)
            call.check(t.sizes[i] != 0, "Expected input's non-batch dimensions to have positive ",
                       "length, but input has a shape of ", str(t.sizes), " and non-batch dimension ",
                       i - (t.ndim() - 4), " has length zero!");
    call.check(fits, "Expected ", n + 1, "D or ", n + 2,
               "D (batch mode) tensor with optional 0 dim batch size for input, but got: ", str(t.sizes));
}

int64_t output_size(const PoolDim& d, bool ceil_mode) {
    const int64_t span = d.in + 2 * d.pad - d.dilation * (d.kernel - 1) - 1 + (ceil_mode ? d.stride - 1 : 0);
    int64_t count = (span >= 0 ? span / d.stride : -((-span + d.stride - 1) / d.stride)) + 1;
    if (ceil_mode && (count - 1) * d.stride >= d.in + d.pad)
        --count;  // the last window would start beyond the input
    return count;
}

// The parameters from `first` on: kernel_size, stride (empty: the kernel's), padding; dilation null where there is none.
PoolShape pool_shape(const Call& call, const Tensor& t, int first, const Dims* dilation, bool ceil_mode) {
    const Dims kernel = call.ints(first), padding = call.ints(first + 2);
    Dims stride = call.ints(first + 1);
    if (stride.empty()) stride = kernel;
    const int n = kernel.size();
    call.check(stride.size() == n && padding.size() == n && (!dilation || dilation->size() == n),
               "kernel_size, stride, padding and dilation must have one entry per dimension: ", str(kernel),
               ", ", str(stride), ", ", str(padding));
    // What is wrong with the window is said before what is wrong with the input's size.
    if (t.ndim() != n + 1 && t.ndim() != n + 2) check_input(call, t, n);
    for (int64_t p : padding) call.check(p >= 0, "pad must be non-negative, but got pad: ", str(padding));
    PoolShape s{};
    for (int i = 0; i < 3; ++i) {
        PoolDim& d = s.d[i];
        d = {1, 1, 1, 1, 0, 1};
        const int k = i - (3 - n);
        if (k < 0) continue;
        constexpr int64_t kLargest = int64_t(1) << 40;  // keeps all arithmetic on positions in range
        d = {t.sizes[t.ndim() - n + k], 0, kernel[k], stride[k], padding[k], dilation ? (*dilation)[k] : 1};
        call.check(d.kernel > 0,
                   n == 1 ? "kernel_size must be greater than zero, but got "
                          : "kernel size should be greater than zero, but got kernel_size: ",
                   str(kernel));
        call.check(d.stride > 0,
                   n == 1 ? "stride must be greater than zero, but got "
                          : "stride should not be zero, but got stride: ",
                   n == 1 ? std::to_string(d.stride) : str(stride));
        call.check(d.dilation > 0,
                   n == 1 ? "dilation must be greater than zero, but got "
                          : "dilation should be greater than zero, but got dilation: ",
                   n == 1 || !dilation ? std::to_string(d.dilation) : str(*dilation));
        call.check(d.kernel < kLargest && d.stride < kLargest && d.pad < kLargest &&
                       d.dilation < kLargest / d.kernel,
                   "the window is too large");
        call.check(2 * d.pad <= d.dilation * (d.kernel - 1) + 1,
                   "pad should be at most half of effective kernel size, but got pad=", str(padding),
                   ", kernel_size=", str(kernel), " and dilation=", dilation ? str(*dilation) : "1");
        d.out = output_size(d, ceil_mode);
    }
    check_input(call, t, n);
    for (int i = 3 - n; i < 3; ++i)
        if (s.d[i].out < 1) {
            std::string in, out;
            for (int k = 3 - n; k < 3; ++k)
                in += "x" + std::to_string(s.d[k].in), out += "x" + std::to_string(s.d[k].out);
            const std::string channels = std::to_string(t.sizes[t.ndim() - n - 1]);
            call.check(n > 1, "Invalid computed output size: ", s.d[2].out, " for an input of size ",
                       str(t.sizes));
            call.check(false, "Given input size: (", channels, in, "). Calculated output size: (", channels,
                       out, "). Output size is too small");
        }
    return s;
}

Dims with_spatial(const Tensor& t, int n, const int64_t (&out)[3]) {
    Dims sizes = t.sizes;
    for (int i = 0; i < n; ++i) sizes[t.ndim() - n + i] = out[3 - n + i];
    return sizes;
}
Dims output_sizes(const Tensor& t, int n, const PoolShape& s) {
    const int64_t out[3] = {s.d[0].out, s.d[1].out, s.d[2].out};
    return with_spatial(t, n, out);
}

// Windows that cover a dimension evenly.
struct AdaptiveWindows : AdaptiveShape {
    AdaptiveWindows(const Call& call, const Tensor& t, const Dims& output) {
        const int n = output.size();
        check_input(call, t, n);
        for (int i = 0; i < 3; ++i) {
            const int k = i - (3 - n);
            in[i] = k < 0 ? 1 : t.sizes[t.ndim() - n + k];
            out[i] = k < 0 ? 1 : output[k];
            call.check(out[i] >= 0,
                       "elements of output_size must be greater than or equal to 0 but received ",
                       str(output));
            call.check(out[i] < int64_t(1) << 31 && in[i] < int64_t(1) << 31, "output_size ", str(output),
                       " is too large");
        }
        // No table for a result that nothing can hold.
        call.check(uint64_t(checked_numel(with_spatial(t, n, out))) < uint64_t(1) << 47, "output_size ",
                   str(output), " is too large");
        for (int i = 0; i < 3; ++i) {
            for (int64_t o = 0; o < out[i]; ++o) {
                bounds_[i].push_back(o * in[i] / out[i]);
                ends_[i].push_back(((o + 1) * in[i] + out[i] - 1) / out[i]);
            }
            start[i] = bounds_[i].data();
            end[i] = ends_[i].data();
        }
    }

  private:
    std::vector<int64_t> bounds_[3], ends_[3];
};

// Images whose channels lie together stay so, and have kernels of their own.
bool channels_last(const Tensor& t) {
    return t.ndim() == 4 && !t.contiguous && suggested_format(t) == MemoryFormat::ChannelsLast;
}
// The layout to compute in: few channels do not fill a vector, and go by planes.
MemoryFormat format_of(const Tensor& t) {
    return channels_last(t) && t.sizes[1] >= 16 ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}
TensorRef laid_out_like(const Tensor& t, TensorRef result) {
    return channels_last(t) && format_of(t) == MemoryFormat::Contiguous
               ? clone(*result, MemoryFormat::ChannelsLast)
               : std::move(result);
}
// The windows of either kind as tables.
class LastWindows : public LastShape {
  public:
    LastWindows(const PoolShape& s, int64_t channels) : LastShape{} {
        this->channels = channels;
        divisor = s.divisor;
        for (int i = 0; i < 3; ++i) {
            const PoolDim& d = s.d[i];
            for (int64_t o = 0; o < d.out; ++o) {
                const int64_t at = o * d.stride - d.pad;
                int64_t first = at < 0 ? (-at + d.dilation - 1) / d.dilation : 0;
                int64_t last = at >= d.in ? 0 : (d.in - 1 - at) / d.dilation + 1;
                last = std::min(last, d.kernel);
                first = std::min(first, last);
                const int64_t begin = s.count_include_pad ? at : std::max(at, int64_t(0));
                const int64_t end = std::min(at + d.kernel, d.in + (s.count_include_pad ? d.pad : 0));
                add(i, at + first * d.dilation, last - first, std::max(end - begin, int64_t(0)));
            }
            set(i, d.in, d.dilation);
        }
    }
    LastWindows(const AdaptiveShape& s, int64_t channels) : LastShape{} {
        this->channels = channels;
        for (int i = 0; i < 3; ++i) {
            for (int64_t o = 0; o < s.out[i]; ++o) {
                const int64_t count = s.end[i][o] - s.start[i][o];
                add(i, s.start[i][o], count, count);
            }
            set(i, s.in[i], 1);
        }
    }
    LastWindows(const LastWindows&) = delete;

  private:
    void add(int i, int64_t start, int64_t count, int64_t extent) {
        starts_[i].push_back(count ? start : 0);
        counts_[i].push_back(count);
        extents_[i].push_back(double(extent));
    }
    void set(int i, int64_t size, int64_t spacing) {
        in[i] = size;
        out[i] = int64_t(starts_[i].size());
        step[i] = spacing;
        start[i] = starts_[i].data();
        count[i] = counts_[i].data();
        extent[i] = extents_[i].data();
    }
    std::vector<int64_t> starts_[3], counts_[3];
    std::vector<double> extents_[3];
};

// float16 and bfloat16 compute in float32, integers in int64.
DType max_dtype(const Call& call, const Tensor& t) {
    return is_integral(t.dtype) ? DType::Int64 : compute_dtype(call, t);
}

// Allocates, and runs kernel(dtype, in, out, index, begin, end) over planes, or the kernel for channels-last images.
template <class S, class F>
PyObject* run_max(const Call& call, Tensor& t, const Dims& sizes, const S& shape, bool indexed, F&& kernel) {
    const DType dtype = max_dtype(call, t);
    const int64_t in_size = shape.in_size();
    call.check(in_size < INT32_MAX, "planes of ", in_size, " elements are too large");
    const MemoryFormat format = format_of(t);
    TensorRef out = empty_format(sizes, t.is_meta() ? t.dtype : dtype, t.device, format), index;
    if (indexed) index = empty_format(sizes, DType::Int64, t.device, format);
    if (!t.is_meta() && out->numel) {
        TensorRef x = dense_in(t, dtype, format);
        const void* in = data_of(x);
        void* to = data_of(out);
        int64_t* at = data_of<int64_t>(index);
        if (format == MemoryFormat::ChannelsLast) {
            const LastWindows last(shape, t.sizes[1]);
            const int64_t pixels = t.sizes[0] * last.out_pixels();
            Unlocked unlocked(t.numel > kNnGrain);
            parallel_for(0, pixels, grain_for(t.numel / pixels),
                         [&](int64_t b, int64_t e) { max_pool_last(dtype, last, in, to, at, b, e); });
        } else {
            Unlocked unlocked(t.numel > kNnGrain);
            parallel_for(0, t.numel / in_size, grain_for(in_size),
                         [&](int64_t b, int64_t e) { kernel(dtype, in, to, at, b, e); });
        }
    }
    if (!t.is_meta()) out = cast(*out, t.dtype);
    out = laid_out_like(t, std::move(out));
    if (!indexed) return out.release();
    return call.results({out, laid_out_like(t, std::move(index))});
}

template <bool indexed>
PyObject* max_pool_op(Call& call) {  // input, kernel_size, stride, padding, dilation, ceil_mode
    Tensor& t = call.tensor(0);
    const Dims dilation = call.ints(4);
    const PoolShape s = pool_shape(call, t, 1, &dilation, call.boolean(5));
    return run_max(call, t, output_sizes(t, dilation.size(), s), s, indexed,
                   [&](DType dtype, const void* in, void* out, int64_t* index, int64_t b, int64_t e) {
                       max_pool(dtype, s, in, out, index, b, e);
                   });
}

template <bool indexed>
PyObject* adaptive_max_pool_op(Call& call) {  // input, output_size
    Tensor& t = call.tensor(0);
    const Dims output = call.ints(1);
    const AdaptiveWindows s(call, t, output);
    return run_max(call, t, with_spatial(t, output.size(), s.out), static_cast<const AdaptiveShape&>(s),
                   indexed,
                   [&](DType dtype, const void* in, void* out, int64_t* index, int64_t b, int64_t e) {
                       adaptive_max_pool(dtype, s, in, out, index, b, e);
                   });
}

// grad, indices, input's size, spatial dimensions: adds every gradient at its maximum's place, plane by plane in order.
PyObject* max_pool_backward_op(Call& call) {
    Tensor &grad = call.tensor(0), &indices = call.tensor(1);
    const Dims sizes = call.ints(2);
    const int n = int(call.integer(3));
    call.check(grad.sizes == indices.sizes, "grad of shape ", str(grad.sizes), " with indices of shape ",
               str(indices.sizes));
    call.check(indices.dtype == DType::Int64, "indices must be int64, got ", name_of(indices.dtype));
    call.check(n >= 1 && n <= 3 && sizes.size() == grad.ndim() && sizes.size() >= n, "an input of size ",
               str(sizes), " does not fit grad of shape ", str(grad.sizes));
    checked_numel(sizes);
    int64_t planes = 1, in_size = 1, out_size = 1;
    for (int i = 0; i < sizes.size(); ++i) {
        const bool spatial = i >= sizes.size() - n;
        call.check(spatial || sizes[i] == grad.sizes[i], "an input of size ", str(sizes),
                   " does not fit grad of shape ", str(grad.sizes));
        (spatial ? in_size : planes) *= sizes[i];
        if (spatial) out_size *= grad.sizes[i];
    }
    if (grad.is_meta() || indices.is_meta()) return empty(sizes, grad.dtype, DeviceType::Meta).release();
    const DType dtype = compute_dtype(call, grad);
    const MemoryFormat format = format_of(indices);
    const int64_t inner = format == MemoryFormat::ChannelsLast ? sizes[1] : 1;
    TensorRef out = empty_format(sizes, dtype, DeviceType::Cpu, format);
    if (out->numel && !grad.numel) {
        fill(*out, Scalar(0.0));
    } else if (out->numel) {
        call.check(in_size < INT32_MAX, "planes of ", in_size, " elements are too large");
        TensorRef g = dense_in(grad, dtype, format), index = dense_in(indices, DType::Int64, format);
        const MaxPoolBackward shape{in_size, out_size, inner};
        const void* from = data_of(g);
        const int64_t* at = data_of<int64_t>(index);
        void* to = data_of(out);
        std::atomic<bool> inside{true};
        {
            Unlocked unlocked(out->numel > kNnGrain);
            parallel_for(0, planes / inner, grain_for(in_size * inner), [&](int64_t b, int64_t e) {
                if (!max_pool_backward(dtype, shape, from, at, to, b, e)) inside = false;
            });
        }
        call.check(inside, "found an index outside of the input's ", in_size, " elements per plane");
    }
    return cast(*out, grad.dtype).release();
}

// kernel(dtype, in, out, begin, end) over planes of the result, of `plane` elements each; or the kernel for channels-last
// images, forward or `back`.
template <class S, class F>
PyObject* run_mean(Call& call, Tensor& t, const Dims& sizes, const S& shape, bool back, F&& kernel) {
    // Integers divide and are cut off, as in PyTorch.
    const DType dtype = t.dtype == DType::Int64 ? DType::Float64 : compute_dtype(call, t);
    const MemoryFormat format = format_of(t);
    if (t.is_meta()) return deliver(call, laid_out_like(t, empty_format(sizes, t.dtype, t.device, format)));
    TensorRef out = empty_format(sizes, dtype, DeviceType::Cpu, format);
    if (out->numel) {
        TensorRef x = dense_in(t, dtype, format);
        const void* in = t.numel ? data_of(x) : nullptr;
        void* to = data_of(out);
        Unlocked unlocked(out->numel + t.numel > kNnGrain);
        if (format == MemoryFormat::ChannelsLast) {
            const LastWindows last(shape, sizes[1]);
            const int64_t tasks = back ? sizes[0] : sizes[0] * last.out_pixels();
            parallel_for(0, tasks, grain_for((out->numel + t.numel) / tasks), [&](int64_t b, int64_t e) {
                if (back) avg_pool_last_backward(dtype, last, in, to, b, e);
                else avg_pool_last(dtype, last, in, to, b, e);
            });
        } else {
            const int64_t planes = out->numel / (back ? shape.in_size() : shape.out_size());
            parallel_for(0, planes, grain_for((out->numel + t.numel) / planes),
                         [&](int64_t b, int64_t e) { kernel(dtype, in, to, b, e); });
        }
    }
    return deliver(call, laid_out_like(t, cast(*out, t.dtype)));
}

PoolShape mean_shape(Call& call, const Tensor& t, int first) {
    PoolShape s = pool_shape(call, t, first, nullptr, call.boolean(first + 3));
    s.count_include_pad = call.boolean(first + 4);
    s.divisor = call.none(first + 5) ? 0 : double(call.integer(first + 5));
    check(call.none(first + 5) || s.divisor != 0, "divisor must be not zero");
    return s;
}

PyObject* avg_pool_op(
    Call& call) {  // input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    Tensor& t = call.tensor(0);
    const PoolShape s = mean_shape(call, t, 1);
    return run_mean(call, t, output_sizes(t, call.ints(1).size(), s), s, false,
                    [&](DType dtype, const void* in, void* out, int64_t b, int64_t e) {
                        avg_pool(dtype, s, in, out, b, e);
                    });
}

PyObject* avg_pool_backward_op(Call& call) {  // grad, input's size, and then as avg_pool
    Tensor& grad = call.tensor(0);
    const Dims sizes = call.ints(1);
    TensorRef like = empty(sizes, grad.dtype, DeviceType::Meta);
    const PoolShape s = mean_shape(call, *like, 2);
    call.check(grad.sizes == output_sizes(*like, call.ints(2).size(), s), "grad of shape ", str(grad.sizes),
               " does not fit an input of size ", str(sizes));
    return run_mean(call, grad, sizes, s, true,
                    [&](DType dtype, const void* in, void* out, int64_t b, int64_t e) {
                        avg_pool_backward(dtype, s, in, out, b, e);
                    });
}

PyObject* adaptive_avg_pool_op(Call& call) {  // input, output_size
    Tensor& t = call.tensor(0);
    const Dims output = call.ints(1);
    const AdaptiveWindows s(call, t, output);
    return run_mean(call, t, with_spatial(t, output.size(), s.out), static_cast<const AdaptiveShape&>(s),
                    false, [&](DType dtype, const void* in, void* out, int64_t b, int64_t e) {
                        adaptive_avg_pool(dtype, s, in, out, b, e);
                    });
}

PyObject* adaptive_avg_pool_backward_op(Call& call) {  // grad, input's size, output_size
    Tensor& grad = call.tensor(0);
    const Dims sizes = call.ints(1), output = call.ints(2);
    TensorRef like = empty(sizes, grad.dtype, DeviceType::Meta);
    const AdaptiveWindows s(call, *like, output);
    call.check(grad.sizes == with_spatial(*like, output.size(), s.out), "grad of shape ", str(grad.sizes),
               " does not fit an input of size ", str(sizes));
    return run_mean(call, grad, sizes, static_cast<const AdaptiveShape&>(s), true,
                    [&](DType dtype, const void* in, void* out, int64_t b, int64_t e) {
                        adaptive_avg_pool_backward(dtype, s, in, out, b, e);
                    });
}

}  // namespace

FLB_OPS({"_max_pool_with_indices", max_pool_op<true>}, {"_max_pool", max_pool_op<false>},
        {"_adaptive_max_pool_with_indices", adaptive_max_pool_op<true>},
        {"_adaptive_max_pool", adaptive_max_pool_op<false>}, {"_max_pool_backward", max_pool_backward_op},
        {"_avg_pool", avg_pool_op}, {"_avg_pool_backward", avg_pool_backward_op},
        {"_adaptive_avg_pool", adaptive_avg_pool_op},
        {"_adaptive_avg_pool_backward", adaptive_avg_pool_backward_op});

}  // namespace flb
